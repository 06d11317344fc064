"""Library calls in several processes: killed ones, rivals, and many writers."""

import asyncio
import os
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from store import tables
from store.turns import cancel
from store.turns.claims import NothingDue
from tests.integration.threadmill.library_stage import (
    LEASE_DURATION_SECONDS,
    FakeModel,
    Worker,
    opened,
    said,
    states,
    user,
)
from threadmill import Agent, Thread, TurnFailed

pytestmark = pytest.mark.soak

CALLER = Path(__file__).parent / "library_caller.py"
ROOT = Path(__file__).parents[3]


@pytest.fixture(params=[pytest.param("sqlite", marks=pytest.mark.endurance), "postgresql"])
def shared_url(request: pytest.FixtureRequest) -> str:
    """A database that several processes can use."""
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "database_url"))


async def test_a_call_that_somebody_else_cancels_says_so_and_keeps_what_was_said(
    shared_url: str, tmp_path: Path
) -> None:
    async with await opened(shared_url, tmp_path) as store:
        model = FakeModel(hangs_at=1)
        agent = Agent(name="caller", model=model, thread_store=store)
        call = asyncio.create_task(agent.go(Thread(id="t", messages=[user("hello")])))
        await model.asked.wait()
        find = select(tables.turns.c.id)
        turn_id = await store.database.run_async(lambda c: c.execute(find).scalar_one())

        await store.database.run_async(cancel.request_cancel, turn_id=turn_id)
        with pytest.raises(TurnFailed, match="cancelled"):
            await call

        assert model.cancelled
        assert await states(store) == [("cancelled", None)]
        assert await said(store) == ["hello"]


async def start(*arguments: str) -> asyncio.subprocess.Process:
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "THREADMILL_LEASE_DURATION_SECONDS": str(LEASE_DURATION_SECONDS),
        "THREADMILL_HEARTBEAT_INTERVAL_SECONDS": "0.3",
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, str(CALLER), *arguments, env=environment, stdout=asyncio.subprocess.PIPE
    )


async def killed_in_mid_turn(url: str, folder: Path) -> None:
    process = await start("hang", url, "t")
    assert process.stdout is not None
    assert await process.stdout.readline() == b"hanging\n"
    process.kill()
    await process.wait()


async def test_what_a_killed_caller_had_done_is_kept_and_the_next_call_goes_on(shared_url: str, tmp_path: Path) -> None:
    async with await opened(shared_url, tmp_path) as store:
        await killed_in_mid_turn(shared_url, tmp_path)
        model = FakeModel()
        agent = Agent(name="caller", model=model, thread_store=store)

        result = await agent.go(Thread(id="t", messages=[user("next")]))

        assert result.content == "answer to next"
        assert await said(store) == ["question of the dead", "", '"seen"', "next", "answer to next"]
        assert await states(store) == [("failed", "abandoned"), ("completed", None)]
        assert [m["role"] for m in model.requests[0].messages] == ["user", "assistant", "tool", "user"]


async def test_a_worker_ends_the_turn_of_a_killed_caller_without_running_it(shared_url: str, tmp_path: Path) -> None:
    async with await opened(shared_url, tmp_path) as store:
        await killed_in_mid_turn(shared_url, tmp_path)
        worker = Worker(store)
        await worker.begins()
        await worker.is_sent("t", "for the worker")

        assert isinstance(await worker.claims("t"), NothingDue)
        await asyncio.sleep(LEASE_DURATION_SECONDS + 0.5)
        abandoned = await worker.claims("t")
        settled = await worker.settles(abandoned, abandoned.ending)

        assert abandoned.ending.error.kind == "abandoned"
        assert settled.keeps_lease
        assert await said(store) == ["question of the dead", "", '"seen"']
        assert (await states(store))[0] == ("failed", "abandoned")


async def test_two_processes_on_one_thread_take_turns(shared_url: str, tmp_path: Path) -> None:
    async with await opened(shared_url, tmp_path) as store:
        await store.get_or_create_thread("t")
        processes = [await start("go", shared_url, "t", "6", name) for name in ("a", "b")]
        assert [await process.wait() for process in processes] == [0, 0]

        stored = await said(store)
        assert stored[1::2] == [f"answer to {question}" for question in stored[0::2]]
        assert sorted(stored[0::2]) == sorted(f"{name}-{n}" for name in "ab" for n in range(6))


async def test_twenty_writers_at_once_lose_nothing(shared_url: str, tmp_path: Path) -> None:
    async with await opened(shared_url, tmp_path) as store:
        await store.append("t", user("begin"))
        copies = [await store.get_thread("t") for _ in range(20)]
        for number, copy in enumerate(copies):
            copy.add_message(user(f"writer {number}"))

        await asyncio.gather(*(store.save_thread(copy) for copy in copies))

        stored = (await store.get_thread("t")).messages
        assert sorted(m.content for m in stored) == sorted(["begin", *(f"writer {n}" for n in range(20))])
        assert [m.seq for m in stored] == list(range(1, 22))


async def test_twenty_writers_in_four_processes_lose_nothing(shared_url: str, tmp_path: Path) -> None:
    async with await opened(shared_url, tmp_path) as store:
        await store.get_or_create_thread("t")
        processes = [await start("write", shared_url, "t", "5", name) for name in "abcd"]
        assert [await process.wait() for process in processes] == [0] * 4

        stored = (await store.get_thread("t")).messages
        assert sorted(m.content for m in stored) == sorted(f"{p}-{n}" for p in "abcd" for n in range(5))
        assert [m.seq for m in stored] == list(range(1, 21))
