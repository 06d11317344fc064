"""The border to foreign code: whatever a tool does, its call comes to a result, and its neighbours to theirs."""

import asyncio
import contextvars
import dataclasses
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

import pytest
from pydantic import BeforeValidator
from structlog.testing import capture_logs

from agent.files.thread_files import ThreadFiles
from agent.tools import tool_loops, toolbox
from agent.tools.run_context import RunContext
from agent.tools.tool import Tool
from agent.tools.tool_loops import StartsCalls, ToolLoops
from agent.tools.toolbox import run
from tests.unit.agent.tools.calls import CONTEXT, THREADS, call, error_of, sleep_a_moment


class Own(BaseException):
    """An exception that no `except Exception` catches."""


class Broken(Exception):
    """An exception that cannot be shown."""

    def __str__(self) -> str:
        raise KeyboardInterrupt


class Misnamed(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override] # as foreign code may
        raise SystemExit


class Nameless(Exception, metaclass=Misnamed):
    """An exception that cannot even be named."""


def deep_group() -> ExceptionGroup[Exception]:
    group: ExceptionGroup[Exception] = ExceptionGroup("all", [ValueError(f"leaf {n}") for n in range(1000)])
    for _ in range(2000):
        group = ExceptionGroup("one more", [group])
    return group


RAISED = [
    KeyboardInterrupt(),
    SystemExit(3),
    GeneratorExit(),
    asyncio.CancelledError("by hand"),
    Own("own"),
    StopIteration("stop"),
    StopAsyncIteration(),
    RecursionError(),
    MemoryError(),
    TimeoutError("the database's"),
    ValueError("x" * 10_000_000),
    ValueError("\udc80\x00"),
    Broken(),
    Nameless(),
    BaseExceptionGroup("g", [KeyboardInterrupt(), ValueError("v")]),
    deep_group(),
]


# Exceptions


def raising(error: BaseException, *, is_async: bool) -> Callable[[], Any]:
    def fail() -> None:
        raise error

    async def fail_async() -> None:
        raise error

    return fail_async if is_async else fail


@pytest.mark.parametrize("is_async", [True, False])
async def test_whatever_a_tool_raises_is_the_result_of_its_call_alone(loops: StartsCalls, is_async: bool) -> None:
    for error in RAISED:
        result, neighbour = await asyncio.gather(
            call(raising(error, is_async=is_async), loops), call(sleep_a_moment, loops)
        )

        assert result.outcome == "failed", error
        assert len(result.content) < 13_000, type(error)
        assert neighbour.content == '"slept"', error


async def test_a_group_of_exceptions_is_told_by_its_leaves(loops: StartsCalls) -> None:
    async def fail() -> None:
        raise deep_group()

    message = error_of(await call(fail, loops))["message"]

    assert message.startswith("ValueError: leaf 0; ValueError: leaf 1; ")
    assert message.endswith("and 990 others")


async def test_a_check_of_arguments_that_raises_is_a_result(loops: StartsCalls) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    async def probe(a: Annotated[str, BeforeValidator(interrupt)]) -> None: ...

    def probe_in_thread(a: Annotated[str, BeforeValidator(interrupt)]) -> None: ...

    for function in (probe, probe_in_thread):
        assert error_of(await call(function, loops, '{"a": "b"}'))["type"] == "KeyboardInterrupt"


# Loops


async def cancel_itself() -> str:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)
    return "unreachable"


async def cancel_itself_and_return() -> str:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    return "returned"


async def test_a_tool_that_cancels_itself_ends_its_own_call(loops: StartsCalls) -> None:
    assert error_of(await call(cancel_itself, loops))["type"] == "CancelledError"
    assert (await call(cancel_itself_and_return, loops)).content == '"returned"'


async def cancel_all() -> None:
    for task in asyncio.all_tasks():
        if task is not asyncio.current_task():
            task.cancel()


async def stop_loop() -> None:
    asyncio.get_running_loop().stop()


async def stop_loop_from_a_thread() -> None:
    await asyncio.to_thread(asyncio.get_running_loop().stop)


async def stop_loop_from_a_foreign_thread() -> None:
    loop = asyncio.get_running_loop()
    threading.Thread(target=lambda: loop.call_soon_threadsafe(loop.stop)).start()


async def close_loop() -> None:
    asyncio.get_running_loop().close()


async def shut_down_threads() -> None:
    await asyncio.get_running_loop().shutdown_default_executor()


async def leave_an_interrupt_behind() -> None:
    async def interrupt() -> None:
        raise KeyboardInterrupt

    asyncio.get_running_loop().create_task(interrupt())
    asyncio.get_running_loop().call_soon(cancel_nobody)
    await asyncio.sleep(0.02)


def cancel_nobody() -> None:
    raise SystemExit


async def run_another_loop() -> None:
    work = sleep_a_moment()
    try:
        asyncio.run(work)
    finally:
        work.close()


#: What is told to the tool as an error.
REFUSED = (stop_loop, stop_loop_from_a_thread, close_loop, shut_down_threads, run_another_loop)
EVIL: Sequence[Callable[[], Awaitable[None]]] = [
    cancel_all,
    stop_loop,
    stop_loop_from_a_thread,
    stop_loop_from_a_foreign_thread,
    close_loop,
    shut_down_threads,
    leave_an_interrupt_behind,
    run_another_loop,
]


@pytest.mark.parametrize("evil", EVIL, ids=lambda one: one.__name__)
async def test_a_tool_takes_nothing_from_its_neighbours(tool_loops_only: ToolLoops, evil: Any) -> None:
    async def gather_and_wait() -> list[str]:
        await asyncio.to_thread(time.sleep, 0.01)
        async with asyncio.timeout(5):
            return await asyncio.gather(*(sleep_a_moment() for _ in range(3)))

    neighbours = [asyncio.create_task(call(gather_and_wait, tool_loops_only)) for _ in range(5)]
    await asyncio.sleep(0.02)

    result = await call(evil, tool_loops_only)

    assert (result.outcome == "failed") is (evil in REFUSED)
    assert {(await neighbour).content for neighbour in neighbours} == {'["slept","slept","slept"]'}
    assert (await call(sleep_a_moment, tool_loops_only)).content == '"slept"'


async def test_a_tool_may_cancel_what_it_began_and_what_others_left_behind(tool_loops_only: ToolLoops) -> None:
    left: list[asyncio.Task[None]] = []

    async def begin() -> None:
        left.append(asyncio.get_running_loop().create_task(asyncio.sleep(30)))

    async def cancel() -> list[bool]:
        own = asyncio.get_running_loop().create_task(asyncio.sleep(30))
        for task in (own, *left):
            task.cancel()
        await asyncio.wait([own, *left])
        return [own.cancelled(), *(task.cancelled() for task in left)]

    await call(begin, tool_loops_only)
    assert (await call(cancel, tool_loops_only)).content == "[true,true]"


async def test_what_a_tool_leaves_behind_is_logged_without_its_text(tool_loops_only: ToolLoops) -> None:
    async def leave() -> None:
        async def fail() -> None:
            raise ValueError("secret")

        asyncio.get_running_loop().create_task(fail())
        await asyncio.sleep(0)

    with capture_logs() as logs:
        await call(leave, tool_loops_only)
        for _ in range(100):
            if logs:
                break
            await asyncio.sleep(0.02)

    assert [entry["event"] for entry in logs] == ["tool_left_error_behind"]
    assert "secret" not in str(logs)


# Time


async def test_tools_share_one_loop_and_see_the_callers_context_variables(tool_loops_only: ToolLoops) -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")
    seen: list[object] = []

    async def look() -> str:
        seen.append(asyncio.get_running_loop())
        return variable.get()

    assert [(await call(look, tool_loops_only)).content for _ in range(2)] == ['"set"'] * 2
    assert seen[0] is seen[1]
    assert seen[0] is not asyncio.get_running_loop()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_loops, "WATCH_SECONDS", 0.02)
    monkeypatch.setattr(tool_loops, "BLOCKED_SECONDS", 0.1)
    monkeypatch.setattr(tool_loops, "MOVE_SECONDS", 0.3)


@pytest.mark.usefixtures("hasty")
async def test_neighbours_of_a_tool_that_blocks_lose_nothing(tool_loops_only: ToolLoops) -> None:
    """Their time stands still while another tool holds up their loop; the log names that tool and its line."""

    async def block() -> str:
        time.sleep(1.5)  # noqa: ASYNC251 - the mistake that the test is about
        return "blocked"

    async def wait() -> str:
        await asyncio.sleep(0.2)
        return "waited"

    blocker, waiter = Tool.from_function(block), Tool.from_function(wait, timeout_seconds=1)
    with capture_logs() as logs:
        neighbours = [asyncio.create_task(call(waiter, tool_loops_only)) for _ in range(10)]
        await asyncio.sleep(0.05)
        blocked = await call(blocker, tool_loops_only)

    assert blocked.content == '"blocked"'
    assert {(await neighbour).content for neighbour in neighbours} == {'"waited"'}
    (entry,) = [entry for entry in logs if entry["event"] == "tool_blocks_loop"]
    assert (entry["tool"], entry["call_id"]) == ("block", "call-1")
    assert any(line.endswith(" block") for line in entry["trace"])
    assert "tool_moved_apart" in [entry["event"] for entry in logs]

    # From now on the blocker is alone.
    again = asyncio.create_task(call(blocker, tool_loops_only))
    await asyncio.sleep(0.05)
    assert (await call(waiter, tool_loops_only)).content == '"waited"'
    assert not again.done()
    await again


@pytest.mark.usefixtures("hasty")
async def test_a_loop_that_stays_blocked_is_given_up(
    tool_loops_only: ToolLoops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool_loops, "GIVE_UP_SECONDS", 0.6)
    free, begun = threading.Event(), [0]

    async def block() -> None:
        free.wait(30)

    async def wait() -> str:
        begun[0] += 1
        await asyncio.sleep(0.2)
        return "waited"

    calls = {
        "wait": asyncio.create_task(call(wait, tool_loops_only)),
        "again": asyncio.create_task(call(wait, tool_loops_only, idempotent=True)),
    }
    await asyncio.sleep(0.1)
    calls["block"] = asyncio.create_task(call(block, tool_loops_only))
    await asyncio.sleep(0.1)
    calls["later"] = asyncio.create_task(call(wait, tool_loops_only))
    results = {name: await task for name, task in calls.items()}

    # What had not begun on the lost loop begins on the next one, and what is idempotent begins again.
    assert results["later"].content == results["again"].content == '"waited"'
    assert begun == [4]
    assert {results["wait"].outcome, results["block"].outcome} == {"unknown"}
    assert THREADS.stuck == 1
    free.set()
    for _ in range(250):
        if THREADS.stuck == 0:
            break
        await asyncio.sleep(0.02)
    assert THREADS.stuck == 0


@pytest.mark.usefixtures("hasty")
async def test_the_turn_can_be_cancelled_while_its_tool_blocks(
    tool_loops_only: ToolLoops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolbox, "STOP_SECONDS", 0.02)
    free = threading.Event()

    async def block() -> None:
        free.wait(30)

    task = asyncio.create_task(call(block, tool_loops_only))
    await asyncio.sleep(0.1)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    free.set()


async def test_a_tool_of_threads_that_never_end_leaves_the_others_theirs(tool_loops_only: ToolLoops) -> None:
    gate = threading.Event()

    async def fill() -> None:
        for _ in range(8):
            asyncio.get_running_loop().run_in_executor(None, gate.wait, 30)

    await call(fill, tool_loops_only)

    assert (await call(lambda: [1], tool_loops_only, timeout_seconds=0.05)).content.startswith('{"error"')
    # The results of async tools wait behind nobody.
    assert (await call(listed, tool_loops_only)).content == "[1]"
    assert THREADS.stuck == 8
    gate.set()
    for _ in range(250):
        if THREADS.stuck == 0:
            break
        await asyncio.sleep(0.02)
    assert THREADS.stuck == 0


async def listed() -> list[int]:
    return [1]


async def test_files_are_read_on_the_loop_of_the_turn(tool_loops_only: ToolLoops) -> None:
    turn_loop, seen = asyncio.get_running_loop(), []

    class Reader:
        async def list_thread_files(self, *_: str) -> list[Any]:
            seen.append(asyncio.get_running_loop())
            return []

    context = dataclasses.replace(CONTEXT, thread_files=ThreadFiles(Reader(), "acme", "t-1", list))  # type: ignore[arg-type] # a part of one

    async def look(run: RunContext) -> int:
        return len(await run.files())

    async def look_and_block(run: RunContext) -> int:
        return len(run.files_sync())

    looked = await run(Tool.from_function(look), "", context, executor=THREADS, loops=tool_loops_only)
    refused = await run(Tool.from_function(look_and_block), "", context, executor=THREADS, loops=tool_loops_only)

    assert (looked.content, seen) == ("0", [turn_loop])
    assert "hold up the event loop" in error_of(refused)["message"]
