"""An event loop that tools share, and cannot take from each other.

What stays true: code that runs in the context of one call cancels no task of another call that still runs,
and stops no loop; what tools send to threads by asyncio runs in threads that can be left behind.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from agent.tools.thread_pool import ToolThreads
from agent.tools.tool import Tool

_log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class LoopCall:
    """One call of an async tool, as the loop that runs it knows it."""

    tool: Tool
    call_id: str
    is_over: bool = False
    #: Seconds for which this call itself held up its loop.
    blocked_seconds: float = 0.0
    #: What it sent to threads, and is at work there.
    thread_work: set[Future[Any]] = field(default_factory=set)
    #: The ids of its turn, for lines that others log of it.
    turn_ids: dict[str, Any] = field(default_factory=structlog.contextvars.get_contextvars)


def turn_ids_of(call: LoopCall | None) -> dict[str, Any]:
    """The ids of a call's turn; none where no call is known."""
    return {} if call is None else call.turn_ids


#: The call in whose context code runs: its tasks, callbacks and timers inherit it.
current_call: contextvars.ContextVar[LoopCall | None] = contextvars.ContextVar("current_call", default=None)


class GuardedTask(asyncio.Task[Any]):
    """A task that only its own call cancels, or we, while that call runs."""

    def __init__(self, work: Coroutine[Any, Any, Any], **options: Any) -> None:
        super().__init__(work, **options)
        self.call = current_call.get()

    def cancel(self, msg: Any = None) -> bool:
        """Cancel the task; False, and nothing else, where another tool's call asks for it."""
        canceller = current_call.get()
        is_foreign = canceller is not None and canceller is not self.call
        if is_foreign and self.call is not None and not self.call.is_over:
            _log.warning("tool_cancels_others", tool=canceller.tool.name if canceller else "")
            return False
        return super().cancel(msg)


class GuardedLoop(asyncio.SelectorEventLoop):
    """A loop for tools."""

    def __init__(self, threads: ToolThreads) -> None:
        super().__init__()
        self._tool_threads = threads
        self.set_task_factory(_create_task)
        self.set_exception_handler(_log_exception)

    def stop(self) -> None:
        """Stop the loop, unless a tool asks for it."""
        if current_call.get() is not None:
            raise RuntimeError("a tool cannot stop the loop that all tools share")
        super().stop()

    async def shutdown_default_executor(self, *_: Any) -> None:
        """Refuse: the threads are shared."""
        raise RuntimeError("a tool cannot shut down the threads that all tools share")

    def run_in_executor(  # type: ignore[override] # its types differ between versions of Python
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Run a function in a thread: without an executor, in one that the exit of the process waits not for."""
        if executor is not None:
            return super().run_in_executor(executor, func, *args)
        future = self._tool_threads.submit(partial(func, *args))
        call = current_call.get()
        if call is not None:
            call.thread_work.add(future)
            future.add_done_callback(call.thread_work.discard)
        return self.create_task(self._tool_threads.wait(future, timeout_seconds=None))


def _call_of(handle: Any) -> LoopCall | None:
    """The call in which a callback was asked for."""
    asked_in: contextvars.Context | None = getattr(handle, "_context", None)
    return None if asked_in is None else asked_in.get(current_call)


def _create_task(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> GuardedTask:
    return GuardedTask(work, loop=loop, **options)


def _log_exception(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what nobody waited for, by its type alone: its text, and asyncio's, quote what users said."""
    error = context.get("exception")
    call = getattr(context.get("task") or context.get("future"), "call", None) or _call_of(context.get("handle"))
    _log.warning(
        "tool_left_error_behind", error=type(error).__name__ if error is not None else None, **turn_ids_of(call)
    )
