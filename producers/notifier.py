"""Ringing the workers' bell: after the commit, bounded, and never a reason to fail.

What stays true: a broker that is away or slow holds a caller up for at most the ring timeout, a
broken one soon for no time at all; the message is stored already, and the sweep rings again.
"""

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from conversation.task_contract import RUN_TURNS, Bell
from store.settings import Settings

if TYPE_CHECKING:
    import pybreaker

#: Failed rings in a row after which none is tried for a while.
FAILURES_TO_OPEN = 3
#: Seconds after which one ring tries again whether the broker is back.
OPEN_SECONDS = 5


class Bellringer:
    """Publishes bells to the broker, from a thread of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # One: a publish takes under a millisecond, and the breaker lets through one at a time.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ring")
        self._is_warm = False

    def warm_up(self) -> None:
        """Begin what takes a while the first time: Celery imports while a message is checked and stored."""
        if not self._is_warm:
            self._is_warm = True
            with suppress(RuntimeError):  # closed
                self._thread.submit(lambda: self._app)

    def ring(self, bell: Bell) -> bool:
        """Ring once; False if the broker did not take it in time."""
        ringing = self.ring_soon(bell)
        try:
            return ringing.result(timeout=self._settings.ring_timeout)
        except FutureTimeout:
            return self._missed(bell, "slow")

    async def ring_async(self, bell: Bell) -> bool:
        """As `ring`, without a moment of the event loop spent on the network."""
        ringing = asyncio.wrap_future(self.ring_soon(bell))
        # Not `wait_for`: it would take back a bell that is only late.
        await asyncio.wait({ringing}, timeout=self._settings.ring_timeout)
        return ringing.result() if ringing.done() else self._missed(bell, "slow")

    def ring_soon(self, bell: Bell) -> Future[bool]:
        """Ring without waiting for it: for hooks that run on somebody's event loop."""
        try:
            return self._thread.submit(self._publish, bell)
        except RuntimeError:  # closed, or the interpreter is on its way out
            ringing: Future[bool] = Future()
            ringing.set_result(self._missed(bell, "closed"))
            return ringing

    def close(self) -> None:
        """Let rings that are on their way end."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _publish(self, bell: Bell) -> bool:
        try:
            self._breaker.call(self._send, bell)
        except Exception as error:  # noqa: BLE001 - whatever a broker's client raises, the message is stored
            return self._missed(bell, type(error).__name__)
        return True

    def _send(self, bell: Bell) -> None:
        self._app.send_task(
            RUN_TURNS,
            kwargs=bell.payload(),
            queue=bell.queue,
            priority=bell.broker_priority(),
            retry=False,
        )

    @cached_property
    def _breaker(self) -> "pybreaker.CircuitBreaker":
        # Used on the ring's own thread only, so it is made once. It imports the broker's client.
        import pybreaker

        return pybreaker.CircuitBreaker(fail_max=FAILURES_TO_OPEN, reset_timeout=OPEN_SECONDS)

    @cached_property
    def _app(self) -> Any:
        from celery import Celery

        app = Celery("threadmill-producer", set_as_current=False)
        app.config_from_object("celeryconfig")
        timeout = self._settings.ring_timeout
        app.conf.broker_url = self._settings.broker_url.get_secret_value()
        app.conf.broker_transport_options = app.conf.broker_transport_options | {
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            # kombu's own tries go on for seconds: the breaker would open long after the broker went.
            "max_retries": 0,
        }
        return app

    def _missed(self, bell: Bell, reason: str) -> bool:
        # It imports what draws in colours: a fifth of a second, for a line that is hardly ever written.
        import structlog

        from conversation.logs import use_standard_logging

        use_standard_logging()
        structlog.get_logger(__name__).warning("bell_not_rung", turn=bell.turn_id, reason=reason)
        return False
