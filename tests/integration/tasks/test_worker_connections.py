"""A worker with two connections: turns wait for one, none fails of it, and ends do not wait behind claims."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from sqlalchemy import func, select

from agent.agent import Agent
from agent.models.protocol import ModelReply
from agent.tools.thread_pool import ToolThreads
from conversation.errors import InvalidSettings
from conversation.ids import new_id
from conversation.message import Message
from conversation.task_contract import WakeUp
from store import tables
from store.database.engine import Database
from store.settings import load
from store.turns import inbox, workers
from store.turns.claims import ClaimRequest
from store.turns.inbox import SendRequest
from store.turns.turn_store import TurnStore
from tasks.active_runs import ActiveRuns
from tasks.runner import Runner
from tasks.worker import start_worker
from tasks.worker_connections import check_connections, claims_at_once, limit_connections
from tests.integration.scripted import NoFiles, Scripted, says

#: Seconds that a pool which fails when it is full would wait: far too few for so many turns.
TOO_SHORT_SECONDS = 0.02


class Held(Scripted):
    """A model that keeps every turn waiting until it is let go."""

    def __init__(self) -> None:
        super().__init__(says("here you are"))
        self.waiting = 0
        self.let_go = asyncio.Event()
        self.changed = asyncio.Condition()

    async def stream(self, request: Any) -> AsyncIterator[Any]:
        self.waiting += 1
        async with self.changed:
            self.changed.notify_all()
        await self.let_go.wait()
        yield ModelReply(content="here you are", model="held", finish_reason="stop")


class Process:
    """A worker's process with two connections for its turns."""

    def __init__(self, database_url: str) -> None:
        settings = load(database_url=database_url, worker_db_connections=2, db_pool_timeout=TOO_SHORT_SECONDS)
        self.outside = Database(load(database_url=database_url))
        self.database = Database(limit_connections(settings))
        self.model, self.active_runs, self.ended = Held(), ActiveRuns(), list[str]()
        worker = new_id()
        entry = {"host": "here", "pid": 1, "serves": {"a": "1"}, "lease_duration_seconds": 60}
        self.outside.run(workers.register, **entry, worker=worker)
        self.runner = Runner(
            settings=settings,
            agents={"a": Agent(name="a", model=self.model)},
            claim_request=ClaimRequest(worker=worker, agents={"a": "1"}),
            turn_store=TurnStore(self.database),
            active_runs=self.active_runs,
            attachments=NoFiles(),
            tool_threads=ToolThreads(2),
            publish_turn_ended=self.ended.append,
        )

    def send(self, threads: Iterable[str]) -> None:
        def accept_all(connection: Any) -> None:
            for thread in threads:
                request = SendRequest(
                    turn_id=new_id(),
                    tenant="default",
                    thread_id=thread,
                    message=Message(role="user", content="hello"),
                    agent="a",
                )
                inbox.accept(connection, request, mark_notified=False)

        self.outside.run(accept_all)

    def run(self, thread: str) -> "asyncio.Task[None]":
        wake_up = WakeUp(tenant="default", thread_id=thread, turn_id=new_id())
        return asyncio.create_task(self.runner.run_thread(wake_up))

    async def wait_until_held(self, turns: int) -> None:
        async with asyncio.timeout(60), self.model.changed:
            await self.model.changed.wait_for(lambda: self.model.waiting >= turns)

    def states(self) -> dict[str, int]:
        counts = select(tables.turns.c.state, func.count()).group_by(tables.turns.c.state)
        return {row[0]: row[1] for row in self.outside.run(lambda c: c.execute(counts).all())}


@pytest.fixture
async def process(database_url: str) -> AsyncIterator[Process]:
    opened = Process(database_url)
    yield opened
    await opened.database.close_async()
    opened.outside.close()


@pytest.mark.parametrize("turns", [60, pytest.param(400, marks=pytest.mark.soak)])
async def test_many_turns_share_two_connections_and_all_end_well(process: Process, turns: int) -> None:
    threads = [f"t{number}" for number in range(turns)]
    process.send(threads)

    tasks = [process.run(thread) for thread in threads]
    # From here on claims and ends want the same two connections.
    await process.wait_until_held(turns // 2)
    process.model.let_go.set()
    await asyncio.gather(*tasks)

    assert process.states() == {"completed": turns}
    assert process.database.async_engine.pool.checkedin() == 2  # type: ignore[attr-defined]


async def test_a_thread_goes_on_while_claims_wait(process: Process) -> None:
    """Its turn ends, its next one is claimed and ends, its lease is released: none of them behind a claim."""
    others = [f"t{number}" for number in range(20)]
    process.send(["first", "first", *others])
    first = process.run("first")
    await process.wait_until_held(1)

    with process.outside.engine.connect() as blocker:
        locked = select(tables.threads.c.key).where(tables.threads.c.id.in_(others)).with_for_update()
        blocker.execute(locked)
        claims = [process.run(thread) for thread in others]
        await asyncio.sleep(0.1)
        process.model.let_go.set()
        await asyncio.wait_for(first, timeout=4)
        assert len(process.ended) == 2
        assert not any(claim.done() for claim in claims)
        blocker.rollback()
    await asyncio.gather(*claims)

    assert process.states() == {"completed": 22}


async def test_claims_that_still_wait_when_the_process_stops_are_left_to_others(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[WakeUp] = []
    monkeypatch.setattr("tasks.runner.publish_wake_up", published.append)
    threads = [f"t{number}" for number in range(20)]
    process.send(threads)
    process.model.let_go.set()

    with process.outside.engine.connect() as blocker:
        blocker.execute(select(tables.threads.c.key).with_for_update())
        claims = [process.run(thread) for thread in threads]
        await asyncio.sleep(0.1)
        process.active_runs.is_stopping = True
        blocker.rollback()
    await asyncio.gather(*claims)

    at_work = claims_at_once(process.database)
    assert 0 < at_work < len(threads)
    assert process.states() == {"completed": at_work, "queued": len(threads) - at_work}
    assert {wake_up.thread_id for wake_up in published} == set(threads[at_work:])


def test_a_worker_whose_ends_would_wait_behind_claims_does_not_start() -> None:
    one_connection = load(worker_db_connections=1)

    with pytest.raises(
        InvalidSettings, match=r"^THREADMILL_WORKER_DB_CONNECTIONS=1: .*THREADMILL_WORKER_CONCURRENCY"
    ) as refusal:
        start_worker(one_connection, queues=["turns"], concurrency=2)

    assert "\n" not in str(refusal.value)
    check_connections(one_connection, concurrency=1)
