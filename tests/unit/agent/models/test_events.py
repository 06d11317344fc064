"""Events of a stream are the same however its bytes were cut, and whatever a server makes of the standard."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.models.http import events
from agent.models.http.events import DONE, Event, EventReader
from conversation.errors import ModelError

ONE, TWO = {"a": 1, "text": "räk\u2028smörgås 🙂"}, {"b": [2]}
FIRST, SECOND = (json.dumps(value, ensure_ascii=False).encode() for value in (ONE, TWO))
BOTH = [Event("", ONE), Event("", TWO), Event("", DONE)]

STREAMS = {
    "as the standard has it": b"data: %s\n\ndata: %s\n\ndata: [DONE]\n\n",
    "no space": b"data:%s\n\ndata:%s\n\ndata:[DONE]\n\n",
    "CRLF": b"data: %s\r\n\r\ndata: %s\r\n\r\ndata: [DONE]\r\n\r\n",
    "CR": b"data: %s\r\rdata: %s\r\rdata: [DONE]\r\r",
    "no blank lines": b"data: %s\ndata: %s\ndata: [DONE]\n",
    "comments and other fields": b": PROCESSING\n\nid: 1\ndata: %s\n\n:\nretry: 5\ndata: %s\n: x\n\ndata: [DONE]\n\n",
    "empty data": b"data:\n\ndata: %s\n\ndata: \n\ndata: %s\n\ndata: [DONE]\n\n",
    "no end": b"data: %s\n\ndata: %s\n\ndata: [DONE]",
    "a mark in front": b"\xef\xbb\xbfdata: %s\n\ndata: %s\n\n data: x\n\ndata: [DONE] \n\n",
}


def read(*pieces: bytes) -> list[Event]:
    reader = EventReader()
    return [event for piece in pieces for event in reader.feed(piece)] + reader.end()


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
@given(cuts=st.lists(st.integers(0, 200), max_size=6))
def test_events_are_the_same_however_they_were_cut(stream: bytes, cuts: list[int]) -> None:
    data = stream % (FIRST, SECOND)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]

    assert read(*(data[start:end] for start, end in itertools.pairwise(places))) == BOTH


def test_an_event_is_there_as_soon_as_its_line_is() -> None:
    assert EventReader().feed(b'data: {"a": 1}\n') == [Event("", {"a": 1})]


def test_lines_of_one_event_are_joined_and_its_name_is_its_own() -> None:
    data = b'event: error\ndata: {"message":\ndata: "x"}\n\nevent: ping\n\ndata: plain\n\n'

    assert read(data) == [Event("error", {"message": "x"}), Event("", "plain")]


@pytest.mark.parametrize(
    "data", [b"data: {broken\n\n", b"data: " + b"[" * 100_000 + b"\n\n", b"\xff\xfe\n\n", b"<html>"]
)
def test_what_is_no_json_is_text_or_nothing(data: bytes) -> None:
    assert all(isinstance(event.data, str) for event in read(data))


@pytest.mark.parametrize("piece", [b"x" * 1000, b"data: " + b"x" * 994 + b"\n"], ids=["one line", "many lines"])
def test_an_event_without_an_end_is_bounded(piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "EVENT_MAX_BYTES", 10_000)
    reader = EventReader()

    with pytest.raises(ModelError) as raised:
        list(map(reader.feed, [piece] * 12))
    assert raised.value.kind == "reply_too_large"


def test_a_long_stream_of_small_events_is_not_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "EVENT_MAX_BYTES", 1_000)
    reader = EventReader()

    assert sum(len(reader.feed(b': keep\ndata: {"a": 1}\n\n')) for _ in range(1_000)) == 1_000
