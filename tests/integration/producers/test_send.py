"""What a message becomes when a backend sends it, and the handle that comes back."""

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from kombu import Connection as Broker
from sqlalchemy import text

import producers
from conversation.attachment import Attachment
from conversation.errors import TurnNotFound, UnknownAgent
from conversation.ids import new_id
from conversation.task_contract import TURNS_QUEUE
from conversation.turn import TurnState
from producers import api
from producers.producer import Producer
from store.database.engine import Database
from store.settings import Settings
from store.turns import sweep
from tests.integration.producers.backend import (
    NOTHING,
    answer,
    claim,
    counts,
    queued_wake_ups,
    register_agent,
    said,
    turn_row,
)
from threadmill_packages import load_celeryconfig

LATER = datetime(2100, 1, 1, tzinfo=UTC)


def test_a_message_and_its_turn_are_stored_as_they_were_sent(producer: Producer, database: Database) -> None:
    register_agent(database, "clerk")
    file = Attachment(filename="note.txt", content=b"milk, eggs")

    turn = producer.send(
        "user-1-main",
        "What do I need?",
        attachments=[file],
        agent="clerk",
        idempotency_key="k-1",
        metadata={"channel": "web", "n": [1, None, True]},
        tenant="acme",
        priority=4,
        not_before=LATER,
        deadline=LATER + timedelta(days=1),
    )

    message, stored = said(database, turn.id), turn_row(database, turn.id)
    assert (message.role, message.content, message.has_attachments) == ("user", "What do I need?", True)
    assert message.metadata == stored.metadata == {"channel": "web", "n": [1, None, True]}
    assert (stored.agent, stored.tenant, stored.idempotency_key) == ("clerk", "acme", "k-1")
    assert (stored.priority, stored.not_before, stored.deadline) == (4, LATER, LATER + timedelta(days=1))
    assert (turn.tenant, turn.thread_id, turn.is_new) == ("acme", "user-1-main", True)
    assert counts(database) == dict.fromkeys(NOTHING, 1)


def test_a_handle_follows_its_turn_to_the_result(producer: Producer, database: Database, worker: str) -> None:
    turn = producer.send("t", "hello")
    assert (turn.state, turn.result) == (TurnState.QUEUED, None)

    answer(database, worker, "t", "hi")

    result = turn.wait(timeout=5)
    assert turn.state is TurnState.COMPLETED
    assert result == turn.result
    assert result.content == "hi"
    assert [message.role for message in result.messages] == ["assistant"]


async def test_a_handle_of_async_code_does_the_same(
    async_producer: Producer, database: Database, worker: str, tmp_path: Path
) -> None:
    path = tmp_path / "note.txt"
    path.write_text("milk")

    turn = await async_producer.send_async("t", "hello", attachments=[path], metadata={"a": 1}, priority=2)

    assert said(database, turn.id).metadata == {"a": 1}
    assert turn_row(database, turn.id).priority == 2
    assert (await turn.state(), await turn.result()) == (TurnState.QUEUED, None)
    answer(database, worker, "t", "hi")
    result = await turn.wait(timeout=5)
    assert result == await turn.result()
    assert (await turn.state(), result.content) == (TurnState.COMPLETED, "hi")


def test_a_sent_message_notifies_once_with_ids_only(producer: Producer, settings: Settings) -> None:
    turn = producer.send("t", "a secret")

    assert queued_wake_ups(settings) == [turn.id]


async def test_an_async_message_notifies_once(async_producer: Producer, settings: Settings) -> None:
    turn = await async_producer.send_async("t", "hello")

    assert queued_wake_ups(settings) == [turn.id]


async def test_a_turn_is_found_again_by_its_id(
    producer: Producer, async_producer: Producer, database: Database
) -> None:
    sent = producer.send("t", "hello", tenant="acme")

    found, found_async = (
        producer.find_turn(sent.id, tenant="acme"),
        await async_producer.find_turn_async(sent.id, tenant=None),
    )

    for handle in (found, found_async):
        assert (handle.id, handle.tenant, handle.thread_id) == (sent.id, "acme", "t")
    with pytest.raises(TurnNotFound):
        producer.find_turn(new_id(), tenant=None)
    with pytest.raises(TurnNotFound, match="for tenant 'default'"):
        producer.find_turn(sent.id)
    with pytest.raises(TurnNotFound):
        await async_producer.find_turn_async("no id of ours")


async def test_the_public_verbs_use_the_settings_of_the_environment(
    settings: Settings, database: Database, worker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THREADMILL_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("THREADMILL_BROKER_URL", settings.broker_url.get_secret_value())
    monkeypatch.setenv("THREADMILL_NOTIFY_TIMEOUT_SECONDS", "10")
    monkeypatch.setattr(api, "_default", None)

    turn = producers.send_message("t", "hello", metadata={"n": 1})
    second = await producers.send_message_async("u", "and bye")

    assert producers.find_turn(turn.id).state is TurnState.QUEUED
    assert await (await producers.find_turn_async(second.id)).state() is TurnState.QUEUED
    assert sorted(queued_wake_ups(settings)) == sorted([turn.id, second.id])
    connections = api.default_producer().connections
    assert connections is turn.connections is second.connections
    await api.default_producer().close_async()


def test_an_unknown_agent_is_refused_by_name_and_nothing_is_stored(
    producer: Producer, database: Database, settings: Settings
) -> None:
    with pytest.raises(UnknownAgent, match=r"'clerk' \(known: assistant\).*allow_unknown_agent"):
        producer.send("t", "hello", agent="clerk")

    assert counts(database) == NOTHING
    assert queued_wake_ups(settings) == []


def test_an_unknown_agent_is_accepted_where_the_caller_says_so(producer: Producer, database: Database) -> None:
    turn = producer.send("t", "hello", agent="clerk", allow_unknown_agent=True)

    assert turn_row(database, turn.id).agent == "clerk"


def test_an_agent_is_known_from_its_first_worker_on_even_when_all_are_dead(
    producer: Producer, database: Database
) -> None:
    register_agent(database, "clerk")
    database.run(lambda c: c.execute(text("DELETE FROM workers")))

    turn = producer.send("t", "hello", agent="clerk")

    assert turn.state is TurnState.QUEUED


def test_a_message_for_later_notifies_when_it_is_due_and_not_before(
    producer: Producer, database: Database, settings: Settings, worker: str
) -> None:
    pick = partial(sweep.pick_wake_ups, grace_seconds=0, limit=10)
    turn = producer.send("t", "tomorrow", not_before=datetime.now(UTC) + timedelta(hours=1))
    assert queued_wake_ups(settings) == []
    assert database.run(pick) == []

    database.run(lambda c: c.execute(text("UPDATE turns SET not_before = now() - interval '1 s'")))

    assert [wake_up.turn_id for wake_up in database.run(pick)] == [turn.id]
    assert claim(database, worker, "t").id == turn.id


@pytest.mark.parametrize(("lower", "higher"), [(0, 9), (0, 1), (1, 2), (7, 8)])
def test_the_broker_hands_out_the_more_urgent_wake_up_first(
    producer: Producer, settings: Settings, lower: int, higher: int
) -> None:
    ordinary = producer.send("t-1", "when you can", priority=lower)
    urgent = producer.send("t-2", "now", priority=higher)

    options = load_celeryconfig().broker_transport_options
    with Broker(settings.broker_url.get_secret_value(), transport_options=options) as broker:
        queue = broker.SimpleQueue(TURNS_QUEUE)
        first, second = (queue.get(timeout=5).payload[1]["turn"] for _ in range(2))
        queue.close()

    assert (first, second) == (urgent.id, ordinary.id)
