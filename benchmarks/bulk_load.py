"""A database of a million threads, loaded in about a minute: what an installation has after years.

What stays true: rows are made inside the server, and indexes after them; the planner's statistics are up to
date at the end, and pages are marked as autovacuum would have marked them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import Connection, sql

#: Tables that are loaded, children last.
TABLES = ("threads", "messages", "turns", "inbox_messages")
#: A word in each message, and one in every hundred-thousandth.
COMMON_WORD, RARE_WORD = "parcel", "zeppelin"

_THREADS = """
    insert into threads (tenant, id, metadata, created_at, updated_at, agent, last_seq,
                         uncovered_messages, uncovered_tokens)
    select 'default', 't' || n, '{}', made_at, made_at + interval '5 s', 'assistant', 2, 2, 40
    from generate_series(1, %(threads)s) n,
         lateral (select now() - make_interval(secs => %(threads)s - n + 60) as made_at) times
"""
_TURNS = """
    insert into turns (id, thread_key, tenant, state, agent, attempt, metadata, window_to_seq,
                       notified_at, created_at, started_at, finished_at, error_kind, error_message)
    select gen_random_uuid(), key, tenant, state, agent, 1, '{}', 1,
           created_at, created_at, created_at, updated_at,
           case when state = 'failed' then 'model' end, case when state = 'failed' then 'overloaded' end
    from threads,
         lateral (select case when key % 1000 = 7 and key < 100000 then 'failed' when key % 1000 = 8 then 'cancelled'
                         else 'completed' end as state) ends
"""
_MESSAGES = """
    insert into messages (thread_key, seq, id, role, content, metadata, turn_id, tokens, created_at)
    select t.thread_key, seq, t.id || '-' || seq, case seq when 1 then 'user' else 'assistant' end,
           concat_ws(' ', %(common)s::text, 'number', t.thread_key, 'of customer', t.thread_key / 7, 'is at stage',
                     seq, case when t.thread_key %% 100000 = 77 then %(rare)s end),
           '{}', t.id, 20, t.created_at
    from turns t, generate_series(1, 2) seq
"""
#: Turns that nobody came for, each the only one of its thread, whose first wake-up was lost.
_WAITING = """
    insert into turns (id, thread_key, tenant, state, agent, metadata, notified_at, created_at)
    select gen_random_uuid(), key, tenant, 'queued', agent, '{}', now() - interval '1 min', now() - interval '1 min'
    from threads order by key limit %(turns)s
"""


def load_threads(connection: Connection, threads: int) -> None:
    """Load so many answered threads of one turn and two messages each. Needs an empty schema, and a superuser."""
    # No trigger checks a foreign key that is right by its making.
    connection.execute("set session_replication_role = replica")
    values = {"threads": threads, "common": COMMON_WORD, "rare": RARE_WORD}
    with _without_indexes(connection):
        for statement in (_THREADS, _TURNS, _MESSAGES):
            connection.execute(statement, values if "%(" in statement else None)
    connection.execute("set session_replication_role = origin")
    _vacuum(connection)


def load_waiting_turns(connection: Connection, turns: int) -> None:
    """Load so many turns that wait for a worker."""
    connection.execute(_WAITING, {"turns": turns})
    _vacuum(connection)


@contextmanager
def _without_indexes(connection: Connection) -> Iterator[None]:
    """Drop the indexes that no constraint needs, and make them again."""
    query = """
        select indexrelid::regclass::text, pg_get_indexdef(indexrelid) from pg_index
        where indrelid::regclass::text = any(%s)
          and not exists (select from pg_constraint where conindid = indexrelid)
    """
    indexes = connection.execute(query, [list(TABLES)]).fetchall()
    for name, _ in indexes:
        connection.execute(sql.SQL("drop index {}").format(sql.Identifier(name)))
    yield
    connection.execute("set maintenance_work_mem = '512MB'")
    for _, definition in indexes:
        connection.execute(definition)


def _vacuum(connection: Connection) -> None:
    for table in TABLES:
        connection.execute(sql.SQL("vacuum analyze {}").format(sql.Identifier(table)))
