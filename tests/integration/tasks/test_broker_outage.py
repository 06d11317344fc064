"""Wake-ups in a worker's hand when its connection to the broker ends: put back, or lost; never its end."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from kombu import Connection, Consumer, Queue
from kombu.transport.redis import Channel

from tasks.broker_outage import survive_broker_outages
from threadmill.embedded.valkey import EmbeddedValkey


@pytest.fixture(autouse=True)
def as_in_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Channel, "QoS", Channel.QoS)
    survive_broker_outages()


@pytest.fixture
def taken() -> list[Any]:
    """The wake-ups in hand."""
    return []


@pytest.fixture
def connection(valkey_url: str, taken: list[Any]) -> Iterator[Any]:
    """As a worker's: one wake-up was taken from it and not begun with, and it waits for the next."""
    opened = Connection(valkey_url, transport_options={"socket_timeout": 10, "socket_connect_timeout": 5})
    opened.SimpleQueue("turns").put({"v": 1})
    # Celery's consumer works on this channel.
    consumer = Consumer(opened.default_channel, [Queue("turns")], on_message=taken.append)
    consumer.consume()
    # Where a worker listens for remote control: closing it fails first, and the other one is left open.
    Consumer(opened.channel(), [Queue("control")], on_message=taken.append).consume()
    while not taken:
        with contextlib.suppress(TimeoutError):
            opened.drain_events(timeout=1)
    with pytest.raises(TimeoutError):
        opened.drain_events(timeout=0.2)
    yield opened
    opened.close()


def test_a_wake_up_in_hand_is_put_back_when_the_worker_stops(connection: Any, valkey_url: str) -> None:
    connection.close()

    with Connection(valkey_url) as later:
        assert later.SimpleQueue("turns").get(timeout=60).payload == {"v": 1}


@pytest.fixture
def lost(connection: Any, valkey_server: EmbeddedValkey) -> Any:
    """That connection, let go while its broker is away, as Celery's consumer does: it forgives
    errors in the first step only."""
    valkey_server.kill()
    try:
        with contextlib.suppress(Exception):
            connection.collect(socket_timeout=0.1)
        connection.close()
    finally:
        valkey_server.start()
    return connection


def test_a_broker_that_is_away_does_not_end_who_has_a_wake_up_in_hand(lost: Any) -> None:
    assert not lost.connected


@pytest.mark.usefixtures("lost")
def test_a_wake_up_that_is_begun_with_after_its_connection_was_lost_does_no_harm(taken: list[Any]) -> None:
    (wake_up,) = taken

    wake_up.ack()

    assert wake_up.acknowledged
