"""Listening for signals over connections that stay open: reused, replaced, and deaf to what is not theirs."""

import asyncio
import errno
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import wraps
from typing import Any
from unittest.mock import Mock

import pytest
import redis

from conversation.ids import new_id
from conversation.task_contract import turn_channel
from producers import turn as handles
from producers.producer import Producer
from store.database.engine import Database
from store.live import broker_connections, direct_signals
from store.live.broker_address import BrokerAddress
from store.live.broker_connection import BrokerRefusal
from store.live.broker_connections import BrokerConnections
from store.live.channel_connection import DROPPED_BYTES_MAX, ChannelConnection
from store.live.direct_signals import DirectSignals
from store.settings import Settings, load
from tests.integration.producers.backend import answer
from tests.integration.producers.test_broker_connections import serve

#: Seconds that a signal may take on a busy machine; a wait that nothing ends takes longer.
SOON_SECONDS, LONG_SECONDS = 20.0, 40.0
#: What the wait of a listener takes for no signal at all.
A_MOMENT = 0.05


@pytest.fixture(params=["sync", "async"])
def listen(request: pytest.FixtureRequest) -> Callable[..., list[float]]:
    """Listens to a channel as one kind of caller: waits so many seconds, one after the other; the seconds they took.

    Before each wait, `meanwhile` is called.
    """

    def listen_sync(
        signals: DirectSignals, channel: str, *waits: float, meanwhile: Callable[[], object] = lambda: None
    ) -> list[float]:
        took = []
        with signals.subscribe(channel, within_seconds=10) as wait:
            for seconds in waits:
                meanwhile()
                started = time.monotonic()
                wait(seconds)
                took.append(time.monotonic() - started)
        return took

    async def listen_async(
        signals: DirectSignals, channel: str, *waits: float, meanwhile: Callable[[], object] = lambda: None
    ) -> list[float]:
        took = []
        async with signals.subscribe_async(channel, within_seconds=10) as wait:
            for seconds in waits:
                meanwhile()
                started = time.monotonic()
                await wait(seconds)
                took.append(time.monotonic() - started)
        return took

    if request.param == "sync":
        return listen_sync
    return lambda *args, **options: asyncio.run(listen_async(*args, **options))


@pytest.fixture
def broker_settings(valkey_url: str) -> Settings:
    return load(database_url="sqlite://", broker_url=valkey_url, notify_timeout_seconds=10)


@pytest.fixture
def signals(broker_settings: Settings) -> Iterator[DirectSignals]:
    opened = DirectSignals.open(broker_settings)
    assert opened is not None
    yield opened
    opened.close()


@pytest.fixture
def client(valkey_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey_url) as opened:
        opened.ping()
        yield opened


def opened_by(client: redis.Redis, action: Callable[[], object]) -> int:
    """The connections that the server accepted meanwhile."""

    def count() -> int:
        return int(client.info("stats")["total_connections_received"])  # type: ignore[index]

    before = count()
    action()
    return count() - before


def channel() -> str:
    return turn_channel(new_id())


def test_waits_one_after_the_other_share_a_connection(signals: DirectSignals, client: redis.Redis, listen: Any) -> None:
    def listen_and_be_woken() -> None:
        name = channel()
        took = listen(signals, name, LONG_SECONDS, meanwhile=lambda: client.publish(name, "ended"))
        assert took[0] < SOON_SECONDS

    # The first wait opens it, and returns.
    assert opened_by(client, lambda: listen(signals, channel(), LONG_SECONDS)) == 1
    assert opened_by(client, lambda: [listen_and_be_woken() for _ in range(5)]) == 0


def test_a_connection_that_the_server_closed_meanwhile_is_replaced(
    signals: DirectSignals, client: redis.Redis, listen: Any
) -> None:
    listen(signals, channel(), LONG_SECONDS)
    client.client_kill_filter(_type="normal", skipme=True)
    name = channel()

    took = listen(signals, name, LONG_SECONDS, LONG_SECONDS, meanwhile=lambda: client.publish(name, "ended"))

    assert max(took) < SOON_SECONDS


def test_a_server_that_goes_away_in_the_middle_is_no_signal(
    signals: DirectSignals, client: redis.Redis, listen: Any
) -> None:
    listen(signals, channel(), LONG_SECONDS)

    took = listen(signals, channel(), A_MOMENT, A_MOMENT, meanwhile=lambda: client.client_kill_filter(_type="pubsub"))

    assert min(took) >= A_MOMENT
    assert opened_by(client, lambda: listen(signals, channel(), LONG_SECONDS)) == 1


def test_what_came_for_the_last_channel_wakes_nobody_else(
    signals: DirectSignals, client: redis.Redis, listen: Any
) -> None:
    listen(signals, channel(), LONG_SECONDS)
    for text in ("ended", "x" * 2_000, "", "\r\n:0\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\nx\r\n:0\r\n"):
        name = channel()
        # Nobody waits for it: it is still unread when the connection goes to the next one.
        listen(signals, name, meanwhile=lambda name=name: client.publish(name, "unheard"))
        with signals.subscribe(name, within_seconds=10):
            client.publish(name, text)

        assert listen(signals, channel(), A_MOMENT)[0] >= A_MOMENT
    assert len(signals._listeners._idle) == 1


def test_an_oversized_signal_is_one_and_is_not_kept(signals: DirectSignals, client: redis.Redis, listen: Any) -> None:
    listen(signals, channel(), LONG_SECONDS)
    name = channel()

    took = listen(signals, name, LONG_SECONDS, meanwhile=lambda: client.publish(name, b"x" * 3_000_000))
    # Of the rest nobody hears anything: a connection costs less than to read it.
    other = channel()
    after = listen(signals, other, LONG_SECONDS, A_MOMENT)

    assert took[0] < SOON_SECONDS
    assert after[1] >= A_MOMENT


def test_many_wait_at_once_and_few_connections_are_kept(
    signals: DirectSignals, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_connections, "IDLE_MAX", 3)
    names = [channel() for _ in range(20)]

    def wait_for(name: str) -> float:
        started = time.monotonic()
        with signals.subscribe(name, within_seconds=10) as wait:
            # It connects, if no other thread has left a connection by now.
            wait(A_MOMENT)
            assert client.publish(name, "ended") == 1
            wait(LONG_SECONDS)
        return time.monotonic() - started

    def count_listeners() -> int:
        return sum(count for _, count in client.pubsub_numsub(*names))

    with ThreadPoolExecutor(len(names)) as threads:
        assert max(threads.map(wait_for, names)) < SOON_SECONDS
    assert len(signals._listeners._idle) == 3
    give_up_at = time.monotonic() + SOON_SECONDS
    while count_listeners() and time.monotonic() < give_up_at:
        pass
    assert count_listeners() == 0


def test_a_closed_one_keeps_nothing(signals: DirectSignals) -> None:
    with signals.subscribe(channel(), within_seconds=10) as wait:
        wait(LONG_SECONDS)
        signals.close()
    signals.publish(channel(), "ended")

    assert signals._listeners._idle == signals._publishers._idle == []


@contextmanager
def answering(*answers: bytes) -> Iterator[DirectSignals]:
    """Signals of a server that answers requests with these, one after the other, and then hears on in silence."""

    def answer_all(connection: socket.socket) -> None:
        for each in answers:
            connection.recv(65536)
            connection.sendall(each)
        while connection.recv(65536):
            pass

    with serve(answer_all) as port:
        signals = DirectSignals(BrokerAddress(port=port), timeout_seconds=0.05)
        yield signals
        signals.close()


@pytest.mark.parametrize(
    "reply",
    [
        *(b"-NOPERM no permissions for SUBSCRIBE\r\n", b"-", b"*3\r\n$9\r\nsubscribe\r\n$5\r\nother\r\n:1\r\n"),
        *(b"", b"\xff\0", b":1\r\n", b"x" * (2 * DROPPED_BYTES_MAX)),
    ],
)
def test_a_server_that_confirms_nothing_is_not_listened_to(reply: bytes, listen: Any) -> None:
    with answering(reply) as signals:
        took = listen(signals, "threadmill:turn:x", 0.1, A_MOMENT)

        # Not once more: waits are what they would be without a server.
        assert took[0] >= 0.1
        assert took[1] >= A_MOMENT
        assert signals._listeners._idle == []


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, ChannelConnection]]:
    """A server's end of a connection, and ours."""
    server, ours = socket.socketpair()
    connection = ChannelConnection.__new__(ChannelConnection)
    connection._socket = ours
    with server:
        yield server, connection
    connection.close()


def leave(server: socket.socket, connection: ChannelConnection, name: str, *, before: bytes = b"") -> str:
    """Listen to a channel, and leave it; returns the word with which the server is asked to confirm the end."""
    server.sendall(before + confirm("subscribe", name, 1))
    connection.listen(name, within_seconds=SOON_SECONDS)
    connection.end()
    return server.recv(65536).split(b"\r\n")[-2].decode()


async def test_a_machine_that_is_gone_is_not_taken_for_one_that_says_nothing(
    pair: tuple[socket.socket, ChannelConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, connection = pair
    gone = Mock(side_effect=TimeoutError(errno.ETIMEDOUT, "Connection timed out"))
    monkeypatch.setattr(asyncio.get_running_loop(), "sock_recv", gone)
    with pytest.raises(TimeoutError):
        await connection.hear_async(SOON_SECONDS)
    with connection._socket:
        connection._socket = Mock(recv=gone)
        assert not connection.is_usable()


@pytest.mark.parametrize("looks", [0, 1, 3])
def test_an_end_that_was_not_confirmed_is_waited_for_with_the_next_channel(
    pair: tuple[socket.socket, ChannelConnection], looks: int
) -> None:
    """Between two listeners, the server's answer to the first may still be on its way, or have come in part."""
    server, connection = pair
    end = leave(server, connection, "a")
    late = signal("a") + confirm("unsubscribe", "a", 0)
    # Somebody sent what looks like the confirmation.
    forged = confirm("unsubscribe", "?", 0) + confirm("subscribe", "b", 1)
    rest = late + forged + confirm("unsubscribe", end, 0)
    for _ in range(looks):
        server.sendall(rest[:50])
        rest = rest[50:]
        assert connection.is_usable()
    server.sendall(rest + confirm("subscribe", "b", 1))

    connection.listen("b", within_seconds=SOON_SECONDS)

    assert not connection.hear(0)
    server.sendall(b"*3")
    assert connection.hear(SOON_SECONDS)


def test_too_much_that_is_left_of_a_channel_costs_the_connection(pair: tuple[socket.socket, ChannelConnection]) -> None:
    server, connection = pair
    leave(server, connection, "a")
    server.sendall(b"x" * (2 * DROPPED_BYTES_MAX))

    assert not connection.is_usable()
    with pytest.raises(ConnectionError):
        connection.listen("b", within_seconds=SOON_SECONDS)


def test_a_signal_that_comes_with_the_confirmation_is_heard_once(pair: tuple[socket.socket, ChannelConnection]) -> None:
    server, connection = pair
    server.sendall(confirm("subscribe", "a", 1) + signal("a"))

    connection.listen("a", within_seconds=SOON_SECONDS)

    assert [connection.hear(0) for _ in range(2)] == [True, False]


def test_a_refusal_is_no_confirmation_to_wait_for(pair: tuple[socket.socket, ChannelConnection]) -> None:
    server, connection = pair
    server.sendall(b"-NOPERM this user has no permissions\r\n")

    with pytest.raises(BrokerRefusal, match=r"^NOPERM$"):
        connection.listen("a", within_seconds=SOON_SECONDS)


def test_what_is_left_of_the_last_channel_is_no_refusal_and_what_comes_behind_it_may_be(
    pair: tuple[socket.socket, ChannelConnection],
) -> None:
    server, connection = pair
    end = leave(server, connection, "a")
    # The tail of a long signal, whose beginning was heard.
    end = leave(server, connection, "b", before=b"-" * 100 + confirm("unsubscribe", end, 0))
    server.sendall(confirm("unsubscribe", end, 0) + b"-NOPERM this user has no permissions\r\n")

    with pytest.raises(BrokerRefusal, match=r"^NOPERM$"):
        connection.listen("c", within_seconds=SOON_SECONDS)


@pytest.fixture
def silence() -> Iterator[socket.socket]:
    """A connection on which nobody answers."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours


def silence_kept(connections: BrokerConnections[Any], silence: socket.socket) -> None:
    """Have the one connection that is kept die without a word."""
    ((kept, _),) = connections._idle
    kept._socket.close()
    kept._socket = silence.dup()


def test_a_kept_connection_that_died_without_a_word_is_replaced(
    signals: DirectSignals, client: redis.Redis, listen: Any, silence: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct_signals, "KEPT_ANSWER_SECONDS", A_MOMENT)
    listen(signals, channel(), LONG_SECONDS)
    silence_kept(signals._listeners, silence)
    name = channel()

    took = listen(signals, name, LONG_SECONDS, LONG_SECONDS, meanwhile=lambda: client.publish(name, "ended"))

    assert max(took) < SOON_SECONDS


async def test_a_signal_is_published_though_the_kept_connection_died(
    broker_settings: Settings, client: redis.Redis, silence: socket.socket
) -> None:
    signals = DirectSignals.open(broker_settings.model_copy(update={"notify_timeout_seconds": 0.2}))
    assert signals is not None
    with client.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe("here")
        signals.publish("here", "first")
        silence_kept(signals._publishers, silence)
        signals.publish("here", "second")
        silence_kept(signals._publishers, silence)
        await signals.publish_async("here", "third")
        heard = [listener.get_message(timeout=SOON_SECONDS) for _ in range(4)]

    assert [message["data"] for message in heard if message] == [b"first", b"second", b"third"]
    signals.close()


def test_of_a_burst_of_connections_those_that_nobody_needs_are_closed(signals: DirectSignals) -> None:
    pool = signals._listeners
    burst, others = [pool.open() for _ in range(5)], [pool.open() for _ in range(4)]
    for connection in burst:
        pool.give_back(connection)
    pool._idle = [(connection, used_at - 2 * broker_connections.IDLE_SECONDS_MAX) for connection, used_at in pool._idle]

    for connection in others:
        pool.give_back(connection)

    # One with each that is given back.
    assert [connection for connection, _ in pool._idle] == [burst[-1], *others]
    assert [connection._socket.fileno() >= 0 for connection in burst] == [False] * 4 + [True]


def signal(name: str) -> bytes:
    return f"*3\r\n$7\r\nmessage\r\n${len(name)}\r\n{name}\r\n$5\r\nended\r\n".encode()


def confirm(kind: str, name: str, count: int) -> bytes:
    return f"*3\r\n${len(kind)}\r\n{kind}\r\n${len(name)}\r\n{name}\r\n:{count}\r\n".encode()


@pytest.fixture
def ends(database: Database, worker: str) -> Callable[[str], None]:
    """Ends a thread's turn."""
    return lambda thread: answer(database, worker, thread, "hi")


@pytest.fixture
def reads(producer: Producer, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The turns whose results are looked at from now on, by one who listens over a connection that is open."""
    monkeypatch.setattr(handles, "POLL_FIRST_SECONDS", LONG_SECONDS)
    with producer.connections.signals.subscribe(channel(), within_seconds=10) as wait:
        wait(LONG_SECONDS)
    turn_ids: list[str] = []
    read_end = handles.records.read_end

    @wraps(read_end)
    def counting(connection: Any, turn_id: str, **options: Any) -> Any:
        turn_ids.append(turn_id)
        return read_end(connection, turn_id, **options)

    monkeypatch.setattr(handles.records, "read_end", counting)
    return turn_ids


@pytest.fixture(params=[(0, 2), (3600, 1)], ids=["a while ago", "just now"])
def expected_reads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often a turn is looked at that was sent a while ago, or just now."""
    unended_seconds, count = request.param
    monkeypatch.setattr(handles, "UNENDED_SECONDS", unended_seconds)
    return int(count)


def test_a_wait_reads_the_result_before_its_signal_unless_the_turn_was_sent_just_now(
    producer: Producer, ends: Callable[[str], None], client: redis.Redis, reads: list[str], expected_reads: int
) -> None:
    turn = producer.send("t", "hello")

    def end() -> None:
        # Once it is listened to, and was looked at, if it is.
        while len(reads) < expected_reads - 1 or not client.pubsub_numsub(turn_channel(turn.id))[0][1]:
            time.sleep(0.001)
        ends("t")
        client.publish(turn_channel(turn.id), "ended")

    ending = threading.Thread(target=end)
    ending.start()
    started = time.monotonic()

    assert turn.wait(60).content == "hi"
    ending.join()
    assert (len(reads), time.monotonic() - started < SOON_SECONDS) == (expected_reads, True)


def test_a_turn_that_ended_in_a_moment_is_found_though_its_signal_was_missed(
    producer: Producer, ends: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handles, "UNENDED_SECONDS", 3600)
    turn = producer.send("t", "hello")
    ends("t")

    assert turn.wait(60).content == "hi"


async def test_a_wait_of_no_time_for_a_turn_that_was_sent_just_now_is_over_at_once(
    producer: Producer, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handles, "UNENDED_SECONDS", 3600)

    with pytest.raises(TimeoutError):
        producer.send("t", "hello").wait(0)
    with pytest.raises(TimeoutError):
        await (await producer.send_async("t", "hello")).wait(0)
    assert len(reads) == 2
    await producer.close_async()
