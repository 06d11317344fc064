"""What a worker takes from the broker: our own messages alone, whatever else stands there, and never its end.

Each test reads a real broker as Celery's consumer does, in this process.
"""

import contextlib
import json
import random
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from kombu import Consumer, Queue

from conversation.ids import new_id
from conversation.task_contract import (
    FILES_QUEUE,
    MAINTENANCE_QUEUE,
    PREPARE_FILE,
    PRIORITY_MAX,
    QUARANTINE_QUEUE,
    RUN_SUMMARIES_NOW,
    RUN_TURNS,
    TASKS_OF_QUEUES,
    TURNS_QUEUE,
    WakeUp,
)
from store.live.direct_publisher import DirectPublisher
from tasks import checked_broker, refusals
from tasks.celery_app import app
from tests.malformed_messages import Raw, encode, honest_message, malform
from threadmill.embedded.valkey import EmbeddedValkey

OPTIONS = app.conf.broker_transport_options
#: Malformed messages for each queue.
COUNT = 300
LONGEST_ID = "\U0001f600" * 255


class Reader:
    """A connection of our app that consumes all queues, as a worker's would."""

    def __init__(self, url: str, **options: Any) -> None:
        self.connection = app.connection_for_read(url, transport_options={**OPTIONS, **options})
        self.taken: list[Any] = []
        # Celery's consumer works on this channel.
        self.channel = self.connection.default_channel
        # Closing waits for the answer.
        self.channel.brpop_timeout = 0.1
        queues = [Queue(name, exchange=name, routing_key=name) for name in TASKS_OF_QUEUES]
        self.consumer = Consumer(self.channel, queues, on_message=self.taken.append)
        self.consumer.consume()

    def read_until(self, what: Callable[[], object], seconds: float = 60) -> None:
        give_up_at = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < give_up_at, len(self.taken)
            with contextlib.suppress(TimeoutError):
                self.connection.drain_events(timeout=0.1)

    @property
    def turns(self) -> list[str]:
        """The turns of the wake-ups that were taken."""
        return [message.payload[1].get("turn") for message in self.taken]


@pytest.fixture
def reader(valkey_url: str) -> Iterator[Reader]:
    opened = Reader(valkey_url)
    yield opened
    opened.connection.close()


@pytest.fixture
def broker(valkey_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey_url) as client:
        yield client


@pytest.fixture
def publish(valkey_url: str) -> Iterator[Callable[..., str]]:
    """Publishes a wake-up, and returns its turn."""
    publisher = DirectPublisher.open(valkey_url, OPTIONS, timeout_seconds=10)
    assert publisher is not None

    def publish(queue: str = TURNS_QUEUE, priority: int = 0, thread: str = "t") -> str:
        turn = new_id()
        publisher.publish(WakeUp(tenant="default", thread_id=thread, turn_id=turn, queue=queue, priority=priority))
        return turn

    yield publish
    publisher.close()


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> refusals.Refusals:
    """The refusals of one test."""
    counts = refusals.Refusals()
    monkeypatch.setattr(refusals, "_refusals", counts)
    return counts


def is_ours(message: Any, queue: str) -> bool:
    """Whether a message that was taken has the form that we publish, with nothing of anybody else's in it."""
    headers, (arguments, payload, followers) = message.headers, message.payload
    return (
        headers["task"] in TASKS_OF_QUEUES[queue]
        and headers.items() >= {"eta": None, "expires": None, "timelimit": [None, None], "retries": 0}.items()
        and headers.keys() == honest_message(queue, random.Random())["headers"].keys()
        and message.properties["reply_to"] == ""
        and message.delivery_info == {"exchange": "", "routing_key": queue}
        # It was decoded once, to be checked.
        and message.payload is message.body
        and arguments == []
        and all(isinstance(value, int | str) for value in payload.values())
        and set(followers.values()) == {None}
    )


@pytest.mark.parametrize("queue", TASKS_OF_QUEUES)
def test_nothing_that_is_malformed_reaches_celery_and_an_honest_message_behind_it_does(
    reader: Reader, broker: redis.Redis, queue: str, counted: refusals.Refusals
) -> None:
    honest = honest_message(queue, random.Random(1))
    broker.lpush(queue, *malform(queue, COUNT, seed=1), encode(honest))

    reader.read_until(lambda: reader.taken and reader.taken[-1].headers["id"] == honest["headers"]["id"])

    assert [message.headers for message in reader.taken if not is_ours(message, queue)] == []
    assert len(reader.taken) + sum(counted.count().values()) == COUNT + 1
    assert counted.count().keys() <= refusals.KINDS.keys()
    reader.connection.close()
    # What was refused is gone, and what was taken is put back by one that stops.
    assert sum(broker.llen(key) for key in broker.keys(f"{queue}*")) == len(reader.taken)
    assert not broker.exists("unacked", "unacked_index", "unacked_mutex")


@pytest.mark.parametrize("way", ["celery", "direct"])
def test_our_longest_messages_are_taken(
    reader: Reader, publish: Callable[..., str], valkey_url: str, way: str, counted: refusals.Refusals
) -> None:
    if way == "direct":
        publish(thread=LONGEST_ID)
    else:
        payload = {"v": 1, "tenant": "t" * 63, "thread": LONGEST_ID, "turn": new_id()}
        with app.connection_for_write(valkey_url) as connection:
            app.send_task("turns.run", kwargs=payload, queue="turns", priority=3, connection=connection)

    reader.read_until(lambda: reader.taken)

    (message,) = reader.taken
    assert is_ours(message, TURNS_QUEUE)
    assert message.payload[1]["thread"] == LONGEST_ID
    assert counted.count() == {}


PAYLOADS: dict[str, dict[str, Any]] = {
    RUN_TURNS: {"v": 1, "tenant": "default", "thread": "t", "turn": new_id()},
    PREPARE_FILE: {"v": 1, "tenant": "default", "sha256": "0" * 64},
    RUN_SUMMARIES_NOW: {"v": 1},
}


@pytest.mark.parametrize("queue", TASKS_OF_QUEUES)
def test_every_task_is_taken_as_celery_itself_publishes_it(
    reader: Reader, valkey_url: str, queue: str, counted: refusals.Refusals
) -> None:
    app.loader.import_default_modules()
    with app.connection_for_write(valkey_url) as connection:
        for task in TASKS_OF_QUEUES[queue]:
            options = {"kwargs": PAYLOADS.get(task, {}), "queue": queue, "connection": connection}
            app.send_task(task, **options)
            app.tasks[task].apply_async(expires=60.0, **options)
            # As a task publishes, or beat.
            app.tasks[task].push_request(id="a-task", root_id=new_id())
            app.tasks[task].apply_async(priority=9, ignore_result=True, **options)
            app.tasks[task].pop_request()

    reader.read_until(lambda: len(reader.taken) == 3 * len(TASKS_OF_QUEUES[queue]))

    assert [message.headers for message in reader.taken if not is_ours(message, queue)] == []
    assert counted.count() == {}


def test_a_tick_that_has_expired_is_dropped_and_counted(
    reader: Reader, publish: Callable[..., str], valkey_url: str, counted: refusals.Refusals
) -> None:
    with app.connection_for_write(valkey_url) as connection:
        app.send_task("turns.sweep", queue=MAINTENANCE_QUEUE, expires=-1.0, connection=connection)

    reader.read_until(counted.count)

    assert counted.count() == {"expired": 1}
    assert reader.taken == []


@pytest.mark.parametrize("options", [{}, {"global_keyprefix": "p:"}], ids=["plain", "prefixed"])
def test_a_key_of_another_type_holds_up_no_other_queue_and_is_read_again_when_it_is_right(
    valkey_url: str,
    broker: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, str],
    counted: refusals.Refusals,
) -> None:
    monkeypatch.setattr(checked_broker, "WRONG_KEY_SECONDS", 0.3)
    prefix = options.get("global_keyprefix", "")
    wrong_keys = [f"{prefix}{key}" for key in ("turns", "turns\x06\x163", "unacked", "unacked_index")]
    wrong_keys += [f"{prefix}_kombu.binding.turns", f"{prefix}_kombu.binding_permanent.files"]
    for key in wrong_keys:
        broker.set(key, "no list")
    reader = Reader(valkey_url, **options)
    for number, queue in enumerate([QUARANTINE_QUEUE, FILES_QUEUE, MAINTENANCE_QUEUE] * 20):
        broker.lpush(f"{prefix}{queue}", encode(honest_message(queue, random.Random(number))))

    reader.read_until(lambda: len(reader.taken) == 60)
    assert reader.channel.queue_declare(TURNS_QUEUE).message_count == 0
    time.sleep(0.4)
    broker.delete(*wrong_keys)
    broker.lpush(f"{prefix}turns", encode(honest_message(TURNS_QUEUE, random.Random(61))))
    reader.read_until(lambda: len(reader.taken) == 61)
    reader.connection.close()

    assert counted.count().keys() == {"wrong_key"}
    # Not at full speed: at the start, and then each time that they were read again.
    assert counted.count()["wrong_key"] < 60


def count_calls(broker: redis.Redis, command: str) -> int:
    stats: dict[str, Any] = broker.info("commandstats").get(f"cmdstat_{command}", {})
    return int(stats.get("calls", 0))


@pytest.mark.parametrize("prefix", ["", "turns"], ids=["plain", "prefixed"])
def test_as_many_messages_are_taken_together_as_can_be_begun_with(
    valkey_url: str, broker: redis.Redis, prefix: str, counted: refusals.Refusals
) -> None:
    reader = Reader(valkey_url, **({"global_keyprefix": prefix} if prefix else {}))
    reader.channel.count_free_places = lambda: 5 - len(reader.taken) % 5
    asked = count_calls(broker, "blmpop"), count_calls(broker, "brpop")
    messages = [encode(honest_message(TURNS_QUEUE, random.Random(number))) for number in range(11)]
    broker.lpush(f"{prefix}{TURNS_QUEUE}", *messages[:2], b"none of ours", *messages[2:])

    reader.connection.drain_events(timeout=10)
    first_taken = len(reader.taken)
    reader.read_until(lambda: len(reader.taken) == 11)

    assert [message.headers["id"] for message in reader.taken] == [json.loads(raw)["headers"]["id"] for raw in messages]
    # The fifth was dropped. Then one place was free, twice five, and none was left to be filled.
    assert first_taken == 4
    assert (count_calls(broker, "blmpop") - asked[0], count_calls(broker, "brpop") - asked[1]) == (3, 1)
    assert counted.count() == {"no_json": 1}
    reader.connection.close()


def test_a_process_takes_no_more_than_so_many_at_once(reader: Reader, publish: Callable[..., str]) -> None:
    reader.channel.count_free_places = lambda: 1_000
    for _ in range(checked_broker.TAKEN_AT_ONCE_MAX + 1):
        publish()

    reader.connection.drain_events(timeout=10)

    assert len(reader.taken) == checked_broker.TAKEN_AT_ONCE_MAX


def test_where_the_broker_does_not_let_several_be_taken_each_is_taken_alone(
    valkey_url: str, broker: redis.Redis, publish: Callable[..., str]
) -> None:
    broker.execute_command("ACL SETUSER older on >a-password ~* &* +@all -blmpop")
    address = urlsplit(valkey_url)
    reader = Reader(address._replace(netloc=f"older:a-password@{address.hostname}:{address.port}").geturl())
    reader.channel.count_free_places = lambda: 5
    refused_before = broker.info("commandstats").get("cmdstat_blmpop", {}).get("rejected_calls", 0)
    turns = [publish() for _ in range(3)]

    reader.read_until(lambda: len(reader.taken) == 3)

    assert reader.turns == turns
    assert broker.info("commandstats")["cmdstat_blmpop"]["rejected_calls"] - refused_before == 1
    reader.connection.close()
    broker.execute_command("ACL DELUSER older")


def test_a_server_that_does_not_know_a_command_is_told_from_one_that_fails(broker: redis.Redis) -> None:
    with pytest.raises(redis.ResponseError) as unknown:
        broker.execute_command("BLMPOPS", 1, 1, "turns", "RIGHT")
    with pytest.raises(redis.ResponseError) as failed:
        broker.execute_command("BLMPOP", 1, 1, "turns", "MIDDLE")

    assert checked_broker._is_not_known(unknown.value)
    assert not checked_broker._is_not_known(failed.value)


def test_keys_that_all_have_another_type_are_not_asked_for_at_full_speed(
    reader: Reader, broker: redis.Redis, publish: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checked_broker, "WRONG_KEY_SECONDS", 1.0)
    keys = [key for queue in TASKS_OF_QUEUES for key in reader.channel._list_keys([queue])]
    broker.mset(dict.fromkeys(keys, "no list"))
    asked_before = broker.info("commandstats").get("cmdstat_brpop", {}).get("calls", 0)

    with contextlib.suppress(AssertionError):
        reader.read_until(lambda: False, seconds=1.5)

    assert broker.info("commandstats")["cmdstat_brpop"]["calls"] - asked_before < 10
    broker.delete(*keys)
    turn = publish()
    reader.read_until(lambda: reader.turns == [turn])


def test_strange_members_of_a_binding_are_none(reader: Reader, broker: redis.Redis) -> None:
    broker.sadd("_kombu.binding.turns", "x", "a\x06\x16b", "", b"\xff\xfe", "1\x06\x162\x06\x163\x06\x164")

    assert reader.channel.get_table("turns") == [("turns", "", "turns")]


def test_an_enemy_cannot_have_messages_put_back_from_a_list_of_unacknowledged_ones(
    valkey_url: str, broker: redis.Redis, publish: Callable[..., str]
) -> None:
    reader = Reader(valkey_url, ack_emulation=True, visibility_timeout=1)
    broker.zadd("unacked_index", {"a": 0, "b": 0})
    broker.hset("unacked", mapping={"a": "[" * 10_000, "b": json.dumps([{}, "", "files"])})
    for _ in range(20):
        reader.channel.qos.restore_visible(interval=1)
    turn = publish()

    reader.read_until(lambda: reader.turns == [turn])
    reader.connection.close()

    assert broker.llen("files") == 0
    assert broker.hlen("unacked") == 2


def test_strange_replies_to_remote_control_are_dropped(
    reader: Reader, broker: redis.Redis, counted: refusals.Refusals
) -> None:
    replies = "1.reply.celery.pidbox"
    heard: list[Any] = []
    Consumer(reader.channel, [Queue(replies)], on_message=heard.append).consume()
    bodies: list[Any] = [None, 5, "[", "W1tb", Raw("[" * 3000 + "]" * 3000), b64encode(b"[" * 3000).decode()]
    answer = honest_message(TURNS_QUEUE, random.Random(1))
    strange = [encode({**answer, "body": body}) for body in bodies]
    strange += [encode({**answer, "headers": {"compression": "zlib"}}), encode({**answer, "content-type": "x/y"})]
    strange += [
        b"",
        b"[" * 5000,
        b"5",
        b"null",
        b"{}",
        b"\xff",
        b'{"properties": {"delivery_tag": {}}}',
        b"x" * 2_000_000,
    ]
    broker.lpush(replies, *strange, encode(answer))

    reader.read_until(lambda: heard)

    assert len(heard) == 1
    assert sum(counted.count().values()) == len(strange)


# When the broker goes away


@pytest.fixture
def in_hand(reader: Reader, publish: Callable[..., str]) -> str:
    """A wake-up that was taken and not begun with; the connection waits for the next."""
    turn = publish(priority=PRIORITY_MAX)
    # Where a worker listens for remote control: closing it fails first, and the other one is left open.
    Consumer(reader.connection.channel(), [Queue("control")], on_message=reader.taken.append).consume()
    reader.read_until(lambda: reader.taken)
    with pytest.raises(TimeoutError):
        reader.connection.drain_events(timeout=0.2)
    return turn


def test_a_wake_up_in_hand_is_put_back_when_the_worker_stops(reader: Reader, in_hand: str, valkey_url: str) -> None:
    reader.connection.close()

    later = Reader(valkey_url)
    later.read_until(lambda: later.taken)
    assert later.turns == [in_hand]
    assert later.taken[0].properties["priority"] == 0
    later.taken[0].ack()
    later.connection.close()


@pytest.fixture
def lost(reader: Reader, in_hand: str, valkey_server: EmbeddedValkey) -> Any:
    """That connection, let go while its broker is away, as Celery's consumer does: it forgives
    errors in the first step only."""
    valkey_server.kill()
    try:
        with contextlib.suppress(Exception):
            reader.connection.collect(socket_timeout=0.1)
        reader.connection.close()
    finally:
        valkey_server.start()
    return reader.connection


def test_a_broker_that_is_away_does_not_end_who_has_a_wake_up_in_hand(lost: Any) -> None:
    assert not lost.connected


@pytest.mark.usefixtures("lost")
def test_a_wake_up_that_is_begun_with_after_its_connection_was_lost_does_no_harm(reader: Reader) -> None:
    (wake_up,) = reader.taken

    wake_up.ack()

    assert wake_up.acknowledged


@pytest.mark.parametrize("url", ["redis://h", "rediss://h", "sentinel://h;sentinel://i"])
def test_every_way_to_reach_the_broker_is_checked(url: str) -> None:
    connection = app.connection_for_read(url)

    for each in (connection, connection.clone(), connection.Pool(1).acquire(), app.connection_for_write(url)):
        assert issubclass(each.get_transport_cls().Channel, checked_broker.CheckedChannel)
        assert each.as_uri().startswith(url.partition(":")[0])
