"""Between us and the server stands a pooler that lends its one connection by the transaction."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from conversation.errors import DatabaseUnavailable
from conversation.message import Message
from conversation.step import Step
from conversation.turn import ClaimedTurn, TurnState
from producers import Producer
from store import migrations
from store.database.engine import Database
from store.settings import Settings, load
from store.thread_store import ThreadStore
from store.turns import sweep, workers
from store.turns.worker_listing import list_workers
from tasks.active_runs import ActiveRuns
from tasks.heartbeat import Heartbeat
from tests.integration.store.database.faults.pooler import Pooler
from tests.integration.store.database.faults.stage import ANSWER, QUESTION, SERVES, Stage, answer, claim_of, ping
from tests.integration.wire import WireTap

#: What each session would show if any transaction had left something behind.
LEFT_BEHIND = {
    "show lock_timeout": "0",
    "show statement_timeout": "0",
    "show idle_in_transaction_session_timeout": "0",
    "show default_transaction_isolation": "read committed",
    "select count(*) from pg_prepared_statements": 0,
    "select count(*) from pg_listening_channels()": 0,
    "select count(*) from pg_locks where locktype = 'advisory'": 0,
    "select count(*) from pg_class where relpersistence = 't'": 0,
}


@pytest.fixture
def pooler(database_url: str) -> Iterator[Pooler]:
    with Pooler(database_url) as opened:
        yield opened


@pytest.fixture
def pooled(pooler: Pooler, valkey_url: str, tmp_path: Path) -> Settings:
    return load(database_url=pooler.url, broker_url=valkey_url, file_store_url=str(tmp_path / "files"))


@pytest.fixture
async def two(database_url: str, pooler: Pooler) -> AsyncIterator[tuple[Stage, Stage]]:
    """Two workers, each with a connection to the pooler for its threads and one for its loop."""
    pair = (Stage(database_url, pooler.url), Stage(database_url, pooler.url))
    for stage in pair:
        await stage.open()
    yield pair
    for stage in pair:
        await stage.close()


async def talk(stage: Stage, producer: Producer, thread: str) -> None:
    """A turn with a tool, as a producer and a worker have it."""
    turn = await producer.send_async(thread, QUESTION)
    claimed = await stage.ledger.claim("default", thread, stage.claimant)
    assert isinstance(claimed, ClaimedTurn)
    journal = stage.ledger.journal_of(claimed)
    for state in ("started", "finished"):
        await journal.record([Step(index=0, kind="tool", call_id="c", state=state, result={"content": "1"})])
    await stage.ledger.settle(claimed, answer(), release=True)
    found = await turn.result()
    assert found is not None
    assert (found.state, found.content) == (TurnState.COMPLETED, ANSWER)


async def test_two_workers_and_a_producer_share_one_connection(
    two: tuple[Stage, Stage], pooler: Pooler, pooled: Settings, database_url: str
) -> None:
    producer = Producer(pooled)

    await asyncio.gather(*(talk(two[n % 2], producer, f"t-{n}") for n in range(10)))

    for n in range(10):
        (turn_id,) = two[0].turn_ids(f"t-{n}")
        two[0].assert_whole(f"t-{n}", turn_ids=[turn_id], state="completed", told="")
    assert pooler.most_clients >= 3
    assert pooler.lent >= 10 * 6
    await producer.close_async()


async def test_what_a_worker_does_beside_its_turns_goes_through_as_well(
    two: tuple[Stage, Stage], pooled: Settings
) -> None:
    stage, _ = two
    producer = Producer(pooled)
    heart = Heartbeat(stage.worker, pooled, {}, ActiveRuns(), asyncio.get_running_loop())
    heart._agent_versions = SERVES
    lost = producer.send("lost", QUESTION)
    assert isinstance(stage.database.run(claim_of("lost", stage.claimant)), ClaimedTurn)
    waiting = producer.send("waiting", QUESTION)

    heart._beat()
    (wake_up, _) = stage.database.run(sweep.pick_wake_ups, grace_seconds=0, limit=10)
    cancelled = waiting.cancel()
    again = producer.requeue(waiting.id)
    stage.database.run(workers.unregister, worker=stage.worker)

    assert (wake_up.turn_id, lost.state) == (lost.id, TurnState.QUEUED)
    assert (cancelled, again.state) == (TurnState.CANCELLED, TurnState.QUEUED)
    assert stage.database.run(list_workers, worker_ids=[stage.worker]) == []
    producer.close()
    heart._database.close()


async def test_reading_and_keeping_threads_goes_through_as_well(pooler: Pooler, tmp_path: Path) -> None:
    store = await ThreadStore.create(pooler.url)
    await store.append("t", Message(role="user", content="a word to be found"))

    found = await store.search_messages("word")
    listed = await store.list_threads()
    lines = [line async for line in store.export_thread("t")]
    await store.import_thread(lines, thread_id="copy")
    fork = await store.fork("t")

    assert [hit.thread_id for hit in found] == ["t"]
    assert [thread.id for thread in listed] == ["t"]
    assert (await store.count(), (await store.get_thread("copy")).messages[0].content) == (3, "a word to be found")
    assert await store.delete_thread(fork.id)
    await store.close()


def test_a_database_is_migrated_through_it(empty_database_url: str) -> None:
    with Pooler(empty_database_url) as pooler:
        migrations.upgrade(pooler.url)

    database = Database(load(database_url=empty_database_url))
    database.run(migrations.check)
    database.close()


async def test_nothing_is_left_behind_in_a_connection_that_is_lent_to_the_next(
    two: tuple[Stage, Stage], pooler: Pooler, pooled: Settings
) -> None:
    producer = Producer(pooled)
    await talk(two[0], producer, "t")
    two[0].database.run(sweep.pick_wake_ups, grace_seconds=0, limit=10)
    await producer.close_async()

    with psycopg.connect(pooler.url, autocommit=True) as next_one:
        left = {words: (next_one.execute(words).fetchone() or (None,))[0] for words in LEFT_BEHIND}

    assert left == LEFT_BEHIND


def test_the_limits_hold_in_each_transaction(pooler: Pooler) -> None:
    database = Database(load(database_url=pooler.url, db_statement_timeout_seconds=0.2, db_lock_timeout_seconds=0.1))

    shown = database.run(lambda c: c.execute(text("show lock_timeout")).scalar_one())
    with pytest.raises(DatabaseUnavailable, match="took too long"):
        database.run(lambda c: c.execute(text("select pg_sleep(60)")))

    assert shown == "100ms"
    database.close()


def test_a_connection_that_dies_in_a_transaction_is_not_lent_on(pooler: Pooler) -> None:
    database = Database(load(database_url=pooler.url))
    with database.engine.connect() as connection:
        before = ping(connection)
        connection.invalidate()
        connection.rollback()

    assert database.run(ping) != before
    database.close()


async def test_a_turn_costs_as_many_round_trips_as_without_it(database_url: str, pooler: Pooler) -> None:
    costs = []
    for thread, url in (("straight", database_url), ("pooled", pooler.url)):
        with WireTap(url) as tap:
            stage = Stage(database_url, tap.url)
            await stage.open()
            stage.sent(thread)
            with tap.listening() as traffic:
                found = await stage.ledger.claim("default", thread, stage.claimant)
                assert isinstance(found, ClaimedTurn)
                await stage.ledger.settle(found, answer(), release=True)
            costs.append(traffic.round_trips)
            await stage.close()

    assert costs == [2, 2]


def test_an_option_of_the_address_that_it_does_not_take_is_told(pooler: Pooler) -> None:
    """It is the operator's own: nothing of ours is in there."""
    database = Database(load(database_url=f"{pooler.url}&options=-csearch_path%3Dchat"))

    with pytest.raises(DatabaseUnavailable, match="unsupported startup parameter in options: search_path"):
        database.run(ping)

    database.close()
