"""What a look for threads to summarize costs beside 100,000 idle threads, against 1,000.

The same ten threads are due in both databases, and are put back after each look.
"""

from functools import partial

from sqlalchemy import text

from benchmarks.stage import is_quick
from benchmarks.sweeps import compare
from conversation.water_marks import WaterMarks
from store.database.engine import Database
from store.summaries.due import take_due

DUE = 10
MARKS = WaterMarks(high_messages=200, high_tokens=50_000, low_messages=50, low_tokens=12_000)
STOCK = """
    insert into threads (tenant, id, metadata, created_at, updated_at, agent, last_seq,
                         uncovered_messages, uncovered_tokens)
    select 'default', :prefix || n, '{}', now(), now(), 'agent-' || n % 5, :count, :count, 20 * :count
    from generate_series(1, :threads) n
"""
PUT_BACK = "update threads set summary_retry_at = null where summary_retry_at is not null"

take_ten = partial(take_due, marks={}, other_marks=MARKS, limit=DUE)


def main() -> None:
    """What a look reserves is put back after it."""
    compare(
        f"A look for {DUE} threads that are due",
        rounds=20 if is_quick(__doc__) else 300,
        fill=fill,
        look=look,
        explain=explain,
        undo=put_back,
    )


def look(database: Database) -> None:
    found = database.run(take_ten)
    assert len(found) == DUE, found


def put_back(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(text(PUT_BACK))


def fill(database: Database, idle: int) -> None:
    """Threads below the mark, and the few above it."""
    with database.engine.begin() as connection:
        connection.execute(text(STOCK), {"prefix": "idle-", "threads": idle, "count": 40})
        connection.execute(text(STOCK), {"prefix": "due-", "threads": DUE, "count": 300})


def explain(database: Database) -> list[str]:
    """What PostgreSQL says of the statements themselves: one of them writes what it found."""
    lines: list[str] = []
    with database.engine.begin() as connection:
        connection.execute(text("load 'auto_explain'"))
        connection.execute(text("set local auto_explain.log_min_duration = 0"))
        connection.execute(text("set local auto_explain.log_level = notice"))
        driver = connection.connection.driver_connection
        driver.add_notice_handler(lambda notice: lines.extend((notice.message_primary or "").splitlines()))
        take_ten(connection)
    return lines


if __name__ == "__main__":
    main()
