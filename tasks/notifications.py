"""The maintenance worker's ear: it hears of work that a commit brought about, and starts it before the next tick.

A thread to which SQL sent is woken up; one that waited for more messages, once it has waited enough; and whoever sends
to webhooks, when there is something to tell.

What stays true: a wake-up is picked and marked as the sweep does it, so that two listeners publish each one once. A
listener that cannot listen, or misses something, delays work by a tick's period, and ends no worker.
"""

import threading
import time
from collections.abc import Collection

import structlog

from conversation.backoff import add_jitter, backoff_seconds
from conversation.errors import DatabaseUnavailable
from store.database.engine import Database
from store.notifications import Heard, Notifications, open_notifications
from store.settings import Settings
from store.turns.sweep import pick_wake_ups
from tasks.publish import publish_wake_up, request_webhooks

#: Seconds after which a listener looks whether it is to stop.
STOP_CHECK_SECONDS = 1.0
#: Seconds before a lost connection is opened again; doubled up to the maximum.
RECONNECT_FIRST_SECONDS, RECONNECT_MAX_SECONDS = 0.5, 30.0
#: Seconds between two requests to send to webhooks: what comes in between is sent together.
WEBHOOKS_PAUSE_SECONDS = 0.05
#: Seconds by which a window is let pass for certain: two clocks may differ by a little.
WINDOW_MARGIN_SECONDS = 0.01
#: Windows that are remembered at once; the sweep sees to those beyond.
WINDOWS_MAX = 10_000

_log = structlog.get_logger(__name__)
_listeners: list["NotificationListener"] = []


class NotificationListener:
    """A thread with a connection of its own that hears of work."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.database = Database(settings)
        self._stop = threading.Event()
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name="notifications", daemon=True)
        #: When the window of a thread ends, by its key.
        self._window_ends: dict[int, float] = {}
        #: When webhooks may be sent to next; None while there is nothing to tell.
        self._webhooks_at: float | None = None
        self._webhooks_asked_at = 0.0

    def start(self) -> None:
        """Begin to listen. Returns at once, be the database there or not."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening, after what is being published."""
        self._stop.set()
        self._thread.join(timeout=10 * STOP_CHECK_SECONDS)
        self.database.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with open_notifications(self.database) as notifications:
                    if not notifications.can_hear:
                        _log.info("notifications_left_to_ticks", reason="a pooler stands before the database")
                        return
                    self._act_until_stopped(notifications)
            except DatabaseUnavailable as error:
                _log.warning("notifications_not_heard", reason=str(error))
            except Exception as error:  # noqa: BLE001 - ticks would do alone what this thread does sooner
                _log.error("notifications_broken", error=type(error).__name__)
            pause = backoff_seconds(self._failures, first=RECONNECT_FIRST_SECONDS, maximum=RECONNECT_MAX_SECONDS)
            self._failures += 1
            self._stop.wait(add_jitter(pause))

    def _act_until_stopped(self, notifications: Notifications) -> None:
        notifications.listen()
        self._failures = 0
        _log.info("notifications_heard")
        while not self._stop.is_set():
            heard = notifications.wait(self._seconds_to_wait())
            self._note(heard)
            thread_keys = sorted(heard.threads | self._take_ended_windows())
            size = self._settings.sweep_batch
            for start in range(0, len(thread_keys), size):
                self._publish(thread_keys[start : start + size])
            self._ask_for_webhooks()

    def _seconds_to_wait(self) -> float:
        now = time.monotonic()
        moments = [now + STOP_CHECK_SECONDS, *self._window_ends.values()]
        if self._webhooks_at is not None:
            moments.append(self._webhooks_at)
        return max(0.0, min(moments) - now)

    def _note(self, heard: Heard) -> None:
        now = time.monotonic()
        for key, seconds in heard.windows.items():
            if key in self._window_ends or len(self._window_ends) < WINDOWS_MAX:
                # Of several messages to a thread, the first one's window counts.
                self._window_ends.setdefault(key, now + seconds + WINDOW_MARGIN_SECONDS)
        if heard.has_deliveries and self._webhooks_at is None:
            self._webhooks_at = max(now, self._webhooks_asked_at + WEBHOOKS_PAUSE_SECONDS)

    def _take_ended_windows(self) -> set[int]:
        now = time.monotonic()
        ended = {key for key, end in self._window_ends.items() if end <= now}
        for key in ended:
            del self._window_ends[key]
        return ended

    def _ask_for_webhooks(self) -> None:
        now = time.monotonic()
        if self._webhooks_at is not None and self._webhooks_at <= now:
            self._webhooks_at, self._webhooks_asked_at = None, now
            request_webhooks(expires_seconds=self._settings.webhook_interval_seconds)

    def _publish(self, thread_keys: Collection[int]) -> None:
        wake_ups = self.database.run(
            pick_wake_ups,
            # What was notified before is the sweep's, however long ago: it knows what the broker still has.
            grace_seconds=None,
            limit=len(thread_keys),
            tenant_max_running=self._settings.tenant_max_running_turns.count,
            thread_keys=thread_keys,
        )
        for wake_up in wake_ups:
            publish_wake_up(wake_up)


def start_listener(settings: Settings) -> None:
    """Start the listener of this process, where its database has notifications and none listens yet."""
    listener = NotificationListener(settings)
    if listener.database.is_sqlite or _listeners:
        return
    _listeners.append(listener)
    listener.start()


def stop_listener() -> None:
    """Stop the listener of this process, if it has one."""
    while _listeners:
        _listeners.pop().stop()
