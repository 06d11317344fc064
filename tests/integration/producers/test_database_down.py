"""A database that is away is told clearly, soon and without a password; one that came back goes unnoticed."""

import asyncio
import itertools
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from conversation.errors import DatabaseUnavailable
from producers.producer import Producer
from store import migrations
from store.database.engine import Database
from store.settings import Settings, load
from tests.integration.producers.backend import counts, free_port, queued_wake_ups, register_agent, silent_server
from tests.integration.producers.lost_commit import CommitLostOnce
from threadmill.embedded.postgres import EmbeddedPostgres


@contextmanager
def closed_port() -> Iterator[int]:
    yield free_port()


@pytest.fixture(params=["closed", "silent"])
def dead_database(request: pytest.FixtureRequest, valkey_url: str) -> Iterator[Settings]:
    open_one: dict[str, Callable[[], Any]] = {"closed": closed_port, "silent": silent_server}
    with open_one[request.param]() as port:
        url = f"postgresql://someone:s3cr3t@127.0.0.1:{port}/nowhere"
        yield load(database_url=url, broker_url=valkey_url, db_connect_timeout_seconds=2)


def test_a_database_that_is_away_is_told_in_time_and_nobody_is_notified(dead_database: Settings) -> None:
    producer = Producer(dead_database)
    started = time.monotonic()

    with pytest.raises(DatabaseUnavailable, match="the database did not answer: ") as told:
        producer.send("t", "hello")

    assert time.monotonic() - started < dead_database.db_connect_timeout_seconds + 15
    assert "s3cr3t" not in "".join(traceback.format_exception(told.value))
    assert queued_wake_ups(dead_database) == []
    producer.close()


async def test_an_event_loop_goes_on_while_a_database_does_not_answer(dead_database: Settings) -> None:
    producer = Producer(dead_database)
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            ticks.append(time.monotonic())
            await asyncio.sleep(0.01)

    ticker = asyncio.create_task(tick())
    with pytest.raises(DatabaseUnavailable) as told:
        await producer.send_async("t", "hello")
    ticker.cancel()

    pauses = [after - before for before, after in itertools.pairwise(ticks)]
    assert max(pauses, default=0.0) < 0.5
    assert "s3cr3t" not in "".join(traceback.format_exception(told.value))
    await producer.close_async()


async def test_connections_that_the_server_closed_meanwhile_are_replaced_without_a_word(
    producer: Producer, async_producer: Producer, database: Database
) -> None:
    producer.send("t", "one")
    await async_producer.send_async("t", "two")
    end_all = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    mine = " AND datname = current_database()"
    assert database.run(lambda c: c.execute(text(end_all + mine)).scalar_one()) >= 2

    producer.send("t", "three")
    await async_producer.send_async("t", "four")

    assert counts(database)["turns"] == 4


def test_a_server_that_was_restarted_meanwhile_is_not_noticed(valkey_url: str, tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "postgres", durable=False) as server:
        url, port = server.url, int(server.url.rpartition(":")[2].partition("/")[0])
        migrations.upgrade(url)
        database = Database(load(database_url=url))
        register_agent(database)
        producer = Producer(load(database_url=url, broker_url=valkey_url))
        producer.send("t", "before")
    with pytest.raises(DatabaseUnavailable):
        producer.send("t", "meanwhile")

    with EmbeddedPostgres(tmp_path / "postgres", port=port, durable=False):
        producer.send("t", "after")

        assert counts(database)["turns"] == 2
        producer.close()
        database.close()


@pytest.mark.parametrize("key", [None, "k"])
def test_a_commit_whose_answer_was_lost_is_found_and_not_made_twice(
    settings: Settings, database: Database, worker: str, key: str | None
) -> None:
    """The server commits; the connection breaks before its answer arrives."""
    options = {"idempotency_key": key} if key else {}
    with CommitLostOnce(settings.database_url.get_secret_value()) as wire:
        producer = Producer(
            load(database_url=wire.url, broker_url=settings.broker_url.get_secret_value(), notify_timeout_seconds=10)
        )
        turn = producer.send("t", "hello", **options)
        producer.close()

    assert wire.has_struck
    assert turn.is_new
    assert (counts(database)["turns"], counts(database)["inbox_messages"]) == (1, 1)
    assert queued_wake_ups(settings) == [turn.id]
