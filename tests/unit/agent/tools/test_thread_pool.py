"""Threads for synchronous tools: bounded, and counted when they are lost."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from agent.tools.run_context import RunContext
from agent.tools.thread_pool import NotStarted, StillRunning, ToolThreads
from agent.tools.tool import Tool
from agent.tools.toolbox import run

CONTEXT = RunContext(tenant="acme", thread_id="t-1", turn_id="turn-1", call_id="call-1")


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Functions of a test wait for it; it opens at the end at the latest."""
    event = threading.Event()
    yield event
    event.set()


async def until(condition: object, seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


async def test_no_more_functions_run_at_once_than_there_are_threads() -> None:
    threads, lock, running, peaks = ToolThreads(3), threading.Lock(), [0], []

    def work() -> None:
        with lock:
            running[0] += 1
            peaks.append(running[0])
        time.sleep(0.01)
        with lock:
            running[0] -= 1

    await asyncio.gather(*(threads.call(work, timeout_seconds=5) for _ in range(12)))

    assert (max(peaks), len(peaks)) == (3, 12)


async def test_a_function_that_overruns_counts_as_stuck_until_it_returns(gate: threading.Event) -> None:
    threads = ToolThreads(2)

    with pytest.raises(StillRunning):
        await threads.call(gate.wait, timeout_seconds=0.02)

    assert (threads.stuck, threads.limit_reached) == (1, True)

    gate.set()
    await until(lambda: threads.stuck == 0)
    assert not threads.limit_reached


async def test_a_function_that_found_no_thread_never_runs(gate: threading.Event) -> None:
    threads, ran = ToolThreads(1), []
    busy = threads.submit(gate.wait)

    with pytest.raises(NotStarted):
        await threads.call(lambda: ran.append(1), timeout_seconds=0.02)

    gate.set()
    await asyncio.wrap_future(busy)
    assert await threads.call(lambda: "next", timeout_seconds=5) == "next"
    assert (ran, threads.stuck) == ([], 0)


async def test_a_cancelled_wait_leaves_a_stuck_thread(gate: threading.Event) -> None:
    threads = ToolThreads(1)
    task = asyncio.create_task(threads.call(gate.wait, timeout_seconds=5))
    await asyncio.sleep(0.02)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert threads.stuck == 1


async def test_a_functions_own_timeout_error_is_no_overrun() -> None:
    def fail() -> None:
        raise TimeoutError("from the database")

    with pytest.raises(TimeoutError, match="from the database"):
        await ToolThreads(1).call(fail, timeout_seconds=5)


async def test_the_outcome_of_a_sync_tool_that_overruns_is_unknown(gate: threading.Event) -> None:
    made = Tool.from_function(lambda: bool(gate.wait()), name="slow", timeout_seconds=0.02, idempotent=True)

    result = await run(made, "", CONTEXT, executor=ToolThreads(1))

    assert result.outcome == "unknown"


async def test_a_sync_tool_that_found_no_thread_has_a_known_outcome(gate: threading.Event) -> None:
    threads = ToolThreads(1)
    threads.submit(gate.wait)

    result = await run(Tool.from_function(lambda: 1, name="f", timeout_seconds=0.02), "", CONTEXT, executor=threads)

    assert result.outcome == "failed"
    assert "was not started" in result.content


def test_a_stuck_function_does_not_hold_up_the_exit_of_the_process() -> None:
    script = (
        "import time, threading; from agent.tools.thread_pool import ToolThreads; began = threading.Event(); "
        "ToolThreads(1).submit(lambda: (began.set(), time.sleep(60))); began.wait(5)"
    )

    done = subprocess.run([sys.executable, "-c", script], timeout=20, check=False)

    assert done.returncode == 0
