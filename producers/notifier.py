"""Notifying the workers: after the commit, bounded, and never a reason to fail.

What stays true: a broker that is away or slow holds a caller up for at most the notify timeout,
a broken one soon for no time at all; the message is stored, and the sweep publishes a wake-up again.
"""

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from conversation.task_contract import WakeUp
from store.live.wake_ups import TaskPublisher, log_unpublished_wake_up, publish_wake_up
from store.settings import Settings

if TYPE_CHECKING:
    import pybreaker

#: Failed publishes in a row after which none is tried for a while.
FAILURES_TO_OPEN = 3
#: Seconds after which one publish tests whether the broker is back.
OPEN_SECONDS = 5


class Notifier:
    """Publishes wake-ups to the broker, from a thread of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # One: a publish takes under a millisecond, and the breaker lets through one at a time.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="notify")
        self._is_warm = False

    def warm_up(self) -> None:
        """Import Celery in the background, while the first message is checked and stored."""
        if not self._is_warm:
            self._is_warm = True
            with suppress(RuntimeError):  # closed
                self._thread.submit(lambda: self._app)

    def notify(self, wake_up: WakeUp) -> bool:
        """Publish one wake-up; False if the broker did not take it in time."""
        future = self.notify_soon(wake_up)
        try:
            return future.result(timeout=self._settings.notify_timeout_seconds)
        except FutureTimeout:
            return _log_missed(wake_up, "slow")

    async def notify_async(self, wake_up: WakeUp) -> bool:
        """As `notify`, without a moment of the event loop spent on the network."""
        future = asyncio.wrap_future(self.notify_soon(wake_up))
        # Not `wait_for`: it would cancel a publish that is only late.
        await asyncio.wait({future}, timeout=self._settings.notify_timeout_seconds)
        return future.result() if future.done() else _log_missed(wake_up, "slow")

    def notify_soon(self, wake_up: WakeUp) -> Future[bool]:
        """Publish a wake-up without waiting for it: for hooks that run on the caller's event loop."""
        try:
            return self._thread.submit(self._publish, wake_up)
        except RuntimeError:  # closed, or the interpreter is on its way out
            future: Future[bool] = Future()
            future.set_result(_log_missed(wake_up, "closed"))
            return future

    def close(self) -> None:
        """Let publishes that are on their way end."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _publish(self, wake_up: WakeUp) -> bool:
        try:
            self._breaker.call(publish_wake_up, self._app, wake_up)
        except Exception as error:  # noqa: BLE001 - whatever a broker's client raises, the message is stored
            return _log_missed(wake_up, type(error).__name__)
        return True

    @cached_property
    def _breaker(self) -> "pybreaker.CircuitBreaker":
        # Used on the notifier's own thread only, so it is created once. It imports the broker's client.
        import pybreaker

        return pybreaker.CircuitBreaker(fail_max=FAILURES_TO_OPEN, reset_timeout=OPEN_SECONDS)

    @cached_property
    def _app(self) -> TaskPublisher:
        from celery import Celery

        app = Celery("threadmill-producer", set_as_current=False)
        app.config_from_object("celeryconfig")
        timeout = self._settings.notify_timeout_seconds
        app.conf.broker_url = self._settings.broker_url.get_secret_value()
        app.conf.broker_transport_options = app.conf.broker_transport_options | {
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            # kombu's own tries go on for seconds: the breaker would open long after the broker went.
            "max_retries": 0,
        }
        publisher: TaskPublisher = app
        return publisher


def _log_missed(wake_up: WakeUp, reason: str) -> bool:
    log_unpublished_wake_up(wake_up, reason)
    return False
