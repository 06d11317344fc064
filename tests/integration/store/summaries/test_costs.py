"""What summaries cost the database: by what is due, and not by what is stored."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, text, update

from conversation.summary import NewSummary
from store import migrations, tables
from store.database.engine import Database
from store.settings import load
from store.summaries import due, repository
from store.tables import MAX_SUMMARY_FAILURES
from tests.integration.desk import Desk, marks
from tests.integration.store.summaries.conftest import stock, taken
from tests.integration.wire import WireTap


@pytest.fixture
def tap(database_url: str) -> Iterator[WireTap]:
    with WireTap(database_url) as opened:
        yield opened


def test_a_look_and_a_write_cost_the_same_however_much_is_stored(tap: WireTap) -> None:
    database = Database(load(database_url=tap.url))
    desk = Desk(database)
    costs = []
    for few in (1, 8):
        stock(database, f"idle{few}-", threads=few * 20, count=4)
        stock(database, f"t{few}-", threads=few, count=100)
        with tap.listening() as looking:
            assert len(taken(database)) == few
        with tap.listening() as reading:
            draft = desk.draft(marks(keep=10), f"t{few}-1")
        with tap.listening() as writing:
            assert desk.put(draft) is not None
        costs.append((looking.round_trips, reading.round_trips, writing.round_trips))
    database.close()

    # A look: BEGIN, the agents, take, COMMIT. A draft: the thread, the low mark, the step, the messages.
    # A write: lock, the thread, the summary. Each between BEGIN and COMMIT.
    assert costs == [(4, 6, 5)] * 2


def test_due_threads_are_found_by_index(database: Database) -> None:
    """What was given up is in no index: a look reads none of it."""
    stock(database, "idle", threads=20_000, count=2)
    stock(database, "givenup", threads=2_000, count=40)
    stock(database, "due", threads=5, count=200)
    given_up = update(tables.threads).where(tables.threads.c.id.like("givenup%"))
    database.run(lambda c: c.execute(given_up.values(summary_failures=MAX_SUMMARY_FAILURES)) and None)
    take = partial(due.reserve_due, marks={}, other_marks=marks(32, 10, tokens=1_024), limit=10)

    plans = plans_of(database, take)

    assert "Seq Scan on threads" not in plans, plans
    assert "ix_threads_agent_uncovered_messages" in plans, plans
    assert "ix_threads_agent_uncovered_tokens" in plans, plans
    # Those are the ends of the lists of agents, one of each index.
    assert sum(map(int, re.findall(r"Rows Removed by Filter: (\d+)", plans))) <= 4, plans


def test_a_mark_below_what_indexes_hold_finds_the_short_threads(desk: Desk) -> None:
    desk.chat("short", 4)
    desk.change("short", agent="a")
    by_messages, by_tokens = marks(8, 4), marks(0, 4, tokens=10, keep_tokens=5)
    reserve = partial(due.reserve_due, limit=10)

    assert desk.database.run(reserve, marks={}, other_marks=marks(20, 10, tokens=5_000)) == []
    (found,) = desk.database.run(reserve, marks={"a": by_messages}, other_marks=marks(20, 10))
    desk.change("short", summary_retry_at=None)
    (found_by_tokens,) = desk.database.run(reserve, marks={}, other_marks=by_tokens)

    assert (found.thread_id, found_by_tokens.thread_id) == ("short", "short")


def test_a_draft_reads_no_other_threads_messages(database: Database) -> None:
    stock(database, "t", threads=300, count=100)
    draft = partial(repository.load_draft, tenant="default", thread_id="t7", marks=marks(30, 10))

    plans = plans_of(database, draft)

    assert "Seq Scan on messages" not in plans, plans


def test_a_write_reads_what_it_covers_and_not_all_behind(database: Database) -> None:
    """Else a history of a hundred thousand messages would be counted again at each of its steps."""
    stock(database, "t", threads=1, count=5_000)
    desk = Desk(database)
    draft = desk.draft(marks(30, 10), "t1")
    assert draft is not None
    new = NewSummary(content="they talked", model="m")

    plans = plans_of(database, partial(repository.put, draft=draft, new=new))

    read = [float(rows) for rows in re.findall(r"on messages .*?actual .*?rows=([\d.]+)", plans)]
    assert read == [400, 400], plans
    assert desk.counted("t1") == desk.behind(400, "t1")


def plans_of(database: Database, operation: Callable[[Connection], Any]) -> str:
    """How PostgreSQL ran its statements, as it says itself."""
    seen: list[str] = []
    with database.engine.begin() as connection:
        connection.execute(text("analyze"))
        connection.execute(text("load 'auto_explain'"))
        for setting in ("log_min_duration = 0", "log_level = notice", "log_analyze = on"):
            connection.execute(text(f"set local auto_explain.{setting}"))
        driver: Any = connection.connection.driver_connection
        driver.add_notice_handler(lambda notice: seen.append(notice.message_primary))
        assert operation(connection)
    return "\n".join(seen)


def test_sqlite_finds_due_threads_by_index(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    migrations.upgrade(url)
    database = Database(load(database_url=url))
    Desk(database).chat("t", 20)
    statements: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        statements.append((statement, parameters))

    with database.engine.begin() as connection:
        event.listen(connection, "before_cursor_execute", note)
        take = partial(due.reserve_due, marks={}, other_marks=marks(30, 10, tokens=2_000), limit=10)
        take(connection)
        event.remove(connection, "before_cursor_execute", note)
        plans = [
            row[3]
            for statement, parameters in statements
            for row in connection.exec_driver_sql(f"explain query plan {statement}", parameters)
        ]
    database.close()

    assert not [line for line in plans if line.startswith("SCAN threads")], plans
    assert any("ix_threads_agent_uncovered_tokens" in line for line in plans), plans


@pytest.mark.parametrize("agents", [1, 40])
def test_a_look_is_two_statements_however_many_tenants_and_agents_there_are(database: Database, agents: int) -> None:
    for number in range(agents):
        stock(database, f"t{number}-", threads=1, count=40, agent=f"agent-{number}")
    spread = update(tables.threads).values(tenant=tables.threads.c.id)
    database.run(lambda c: c.execute(spread) and None)
    own = {f"agent-{number}": marks(20 + number % 3, 10) for number in range(agents)}
    seen: list[str] = []

    with database.engine.begin() as connection:
        event.listen(connection, "before_cursor_execute", lambda *given: seen.append(given[2]))
        take = partial(due.reserve_due, marks=own, other_marks=marks(30, 10), limit=100)
        assert len(take(connection)) == agents

    assert len(seen) == 2
    # One for each different pair of marks, and one for threads without an agent.
    assert seen[1].count("ORDER BY threads.uncovered_messages") == min(agents, 3) + 1
