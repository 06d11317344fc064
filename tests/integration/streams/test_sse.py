"""The answer of server-sent events, driven by a server of the test's own: what it sends, and when it ends."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from producers.http.open_streams import OpenStreams
from producers.http.problems import Problem
from producers.http.sse import EventStreamResponse, encode_event
from store.settings import load
from tests.integration.streams.scripted_gateway import delta


@dataclass
class Wire:
    """What a server sees of one answer; it takes bytes while `is_read` is set."""

    sent: list[dict[str, Any]] = field(default_factory=list)
    is_read: asyncio.Event = field(default_factory=asyncio.Event)
    has_left: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self) -> dict[str, Any]:
        await self.has_left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        await self.is_read.wait()
        self.sent.append(message)

    @property
    def text(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def is_complete(self) -> bool:
        return self.sent[-1].get("more_body") is False


async def nothing() -> None:
    """The subject is over."""


async def never() -> None:
    await asyncio.Event().wait()


@dataclass
class Source:
    """Frames that a test lets go on."""

    frames: list[bytes]
    then: Callable[[], Any] = never
    is_closed: bool = False

    async def run(self) -> AsyncGenerator[bytes]:
        try:
            for frame in self.frames:
                yield frame
            await self.then()
        finally:
            self.is_closed = True


async def break_down() -> None:
    raise RuntimeError("the words of a message")


def answer(source: Source, streams: OpenStreams, **settings: Any) -> EventStreamResponse:
    return EventStreamResponse(source.run(), streams=streams, settings=load(**settings), credential="key-1")


async def run(response: EventStreamResponse, wire: Wire, act: Callable[[], Any] = lambda: None) -> None:
    """Let a server answer; once the stream stands, act."""
    async with asyncio.timeout(10):
        task = asyncio.create_task(response({"type": "http"}, wire.receive, wire.send))
        while len(wire.sent) < 3 and wire.is_read.is_set() and not task.done():  # noqa: ASYNC110 - a list has no event
            await asyncio.sleep(0.001)
        act()
        await task


def test_no_text_can_begin_an_event_of_its_own() -> None:
    text = "one\r\ndata: two\n\nevent: three\r\u2028\x85\0\ud800 ü"

    frame = encode_event(delta(7, text), 7)

    head, data = frame.decode().removesuffix("\n\n").rsplit("\n", 1)
    assert head == "event: message.delta\nid: 7"
    assert "\r" not in data
    assert json.loads(data.removeprefix("data: "))["text"] == text


@pytest.mark.parametrize(
    ("then", "act", "is_complete", "has_farewell"),
    [
        pytest.param(nothing, "wait", True, False, id="the subject is over"),
        pytest.param(never, "drain", True, True, id="the process stops"),
        pytest.param(never, "leave", False, False, id="the reader leaves"),
        pytest.param(break_down, "wait", True, True, id="the source breaks"),
    ],
)
async def test_each_end_of_a_stream(
    then: Any, act: str, is_complete: bool, has_farewell: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    streams, wire, source = OpenStreams(), Wire(), Source([b"data: 1\n\n"], then)
    wire.is_read.set()
    acts = {"wait": lambda: None, "drain": streams.drain, "leave": wire.has_left.set}

    await run(answer(source, streams), wire, acts[act])

    assert wire.text.startswith(b":\nretry: 2000\ndata: 1\n\n")
    assert (wire.is_complete, wire.text.count(b"retry: ") == 2) == (is_complete, has_farewell)
    assert source.is_closed
    assert len(streams) == 0
    assert "words" not in "".join(capsys.readouterr())


async def test_a_silent_stream_says_that_it_lives_and_ends_when_it_is_old() -> None:
    streams, wire, source = OpenStreams(), Wire(), Source([b"data: 1\n\n"])
    wire.is_read.set()

    await run(answer(source, streams, gateway_stream_heartbeat_seconds=0.02, gateway_stream_max_seconds=0.5), wire)

    assert wire.text.startswith(b":\nretry: 2000\ndata: 1\n\n:\n")
    assert b"retry: " in wire.sent[-2]["body"]
    assert wire.is_complete


async def test_a_reader_that_takes_nothing_is_left() -> None:
    streams, wire, source = OpenStreams(), Wire(), Source([b"data: 1\n\n"])
    wire.is_read.set()
    response = answer(source, streams, gateway_stream_send_timeout_seconds=0.05, gateway_stream_heartbeat_seconds=0.05)

    await run(response, wire, wire.is_read.clear)

    assert not wire.is_complete
    assert source.is_closed
    assert len(streams) == 0


async def test_a_gateway_takes_as_many_streams_as_it_may_and_none_once_it_stops() -> None:
    streams, wire = OpenStreams(), Wire()
    settings = {"gateway_max_streams": 2, "gateway_max_streams_per_credential": 1}
    wire.is_read.set()

    async def refused(credential: str) -> tuple[int, str]:
        source = Source([])
        response = EventStreamResponse(source.run(), streams=streams, settings=load(**settings), credential=credential)
        with pytest.raises(Problem) as refusal:
            await response({"type": "http"}, wire.receive, wire.send)
        assert not wire.sent
        return refusal.value.status, refusal.value.headers["Retry-After"]

    with streams.hold(load(**settings), "key-1"):
        assert await refused("key-1") == (429, "5")
        with streams.hold(load(**settings), "key-2"):
            assert await refused("key-3") == (503, "5")
            with streams.hold(load(**settings), None):
                assert len(streams) == 3
    streams.drain()
    assert await refused("key-1") == (503, "1")
    streams.resume()
    with streams.hold(load(**settings), "key-1"):
        assert len(streams) == 1
