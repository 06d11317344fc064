"""A database of every release opens, migrates and reads in this one."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, func, select

from conversation.ids import new_id
from conversation.message import Message
from conversation.turn import ClaimedTurn, TurnState
from store import migrations, tables
from store.database.url import driver_url
from store.thread_store import ThreadStore
from store.turns import claims, records, workers
from store.turns.claims import ClaimRequest
from tests.upgrade import fixtures

#: Every revision that a user's database may be of.
REVISIONS = sorted(
    script.revision for script in ScriptDirectory(str(Path(migrations.__file__).parent)).walk_revisions()
)
both = [(revision, kind) for revision in REVISIONS for kind in fixtures.KINDS]


@pytest.fixture(params=both, ids="-".join)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, Any]]:
    """A database of an old revision, brought up to date; its address, and what was in it."""
    revision, kind = request.param
    url = f"sqlite:///{tmp_path}/old.db" if kind == "sqlite" else str(request.getfixturevalue("empty_database_url"))
    migrations.upgrade(url, revision)
    engine = create_engine(driver_url(url))
    with engine.begin() as connection:
        fixtures.load(connection, revision)
    engine.dispose()
    migrations.upgrade(url)
    return url, fixtures.expected_in(revision, kind)


@pytest.mark.parametrize(("revision", "kind"), both)
def test_each_migration_has_a_database_of_its_time(revision: str, kind: str) -> None:
    """Where this fails, run `python -m tests.upgrade.make` and commit what it writes."""
    assert fixtures.sql_file(revision, kind).exists()
    assert fixtures.expected_in(revision, kind)


@pytest.mark.parametrize(("revision", "kind"), both)
def test_it_holds_a_row_of_every_table_that_was_there(revision: str, kind: str) -> None:
    script = fixtures.sql_file(revision, kind).read_text("utf-8")
    filled = {line.split()[2] for line in script.splitlines() if line.startswith("INSERT INTO ")}

    assert filled >= {table.name for table in tables.metadata.sorted_tables if revision == migrations.newest_revision()}


async def test_every_thread_reads_as_it_did(old: tuple[str, dict[str, Any]]) -> None:
    url, expected = old
    for tenant, stories in expected["threads"].items():
        async with await ThreadStore.create(url, tenant=tenant) as store:
            assert {thread.id for thread in await store.list_threads()} == {story["id"] for story in stories}
            for story in stories:
                assert_within(story, (await store.get_thread(story["id"])).to_json())


async def test_every_turn_reads_as_it_did(old: tuple[str, dict[str, Any]]) -> None:
    url, expected = old
    async with await ThreadStore.create(url) as store:
        told = expected["told"]

        async def result(name: str) -> Any:
            return await store.database.run_async(records.read_result, turn_id=told[name])

        completed, failed = await result("completed_turn"), await result("failed_turn")
        assert (completed.state, completed.content) == (TurnState.COMPLETED, "It is 3; isn't it?")
        assert (completed.usage.total_tokens, completed.cost) == (29, 0.000125)
        assert (failed.state, failed.error.kind) == (TurnState.FAILED, "step_limit")
        assert_within(
            expected["replies"][told["completed_turn"]], [message.to_json() for message in completed.messages]
        )


async def test_the_work_goes_on(old: tuple[str, dict[str, Any]]) -> None:
    """What was running belongs to a dead worker: the next one takes it, then what waited behind it."""
    url, expected = old
    told, worker = expected["told"], new_id()
    claimant = ClaimRequest(worker=worker, agents={"assistant": "1"})
    serve = partial(workers.register, host="h", pid=1, serves={"assistant": "2"}, lease_duration_seconds=60)
    claim = partial(claims.claim, tenant="default", thread_id="story", claimant=claimant)
    async with await ThreadStore.create(url) as store:
        run = store.database.run_async
        await run(lambda connection: connection.execute(tables.workers.delete()))
        await run(partial(serve, worker=worker))

        claimed = await run(claim)

        assert isinstance(claimed, ClaimedTurn)
        assert (claimed.id, claimed.attempt) == (told["running_turn"], 2)
        assert "Ann showed a plan." in "".join(claimed.context)
        assert "Be kind." in claimed.context


async def test_it_can_be_written_and_searched(old: tuple[str, dict[str, Any]]) -> None:
    url, _ = old
    async with await ThreadStore.create(url) as store:
        before = [message.seq for message in (await store.get_thread("story")).messages]

        await store.append("story", Message(role="user", content="zebra"))
        await store.append("brand-new", Message(role="user", content="zebra"))

        assert [m.seq for m in (await store.get_thread("story")).messages] == [*before, before[-1] + 1]
        assert len(await store.search_messages("zebra")) == 2
        assert [hit.role for hit in await store.search_messages('"it is 3"')] == ["assistant"]
        assert [thread.id for thread in await store.find_threads({"deep": {"x": [1]}})] == ["story"]
        lines = [line async for line in store.export_thread("story")]
        assert len(lines) > len(before)
        assert await store.delete_thread("story")


async def test_nothing_was_lost(old: tuple[str, dict[str, Any]]) -> None:
    url, _ = old
    async with await ThreadStore.create(url) as store:
        counts = await store.database.run_async(
            lambda connection: {
                table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in tables.metadata.sorted_tables
            }
        )
    assert all(counts.values()), counts


def assert_within(expected: Any, found: Any) -> None:
    """Everything that was there is there; a later release may say more."""
    if isinstance(expected, dict):
        for name, value in expected.items():
            assert_within(value, found[name])
    elif isinstance(expected, list):
        assert len(expected) == len(found)
        for one, other in zip(expected, found, strict=True):
            assert_within(one, other)
    else:
        assert expected == found
