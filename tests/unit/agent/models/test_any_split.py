"""Any split of any stream gives the reply that the same content gives whole, whatever a server's habits."""

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.models.reply_endings import conclude
from agent.models.stream_assembly import ReplyPieces
from conversation.message import ToolCall, Usage

pytestmark = pytest.mark.soak

TOOLS = ("get", "get_weather", "get_weather_now", "ha", "send")
#: Text in which halves of characters, tags, and equal pieces meet often.
TEXTS = st.lists(
    st.sampled_from(
        ["a", "ab", "ab", " ", "\n", "ü", "🙂", "👩‍👩‍👧", "<", "<think>", "</think>", "think", "{", "}", '"']
    ),
    max_size=12,
).map("".join)
VALUES = st.recursive(
    st.one_of(st.integers(-11, 111), TEXTS, st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)
CALLS = st.lists(
    st.builds(
        lambda name, value, ascii_only: (name, json.dumps(value, ensure_ascii=ascii_only)),
        st.sampled_from(TOOLS),
        st.dictionaries(TEXTS, VALUES, min_size=1, max_size=3),
        st.booleans(),
    ),
    max_size=3,
)


@dataclass(frozen=True)
class Content:
    thoughts: str
    text: str
    calls: tuple[tuple[str, str], ...]


CONTENTS = st.builds(Content, TEXTS.filter(lambda text: "</think>" not in text), TEXTS, CALLS.map(tuple))


def cut(draw: st.DrawFn, text: str) -> list[str]:
    """The text in pieces, cut anywhere between two halves of UTF-16, as servers do that count in them."""
    units = text.encode("utf-16-le", "surrogatepass")
    places = sorted(draw(st.lists(st.integers(0, len(units) // 2), max_size=6)))
    bounds = [0, *places, len(units) // 2]
    return [units[2 * a : 2 * b].decode("utf-16-le", "surrogatepass") for a, b in itertools.pairwise(bounds)]


def delta(**fields: Any) -> Any:
    names = ("content", "reasoning_content", "refusal", "tool_calls")
    return SimpleNamespace(**{name: fields.get(name) for name in names})


def chunk(finish_reason: str | None = None, **fields: Any) -> Any:
    return SimpleNamespace(choices=[SimpleNamespace(delta=delta(**fields), finish_reason=finish_reason)], usage=None)


def piece(index: int | None, call_id: str | None, name: str | None, arguments: str | None) -> Any:
    return SimpleNamespace(index=index, id=call_id, function=SimpleNamespace(name=name, arguments=arguments))


def whole(content: Content, *, in_tags: bool) -> ReplyPieces:
    text = f"<think>{content.thoughts}</think>{content.text}" if in_tags else content.text
    calls = [piece(None, f"id-{n}", name, arguments) for n, (name, arguments) in enumerate(content.calls)]
    message = delta(content=text, reasoning_content=None if in_tags else content.thoughts, tool_calls=calls)
    pieces = ReplyPieces(TOOLS)
    pieces.add(SimpleNamespace(choices=[SimpleNamespace(message=message, finish_reason="stop")], usage=None))
    pieces.end()
    return pieces


Habit = Callable[[int, str, str, Sequence[str]], list[Any]]


def by_the_format(n: int, call_id: str, name: str, fragments: Sequence[str]) -> list[Any]:
    return [piece(n, call_id, name, ""), *(piece(n, None, None, fragment) for fragment in fragments)]


def id_and_name_each_time(n: int, call_id: str, name: str, fragments: Sequence[str]) -> list[Any]:
    return [piece(n, call_id, name, fragment) for fragment in fragments]


def index_zero_for_all(_n: int, call_id: str, name: str, fragments: Sequence[str]) -> list[Any]:
    return by_the_format(0, call_id, name, fragments)


def no_index(_n: int, call_id: str, name: str, fragments: Sequence[str]) -> list[Any]:
    first, *others = fragments
    return [piece(None, call_id, name, first), *(piece(None, None, None, fragment) for fragment in others)]


def no_id(n: int, _call_id: str, name: str, fragments: Sequence[str]) -> list[Any]:
    return by_the_format(n, "", name, fragments)


def a_new_id_each_time(n: int, call_id: str, name: str, fragments: Sequence[str]) -> list[Any]:
    header, *others = by_the_format(n, call_id, name, [text for text in fragments if text])
    return [header, *(piece(n, f"{call_id}-{k}", None, each.function.arguments) for k, each in enumerate(others))]


def a_new_id_and_the_name_each_time(n: int, call_id: str, name: str, fragments: Sequence[str]) -> list[Any]:
    texts = [text for text in fragments if text]
    # Only at distinct indexes can such a server be told from one that calls a tool twice.
    return [piece(n, f"{call_id}-{k}" if k else call_id, name, text) for k, text in enumerate([texts[0]])] + [
        piece(n, f"{call_id}-{k}", name if not text.lstrip().startswith("{") else None, text)
        for k, text in enumerate(texts[1:], 1)
    ]


def whole_each_time(n: int, call_id: str, name: str, fragments: Sequence[str]) -> list[Any]:
    return [piece(n, call_id, name, "".join(fragments)) for _ in fragments]


def all_so_far_each_time(n: int, call_id: str, name: str, fragments: Sequence[str]) -> list[Any]:
    return [piece(n, call_id, name, text) for text in itertools.accumulate(fragments)]


def whole_at_the_end_again(n: int, call_id: str, name: str, fragments: Sequence[str]) -> list[Any]:
    return [*by_the_format(n, call_id, name, fragments), piece(n, call_id, None, "".join(fragments))]


def empty_object_first(n: int, call_id: str, name: str, fragments: Sequence[str]) -> list[Any]:
    return [piece(n, call_id, name, "{}"), *(piece(n, None, None, fragment) for fragment in fragments)]


def name_in_pieces(n: int, call_id: str, name: str, fragments: Sequence[str]) -> list[Any]:
    middle = len(name) // 2
    header = [piece(n, call_id, name[:middle], None), piece(n, None, name[middle:], None)]
    return [*header, *(piece(n, None, None, fragment) for fragment in fragments)]


HABITS: list[Habit] = [
    by_the_format,
    id_and_name_each_time,
    index_zero_for_all,
    no_index,
    no_id,
    a_new_id_each_time,
    a_new_id_and_the_name_each_time,
    whole_each_time,
    all_so_far_each_time,
    whole_at_the_end_again,
    empty_object_first,
    name_in_pieces,
]


@pytest.mark.parametrize("habit", HABITS, ids=lambda habit: habit.__name__)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_split_gives_the_same_reply_as_whole(habit: Habit, data: st.DataObject) -> None:
    content = data.draw(CONTENTS)
    in_tags = data.draw(st.booleans())
    chunks = data.draw(streams(content, habit, in_tags=in_tags))

    split = ReplyPieces(TOOLS)
    shown = "".join(map(split.add, chunks)) + split.end()

    expected = whole(content, in_tags=in_tags)
    assert (split.content, split.reasoning) == (expected.content, expected.reasoning)
    assert shown == split.content
    assert outline(split.tool_calls) == outline(expected.tool_calls)
    if habit is not no_id:
        assert [call.id for call in split.tool_calls] == [call.id for call in expected.tool_calls]
    assert conclusion(split) == conclusion(expected)


@st.composite
def streams(draw: st.DrawFn, content: Content, habit: Habit, *, in_tags: bool) -> list[Any]:
    text = f"<think>{content.thoughts}</think>{content.text}" if in_tags else content.text
    thoughts = [] if in_tags else [chunk(reasoning_content=part) for part in cut(draw, content.thoughts)]
    said = [chunk(content=part) for part in cut(draw, text)]
    deltas = [habit(n, f"id-{n}", name, cut(draw, text)) for n, (name, text) in enumerate(content.calls)]
    is_interleaved = habit is by_the_format and draw(st.booleans())
    ordered = (
        [each for row in itertools.zip_longest(*deltas) for each in row if each is not None]
        if is_interleaved
        else [each for call in deltas for each in call]
    )
    return [*thoughts, *said, *(chunk(tool_calls=[each]) for each in ordered), chunk("stop")]


def outline(calls: Sequence[ToolCall]) -> list[tuple[str, str]]:
    return [(call.name, call.arguments) for call in calls]


def conclusion(pieces: ReplyPieces) -> Any:
    try:
        reply = conclude(pieces, has_ended=True, model="m", usage=Usage(), cost=None)
    except Exception as error:  # noqa: BLE001  the outcome is what is compared
        return type(error), str(error)
    return reply.content, reply.reasoning, reply.finish_reason, outline(reply.tool_calls)
