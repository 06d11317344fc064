"""Celery's consumer as our workers run it: how task events leave, and how many messages are taken."""

from types import SimpleNamespace
from typing import Any

import pytest

from tasks.control import consumer
from tasks.control.consumer import GATHER_SECONDS, GATHERED_MAX, WorkerConsumer


def consumer_with(hub: Any) -> WorkerConsumer:
    made = object.__new__(WorkerConsumer)
    made.hub, made._flush_at = hub, 0.0
    return made


def test_events_of_one_moment_leave_together(monkeypatch: pytest.MonkeyPatch) -> None:
    now, timers = 1000.0, []
    monkeypatch.setattr(consumer, "monotonic", lambda: now)
    worker = consumer_with(SimpleNamespace(call_later=lambda seconds, flush: timers.append((now + seconds, flush))))

    for _ in range(3):
        worker.on_send_event_buffered()
    assert timers == [(1000.0 + GATHER_SECONDS, worker._flush_events)]

    # Its timer was lost with the connection: the next event sets one.
    now += GATHER_SECONDS
    worker.on_send_event_buffered()
    assert len(timers) == 2


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens to a consumer, in its order."""
    calls: list[str] = []
    base = WorkerConsumer.__bases__[0]
    monkeypatch.setattr(base, "shutdown", lambda self: calls.append("closed"))
    monkeypatch.setattr(base, "connect", lambda self: calls.append("connected") or "connection")
    return calls


def test_events_that_wait_leave_before_their_way_is_closed(calls: list[str]) -> None:
    worker = consumer_with(None)
    worker.event_dispatcher = SimpleNamespace(flush=lambda: calls.append("flushed"))

    assert worker.connect() == "connection"
    worker.shutdown()

    # Celery's step closes the way of the last connection behind this.
    assert calls == ["connected", "flushed", "flushed", "closed"]


def test_a_worker_that_was_never_connected_has_nothing_to_flush(calls: list[str]) -> None:
    worker = consumer_with(None)
    worker.event_dispatcher = None

    worker.connect()
    worker.shutdown()

    assert calls == ["connected", "closed"]


def test_no_more_messages_are_taken_than_places_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    reserved: set[str] = set()
    monkeypatch.setattr(consumer.state, "reserved_requests", reserved)
    channel, dispatcher = SimpleNamespace(), SimpleNamespace(buffer_limit=24)
    worker = consumer_with(None)
    worker.pool, worker.task_consumer = SimpleNamespace(num_processes=3), SimpleNamespace(channel=channel)
    worker.event_dispatcher = dispatcher

    worker.on_ready()

    assert dispatcher.buffer_limit == GATHERED_MAX
    assert channel.count_free_places() == 3
    reserved.update("ab")
    assert channel.count_free_places() == 1
