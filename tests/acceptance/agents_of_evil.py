"""Agents for worker processes of the tests: one whose tools do what no tool should, and a neighbour.

What stays true: the neighbour's tools note their effects, each under its own text, so that a test can count them.
"""

import asyncio
import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any, NoReturn

from agent.agent import Agent
from agent.models.protocol import ModelReply, ModelRequest
from agent.offline.model import RecallModel
from agent.registry import register
from agent.tools.run_context import RunContext
from agent.tools.tool import tool
from tests.acceptance.gates import folder, is_open, note

# The neighbour


@tool
def effect(text: str, context: RunContext) -> str:
    """Have an effect, which must not be had twice."""
    note("effect", context, text=text)
    return f"had {text}"


@tool
async def effect_async(text: str, context: RunContext) -> str:
    """The same, on a loop."""
    note("effect", context, text=text)
    await asyncio.sleep(0.1)
    return f"had {text}"


@tool(timeout_seconds=10)
async def wait(seconds: float) -> str:
    """Wait on the loop, and in a thread."""
    await asyncio.sleep(seconds)
    await asyncio.to_thread(time.sleep, 0.01)
    return "waited"


# Exceptions


class Own(BaseException):
    """An exception that no `except Exception` catches."""


class Unshowable(Exception):
    """An exception that hangs while it is shown."""

    def __str__(self) -> str:
        time.sleep(3)
        raise KeyboardInterrupt


@tool(idempotent=True)
async def interrupt() -> NoReturn:
    raise KeyboardInterrupt


@tool(idempotent=True)
def interrupt_in_thread() -> NoReturn:
    raise KeyboardInterrupt


@tool(idempotent=True)
async def leave() -> NoReturn:
    raise SystemExit(3)


@tool(idempotent=True)
async def leave_generator() -> NoReturn:
    raise GeneratorExit


@tool(idempotent=True)
async def raise_cancellation() -> NoReturn:
    raise asyncio.CancelledError


@tool(idempotent=True)
async def raise_own() -> NoReturn:
    note("raise_own")
    raise Own


@tool
async def raise_unshowable() -> NoReturn:
    raise Unshowable


@tool
async def raise_huge() -> NoReturn:
    raise ValueError("x" * 50_000_000)


@tool
async def raise_group() -> NoReturn:
    group = ExceptionGroup("all", [ValueError(n) for n in range(10_000)])
    for _ in range(2_000):
        group = ExceptionGroup("one more", [group])
    raise group


@tool
def recurse() -> Any:
    return recurse()


# Loops and processes


@tool
async def cancel_itself() -> str:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(1)
    return "unreachable"


@tool
async def cancel_everything() -> None:
    for task in asyncio.all_tasks():
        task.cancel()
    await asyncio.sleep(0)


@tool
async def stop_loop() -> None:
    loop = asyncio.get_running_loop()
    threading.Thread(target=lambda: loop.call_soon_threadsafe(loop.stop)).start()
    loop.stop()


@tool
async def close_loop() -> None:
    asyncio.get_running_loop().close()


@tool
async def leave_interrupt_behind() -> None:
    async def raise_it() -> None:
        raise KeyboardInterrupt

    asyncio.get_running_loop().create_task(raise_it())
    await asyncio.sleep(0.1)


@tool(timeout_seconds=1)
async def refuse_to_stop() -> None:
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            note("refused to stop")


@tool(timeout_seconds=60)
async def block(gate: str) -> str:
    """Hold up the loop until a gate opens."""
    note("block begins")
    while not is_open(gate):
        time.sleep(0.02)  # noqa: ASYNC251 - the mistake that the test is about
    return "blocked"


@tool
async def sleep_long() -> str:
    time.sleep(20)  # noqa: ASYNC251 - as above
    return "slept"


@tool(timeout_seconds=1)
def never_return() -> None:
    time.sleep(10**6)


@tool
def leave_thread_behind() -> None:
    threading.Thread(target=time.sleep, args=(10**6,), daemon=False).start()


@tool
async def leave_pool_thread_behind() -> None:
    asyncio.get_running_loop().run_in_executor(None, time.sleep, 10**6)


@tool
def end_process() -> None:
    os._exit(1)


@tool
def stop_process() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


# Results


class LooksLikeAList:
    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[str]:
        return iter(("column", "column"))

    def __contains__(self, _: object) -> bool:
        return False


class Hangs(list[int]):
    def __iter__(self) -> Iterator[int]:
        time.sleep(5)
        return iter(())


@tool
def give_endless() -> Any:
    return itertools.count()


@tool
async def give_endless_async() -> Any:
    return [itertools.repeat("x")]


@tool
async def give_rows() -> Any:
    return [{"n": n} for n in range(1_500_000)]


@tool
async def give_circle() -> Any:
    circle: list[Any] = []
    circle.append(circle)
    return circle


@tool
async def give_deep() -> Any:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    return deep


@tool
async def give_lookalike() -> Any:
    return LooksLikeAList()


@tool
async def give_hanging() -> Any:
    return Hangs([1])


#: What ends in a moment, and takes no process along.
QUICK = (
    interrupt, interrupt_in_thread, leave, leave_generator, raise_cancellation, raise_own, raise_unshowable, raise_huge,
    raise_group, recurse, cancel_itself, cancel_everything, stop_loop, close_loop, leave_interrupt_behind,
    refuse_to_stop, never_return, leave_pool_thread_behind, give_endless, give_endless_async, give_rows, give_circle,
    give_deep, give_lookalike, give_hanging,
)  # fmt: skip
SLOW = (block, sleep_long, leave_thread_behind)
DEADLY = (end_process, stop_process)


class Freezes(RecallModel):
    """A model that holds up the loop of the turns, in the first process that asks it."""

    async def complete(self, request: ModelRequest) -> ModelReply:
        first = folder() / "frozen"
        if not first.exists():
            first.touch()
            time.sleep(10**6)  # noqa: ASYNC251 - the mistake that the test is about
        return await super().complete(request)


class Exits(RecallModel):
    """A model whose code ends the program."""

    async def complete(self, request: ModelRequest) -> ModelReply:
        note("exits")
        raise SystemExit(1)


register(Agent(name="neighbour", tools=(effect, effect_async, wait)))
register(Agent(name="evil", tools=(*QUICK, *SLOW, *DEADLY)))
register(Agent(name="freezes", model=Freezes(), streams=False))
register(Agent(name="exits", model=Exits(), streams=False))
