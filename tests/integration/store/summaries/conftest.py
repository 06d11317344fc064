"""Threads that are long enough for a summary."""

from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import select, text

from store.database.column_types import clock
from store.database.engine import Database
from store.summaries import due as summary_dues
from store.summaries.due import DueThread
from tests.integration.desk import Desk, marks


@pytest.fixture
def desk(any_database: Database) -> Desk:
    """A desk over a database of each kind."""
    return Desk(any_database)


@pytest.fixture
def postgres_desk(database: Database) -> Desk:
    return Desk(database)


#: Threads of an agent with so many messages each, in turns of two; none has a summary.
STOCK = (
    """
    insert into threads (tenant, id, metadata, created_at, updated_at, last_seq, agent,
                         uncovered_messages, uncovered_tokens)
    select 'default', :prefix || n, '{}', now(), now(), :count, :agent, :count, 10 * :count
    from generate_series(1, :threads) n
    """,
    """
    insert into messages (thread_key, seq, id, role, content, metadata, created_at, tokens)
    select key, n, 'm-' || n, case n % 2 when 1 then 'user' else 'assistant' end, 'message ' || n, '{}',
        now(), 10
    from threads, generate_series(1, :count) n where threads.id like :prefix || '%'
    """,
)


def stock(database: Database, prefix: str, *, threads: int, count: int, agent: str | None = "a") -> None:
    """Fill a PostgreSQL database as months of use do."""
    values: Mapping[str, Any] = {"prefix": prefix, "threads": threads, "count": count, "agent": agent}
    with database.engine.begin() as connection:
        for statement in STOCK:
            connection.execute(text(statement), values)


def reserved(desk: Desk) -> DueThread:
    """The thread `t`, as a look finds it."""
    desk.change(agent="a", summary_retry_at=None)
    (due,) = desk.database.run(summary_dues.reserve_due, marks={}, other_marks=marks(2, 1), limit=1)
    return due


def now(desk: Desk) -> Any:
    return desk.database.run(lambda c: c.execute(select(clock())).scalar_one())


def taken(database: Database, limit: int = 10, **own: Any) -> list[str]:
    return [
        due.thread_id
        for due in database.run(summary_dues.reserve_due, marks=own, other_marks=marks(30, 10), limit=limit)
    ]
