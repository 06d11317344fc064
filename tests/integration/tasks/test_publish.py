"""Wake-ups of workers: published as the settings say, and a broker that is away fails nobody."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis
import structlog

from conversation.ids import new_id
from conversation.task_contract import QUARANTINE_QUEUE, TURNS_QUEUE, WakeUp
from store.live.direct_publisher import DirectPublisher
from store.live.wake_ups import CeleryPublisher
from store.settings import Settings
from tasks import publish
from tasks.celery_app import app
from tests.integration.producers.backend import free_port, queued_wake_ups
from threadmill.embedded.valkey import EmbeddedValkey

Connect = Callable[[str], None]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """Lets this process's Celery app have the broker of a URL."""

    def connect_to(url: str) -> None:
        monkeypatch.setattr(app.conf, "broker_url", url)
        publish._publisher.cache_clear()

    publish._publisher.cache_clear()
    yield connect_to
    publish._publisher.cache_clear()


def wake_up() -> WakeUp:
    return WakeUp(tenant="default", thread_id="t", turn_id=new_id())


def test_a_worker_publishes_without_celery(settings: Settings, connect: Connect) -> None:
    connect(settings.broker_url.get_secret_value())
    wanted = wake_up()

    assert publish.publish_wake_up(wanted)

    assert isinstance(publish._publisher(), DirectPublisher)
    assert wanted.turn_id in queued_wake_ups(settings)


def test_the_setting_gives_wake_ups_back_to_celery(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THREADMILL_PUBLISH_WITH_CELERY", "true")

    assert isinstance(publish._publisher(), CeleryPublisher)


def test_a_broker_that_is_away_costs_the_wake_up_only(settings: Settings, connect: Connect) -> None:
    connect(f"redis://:secret@127.0.0.1:{free_port()}/0")
    wanted = wake_up()

    with structlog.testing.capture_logs() as lines:
        assert publish.publish_wake_up(wanted) is False

    assert [(line["event"], line["turn"]) for line in lines] == [("wake_up_not_published", wanted.turn_id)]
    assert "secret" not in str(lines)

    connect(settings.broker_url.get_secret_value())
    assert publish.publish_wake_up(wanted)


def count_connections(client: redis.Redis) -> int:
    """The connections that the broker has had so far."""
    return int(client.info("stats")["total_connections_received"])


def test_waiting_tasks_are_counted_over_a_connection_that_stays(settings: Settings, connect: Connect) -> None:
    url = settings.broker_url.get_secret_value()
    connect(url)
    publish.count_queued_tasks(TURNS_QUEUE)
    for priority in (0, 9):
        publish.publish_wake_up(replace(wake_up(), priority=priority))

    with redis.Redis.from_url(url) as client:
        before = count_connections(client)
        counts = [publish.count_queued_tasks(queue) for queue in (TURNS_QUEUE, QUARANTINE_QUEUE, TURNS_QUEUE)]

        assert counts == [2, 0, 2]
        assert count_connections(client) == before


def test_a_broker_that_was_started_again_is_counted_at_once(connect: Connect, tmp_path: Path) -> None:
    port = free_port()
    for wake_ups in (1, 2):
        with EmbeddedValkey(tmp_path / f"valkey-{wake_ups}", port=port) as server:
            connect(server.url)
            for _ in range(wake_ups):
                publish.publish_wake_up(wake_up())

            assert publish.count_queued_tasks(TURNS_QUEUE) == wake_ups
