"""Wake-ups that are published without Celery: the same messages, by whatever way the broker is reached."""

import asyncio
import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from conversation.ids import new_id
from conversation.task_contract import MAINTENANCE_QUEUE, PRIORITY_MAX, QUARANTINE_QUEUE, TURNS_QUEUE, WakeUp
from producers.notifier import Notifier, _make_publisher
from store.live.direct_publisher import DirectPublisher
from store.live.wake_ups import CeleryPublisher, WakeUpPublisher
from store.settings import Settings, load
from tests.integration.producers.backend import queued_wake_ups
from threadmill_packages import load_celeryconfig

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture
def broker_settings(valkey_url: str) -> Settings:
    return load(database_url="sqlite://", broker_url=valkey_url, notify_timeout_seconds=10)


@pytest.fixture
def client(valkey_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey_url) as opened:
        yield opened


def wake_up(**values: Any) -> WakeUp:
    return WakeUp(**({"tenant": "default", "thread_id": "user-123", "turn_id": new_id()} | values))


def with_way(settings: Settings, way: str) -> Settings:
    return settings.model_copy(update={"publish_with_celery": way == "celery"})


@contextmanager
def publisher_of(settings: Settings, way: str, kind: type) -> Iterator[WakeUpPublisher]:
    publisher = _make_publisher(with_way(settings, way))
    assert isinstance(publisher, kind)
    yield publisher
    publisher.close()


def take_messages(client: redis.Redis) -> dict[str, list[Any]]:
    """The messages of each list, with their bodies decoded; the lists are empty afterwards."""
    names = [name for name in client.scan_iter("*") if client.type(name) == b"list"]
    messages = {name.decode(): [json.loads(text) for text in client.lrange(name, 0, -1)] for name in names}
    if names:
        client.delete(*names)
    for message in [message for of_list in messages.values() for message in of_list]:
        message["body"] = base64.b64decode(message["body"]).decode()
    return messages


def mask_ids(message: dict[str, Any]) -> dict[str, Any]:
    """A message with a word in the place of each id that every message has anew."""
    headers, properties = message["headers"], message["properties"]
    assert headers["id"] == headers["root_id"] == properties["correlation_id"] != properties["delivery_tag"]
    for group, names in ((headers, ("id", "root_id")), (properties, ("correlation_id", "delivery_tag", "reply_to"))):
        group.update({name: UUID.sub("an id", group[name]) for name in names})
    return message


@pytest.mark.parametrize(
    "changed_options",
    [
        {},
        {"global_keyprefix": "staging:"},
        {"priority_steps": [0, 3, 6, 9]},
        {"priority_steps": [0, 5], "sep": ":", "global_keyprefix": "é:"},
    ],
)
def test_a_wake_up_is_field_by_field_the_message_that_celery_publishes(
    broker_settings: Settings, client: redis.Redis, changed_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = load_celeryconfig().broker_transport_options | changed_options
    monkeypatch.setattr(load_celeryconfig(), "broker_transport_options", options)
    ids = ["user-123", "o'neil-ünï", 'quo"te', "x" * 255]
    wake_ups = [
        wake_up(thread_id=ids[priority % len(ids)], tenant="t" * (priority + 1), priority=priority, queue=queue)
        for queue in (TURNS_QUEUE, QUARANTINE_QUEUE, MAINTENANCE_QUEUE)
        for priority in range(PRIORITY_MAX + 1)
    ]
    published: dict[str, dict[str, list[Any]]] = {}
    for way, kind in (("celery", CeleryPublisher), ("direct", DirectPublisher)):
        with publisher_of(broker_settings, way, kind) as publisher:
            for each in wake_ups:
                assert publisher.publish(each)
        published[way] = take_messages(client)

    by_celery, direct = published["celery"], published["direct"]
    assert sum(map(len, by_celery.values())) == len(wake_ups)
    assert direct.keys() == by_celery.keys()
    for name, messages in by_celery.items():
        assert [mask_ids(message) for message in direct[name]] == [mask_ids(message) for message in messages], name


def test_kombu_takes_it_for_a_message_of_its_own(broker_settings: Settings) -> None:
    from tasks.celery_app import app

    wanted = wake_up(priority=7)
    with publisher_of(broker_settings, "direct", DirectPublisher) as publisher:
        publisher.publish(wanted)

    with app.connection_for_read(broker_settings.broker_url.get_secret_value()) as connection:
        queue = connection.SimpleQueue(TURNS_QUEUE)
        message = queue.get(timeout=10)
        message.ack()
        queue.close()

    assert message.payload[1] == wanted.payload()
    assert message.headers["task"] == "turns.run"


def test_the_setting_and_whatever_is_not_known_lead_to_celery(
    broker_settings: Settings, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = wake_up()
    notifier = Notifier(with_way(broker_settings, "celery"))
    assert notifier.notify(wanted)
    notifier.close()
    assert queued_wake_ups(broker_settings) == [wanted.turn_id]
    take_messages(client)

    options = load_celeryconfig().broker_transport_options | {"client_name": "us"}
    monkeypatch.setattr(load_celeryconfig(), "broker_transport_options", options)
    with publisher_of(broker_settings, "direct", CeleryPublisher) as publisher:
        publisher.publish(wanted)
    assert queued_wake_ups(broker_settings) == [wanted.turn_id]
    take_messages(client)


PROGRAM = """
import json, sys
from producers import Producer
import sqlalchemy.dialects.postgresql.psycopg
producer = Producer()
assert producer.send("t", "first").notify()
after_first = set(sys.modules)
assert producer.send("t", "second").notify()
print(json.dumps({"all": sorted(after_first), "later": sorted(set(sys.modules) - after_first)}))
producer.close()
"""


def test_a_process_that_sends_imports_no_broker_client_and_everything_with_the_first_send(
    settings: Settings, worker: str
) -> None:
    environment = os.environ | {
        "THREADMILL_DATABASE_URL": settings.database_url.get_secret_value(),
        "THREADMILL_BROKER_URL": settings.broker_url.get_secret_value(),
        "THREADMILL_NOTIFY_TIMEOUT_SECONDS": "10",
    }

    process = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=Path(__file__).parents[3],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    modules = json.loads(process.stdout)
    roots = {name.partition(".")[0] for name in modules["all"]}
    assert roots & {"amqp", "billiard", "celery", "kombu", "redis", "structlog", "vine"} == set()
    assert modules["later"] == []


def count_publishing(client: redis.Redis) -> int:
    """How many connections of the broker sent a wake-up last."""
    return [each["cmd"] for each in client.client_list()].count("lpush")


def test_threads_publish_beside_each_other(broker_settings: Settings, client: redis.Redis) -> None:
    notifier = Notifier(broker_settings)
    before = count_publishing(client)
    wake_ups = [wake_up() for _ in range(400)]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(notifier.notify, wake_ups))
    connections = count_publishing(client) - before
    notifier.close()

    assert sorted(queued_wake_ups(broker_settings)) == sorted(each.turn_id for each in wake_ups)
    assert 1 <= connections <= 9
    take_messages(client)


async def test_an_event_loop_publishes_by_itself_over_an_open_connection(
    broker_settings: Settings, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    notifier = Notifier(broker_settings)
    before = count_publishing(client)
    assert all(await asyncio.gather(*(notifier.notify_async(wake_up()) for _ in range(50))))
    assert 1 <= count_publishing(client) - before <= 3
    monkeypatch.setattr(notifier, "notify_soon", None)

    for _ in range(50):
        assert await notifier.notify_async(wake_up())

    notifier.close()
    assert len(queued_wake_ups(broker_settings)) == 100
    take_messages(client)


def test_a_connection_that_the_server_closed_costs_no_wake_up(broker_settings: Settings, client: redis.Redis) -> None:
    notifier = Notifier(broker_settings)
    assert notifier.notify(wake_up())

    client.client_kill_filter(_type="normal", skipme=True)

    assert notifier.notify(wake_up())
    assert notifier.notify(wake_up())
    notifier.close()
    assert len(queued_wake_ups(broker_settings)) == 3
    take_messages(client)


def test_a_connection_is_not_used_after_a_long_pause(
    broker_settings: Settings, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with publisher_of(broker_settings, "direct", DirectPublisher) as publisher:
        publisher.connect()
        monkeypatch.setattr("store.live.broker_connections.IDLE_SECONDS_MAX", -1.0)

        assert not publisher.publish_at_once(wake_up())
        assert publisher.publish(wake_up())
    take_messages(client)


def test_a_user_of_the_broker_who_may_only_push_is_enough(client: redis.Redis, valkey_url: str) -> None:
    client.acl_setuser(
        "pu:sher", enabled=True, reset=True, passwords=["+p@ss/word"], keys=["*"], commands=["+lpush", "+select"]
    )
    address = valkey_url.rpartition("@")[2].partition("/")[0]
    settings = load(database_url="sqlite://", broker_url=f"redis://pu%3Asher:p%40ss%2Fword@{address}/3")
    notifier = Notifier(settings)

    assert notifier.notify(wake_up())
    assert notifier.notify(wake_up())

    notifier.close()
    client.acl_deluser("pu:sher")
    with redis.Redis.from_url(f"{valkey_url.rpartition('/')[0]}/3") as database_3:
        assert sum(map(len, take_messages(database_3).values())) == 2
    assert queued_wake_ups(load(database_url="sqlite://", broker_url=valkey_url)) == []


def test_a_refusal_reaches_the_log_by_its_kind_and_nobody_else(
    client: redis.Redis, valkey_url: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    address = valkey_url.rpartition("@")[2]
    notifier = Notifier(load(database_url="sqlite://", broker_url=f"redis://:wr0ng@{address}"))

    assert notifier.notify(wake_up()) is False
    notifier.close()

    printed = capfd.readouterr()
    shown = caplog.text + printed.out + printed.err
    assert "BrokerRefusal" in shown
    assert "wr0ng" not in shown
