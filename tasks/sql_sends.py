"""Wake-ups for messages that SQL sent: the maintenance worker listens, and publishes them for the caller.

What stays true: a wake-up is picked and marked as the sweep does it, so that two listeners publish each one once. A
listener that cannot listen, or misses something, delays turns by the sweep's period, and ends no worker.
"""

import threading
from collections.abc import Collection

import structlog

from conversation.backoff import add_jitter, backoff_seconds
from conversation.errors import DatabaseUnavailable
from store.database.engine import Database
from store.settings import Settings
from store.turns.sent_threads import SentThreads, open_sent_threads
from store.turns.sweep import pick_wake_ups
from tasks.publish import publish_wake_up

#: Seconds after which a listener looks whether it is to stop.
STOP_CHECK_SECONDS = 1.0
#: Seconds before a lost connection is opened again; doubled up to the maximum.
RECONNECT_FIRST_SECONDS, RECONNECT_MAX_SECONDS = 0.5, 30.0

_log = structlog.get_logger(__name__)
_listeners: list["SqlSendListener"] = []


class SqlSendListener:
    """A thread with a connection of its own that hears of what SQL sent."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.database = Database(settings)
        self._stop = threading.Event()
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name="sql-sends", daemon=True)

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
                with open_sent_threads(self.database) as sent_threads:
                    if not sent_threads.can_hear:
                        _log.info("sql_sends_left_to_sweep", reason="a pooler stands before the database")
                        return
                    self._publish_until_stopped(sent_threads)
            except DatabaseUnavailable as error:
                _log.warning("sql_sends_not_heard", reason=str(error))
            except Exception as error:  # noqa: BLE001 - the sweep would do alone what this thread does sooner
                _log.error("sql_sends_broken", error=type(error).__name__)
            pause = backoff_seconds(self._failures, first=RECONNECT_FIRST_SECONDS, maximum=RECONNECT_MAX_SECONDS)
            self._failures += 1
            self._stop.wait(add_jitter(pause))

    def _publish_until_stopped(self, sent_threads: SentThreads) -> None:
        sent_threads.listen()
        self._failures = 0
        _log.info("sql_sends_heard")
        while not self._stop.is_set():
            thread_keys = sorted(sent_threads.wait(STOP_CHECK_SECONDS))
            size = self._settings.sweep_batch
            for start in range(0, len(thread_keys), size):
                self._publish(thread_keys[start : start + size])

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
    listener = SqlSendListener(settings)
    if listener.database.is_sqlite or _listeners:
        return
    _listeners.append(listener)
    listener.start()


def stop_listener() -> None:
    """Stop the listener of this process, if it has one."""
    while _listeners:
        _listeners.pop().stop()
