"""What a look for threads to summarize costs beside 100,000 idle threads, against 1,000.

The same ten threads are due in both databases, and are put back after each look. The plan is printed,
so that it can be seen that every access to `threads` goes through an index.
"""

from functools import partial
from statistics import median

import psycopg
from sqlalchemy import text

from benchmarks.stage import Figure, is_quick, seconds, settings_of, show, stack
from conversation.water_marks import WaterMarks
from store.engine import Database
from store.summary_dues import take_due

IDLE = (1_000, 100_000)
DUE = 10
WARM_ROUNDS = 5
MARKS = WaterMarks(high_messages=200, high_tokens=50_000, low_messages=50, low_tokens=12_000)
STOCK = """
    insert into threads (tenant, id, metadata, created_at, updated_at, agent, last_seq,
                         uncovered_messages, uncovered_tokens)
    select 'default', :prefix || n, '{}', now(), now(), 'agent-' || n % 5, :count, :count, 20 * :count
    from generate_series(1, :threads) n
"""
PUT_BACK = "update threads set summary_retry_at = null where summary_retry_at is not null"


def main() -> None:
    """Both databases in turns, round by round; the medians."""
    rounds = 20 if is_quick(__doc__) else 300
    with stack() as few, stack() as many:
        databases = [Database(settings_of(servers)) for servers in (few, many)]
        for database, idle in zip(databases, IDLE, strict=True):
            fill(database, idle)
        costs: list[list[float]] = [[], []]
        for number in range(WARM_ROUNDS + rounds):
            for database, column in zip(databases, costs, strict=True):
                cost = seconds(partial(look, database))
                run(database, PUT_BACK)
                if number >= WARM_ROUNDS:
                    column.append(1000 * cost)
        print(plan(databases[1]))
        for database in databases:
            database.close()
    base, found = median(costs[0]), median(costs[1])
    show(
        f"A look for {DUE} threads that are due",
        [
            Figure(f"beside {IDLE[0]:,} idle threads", base, "ms"),
            Figure(f"beside {IDLE[1]:,} idle threads", found, "ms", base, at_most=1.5 * base),
        ],
    )


def look(database: Database) -> None:
    found = database.run(partial(take_due, marks={}, other_marks=MARKS, limit=DUE))
    assert len(found) == DUE, found


def fill(database: Database, idle: int) -> None:
    """Threads of all lengths below the mark, and the few above it."""
    with database.engine.begin() as connection:
        connection.execute(text(STOCK), {"prefix": "idle-", "threads": idle, "count": 40})
        connection.execute(text(STOCK), {"prefix": "due-", "threads": DUE, "count": 300})
    with psycopg.connect(database.settings.database_url.get_secret_value(), autocommit=True) as connection:
        connection.execute("vacuum analyze threads")


def run(database: Database, statement: str) -> None:
    with database.engine.begin() as connection:
        connection.execute(text(statement))


def plan(database: Database) -> str:
    """How PostgreSQL finds what is due, as it says itself."""
    lines: list[str] = []
    with database.engine.begin() as connection:
        connection.execute(text("load 'auto_explain'"))
        connection.execute(text("set local auto_explain.log_min_duration = 0"))
        connection.execute(text("set local auto_explain.log_level = notice"))
        driver = connection.connection.driver_connection
        driver.add_notice_handler(lambda notice: lines.extend((notice.message_primary or "").splitlines()))
        take_due(connection, marks={}, other_marks=MARKS, limit=DUE)
    accesses = sorted({line.strip() for line in lines if "Scan" in line and "threads" in line})
    assert not any("Seq Scan" in line for line in accesses), accesses
    return "\n".join(accesses)


if __name__ == "__main__":
    main()
