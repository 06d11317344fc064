"""The cost of a scan for threads to summarize beside 100,000 idle threads, against 1,000.

The same ten threads are due in both databases, and are released after each scan.
"""

from functools import partial

from sqlalchemy import text

from benchmarks.figures import Measures
from benchmarks.sweeps import compare
from conversation.water_marks import WaterMarks
from store.database.engine import Database
from store.summaries.due import reserve_due

DUE_COUNT = 10
MARKS = WaterMarks(high_messages=200, high_tokens=50_000, low_messages=50, low_tokens=12_000)
STOCK = """
    insert into threads (tenant, id, metadata, created_at, updated_at, agent, last_seq,
                         uncovered_messages, uncovered_tokens)
    select 'default', :prefix || n, '{}', now(), now(), 'agent-' || n % 5, :count, :count, 20 * :count
    from generate_series(1, :threads) n
"""
RELEASE = "update threads set summary_retry_at = null where summary_retry_at is not null"

take_ten = partial(reserve_due, marks={}, other_marks=MARKS, limit=DUE_COUNT)


def measure(*, quick: bool) -> Measures:
    """Compare the scans. The threads that a scan reserves are released after it."""
    return compare(rounds=20 if quick else 100, fill=fill, scan=scan, explain=explain, undo=release_due)


def scan(database: Database) -> None:
    batch = database.run(take_ten)
    assert len(batch) == DUE_COUNT, batch


def release_due(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(text(RELEASE))


def fill(database: Database, idle: int) -> None:
    """Threads below the mark, and the few above it."""
    with database.engine.begin() as connection:
        connection.execute(text(STOCK), {"prefix": "idle-", "threads": idle, "count": 40})
        connection.execute(text(STOCK), {"prefix": "due-", "threads": DUE_COUNT, "count": 300})


def explain(database: Database) -> list[str]:
    """The plans of the very statements, as PostgreSQL logs them: one of them writes what it found."""
    lines: list[str] = []
    with database.engine.begin() as connection:
        connection.execute(text("load 'auto_explain'"))
        connection.execute(text("set local auto_explain.log_min_duration = 0"))
        connection.execute(text("set local auto_explain.log_level = notice"))
        driver = connection.connection.driver_connection
        driver.add_notice_handler(lambda notice: lines.extend((notice.message_primary or "").splitlines()))
        take_ten(connection)
    return lines
