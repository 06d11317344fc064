"""Hash partitions of `messages` and `steps`, against the tables as they are, on a million threads.

Two databases of one server hold the same: one has the schema as it is, in the other `messages` is parted
by thread and `steps` by turn, 16 ways. Each round asks both for the same, one after the other. Images of
whole pages, which WAL holds after each checkpoint, are left out. It decides something once, which stands in
`docs/explanation/scaling.md`, and takes minutes, so it runs only where it is named: `make bench ONLY=partitions`.
"""

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from benchmarks.bulk_load import RARE_WORD, load_threads
from benchmarks.figures import Figure, Measures
from benchmarks.stage import measure_seconds, read_wal_position, stack

PARTITIONS = 16
TABLES = {"messages": "thread_key", "steps": "turn_id"}
LABELS = {"plain": "as it is", "parted": f"{PARTITIONS} partitions"}
#: Threads with a long history, each of so many messages, beside the million.
LONG_THREADS, LONG_MESSAGES, WINDOW = 100, 1_000, 100
#: One row in so many is deleted before the vacuum.
DELETED_SHARE = 20

STEPS = """
    insert into steps (turn_id, index, kind, call_id, name, state, fencing_token, request_digest, started_at)
    select id, 0, 'model', 'c', 'm', 'finished', 1, repeat('0', 64), now() from turns
"""
LONG = """
    insert into messages (thread_key, seq, id, role, content, metadata, created_at)
    select key, n, 'm-' || n, 'user', rpad('message ' || n, 200, '.'), '{}', now()
    from threads, generate_series(3, %(messages)s) n where key %% %(every)s = 0
"""
INSERT = """
    insert into messages (thread_key, seq, id, role, content, metadata, turn_id, created_at)
    select %(key)s, coalesce(max(seq), 0) + n, 'new-' || coalesce(max(seq), 0) + n, 'user', rpad('hello', 200, '.'),
        '{}', gen_random_uuid(), now()
    from messages, generate_series(1, 2) n where thread_key = %(key)s group by n
"""
INSERT_STEP = """
    insert into steps (turn_id, index, kind, call_id, name, state, fencing_token, request_digest, started_at)
    select id, 1, 'model', 'c', 'm', 'finished', 1, repeat('0', 64), now() from turns where thread_key = %(key)s
    on conflict do nothing
"""
WINDOW_READ = "select * from messages where thread_key = %(key)s and seq > %(after)s order by seq"
REPLIES = "select seq from messages where turn_id = (select id from turns where thread_key = %(key)s limit 1)"
CONSTRAINTS = """
    select conname, pg_get_constraintdef(oid) from pg_constraint
    where conrelid = %s::regclass and contype in ('p', 'u', 'f')
"""
#: Those that no constraint has of its own.
INDEXES = """
    select pg_get_indexdef(indexrelid) from pg_index where indrelid = %s::regclass
    and not exists (select from pg_constraint where conindid = indexrelid and conrelid = indrelid)
"""
SEARCH = f"""
    select thread_key from messages
    where to_tsvector('simple', left(content, 100000)) @@ plainto_tsquery('simple', '{RARE_WORD}') limit 20
"""


@dataclass(frozen=True)
class Question:
    """One thing that both databases are asked for."""

    key: str
    label: str
    statement: str
    #: Whether it is asked of threads with a long history.
    is_long: bool = False


QUESTIONS = (
    Question("insert", "two messages inserted, committed", INSERT),
    Question("insert_step", "a step inserted, committed", INSERT_STEP),
    Question("window", f"a window of {WINDOW} messages read", WINDOW_READ, is_long=True),
    Question("replies", "the replies of a turn found, by its id alone", REPLIES),
    Question("search", "a rare word searched", SEARCH),
)
DELETE = Question(
    "delete", f"a thread of {LONG_MESSAGES:,} messages deleted", "delete from threads where key = %(key)s", is_long=True
)


def measure(*, quick: bool) -> Measures:
    """Load, part one of both, ask, and vacuum."""
    threads, rounds = (20_000, 5) if quick else (1_000_000, 300)
    milliseconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    wal_kb: dict[tuple[str, str], list[float]] = defaultdict(list)
    with stack() as servers:
        url = servers.addresses().database_url
        prepare_databases(url, threads)
        databases = {
            "plain": psycopg.connect(url, autocommit=True),
            "parted": psycopg.connect(f"{url.rpartition('/')[0]}/parted", autocommit=True),
        }
        chance = random.Random(1)
        every = threads // LONG_THREADS

        def ask_both(question: Question, number: int) -> None:
            key = every * (1 + number % LONG_THREADS) if question.is_long else chance.randrange(1, threads)
            values = {"key": key, "after": LONG_MESSAGES - WINDOW}
            for name, connection in databases.items():
                wal_before = read_wal_position(connection)
                took = measure_seconds(lambda c=connection: run(c, question.statement, values))
                milliseconds[name, question.key].append(1000 * took)
                wal_kb[name, question.key].append((read_wal_position(connection) - wal_before) / 1000)

        for question in QUESTIONS:
            for number in range(rounds):
                ask_both(question, number)
        for number in range(min(rounds, LONG_THREADS // 2)):
            ask_both(DELETE, number)
        lines = [line for question in (*QUESTIONS, DELETE) for line in figures(question, milliseconds, wal_kb)]
        return [*lines, *vacuum_figures(databases)]


def run(connection: psycopg.Connection[Any], statement: str, values: dict[str, Any]) -> None:
    cursor = connection.execute(statement, values)
    if cursor.description is not None:
        cursor.fetchall()


def prepare_databases(url: str, threads: int) -> None:
    """Fill one database, copy it, and part the copy."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("set synchronous_commit = off")
        load_threads(connection, threads)
        connection.execute(STEPS)
        connection.execute(LONG, {"messages": LONG_MESSAGES, "every": threads // LONG_THREADS})
        connection.execute(
            "update threads set last_seq = %s where key %% %s = 0", [LONG_MESSAGES, threads // LONG_THREADS]
        )
        connection.execute("vacuum (freeze, analyze)")
    server = url.rpartition("/")[0]
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        name = url.rpartition("/")[2]
        connection.execute(f"create database parted template {name} strategy file_copy")
    with psycopg.connect(f"{server}/parted", autocommit=True) as connection:
        connection.execute("set synchronous_commit = off")
        connection.execute("set maintenance_work_mem = '512MB'")
        for table, column in TABLES.items():
            part_table(connection, table, column)
        connection.execute("vacuum (freeze, analyze)")
        # What autovacuum and images of whole pages write would fall on whoever is measured by chance.
        for setting in ("autovacuum", "full_page_writes"):
            connection.execute(f"alter system set {setting} = off")
        connection.execute("select pg_reload_conf()")


def part_table(connection: psycopg.Connection[Any], table: str, column: str) -> None:
    """Replace a table by the same in partitions, with all of its constraints and indexes."""
    constraints = connection.execute(CONSTRAINTS, [table]).fetchall()
    indexes = connection.execute(INDEXES, [table]).fetchall()
    connection.execute(f"alter table {table} rename to old")
    connection.execute(
        f"create table {table} (like old including defaults including constraints) partition by hash ({column})"
    )
    for number in range(PARTITIONS):
        bounds = f"with (modulus {PARTITIONS}, remainder {number})"
        connection.execute(f"create table {table}_{number} partition of {table} for values {bounds}")
    connection.execute("set session_replication_role = replica")
    connection.execute(f"insert into {table} select * from old")
    connection.execute("set session_replication_role = origin")
    connection.execute("drop table old")
    for name, definition in constraints:
        connection.execute(f"alter table {table} add constraint {sql.Identifier(name).as_string()} {definition}")
    for (definition,) in indexes:
        connection.execute(definition)


def figures(
    question: Question, milliseconds: dict[tuple[str, str], list[float]], wal_kb: dict[tuple[str, str], list[float]]
) -> list[Figure]:
    """Time, and WAL where any is written, of both databases."""
    kinds = (("", "", milliseconds, "ms"), ("_wal", "... WAL, ", wal_kb, "kB"))
    lines: list[Figure] = []
    for suffix, prefix, values, unit in kinds:
        key = question.key + suffix
        if suffix and not any(values["plain", question.key]):
            continue
        lines += pair(
            key, prefix or f"{question.label}, ", values["plain", question.key], values["parted", question.key], unit
        )
    return lines


def pair(key: str, label: str, plain: list[float], parted: list[float], unit: str) -> list[Figure]:
    base = Figure(key=f"plain_{key}", label=label + LABELS["plain"], rounds=plain, unit=unit)
    return [base, Figure(key=f"parted_{key}", label=label + LABELS["parted"], rounds=parted, unit=unit, baseline=base)]


def vacuum_figures(databases: dict[str, psycopg.Connection[Any]]) -> list[Figure]:
    """A vacuum after one row in twenty was deleted: of all, and the longest of one table."""
    totals: dict[str, float] = {}
    longest: dict[str, float] = {}
    wal: dict[str, float] = {}
    for name, connection in databases.items():
        connection.execute("set maintenance_work_mem = '64MB'")
        connection.execute(f"delete from messages where thread_key % {DELETED_SHARE} = 3")
        tables = ["messages"] if name == "plain" else [f"messages_{number}" for number in range(PARTITIONS)]
        before = read_wal_position(connection)
        seconds = [measure_seconds(vacuum_of(connection, table)) for table in tables]
        totals[name], longest[name] = sum(seconds), max(seconds)
        wal[name] = (read_wal_position(connection) - before) / 1_000_000
    label = f"vacuum of messages, one in {DELETED_SHARE} deleted, "
    return [
        *pair("vacuum", label, [totals["plain"]], [totals["parted"]], "s"),
        *pair("vacuum_longest", "... the longest of one table, ", [longest["plain"]], [longest["parted"]], "s"),
        *pair("vacuum_wal", "... WAL, ", [wal["plain"]], [wal["parted"]], "MB"),
    ]


def vacuum_of(connection: psycopg.Connection[Any], table: str) -> Callable[[], object]:
    return lambda: connection.execute(f"vacuum {table}")
