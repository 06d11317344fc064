"""Circuit breakers: one for each model and account, which all workers share.

What stays true: while nothing fails, a breaker asks nobody: the state that workers share is looked at when a process
meets a model first, and after a failure of its own. While a breaker is open, one attempt in a period is let through
over all workers, as a probe; every other one is put off without a call. A worker that dies while it probes, and
shared state that is away or forgotten, cost a period, or a probe of each process, and no more. On the word of others
alone a process puts nothing off for long: whoever can write to the broker can write that, too.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from agent.models.account import account_key
from conversation.errors import Fault, ModelError

#: Seconds for which the state that was read last is taken for the present one.
LOOK_AGAIN_SECONDS = 1.0
#: A provider that asks for a longer pause is probed after so many seconds all the same.
PAUSE_MAX_SECONDS = 3600.0
#: Seconds after its own last attempt in which a process leaves the probes to others.
OTHERS_PROBE_SECONDS = 600.0
#: The shared state of a closed breaker; that of an open one is the kind of error that opened it.
CLOSED = ""

_log = structlog.get_logger(__name__)


class BreakerBoard(Protocol):
    """The state that workers share of their breakers. Every verb raises `OSError` where it is away."""

    async def read(self, key: str) -> str | None:
        """The state that was written last; None where nothing is known."""
        ...

    async def write(self, key: str, state: str) -> None:
        """Tell the other workers a breaker's state."""
        ...

    async def take_probe(self, key: str, *, seconds: float) -> bool:
        """Whether the caller may probe now: one may, over all workers, and the next one after so many seconds."""
        ...

    async def delay_probe(self, key: str, *, seconds: float) -> None:
        """Let nobody probe for so many seconds."""
        ...


class Breaker:
    """The breaker of one model and account, as one process knows it."""

    def __init__(self, key: str, board: BreakerBoard | None, *, failures_to_open: int, probe_seconds: float) -> None:
        self.key = key
        self._board = board
        self._failures_to_open = failures_to_open
        self._probe_seconds = probe_seconds
        self._failures = 0
        #: The kind of error that opened it; `CLOSED` while it is closed.
        self.cause = CLOSED
        #: When the shared state was read last, and until when nobody here probes where that is away.
        self._read_at: float | None = None
        self._no_probe_before = 0.0
        #: When this process last heard of the model itself.
        self._heard_at = time.monotonic()
        self._reading = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        return self.cause != CLOSED

    async def refresh(self) -> None:
        """Read the shared state, if anything failed or nothing is known yet."""
        if self._read_at is not None and not self._failures and not self.is_open:
            return
        async with self._reading:
            if self._read_at is None or time.monotonic() - self._read_at >= LOOK_AGAIN_SECONDS:
                await self._read()

    async def is_still_open(self) -> bool:
        """Whether it is open by the shared state of this moment."""
        async with self._reading:
            await self._read()
        return self.is_open

    async def take_probe(self) -> bool:
        """Whether an attempt may be made although it is open."""
        if self._board is not None:
            try:
                if await self._board.take_probe(self.key, seconds=self._probe_seconds):
                    return True
                return self._is_left_to_others_too_long()
            except OSError:
                pass  # every process probes for itself
        if time.monotonic() < self._no_probe_before:
            return False
        self._no_probe_before = time.monotonic() + self._probe_seconds
        return True

    def _is_left_to_others_too_long(self) -> bool:
        """Whether this process has to ask for itself by now. Once it did, it is again not."""
        now = time.monotonic()
        is_too_long = now > max(self._no_probe_before, self._heard_at + OTHERS_PROBE_SECONDS)
        if is_too_long:
            self._heard_at = now
        return is_too_long

    async def count_failure(self, error: ModelError) -> None:
        """Count a failure in a row; the last one that it takes opens the breaker."""
        self._heard_at = time.monotonic()
        self._failures += 1
        if not self.is_open:
            # Before the next attempt: others may have opened it.
            self._read_at = None
        else:
            # Somebody may have closed it while this call was under way.
            async with self._reading:
                await self._read()
        if self.is_open or self._failures >= self._failures_to_open:
            await self._open(error)

    async def count_success(self, *, is_probe: bool) -> bool:
        """Count a success; that of a probe closes the breaker. Returns whether it did."""
        if self.is_open and not is_probe:
            return False  # that call began before
        self._heard_at = time.monotonic()
        was_open, self.cause, self._failures = self.is_open, CLOSED, 0
        if was_open:
            _log.info("breaker_closed", breaker=self.key)
            await self._write()
        return was_open

    async def _open(self, error: ModelError) -> None:
        is_new = not self.is_open
        self.cause = error.kind
        await self._write()
        pause = min(max(self._probe_seconds if is_new else 0, error.retry_after_seconds or 0), PAUSE_MAX_SECONDS)
        if is_new:
            _log.warning("breaker_opened", breaker=self.key, kind=error.kind, failures=self._failures)
        if pause:
            await self._delay_probe(pause)

    async def _read(self) -> None:
        if self._board is None:
            self._read_at = time.monotonic()
            return
        try:
            state = await self._board.read(self.key)
        except OSError:
            state = None
        self._read_at = time.monotonic()
        if state is None and self.is_open:
            await self._write()  # it was forgotten
        elif state == CLOSED and self.is_open:
            self.cause, self._failures = CLOSED, 0
        elif state:
            self.cause = state

    async def _write(self) -> None:
        self._read_at = time.monotonic()
        if self._board is not None:
            try:
                await self._board.write(self.key, self.cause)
            except OSError:
                return

    async def _delay_probe(self, seconds: float) -> None:
        self._no_probe_before = time.monotonic() + seconds
        if self._board is not None:
            try:
                await self._board.delay_probe(self.key, seconds=seconds)
            except OSError:
                return


@dataclass(frozen=True, slots=True)
class Permit:
    """The permit to ask a model once."""

    breaker: Breaker
    #: The breaker is open, and this attempt tells whether the model is back.
    is_probe: bool
    #: Called with the key of a breaker that was closed; must not block.
    on_close: Callable[[str], None] | None

    async def report_success(self) -> None:
        """Tell the breaker that the model answered."""
        if await self.breaker.count_success(is_probe=self.is_probe) and self.on_close is not None:
            self.on_close(self.breaker.key)

    async def report_failure(self, error: ModelError) -> None:
        """Tell the breaker of an error, and the error of the breaker that is open now."""
        if error.fault is Fault.PROVIDER:
            await self.breaker.count_failure(error)
            error.breaker = self.breaker.key if self.breaker.is_open else None
        elif error.fault is not Fault.INTERNAL:
            await self.report_success()  # a refusal is an answer: the model is there


class Breakers:
    """The breakers of one process."""

    def __init__(
        self,
        board: BreakerBoard | None = None,
        *,
        failures_to_open: int = 5,
        probe_seconds: float = 10,
        on_close: Callable[[str], None] | None = None,
    ) -> None:
        """Without a board the process has them for itself. `on_close` is called with a key, and must not block."""
        self._board = board
        self._failures_to_open = failures_to_open
        self._probe_seconds = probe_seconds
        self._on_close = on_close
        self._breakers: dict[str, Breaker] = {}

    async def admit(self, model: str, parameters: Mapping[str, Any]) -> Permit:
        """The permit for one attempt at a model. Raises `ModelError` where its breaker is open."""
        breaker = self._find(account_key(model, parameters))
        await breaker.refresh()
        if not breaker.is_open:
            return Permit(breaker, is_probe=False, on_close=self._on_close)
        if await breaker.take_probe():
            return Permit(breaker, is_probe=True, on_close=self._on_close)
        # A turn that is put off waits for long: not for what was true a second ago.
        if not await breaker.is_still_open():
            return Permit(breaker, is_probe=False, on_close=self._on_close)
        problem = f"{model}: not asked, since it was found away ({breaker.cause}); it is probed now and then"
        raise ModelError(breaker.cause, problem, retryable=True, breaker=breaker.key, is_put_off=True, is_ours=True)

    def _find(self, key: str) -> Breaker:
        if key not in self._breakers:
            self._breakers[key] = Breaker(
                key, self._board, failures_to_open=self._failures_to_open, probe_seconds=self._probe_seconds
            )
        return self._breakers[key]
