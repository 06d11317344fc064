"""The tools of one agent, and how a call is run.

What stays true: whatever a tool or a model does wrong becomes a `ToolResult`; only the
cancellation of the turn passes through.
"""

import asyncio
import contextvars
import inspect
import traceback
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog

from agent.tools.arguments import InvalidArguments
from agent.tools.result import ToolResult, describe_exception, failure, success
from agent.tools.run_context import RunContext
from agent.tools.thread_pool import NotStarted, StillRunning, ToolThreads
from agent.tools.tool import Tool
from conversation.errors import InvalidInput

#: Seconds that an async tool has to clean up after it was cancelled.
STOP_SECONDS = 1.0
#: Innermost frames of a tool's exception in the log: enough to find the line.
TRACE_FRAMES = 8

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

    async def run(self, name: str, arguments_json: str, context: RunContext, *, executor: ToolThreads) -> ToolResult:
        """Run the tool that the model named; a name that no tool has is reported to the model."""
        tool = self._tools.get(name)
        if tool is None:
            return failure("UnknownTool", f"there is no tool {name[:64]!r}; {self._list_available()}")
        return await run(tool, arguments_json, context, executor=executor)

    def _list_available(self) -> str:
        return f"available: {', '.join(self._tools)}" if self._tools else "no tools are available"


async def run(tool: Tool, arguments_json: str, context: RunContext, *, executor: ToolThreads) -> ToolResult:
    """Check the arguments and call the function, within the tool's time and the turn's."""
    try:
        bound_arguments = tool.arguments.bind(arguments_json, context)
    except InvalidArguments as refusal:
        return failure("InvalidArguments", str(refusal))
    except Exception as error:  # noqa: BLE001 - foreign code: a type of the user's may raise anything while it is checked
        return _report_exception(error, tool, context)
    seconds = _remaining_seconds(tool, context)
    if seconds <= 0:
        return failure("DeadlinePassed", "the turn's time is over; the tool was not started")
    call = partial(tool.function, *bound_arguments.args, **bound_arguments.kwargs)
    if tool.is_async:
        return await _run_on_loop(call, tool, context, seconds)
    return await _run_in_thread(call, tool, context, seconds, executor)


async def _run_on_loop(
    call: Callable[[], Awaitable[Any]], tool: Tool, context: RunContext, seconds: float
) -> ToolResult:
    """Run an async tool in a task of its own, so that one that swallows its cancellation blocks no caller."""
    task = asyncio.create_task(_await_result(call, tool, context))
    try:
        await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        await _stop(task, tool, context)
        raise
    if task.done():
        return task.result()
    await _stop(task, tool, context)
    return _timeout_failure(tool, seconds)


async def _await_result(call: Callable[[], Awaitable[Any]], tool: Tool, context: RunContext) -> ToolResult:
    try:
        return success(await call())
    except asyncio.CancelledError as error:
        if is_task_cancelled():
            raise
        # The turn was not cancelled: something that the tool waited for was.
        return _report_exception(error, tool, context)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - foreign code; its sys.exit() ends its call, not the worker
        return _report_exception(error, tool, context)


async def _stop(task: asyncio.Task[ToolResult], tool: Tool, context: RunContext) -> None:
    """Cancel a tool, and let it clean up; one that goes on after that is left to itself."""
    task.cancel()
    _, pending_tasks = await asyncio.wait({task}, timeout=STOP_SECONDS)
    if pending_tasks:
        _log.error("tool_refuses_to_stop", tool=tool.name, call_id=context.call_id)


async def _run_in_thread(
    call: Callable[[], Any], tool: Tool, context: RunContext, seconds: float, executor: ToolThreads
) -> ToolResult:
    call_in_context = partial(contextvars.copy_context().run, _call_in_thread, call, tool, context)
    try:
        outcome = await executor.call(call_in_context, timeout_seconds=seconds)
    except NotStarted:
        return failure("Busy", f"no thread was free within {seconds:g} s; the tool was not started")
    except StillRunning:
        return _still_running_failure(seconds)
    if isinstance(outcome, ToolResult):
        return outcome
    # A plain function that returned a coroutine: an async one behind a decorator.
    return await _run_on_loop(lambda: outcome, tool, context, seconds)


def _call_in_thread(call: Callable[[], Any], tool: Tool, context: RunContext) -> ToolResult | Awaitable[Any]:
    """Call and encode in the thread: encoding a large result must not hold up the loop."""
    try:
        value = call()
        return value if inspect.isawaitable(value) else success(value)
    except BaseException as error:  # noqa: BLE001 - foreign code; nothing it raises may end the thread or the worker
        return _report_exception(error, tool, context)


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
    frames = traceback.extract_tb(error.__traceback__)[-TRACE_FRAMES:]
    trace = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    kind = type(error).__name__
    _log.warning("tool_raised", tool=tool.name, call_id=context.call_id, error=kind, trace=trace)
    return describe_exception(error)


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
