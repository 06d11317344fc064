"""The loops in which async tools run: away from the loop of the turns, watched, and replaced when one is lost.

What stays true: all async tools of a process share one loop, so that they can share clients. A tool that
blocks it holds up tools only, for no longer than it blocks: its neighbours' time stands still meanwhile.
A tool that blocked it for long has a loop of its own from then on. A loop that stays blocked is given up.
See decision 14.
"""

import asyncio
import contextvars
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from agent.tools.guarded_loop import GuardedLoop, LoopCall, current_call, turn_ids_of
from agent.tools.thread_pool import ToolThreads
from agent.tools.tool import Tool
from conversation.foreign_exceptions import TRACE_FRAMES

#: Seconds between two looks at the loops, and between two ways in which what a tool left behind breaks off its loop.
WATCH_SECONDS, BREAK_SECONDS = 0.25, 0.05
#: Seconds of silence after which the log names the tool that blocks a loop.
BLOCKED_SECONDS = 1.0
#: Seconds after which a tool that blocks gets a loop of its own: a machine out of breath is silent for less.
MOVE_SECONDS = 5.0
#: Seconds after which a blocked loop is given up, with what waits in it: the time of most tools.
GIVE_UP_SECONDS = 60.0

_log = structlog.get_logger(__name__)

Work = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a call: what it returned, or what it raised."""

    value: Any = None
    error: BaseException | None = None
    #: Its loop was given up while it ran: whether it took effect is unknown.
    is_lost: bool = False
    #: Its loop was given up before it began.
    has_begun: bool = True


class RunningCall(Protocol):
    """A call that runs on some loop."""

    @property
    def outcome(self) -> "asyncio.Future[Outcome]":
        """The outcome, on the loop of the caller; cancelled where the call never began."""
        ...

    def stop(self) -> None:
        """Cancel the call."""
        ...

    def waited_seconds(self) -> float:
        """Seconds for which others kept its loop from it: they do not count as its own."""
        ...


class StartsCalls(Protocol):
    """The place in which async tools run."""

    def start(self, work: Work, tool: Tool, call_id: str) -> RunningCall: ...


async def _settle(work: Work, future: "Future[Outcome] | asyncio.Future[Outcome]") -> None:
    """Run a call to its outcome, whatever it raises. Nothing is awaited behind it: it may be cancelled there."""
    try:
        outcome = Outcome(await work())
    except BaseException as error:  # noqa: BLE001 - foreign code; nothing that it raises may reach the loop
        outcome = Outcome(error=error)
    if not future.done():
        future.set_result(outcome)


class CallersLoop:
    """The caller's own loop: a library call's tools may use what lives there."""

    def start(self, work: Work, tool: Tool, call_id: str) -> "CallOnCallersLoop":  # noqa: ARG002 - as the protocol has it
        """Start a call."""
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(_settle(work, outcome))
        task.add_done_callback(lambda _: _note_unbegun(outcome))
        return CallOnCallersLoop(outcome, task)


@dataclass(frozen=True, slots=True)
class CallOnCallersLoop:
    """A call on the loop of its caller."""

    outcome: "asyncio.Future[Outcome]"
    task: "asyncio.Task[None]"

    def stop(self) -> None:
        """Cancel the call."""
        self.task.cancel()

    def waited_seconds(self) -> float:
        """None: who blocks this loop blocks the turn as well."""
        return 0.0


def _note_unbegun(future: "Future[Outcome] | asyncio.Future[Outcome]") -> None:
    """Give an outcome to a call whose task was cancelled before it began."""
    if not future.done():
        future.set_result(Outcome(error=asyncio.CancelledError()))


class CallOnToolLoop:
    """A call on a loop of tools, as its caller on another loop sees it."""

    def __init__(self, loop: "ToolLoop", work: Work, call: LoopCall) -> None:
        self._loop = loop
        self._call = call
        self._task: asyncio.Task[None] | None = None
        self._blocked_before = loop.blocked_seconds()
        self.future: Future[Outcome] = Future()
        self.outcome = asyncio.wrap_future(self.future)
        context = contextvars.copy_context()
        context.run(current_call.set, call)
        loop.calls.add(self)
        loop.loop.call_soon_threadsafe(self._begin, work, context=context)

    def stop(self) -> None:
        """Cancel the call; one that has not begun never will."""
        if not self.future.cancel():
            self._loop.loop.call_soon_threadsafe(self._cancel)

    def give_up(self) -> None:
        """Give up the call: one that has not begun never will, of another one the outcome is unknown."""
        if not self.future.cancel() and not self.future.done():
            self.future.set_result(Outcome(is_lost=True))

    def waited_seconds(self) -> float:
        """Seconds for which other calls kept its loop from it."""
        blocked_seconds = self._loop.blocked_seconds() - self._blocked_before
        return max(0.0, blocked_seconds - self._loop.blocked_seconds_by(self._call))

    def _begin(self, work: Work) -> None:
        if not self.future.set_running_or_notify_cancel():
            self._loop.calls.discard(self)
            return
        self._task = self._loop.loop.create_task(_settle(work, self.future))
        self._task.add_done_callback(self._end)

    def _end(self, _: "asyncio.Task[None]") -> None:
        self._call.is_over = True
        self._loop.calls.discard(self)
        self._loop.count_left_behind(self._call)
        _note_unbegun(self.future)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


class ToolLoop:
    """One loop in a thread of its own."""

    def __init__(self, threads: ToolThreads) -> None:
        self.loop = GuardedLoop(threads)
        self.calls: set[CallOnToolLoop] = set()
        self.is_lost = False
        self._threads = threads
        self._is_stopping = False
        #: When the loop was sent a ping that it has not answered; None while none is under way.
        self._pinged_at: float | None = None
        self._blocked_seconds = 0.0
        #: The call that blocks the loop now, once that was noticed.
        self._blocker: LoopCall | None = None
        self._is_noticed = False
        self._thread = threading.Thread(target=self._run, name="tools", daemon=True)
        self._thread.start()

    def start(self, work: Work, tool: Tool, call_id: str) -> CallOnToolLoop:
        """Start a call, from the loop of its caller."""
        return CallOnToolLoop(self, work, LoopCall(tool, call_id))

    def stop(self) -> None:
        """Stop the loop, once what it is at lets it."""
        if not self._is_stopping:
            self._is_stopping = True
            self.loop.call_soon_threadsafe(self.loop.stop)

    def count_left_behind(self, call: LoopCall) -> None:
        """Count the threads in which a call that is over left something at work."""
        for future in tuple(call.thread_work):
            if future.running():
                self._threads.count_left_behind(future)

    def blocked_seconds(self) -> float:
        """Seconds for which the loop did not answer, up to now."""
        pinged_at = self._pinged_at
        silent_seconds = 0.0 if pinged_at is None else time.monotonic() - pinged_at
        return self._blocked_seconds + silent_seconds

    def blocked_seconds_by(self, call: LoopCall) -> float:
        """Seconds of these for which one call is to blame."""
        pinged_at = self._pinged_at
        is_blocker = self._blocker is call and pinged_at is not None
        return call.blocked_seconds + (time.monotonic() - pinged_at if is_blocker and pinged_at is not None else 0.0)

    def watch(self, *, was_suspended: bool) -> float:
        """Ping the loop, and note who blocks it; returns the seconds of its silence."""
        if was_suspended and self._pinged_at is not None:
            self._pinged_at = time.monotonic()
        if self._pinged_at is None:
            if self.calls:
                self._pinged_at = time.monotonic()
                self.loop.call_soon_threadsafe(self._note_answer)
            return 0.0
        silent_seconds = time.monotonic() - self._pinged_at
        if silent_seconds > BLOCKED_SECONDS and not self._is_noticed:
            self._notice_blocker(silent_seconds)
        return silent_seconds

    @property
    def blocker(self) -> Tool | None:
        """The tool that blocks the loop now; None where it is not known."""
        return self._blocker.tool if self._blocker is not None else None

    def give_up(self) -> None:
        """Give up the loop: its calls come to no outcome, and its thread counts as stuck until it answers."""
        self.is_lost = True
        self._threads.count_lost(1)
        _log.error("tool_loop_lost", tool=_name_of(self.blocker), calls=len(self.calls), **turn_ids_of(self._blocker))
        for call in tuple(self.calls):
            call.give_up()

    def _notice_blocker(self, silent_seconds: float) -> None:
        self._is_noticed = True
        task = asyncio.current_task(self.loop)
        self._blocker = getattr(task, "call", None)
        _log.error(
            "tool_blocks_loop",
            tool=_name_of(self.blocker),
            call_id=self._blocker.call_id if self._blocker is not None else None,
            silent_seconds=round(silent_seconds, 1),
            trace=frames_of(self._thread),
            **turn_ids_of(self._blocker),
        )

    def _note_answer(self) -> None:
        """Note that the loop answers, on the loop itself."""
        assert self._pinged_at is not None
        silent_seconds = time.monotonic() - self._pinged_at
        if self._blocker is not None:
            self._blocker.blocked_seconds += silent_seconds
        self._blocked_seconds += silent_seconds
        self._pinged_at, self._blocker, self._is_noticed = None, None, False
        if self.is_lost:
            self._threads.count_lost(-1)
            for call in tuple(self.calls):
                call.stop()
            self.loop.call_later(BLOCKED_SECONDS, self.stop)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self._is_stopping:
            try:
                self.loop.run_forever()
            except BaseException as error:  # noqa: BLE001 - what a task raised that a tool left behind
                _log.warning("tool_left_error_behind", error=type(error).__name__)
                time.sleep(BREAK_SECONDS)
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()


class ToolLoops:
    """The loops of a process's async tools: one that they share, and one for each tool that blocked it."""

    def __init__(self, threads: ToolThreads) -> None:
        self._threads = threads
        self._shared: ToolLoop | None = None
        self._apart: dict[Tool, ToolLoop | None] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None

    def start(self, work: Work, tool: Tool, call_id: str) -> RunningCall:
        """Start a call on the loop that is for its tool."""
        with self._lock:
            if self._watcher is None or not self._watcher.is_alive():
                self._watcher = threading.Thread(target=self._watch, name="watch-tools", daemon=True)
                self._watcher.start()
            if tool in self._apart:
                loop = self._apart[tool] = _use_or_replace(self._apart[tool], self._threads)
            else:
                loop = self._shared = _use_or_replace(self._shared, self._threads)
        return loop.start(work, tool, call_id)

    def stop(self) -> None:
        """Stop the loops that answer; the others are left behind."""
        self._stop.set()
        for loop in self._all():
            loop.stop()

    def _all(self) -> list[ToolLoop]:
        with self._lock:
            return [loop for loop in (self._shared, *self._apart.values()) if loop is not None and not loop.is_lost]

    def _watch(self) -> None:
        looked_at = time.monotonic()
        while not self._stop.wait(WATCH_SECONDS):
            was_suspended = time.monotonic() - looked_at > 4 * WATCH_SECONDS
            looked_at = time.monotonic()
            for loop in self._all():
                silent_seconds = loop.watch(was_suspended=was_suspended)
                if silent_seconds > MOVE_SECONDS:
                    self._move_apart(loop)
                if silent_seconds > GIVE_UP_SECONDS:
                    loop.give_up()

    def _move_apart(self, loop: ToolLoop) -> None:
        """Give the tool that blocks the shared loop one of its own, for its next calls."""
        tool = loop.blocker
        with self._lock:
            if loop is not self._shared or tool is None or tool in self._apart:
                return
            self._apart[tool] = None
        _log.error("tool_moved_apart", tool=tool.name)


def _use_or_replace(loop: ToolLoop | None, threads: ToolThreads) -> ToolLoop:
    return ToolLoop(threads) if loop is None or loop.is_lost else loop


def _name_of(tool: Tool | None) -> str | None:
    return tool.name if tool is not None else None


def frames_of(thread: threading.Thread) -> list[str]:
    """The innermost frames of a thread as it runs, for the log."""
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - documented, for this very use
    if frame is None:
        return []
    stack = traceback.StackSummary.extract(traceback.walk_stack(frame), limit=TRACE_FRAMES, lookup_lines=False)
    return [f"{one.filename}:{one.lineno} {one.name}" for one in stack]
