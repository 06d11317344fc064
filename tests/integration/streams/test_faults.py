"""One stream, read through whatever can break on its way, with workers' own publishing: nothing is lost or doubled."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis
from sqlalchemy import select

from agent.agent import Agent
from agent.models.protocol import ModelReply, ModelRequest, StreamRestarted, TextDelta
from agent.tools.thread_pool import ToolThreads
from agent.tools.tool import Tool, tool
from conversation.ids import new_id
from conversation.task_contract import WakeUp
from producers.http.app import create_gateway
from producers.producer import Producer
from store import tables
from store.database.engine import Database
from store.installation import read_signing_key
from store.live.event_publisher import EventPublisher
from store.live.signals import WorkerSignals
from store.settings import Settings, load
from store.turns import workers
from store.turns.claims import ClaimRequest
from store.turns.turn_store import TurnStore
from tasks.active_runs import ActiveRuns
from tasks.runner import Runner
from tests.integration.scripted import SPENT, NoFiles, call
from tests.integration.streams.cutting_proxy import CuttingProxy
from tests.integration.streams.resuming_reader import ResumingReader, check_story
from tests.integration.streams.scripted_gateway import ADA, OneKey, serve
from threadmill.embedded.valkey import EmbeddedValkey

WORDS = 40


@tool
def look() -> str:
    """Look."""
    return "seen"


class Talker:
    """Says a word every some milliseconds; begins anew now and then; calls a tool once."""

    def __init__(self, plan: random.Random) -> None:
        self.plan = plan

    async def complete(self, request: ModelRequest) -> ModelReply:
        raise NotImplementedError

    async def stream(self, request: ModelRequest) -> AsyncIterator[TextDelta | StreamRestarted | ModelReply]:
        is_first = request.messages[-1]["role"] == "user"
        words = [f"{'first' if is_first else 'last'} {index} ü𝄞\r\n" for index in range(WORDS)]
        for index, word in enumerate(words):
            yield TextDelta(word)
            await asyncio.sleep(self.plan.uniform(0, 0.02))
            if index == WORDS // 2 and self.plan.random() < 0.5:
                yield StreamRestarted()
                for again in words[: index + 1]:
                    yield TextDelta(again)
        calls = (call("look", "c1"),) if is_first else ()
        yield ModelReply(content="".join(words), tool_calls=calls, model="talker", usage=SPENT, cost=0.1)


@dataclass
class World:
    """Servers, a worker's parts on this loop, and a gateway behind a proxy."""

    valkey: EmbeddedValkey
    settings: Settings
    producer: Producer
    proxy: CuttingProxy
    plan: random.Random
    faults: list[str] = field(default_factory=list)
    gateway: ExitStack = field(default_factory=ExitStack)

    def open_gateway(self) -> None:
        app = create_gateway(self.settings, authenticator=OneKey(ADA))
        self.proxy.port = int(self.gateway.enter_context(serve(app)).rpartition(":")[2])

    async def break_something(self) -> None:
        fault = self.plan.choice(["cut", "flush", "away", "restart"])
        self.faults.append(fault)
        match fault:
            case "cut":
                self.proxy.cut()
            case "flush":
                with redis.Redis.from_url(self.valkey.url) as client:
                    await asyncio.to_thread(client.flushall)
            case "away":
                await asyncio.to_thread(self.valkey.stop)
                await asyncio.sleep(self.plan.uniform(0, 0.3))
                await asyncio.to_thread(self.valkey.start)
            case "restart":
                await asyncio.to_thread(self.gateway.close)
                await asyncio.sleep(self.plan.uniform(0, 0.1))
                self.open_gateway()


@asynccontextmanager
async def open_worker(settings: Settings, plan: random.Random, look: Tool = look) -> AsyncIterator[Runner]:
    """A worker's runner with its publishing, on the running loop."""
    database = Database(settings)
    worker = new_id()
    entry = {"host": "here", "pid": 1, "serves": {"a": "1"}, "lease_duration_seconds": 60}
    await database.run_async(workers.register, **entry, worker=worker)
    key = await database.run_async(read_signing_key)
    publisher = EventPublisher(lambda channel, text: signals.publish(channel, text), key)  # noqa: PLW0108 - it comes next
    signals = WorkerSignals(settings, cancel=lambda _: None, hear_watch=publisher.hear_watch)
    signals.start()
    yield Runner(
        settings=settings,
        agents={"a": Agent(name="a", model=Talker(plan), tools=[look])},
        claim_request=ClaimRequest(worker=worker, agents={"a": "1"}),
        turn_store=TurnStore(database),
        active_runs=ActiveRuns(),
        attachments=NoFiles(),
        tool_threads=ToolThreads(2),
        publish_turn_ended=signals.publish_turn_ended,
        event_publisher=publisher,
    )
    await signals.stop()
    await database.close_async()


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """A Valkey of these tests alone: they stop it."""
    with EmbeddedValkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.soak), pytest.param(3, marks=pytest.mark.soak)])
async def test_a_stream_tells_the_whole_story_whatever_breaks(
    seed: int, database_url: str, valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    plan = random.Random(seed)
    settings = load(database_url=database_url, broker_url=valkey.url, file_store_url=str(tmp_path / "files"))
    producer = Producer(settings)
    async with CuttingProxy(0, size=plan.choice([None, 3000])) as proxy, open_worker(settings, plan) as runner:
        world = World(valkey, settings, producer, proxy, plan)
        world.open_gateway()
        turn = producer.send("t", "hello", agent="a", user="ada")
        readers = [
            ResumingReader(f"{proxy.address}/v1/{path}", {"Authorization": "secret"})
            for path in ("threads/t/events", f"turns/{turn.id}/events")
        ]
        reading = [asyncio.create_task(reader.read()) for reader in readers]
        await asyncio.sleep(0.1)
        running = asyncio.create_task(runner.run_thread(WakeUp(tenant="default", thread_id="t", turn_id=turn.id)))
        while not running.done():
            await asyncio.sleep(plan.uniform(0.05, 0.3))
            await world.break_something()
        await running
        async with asyncio.timeout(30):
            await asyncio.gather(*reading)
        await asyncio.to_thread(world.gateway.close)
    stored = select(tables.messages.c.role, tables.messages.c.content).order_by(tables.messages.c.seq)
    messages = producer.database.run(lambda c: [tuple(row) for row in c.execute(stored)])
    producer.close()
    assert len(messages) == 4
    for reader in readers:
        check_story(reader.seen, messages)
        assert reader.seen[-1]["type"] == "turn.ended"
