"""A producer that is warm before its first message, and a first publish that takes long."""

import threading
from concurrent.futures import Future
from typing import Any

import pytest
import structlog

from conversation.ids import new_id
from conversation.task_contract import WakeUp
from producers import notifier as notifier_module
from producers.notifier import Notifier
from producers.producer import Producer
from store.settings import Settings
from tests.integration.producers.backend import free_port, queued_wake_ups


def refuse_to_help(_: Notifier, wake_up: WakeUp) -> "Future[bool]":
    raise AssertionError(f"the helper thread was asked for {wake_up}")


@pytest.mark.parametrize("is_async", [False, True])
async def test_the_first_message_after_a_warm_up_waits_for_no_helper(
    settings: Settings, worker: str, monkeypatch: pytest.MonkeyPatch, is_async: bool
) -> None:
    producer = Producer(settings)
    await producer.warm_up_async() if is_async else producer.warm_up()
    monkeypatch.setattr(Notifier, "notify_soon", refuse_to_help)

    turn_id = (await producer.send_async("t", "hello")).id if is_async else producer.send("t", "hello").id

    assert turn_id in queued_wake_ups(settings)
    await producer.close_async()


def test_a_warm_up_without_servers_is_no_error(settings: Settings) -> None:
    away = {
        "database_url": f"postgresql://me@127.0.0.1:{free_port()}/db",
        "broker_url": f"redis://127.0.0.1:{free_port()}",
    }
    producer = Producer(Settings(**away))

    with structlog.testing.capture_logs() as lines:
        producer.warm_up()

    assert lines == []
    producer.close()


def test_a_first_publish_that_takes_long_is_no_event(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    may_go_on, published = threading.Event(), []

    class SlowPublisher:
        def connect(self) -> None:
            may_go_on.wait(30)

        def publish(self, wake_up: WakeUp) -> None:
            published.append(wake_up)

        def close(self) -> None: ...

    def make_slowly(_: Any) -> SlowPublisher:
        may_go_on.wait(30)
        return SlowPublisher()

    monkeypatch.setattr(notifier_module, "_make_publisher", make_slowly)
    notifier = Notifier(settings.model_copy(update={"notify_timeout_seconds": 0.01}))
    wake_up = WakeUp(tenant="default", thread_id="t", turn_id=new_id())

    with structlog.testing.capture_logs() as lines:
        assert notifier.notify(wake_up) is False
        may_go_on.set()
        notifier._thread.shutdown(wait=True)

    assert (lines, published) == ([], [wake_up])
    notifier.close()
