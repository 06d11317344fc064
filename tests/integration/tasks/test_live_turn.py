"""A running turn as its followers hear of it: a ring for all that is committed, and the text as it grows."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from agent.agent import Agent
from agent.models.protocol import ModelReply, ModelRequest, StreamRestarted, TextDelta
from agent.tools.thread_pool import ToolThreads
from conversation.events import MessageDone, ThreadEvent, TurnEnded
from conversation.ids import new_id
from conversation.message import Message
from conversation.task_contract import WakeUp
from store.database.engine import Database
from store.live.event_channel import Deltas, Envelope, OpenPiece, Ring, topic_of, unseal, write_watch
from store.live.event_publisher import EventPublisher
from store.settings import load
from store.turns import inbox, workers
from store.turns.claims import ClaimRequest
from store.turns.event_rows import read_thread_events
from store.turns.send_request import SendRequest
from store.turns.turn_store import TurnStore
from tasks.active_runs import ActiveRuns
from tasks.runner import Runner
from tests.integration.scripted import NoFiles, Scripted, call, says

WAKE_UP = WakeUp(tenant="default", thread_id="t", turn_id=new_id())
TOPICS = [topic_of("thread", "default", "t"), topic_of("owner", "default", "ann")]
KEY = b"k" * 32


def look(where: str) -> str:
    """Look somewhere."""
    return f"nothing in {where}"


class Streaming(Scripted):
    """Sends the very text of its answers, a few characters at a time."""

    def __init__(self, *answers: Any) -> None:
        super().__init__(*answers)
        self.is_writing = asyncio.Event()

    async def stream(self, request: ModelRequest) -> AsyncIterator[TextDelta | StreamRestarted | ModelReply]:
        reply = self._next(request)
        if reply.content == "once more":
            yield TextDelta("lost")
            yield StreamRestarted()
        for start in range(0, len(reply.content), 3):
            await asyncio.sleep(0.02)
            yield TextDelta(reply.content[start : start + 3])
            if reply.content == "once more":
                self.is_writing.set()
        yield reply


class Site:
    """A worker's runner, whose envelopes are heard here; each ring has a look at the rows."""

    def __init__(self, database: Database, model: Streaming) -> None:
        self.database, self.worker, self.model = database, new_id(), model
        self.heard: list[Envelope | None] = []
        self.rows: list[Sequence[ThreadEvent]] = []
        self.publisher = EventPublisher(self.hear, KEY)
        entry = {"host": "here", "pid": 1, "serves": {"a": "1"}, "lease_duration_seconds": 60}
        database.run(workers.register, **entry, worker=self.worker)
        self.runner = Runner(
            settings=load(),
            agents={"a": Agent(name="a", model=model, tools=[look])},
            claim_request=ClaimRequest(worker=self.worker, agents={"a": "1"}),
            turn_store=TurnStore(database),
            active_runs=ActiveRuns(),
            attachments=NoFiles(),
            tool_threads=ToolThreads(2),
            publish_turn_ended=lambda _: None,
            event_publisher=self.publisher,
        )

    def hear(self, topic: str, text: str) -> None:
        envelope = unseal(topic, text.encode(), KEY)
        self.heard.append(envelope)
        if isinstance(envelope, Ring):
            self.rows.append(self.database.run(read_thread_events, "default", "t").events)

    def watch(self, *topics: str) -> None:
        self.publisher.hear_watch(write_watch(list(topics), is_fresh=False).encode())

    def send(self, content: str) -> None:
        message = Message(role="user", content=content)
        request = SendRequest(turn_id=new_id(), tenant="default", thread_id="t", message=message, agent="a", user="ann")
        self.database.run(inbox.accept, request)

    async def run(self) -> None:
        await self.runner.run_thread(WAKE_UP)


@pytest.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    yield Site(database, Streaming(says("", call("look", "c1", where="the shed")), says("once more")))
    await database.close_async()


def joined(deltas: Sequence[Deltas]) -> str:
    text = ""
    for _, piece in (delta for each in deltas for delta in each.deltas):
        text = "" if piece is None else text + piece
    return text


@pytest.mark.parametrize("topic", TOPICS)
async def test_all_that_rows_have_is_rung_for_when_they_have_it(site: Site, topic: str) -> None:
    site.send("where is it?")
    site.watch(topic)
    await site.run()

    rings = [envelope.number for envelope in site.heard if isinstance(envelope, Ring)]
    kinds = [[event.kind for event in events] for events in site.rows]
    assert kinds[0] == ["turn.started", "message.done"]
    assert kinds[1][2:] == ["message.done", "tool.started"]
    assert kinds[2][4:] == ["message.done"]
    assert kinds[3][5:] == ["message.done", "turn.ended"]
    assert all(
        events[-1].number is not None and ring <= events[-1].number
        for ring, events in zip(rings, site.rows, strict=True)
    )
    deltas = [envelope for envelope in site.heard if isinstance(envelope, Deltas)]
    answer = next(event for event in reversed(site.rows[-1]) if isinstance(event, MessageDone))
    assert joined(deltas) == answer.message.content == "once more"
    assert {each.message_id for each in deltas} == {answer.message.id}
    numbers = [number for each in deltas for number, _ in each.deltas]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    tool_result = site.rows[-1][4]
    assert (
        (tool_result.number or 0)
        < deltas[0].base
        < numbers[0]
        < numbers[-1]
        < (answer.number if isinstance(answer, MessageDone) else 0)
    )
    assert isinstance(site.rows[-1][-1], TurnEnded)


async def test_a_turn_that_nobody_follows_is_not_told_of(site: Site) -> None:
    site.send("where is it?")
    site.watch(topic_of("thread", "default", "another"), topic_of("owner", "other", "ann"))
    await site.run()

    assert site.heard == []


async def test_who_comes_while_it_is_written_gets_all_of_it(site: Site) -> None:
    site.send("where is it?")
    running = asyncio.create_task(site.run())
    await asyncio.wait_for(site.model.is_writing.wait(), 20)
    site.watch(TOPICS[0])
    await running

    piece = next(envelope for envelope in site.heard if isinstance(envelope, OpenPiece))
    assert piece.text == "onc"
    later = [each for each in site.heard[site.heard.index(piece) :] if isinstance(each, Deltas)]
    assert piece.text + joined(later) == "once more"
    assert later[0].previous == piece.ends[-1][0]
