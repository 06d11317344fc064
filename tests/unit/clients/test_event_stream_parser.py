"""Server-sent events as the WHATWG's standard has them, however the bytes are cut into chunks."""

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from threadmill_client.sse import EventStreamParser


def parse(stream: bytes, *, chunk_bytes: int | None = None) -> list[tuple[str, str, str]]:
    size = chunk_bytes or len(stream) or 1
    parser = EventStreamParser()
    chunks = [stream[at : at + size] for at in range(0, len(stream), size)]
    return [(each.name, each.data, each.last_event_id) for chunk in chunks for each in parser.feed(chunk)]


TABLE = {
    "an event": (b"event: a\nid: 1\ndata: x\n\n", [("a", "x", "1")]),
    "without a name": (b"data: x\n\n", [("message", "x", "")]),
    "lines end by returns": (b"data: x\r\rdata: y\r\r", [("message", "x", ""), ("message", "y", "")]),
    "lines end by both": (b"data: x\r\n\r\ndata: y\r\n\r\n", [("message", "x", ""), ("message", "y", "")]),
    "lines end by either": (b"data: x\r\ndata: y\n\rdata: z\n\n", [("message", "x\ny", ""), ("message", "z", "")]),
    "data of many lines": (b"data: x\ndata:\ndata: y\n\n", [("message", "x\n\ny", "")]),
    "empty data": (
        b"data\n\ndata\ndata\n\ndata:\n\n",
        [("message", "", ""), ("message", "\n", ""), ("message", "", "")],
    ),
    "one space is taken off": (b"data:x\n\ndata:  x\n\n", [("message", "x", ""), ("message", " x", "")]),
    "a mark of order": ("\ufeffdata: x\n\n\ufeffdata: y\n\n".encode(), [("message", "x", "")]),
    "comments": (b": hello\n:\n\ndata: x\n: within\n\n", [("message", "x", "")]),
    "unknown fields": (b"colour: red\ndata: x\nDATA: y\n data: z\n\n", [("message", "x", "")]),
    "ids stay": (b"id: 1\ndata: x\n\ndata: y\n\n", [("message", "x", "1"), ("message", "y", "1")]),
    "an id without data": (b"id: 7\n\ndata: x\n\n", [("message", "x", "7")]),
    "an id is taken back": (b"id: 1\ndata: x\n\nid\ndata: y\n\n", [("message", "x", "1"), ("message", "y", "")]),
    "an id with a zero": (b"id: 1\ndata: x\n\nid: 2\0\ndata: y\n\n", [("message", "x", "1"), ("message", "y", "1")]),
    "names do not stay": (b"event: a\n\ndata: x\n\n", [("message", "x", "")]),
    "an event that is cut": (b"id: 1\ndata: x\n\nid: 2\ndata: y\n", [("message", "x", "1")]),
    "other separators of lines": (
        "data: a\u2028b\u0085c\x0bd\x1ce\n\n".encode(),
        [("message", "a\u2028b\u0085c\x0bd\x1ce", "")],
    ),
    "broken bytes": (b"data: a\xffb\n\n", [("message", "a\ufffdb", "")]),
    "letters of many bytes": ("data: Größe 🧵\n\n".encode(), [("message", "Größe 🧵", "")]),
}


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("chunk_bytes", [None, 1, 2, 3])
def test_a_stream_is_read_as_the_standard_says(name: str, chunk_bytes: int | None) -> None:
    stream, events = TABLE[name]

    assert parse(stream, chunk_bytes=chunk_bytes) == events


@pytest.mark.parametrize(
    ("line", "milliseconds"),
    [
        (b"retry: 1500", 1500),
        (b"retry:0", 0),
        (b"retry: 99999999999999999999", 60_000),
        (b"retry: 1.5", None),
        (b"retry: -1", None),
        (b"retry", None),
        ("retry: ١".encode(), None),
        ("retry: ²".encode(), None),
    ],
)
def test_a_time_between_connections_has_digits_alone(line: bytes, milliseconds: int | None) -> None:
    parser = EventStreamParser()

    assert (list(parser.feed(line + b"\n")), parser.retry_milliseconds) == ([], milliseconds)


def test_an_event_that_is_cut_leaves_its_id_behind() -> None:
    parser = EventStreamParser("0")

    list(parser.feed(b"id: 1\ndata: x\n\nid: 2\ndata: y\n"))

    assert parser.last_event_id == "1"


def test_an_event_is_given_when_its_last_line_ends_by_a_return() -> None:
    parser = EventStreamParser()

    assert [each.data for each in parser.feed(b"data: x\r\n\r")] == ["x"]
    assert [each.data for each in parser.feed(b"\ndata: y\r\n\r\n")] == ["y"]


FRAGMENTS = st.sampled_from([*"\r\n: \0\ufeff", "\r\n", "data", "id", "event", "retry", "ä🧵", "1"])


@settings(max_examples=80, deadline=None)
@given(st.lists(FRAGMENTS, max_size=40).map("".join), st.lists(st.integers(0, 200), max_size=12))
@example("\ufeffdata:🧵\r\n\r\n", [1, 2, 12, 13, 14, 15, 16])
def test_the_borders_of_chunks_change_nothing(text: str, borders: list[int]) -> None:
    stream = text.encode()
    cuts = sorted({0, len(stream), *(border % (len(stream) + 1) for border in borders)})
    parser, whole = EventStreamParser(), EventStreamParser()

    events = [each for start, end in pairwise(cuts) for each in parser.feed(stream[start:end])]

    assert events == list(whole.feed(stream))
    assert (parser.last_event_id, parser.retry_milliseconds) == (whole.last_event_id, whole.retry_milliseconds)
