"""Notifying the workers: after the commit, bounded, and never a reason to fail.

What stays true: a broker that is away or slow holds a caller up for at most the notify timeout,
a broken one soon for no time at all; the message is stored, and the sweep publishes a wake-up again.
Over an open connection the caller's own thread or event loop publishes. Whatever may take longer than the
server's answer to one command (names to look up, a handshake, an import) is done by a helper thread, and waited for.
"""

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress

from conversation.task_contract import WakeUp
from producers.breaker import Breaker
from store.live.direct_publisher import DirectPublisher
from store.live.wake_ups import CeleryPublisher, WakeUpPublisher, log_unpublished_wake_up
from store.settings import Settings

#: Failed publishes in a row after which none is tried for a while.
FAILURES_TO_OPEN = 3
#: Seconds after which one publish tests whether the broker is back.
OPEN_SECONDS = 5


class Notifier:
    """Publishes wake-ups to the broker."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # One is enough: few have to connect.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="notify")
        self._breaker = Breaker(failures_to_open=FAILURES_TO_OPEN, open_seconds=OPEN_SECONDS)
        #: Made by the helper thread.
        self._publisher: WakeUpPublisher | None = None
        self._connection_attempt: Future[None] | None = None

    def warm_up(self) -> Future[None]:
        """Connect to the broker in the background, once. The result never raises: no wake-up needs it yet."""
        if self._connection_attempt is None:
            try:
                self._connection_attempt = self._thread.submit(self._connect)
            except RuntimeError:  # closed, or the interpreter is on its way out
                self._connection_attempt = Future()
                self._connection_attempt.set_result(None)
        return self._connection_attempt

    def notify(self, wake_up: WakeUp) -> bool:
        """Publish one wake-up; False if the broker did not take it in time, which may be on its way still."""
        if (publisher := self._ready_publisher()) is not None:
            try:
                is_published = publisher.publish_at_once(wake_up)
            except Exception as error:  # noqa: BLE001 - whatever a broker's client raises, the message is stored
                return self._record_failure(wake_up, error)
            if is_published:
                return self._record_success()
        future = self.notify_soon(wake_up)
        try:
            return future.result(timeout=self._settings.notify_timeout_seconds)
        except FutureTimeout:
            # Nothing is wrong yet: the helper thread goes on, and logs a failure.
            return False

    async def notify_async(self, wake_up: WakeUp) -> bool:
        """As `notify`, without a moment of the event loop spent on waiting for the network."""
        if (publisher := self._ready_publisher()) is not None:
            try:
                is_published = await publisher.publish_at_once_async(wake_up)
            except Exception as error:  # noqa: BLE001 - whatever a broker's client raises, the message is stored
                return self._record_failure(wake_up, error)
            if is_published:
                return self._record_success()
        future = asyncio.wrap_future(self.notify_soon(wake_up))
        # Not `wait_for`: it would cancel a publish that is only late.
        await asyncio.wait({future}, timeout=self._settings.notify_timeout_seconds)
        return future.done() and future.result()

    def notify_soon(self, wake_up: WakeUp) -> Future[bool]:
        """Publish a wake-up without waiting for it: for hooks that run on the caller's event loop."""
        try:
            return self._thread.submit(self._publish, wake_up)
        except RuntimeError:  # closed, or the interpreter is on its way out
            future: Future[bool] = Future()
            future.set_result(_log_missed(wake_up, "closed"))
            return future

    def close(self) -> None:
        """Let publishes that are on their way end, then close the connections."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        if self._publisher is not None:
            self._publisher.close()

    def _connect(self) -> None:
        """Open the first connection. A failure says nothing yet: no wake-up needed it."""
        with suppress(Exception):
            self._open_publisher().connect()

    def _publish(self, wake_up: WakeUp) -> bool:
        """Publish a wake-up in the helper thread, with all that it takes."""
        if not self._breaker.admit():
            return _log_missed(wake_up, "broken")
        try:
            self._open_publisher().publish(wake_up)
        except Exception as error:  # noqa: BLE001 - whatever a broker's client raises, the message is stored
            return self._record_failure(wake_up, error)
        return self._record_success()

    def _ready_publisher(self) -> WakeUpPublisher | None:
        """The publisher, if it was made and nothing speaks against the broker."""
        return self._publisher if self._breaker.is_closed else None

    def _open_publisher(self) -> WakeUpPublisher:
        if self._publisher is None:
            self._publisher = _make_publisher(self._settings)
        return self._publisher

    def _record_success(self) -> bool:
        self._breaker.record_success()
        return True

    def _record_failure(self, wake_up: WakeUp, error: Exception) -> bool:
        self._breaker.record_failure()
        return _log_missed(wake_up, type(error).__name__)


def _make_publisher(settings: Settings) -> WakeUpPublisher:
    """The way that the settings choose; Celery's own where the other does not know the broker's address."""
    import celeryconfig

    url, timeout_seconds = settings.broker_url.get_secret_value(), settings.notify_timeout_seconds
    options = celeryconfig.broker_transport_options
    if not settings.publish_with_celery:
        publisher = DirectPublisher.open(url, options, timeout_seconds=timeout_seconds)
        if publisher is not None:
            return publisher

    from celery import Celery

    app = Celery("threadmill-producer", set_as_current=False)
    app.config_from_object("celeryconfig")
    app.conf.broker_url = url
    app.conf.broker_transport_options = options | {
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": timeout_seconds,
        # kombu's own tries go on for seconds: the breaker would open long after the broker went.
        "max_retries": 0,
    }
    return CeleryPublisher(app)


def _log_missed(wake_up: WakeUp, reason: str) -> bool:
    log_unpublished_wake_up(wake_up, reason)
    return False
