"""The tools of one agent, and how a call is run.

What stays true: this is the one border to foreign code. Arguments are checked, the function is called and
its result is encoded off the loop of the turns, and whatever is raised there becomes a `ToolResult`; only
the cancellation of the turn passes through, and `Exhausted`, which is not the tool's fault.
"""

import asyncio
import contextvars
import inspect
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog

from agent.tools.arguments import InvalidArguments
from agent.tools.questions import find_question
from agent.tools.result import ToolResult, describe_exception, failure, is_quickly_shown, success
from agent.tools.run_context import RunContext
from agent.tools.thread_pool import NotStarted, StillRunning, ToolThreads
from agent.tools.tool import Tool
from agent.tools.tool_loops import CallersLoop, Outcome, RunningCall, StartsCalls
from conversation.errors import InvalidInput
from conversation.exhaustion import Exhausted, Resource, has_memory, missing_resource, resource_of
from conversation.foreign_exceptions import name_of, trace_of

#: Seconds that an async tool has to clean up after it was cancelled.
STOP_SECONDS = 1.0
#: Seconds in which the result of an async tool is encoded, at least: its own time may be over.
ENCODE_SECONDS = 10.0

_log = structlog.get_logger(__name__)


class Toolbox:
    """Tools by name, in the order in which they are declared to the model."""

    def __init__(self, tools: Iterable[Tool | Callable[..., Any]] = ()) -> None:
        self._tools: dict[str, Tool] = {}
        for item in tools:
            tool = item if isinstance(item, Tool) else Tool.from_function(item)
            if tool.name in self._tools:
                raise InvalidInput("tools", f"hold two named {tool.name!r}", "pass name= to one of them to rename it")
            self._tools[tool.name] = tool

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._tools)

    def get(self, name: str) -> Tool | None:
        return self._tools.get(name)

    def declarations(self) -> tuple[dict[str, Any], ...]:
        """The tools as a `ModelRequest` carries them."""
        return tuple(tool.declaration() for tool in self)

    async def run(
        self,
        name: str,
        arguments_json: str,
        context: RunContext,
        *,
        executor: ToolThreads,
        loops: StartsCalls | None = None,
    ) -> ToolResult:
        """Run the tool that the model named; a name that no tool has is reported to the model."""
        tool = self._tools.get(name)
        if tool is None:
            return failure("UnknownTool", f"there is no tool {name[:64]!r}; {self._list_available()}")
        return await run(tool, arguments_json, context, executor=executor, loops=loops)

    def _list_available(self) -> str:
        return f"available: {', '.join(self._tools)}" if self._tools else "no tools are available"


async def run(
    tool: Tool, arguments_json: str, context: RunContext, *, executor: ToolThreads, loops: StartsCalls | None = None
) -> ToolResult:
    """Check the arguments and call the function, within the tool's time and the turn's.

    Async tools run on `loops`, and on the caller's own loop without any. Raises `Exhausted` with `loops` where the
    process has run out of what the call needs.
    """
    seconds = _remaining_seconds(tool, context)
    if seconds <= 0:
        return failure("DeadlinePassed", "the turn's time is over; the tool was not started")
    call = _Call(tool, context, seconds, executor, loops or CallersLoop())
    try:
        if tool.is_async:
            return await call.run_on_loop(partial(_call_async, tool, arguments_json, context))
        return await call.run_in_thread(arguments_json)
    except Exhausted as error:
        if loops is not None:
            raise
        # A library call: no other process can go on with its turn.
        return describe_exception(error.__cause__ or error)


@dataclass(frozen=True, slots=True)
class _Call:
    """One call of a tool, seen from the loop of its turn."""

    tool: Tool
    context: RunContext
    #: Seconds that the function may take.
    seconds: float
    threads: ToolThreads
    loops: StartsCalls

    async def run_in_thread(self, arguments_json: str) -> ToolResult:
        """Run a plain function."""
        call = partial(_call_in_thread, self.tool, arguments_json, self.context)
        try:
            outcome = await self.threads.call(
                partial(contextvars.copy_context().run, call), timeout_seconds=self.seconds
            )
        except NotStarted:
            return failure("Busy", f"no thread was free within {self.seconds:g} s; the tool was not started")
        except StillRunning:
            return _still_running_failure(self.seconds)
        if isinstance(outcome, ToolResult):
            return outcome
        # A plain function that returned a coroutine: an async one behind a decorator.
        return await self.run_on_loop(lambda: outcome)

    async def run_on_loop(self, work: Callable[[], Awaitable[Any]]) -> ToolResult:
        """Run an async tool; one that swallows its cancellation blocks no caller."""
        started = time.monotonic()
        outcome = await self._await_outcome(work)
        if outcome is not None and outcome.is_lost and (self.tool.idempotent or not outcome.has_begun):
            # A tool blocked the loop for good. This call may run on the next one.
            outcome = await self._await_outcome(work)
        if outcome is None:
            return _timeout_failure(self.tool, self.seconds)
        if outcome.is_lost:
            return _lost_failure()
        return await self._encode(outcome, self.seconds - (time.monotonic() - started))

    async def _await_outcome(self, work: Callable[[], Awaitable[Any]]) -> Outcome | None:
        """Wait for the call within its time; None where it was cut off. Time that others took does not count."""
        running = self.loops.start(work, self.tool, self.context.call_id)
        end = time.monotonic() + self.seconds
        try:
            while not running.outcome.done():
                remaining = end + running.waited_seconds() - time.monotonic()
                if remaining <= 0:
                    await self._stop(running)
                    return None
                await asyncio.wait({running.outcome}, timeout=remaining)
        except asyncio.CancelledError:
            await self._stop(running)
            raise
        return Outcome(is_lost=True, has_begun=False) if running.outcome.cancelled() else running.outcome.result()

    async def _stop(self, running: RunningCall) -> None:
        """Cancel a call, and let it clean up; one that goes on after that is left to itself."""
        running.stop()
        await asyncio.wait({running.outcome}, timeout=STOP_SECONDS)
        if not running.outcome.done():
            _log.error("tool_refuses_to_stop", tool=self.tool.name, call_id=self.context.call_id)

    async def _encode(self, outcome: Outcome, seconds: float) -> ToolResult:
        """Encode an outcome in a thread: its own code may take long, or hang."""
        if (question := find_question(outcome.error)) is not None:
            return ToolResult("", question=question)
        if outcome.error is None and isinstance(outcome.value, ToolResult):
            return outcome.value
        if outcome.error is None and is_quickly_shown(outcome.value):
            return success(outcome.value)
        encode = partial(contextvars.copy_context().run, _encode_in_thread, outcome, self.tool, self.context)
        seconds = max(seconds, ENCODE_SECONDS)
        try:
            return await self.threads.call(encode, timeout_seconds=seconds, at_once=True)
        except NotStarted:
            return failure("Busy", "the tool ran, but no thread was free to read its result")
        except StillRunning:
            return failure("ResultTooLarge", f"the tool ran, but its result could not be read within {seconds:g} s")


async def _call_async(tool: Tool, arguments_json: str, context: RunContext) -> Any:
    """Check the arguments and call, on the loop of tools: a type of the user's may do anything in its check."""
    try:
        bound_arguments = tool.arguments.bind(arguments_json, context)
    except InvalidArguments as refusal:
        return failure("InvalidArguments", str(refusal))
    return await tool.function(*bound_arguments.args, **bound_arguments.kwargs)


def _call_in_thread(tool: Tool, arguments_json: str, context: RunContext) -> ToolResult | Awaitable[Any]:
    """Check the arguments, call and encode, in a thread."""
    try:
        bound_arguments = tool.arguments.bind(arguments_json, context)
        value = tool.function(*bound_arguments.args, **bound_arguments.kwargs)
        return value if inspect.isawaitable(value) else success(value)
    except InvalidArguments as refusal:
        return failure("InvalidArguments", str(refusal))
    except BaseException as error:  # noqa: BLE001 - foreign code; nothing it raises may end the thread or the worker
        if (question := find_question(error)) is not None:
            return ToolResult("", question=question)
        return _report_exception(error, tool, context)


def _encode_in_thread(outcome: Outcome, tool: Tool, context: RunContext) -> ToolResult:
    if outcome.error is not None:
        return _report_exception(outcome.error, tool, context)
    return success(outcome.value)


def _remaining_seconds(tool: Tool, context: RunContext) -> float:
    if context.deadline is None:
        return tool.timeout_seconds
    return min(tool.timeout_seconds, (context.deadline - datetime.now(UTC)).total_seconds())


def is_task_cancelled() -> bool:
    """Whether somebody cancelled the current task, not only what it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _report_exception(error: BaseException, tool: Tool, context: RunContext) -> ToolResult:
    # The message is in the result. The log says where it was raised, without values: those are the user's.
    _log.warning("tool_raised", tool=tool.name, call_id=context.call_id, error=name_of(error), trace=trace_of(error))
    resource = _find_exhaustion(error)
    if resource is not None:
        raise Exhausted(resource) from error
    return describe_exception(error)


def _find_exhaustion(error: BaseException) -> Resource | None:
    """The resource that the process lacks, for which a tool failed; None where that is the tool's own affair.

    A request for more memory than there is at all is; so is a full disk, which may be any.
    """
    resource = resource_of(error)
    if resource in (Resource.THREADS, Resource.DESCRIPTORS):
        return resource
    if resource is Resource.MEMORY:
        # What the tool itself held on to is free from here on.
        traceback.clear_frames(error.__traceback__)
        return None if has_memory() else resource
    # Where the error has lost its cause, as that of a name that could not be looked up.
    return missing_resource()


def _lost_failure() -> ToolResult:
    return failure(
        "Unknown",
        "another tool held up the worker for so long that this call was given up; its effect is unknown",
        outcome="unknown",
    )


def _timeout_failure(tool: Tool, seconds: float) -> ToolResult:
    message = f"the tool was cut off after {seconds:g} s"
    if tool.idempotent:
        return failure("Timeout", f"{message}; it may safely be called again", outcome="unknown")
    return failure("Timeout", f"{message}; whether it had an effect is unknown", outcome="unknown")


def _still_running_failure(seconds: float) -> ToolResult:
    return failure(
        "Timeout",
        f"the tool did not return within {seconds:g} s and may still run; its effect is unknown",
        outcome="unknown",
    )
