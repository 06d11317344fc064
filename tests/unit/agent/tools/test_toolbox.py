"""What a call of a tool comes to: its result as JSON, or an error that the model can act on."""

import asyncio
import contextlib
import contextvars
import dataclasses
import enum
import errno
import json
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field
from structlog.testing import capture_logs
from typing_extensions import TypedDict

from agent.tools.result import ERROR_MAX_CHARS, RESULT_MAX_CHARS, ToolResult
from agent.tools.run_context import RunContext
from agent.tools.thread_pool import ToolThreads
from agent.tools.tool import Tool
from agent.tools.tool_loops import ToolLoops
from agent.tools.toolbox import Toolbox, run
from conversation.exhaustion import Exhausted

CONTEXT = RunContext(tenant="acme", thread_id="t-1", turn_id="turn-1", call_id="call-1")
UNSHOWABLE = object()


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Address(BaseModel):
    street: str
    number: int = Field(1, ge=1)


class Filter(TypedDict):
    text: str


async def call(function: Any, arguments: str = "", context: RunContext = CONTEXT, **options: Any) -> ToolResult:
    made = function if isinstance(function, Tool) else Tool.from_function(function, name="probe", **options)
    return await run(made, arguments, context, executor=ToolThreads(2))


def error_of(result: ToolResult) -> dict[str, str]:
    return json.loads(result.content)["error"]


async def test_values_arrive_as_the_annotations_say() -> None:
    seen: dict[str, Any] = {}

    def take(colour: Colour, point: Point, address: Address, chosen: Filter, when: datetime, *, json: str = "x"):
        seen.update(locals())

    arguments = {
        "colour": "red",
        "point": {"x": 1},
        "address": {"street": "High St"},
        "chosen": {"text": "a"},
        "when": "2026-01-02T03:04:05Z",
    }
    result = await call(take, json.dumps(arguments))

    assert result.outcome == "finished"
    assert seen["colour"] is Colour.RED
    assert seen["point"] == Point(1, 0)
    assert seen["address"] == Address(street="High St")
    assert seen["chosen"] == {"text": "a"}
    assert seen["when"] == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert seen["json"] == "x"


async def test_the_context_is_handed_to_the_call() -> None:
    def who(first: int, context: RunContext, /) -> list[Any]:
        return [first, context.tenant, context.call_id]

    assert (await call(who, '{"first": 7}')).content == '[7,"acme","call-1"]'


async def test_a_mutable_default_is_fresh_in_every_call() -> None:
    def collect(items: list[int] = []) -> list[int]:  # noqa: B006 - the mistake that users make
        items.append(1)
        return items

    made = Tool.from_function(collect)

    assert [(await call(made)).content for _ in range(2)] == ["[1]", "[1]"]


async def test_an_unknown_tool_is_answered_with_the_names_there_are() -> None:
    box = Toolbox([Tool.from_function(lambda: 1, name="one"), Tool.from_function(lambda: 2, name="two")])

    result = await box.run("three", "{}", CONTEXT, executor=ToolThreads(1))

    assert result.outcome == "failed"
    assert error_of(result) == {"type": "UnknownTool", "message": "there is no tool 'three'; available: one, two"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ('{"a":', "the arguments are not valid JSON (EOF while parsing a value at line 1 column 5)"),
        ("[1]", "the arguments must be one JSON object"),
        ("", "a: required, but missing"),
        ('{"a": 0}', "a: Input should be greater than or equal to 1"),
        ('{"a": 1, "z": 2}', "z: no such parameter"),
        ('{"a": 1, "at": {"y": 1}}', "at.x: required, but missing"),
    ],
)
async def test_wrong_arguments_are_told_to_the_model_and_the_function_is_not_called(
    arguments: str, message: str
) -> None:
    calls = []

    def probe(a: Annotated[int, Field(ge=1)], at: Point = Point(0)) -> None:  # noqa: B008 - a value that is never changed
        calls.append(a)

    result = await call(probe, arguments)

    assert error_of(result) == {"type": "InvalidArguments", "message": message}
    assert (result.outcome, calls) == ("failed", [])


@pytest.mark.parametrize(
    "nothing",
    ["", " ", "{}", "null", "None", "[]", "[ ]", "[{}]", '""', "''", "undefined", '"{}"', '"null"', "\ufeff", "{}\x00"],
)
async def test_every_spelling_of_nothing_is_no_arguments(nothing: str) -> None:
    assert (await call(lambda a="default", b=None: [a, b], nothing)).content == '["default",null]'


async def test_an_object_that_is_quoted_as_a_string_is_taken_for_the_object() -> None:
    assert (await call(lambda a: a, json.dumps('{"a": 1}'))).content == "1"


async def test_null_is_taken_where_none_is_the_default() -> None:
    def look(place: str = None) -> Any:  # type: ignore[assignment] # noqa: RUF013 - what users write
        return place

    assert (await call(look, '{"place": null}')).content == "null"


@pytest.mark.parametrize(
    ("value", "content"),
    [
        (None, "null"),
        ("text", '"text"'),
        (Decimal("1.10"), '"1.10"'),
        (datetime(2026, 1, 2, tzinfo=UTC), '"2026-01-02T00:00:00Z"'),
        (Point(1, 2), '{"x":1,"y":2}'),
        (Address(street="é"), '{"street":"é","number":1}'),
        ({"a": float("nan"), Colour.RED: {1}}, '{"a":"NaN","red":[1]}'),
        ({"a": 1}.keys(), '["a"]'),
        (b"\xff", '{"base64":"/w==","size_bytes":1}'),
    ],
)
async def test_a_result_reaches_the_model_as_json(value: object, content: str) -> None:
    assert await call(lambda: value) == ToolResult(content, "finished")


@pytest.mark.parametrize("value", [UNSHOWABLE, [b"\xff"], "\udc80"])
async def test_a_result_that_json_cannot_show_is_an_error_that_says_the_tool_ran(value: object) -> None:
    result = await call(lambda: value)

    assert result.outcome == "failed"
    assert error_of(result)["type"] == "UnshowableResult"
    assert error_of(result)["message"].startswith("the tool ran, but")
    assert "0x" not in result.content


@pytest.mark.parametrize("value", ['"' * RESULT_MAX_CHARS, "é" * 2 * RESULT_MAX_CHARS, list(range(50_000))])
async def test_a_long_result_is_cut_and_says_so(value: object) -> None:
    result = await call(lambda: value)

    assert 0.9 * RESULT_MAX_CHARS < len(result.content) <= RESULT_MAX_CHARS
    assert "only the beginning of" in json.loads(result.content)["truncated"]


async def test_an_exception_is_told_without_its_trace_and_logged_without_its_message() -> None:
    def divide() -> None:
        raise ZeroDivisionError("secret " * 1000)

    with capture_logs() as logs:
        result = await call(divide)

    error = error_of(result)
    assert (error["type"], len(error["message"]), result.outcome) == ("ZeroDivisionError", ERROR_MAX_CHARS, "failed")
    assert "Traceback" not in result.content
    assert "divide" in logs[0]["trace"][-1]
    assert "secret" not in str(logs)


async def fail_async(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("error", [SystemExit(1), StopIteration(), TimeoutError("db"), asyncio.CancelledError()])
@pytest.mark.parametrize("is_async", [True, False])
async def test_no_exception_of_a_tool_ends_the_turn(error: BaseException, is_async: bool) -> None:
    def fail() -> None:
        raise error

    if is_async and isinstance(error, StopIteration):
        error = StopAsyncIteration()

    result = await call((lambda: fail_async(error)) if is_async else fail)

    assert (result.outcome, error_of(result)["type"]) == ("failed", type(error).__name__)


@pytest.mark.parametrize("is_async", [True, False])
async def test_what_the_process_lacks_is_no_result_in_a_worker(is_async: bool) -> None:
    """Another process can go on with the turn. In a library call, none can, and the model is told."""
    error = OSError(errno.EMFILE, "Too many open files")

    def fail() -> None:
        raise error

    async def fail_on_loop() -> None:
        raise error

    tool = Tool.from_function(fail_on_loop if is_async else fail, name="probe")
    threads = ToolThreads(2)
    loops = ToolLoops(threads)

    with pytest.raises(Exhausted):
        await run(tool, "", CONTEXT, executor=threads, loops=loops)
    assert error_of(await run(tool, "", CONTEXT, executor=threads))["type"] == "OSError"
    loops.stop()


async def test_a_request_for_more_memory_than_there_is_is_the_tools_own_mistake() -> None:
    def ask() -> int:
        return len(bytearray(10**15))

    threads = ToolThreads(2)
    loops = ToolLoops(threads)
    result = await run(Tool.from_function(ask), "", CONTEXT, executor=threads, loops=loops)

    assert error_of(result)["type"] == "MemoryError"


async def test_a_tool_for_which_no_thread_can_start_waits_for_one_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none does, the process has run out of them."""
    threads, gate = ToolThreads(2), threading.Event()
    working = threads.submit(gate.wait)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    behind = threads.submit(lambda: "done")
    gate.set()

    assert working.result(5)
    assert behind.result(5) == "done"
    while threads._threads:  # noqa: ASYNC110 - a thread's end
        await asyncio.sleep(0.01)
    with pytest.raises(Exhausted):
        threads.submit(lambda: "done").result(5)


async def test_an_async_tool_runs_on_the_loop() -> None:
    loop = asyncio.get_running_loop()

    async def same() -> bool:
        return asyncio.get_running_loop() is loop

    assert (await call(same)).content == "true"


@pytest.mark.parametrize(("idempotent", "outcome"), [(False, "unknown"), (True, "unknown")])
async def test_an_async_tool_that_overruns_is_cancelled(idempotent: bool, outcome: str) -> None:
    ends = []

    async def slow() -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    result = await call(slow, timeout_seconds=0.02, idempotent=idempotent)

    assert (result.outcome, error_of(result)["type"], ends) == (outcome, "Timeout", ["cancelled"])


@pytest.fixture
def stubborn(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Awaitable[None]]:
    """A tool that goes on when it is told to stop."""
    monkeypatch.setattr("agent.tools.toolbox.STOP_SECONDS", 0.02)

    async def tool() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(30)
        await asyncio.sleep(30)

    return tool


async def test_an_async_tool_that_swallows_its_cancellation_is_left_to_itself(stubborn: Any) -> None:
    with capture_logs() as logs:
        result = await call(stubborn, timeout_seconds=0.02)

    assert (result.outcome, error_of(result)["type"]) == ("unknown", "Timeout")
    assert [entry["event"] for entry in logs] == ["tool_refuses_to_stop"]


async def test_a_tool_that_swallows_its_cancellation_does_not_hold_the_turn(stubborn: Any) -> None:
    task = asyncio.create_task(call(stubborn))
    await asyncio.sleep(0.02)

    task.cancel()

    done, _ = await asyncio.wait({task}, timeout=30)
    assert done
    assert task.cancelled()


async def test_the_turns_deadline_cuts_a_tools_time() -> None:
    soon = dataclasses.replace(CONTEXT, deadline=datetime.now(UTC) + timedelta(seconds=0.05))
    over = dataclasses.replace(CONTEXT, deadline=datetime.now(UTC))

    assert (await call(lambda: asyncio.sleep(30), context=soon)).outcome == "unknown"
    assert error_of(await call(lambda: 1, context=over))["type"] == "DeadlinePassed"


async def test_the_cancellation_of_the_turn_passes_through() -> None:
    task = asyncio.create_task(call(lambda: asyncio.sleep(30)))
    await asyncio.sleep(0.02)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_sync_tool_sees_the_callers_context_variables() -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")

    assert (await call(lambda: [variable.get()])).content == '["set"]'
