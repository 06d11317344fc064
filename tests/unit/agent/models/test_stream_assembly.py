"""A streamed answer is put together right, whatever a provider does with indexes and ids."""

from types import SimpleNamespace

import pytest

from agent.models.stream_assembly import ReplyPieces
from agent.models.text_pieces import TEXT_MAX_CHARS
from agent.models.tool_call_pieces import ARGUMENTS_MAX_CHARS, CALLS_MAX, ToolCallPieces, join_arguments
from conversation.message import ToolCall

Piece = tuple[int | None, str | None, str | None, str | None]


def joined(*deltas: Piece, tools: tuple[str, ...] = ()) -> tuple[ToolCall, ...]:
    pieces = ToolCallPieces(tools)
    for index, call_id, name, arguments in deltas:
        pieces.add(index=index, call_id=call_id, name=name, arguments=arguments)
    return pieces.join_calls()


def test_interleaved_pieces_end_up_in_the_call_of_their_index():
    calls = joined(
        (0, "a", "first", ""),
        (1, "b", "second", ""),
        (0, None, None, '{"x"'),
        (1, None, None, '{"y"'),
        (0, None, None, ":1}"),
        (1, None, None, ":2}"),
    )

    assert calls == (ToolCall("a", "first", '{"x":1}'), ToolCall("b", "second", '{"y":2}'))


def test_calls_come_out_in_the_order_of_their_index():
    calls = joined((1, "b", "second", "{}"), (0, "a", "first", "{}"))

    assert [call.id for call in calls] == ["a", "b"]


def test_a_new_id_opens_a_new_call_where_every_index_is_zero():
    calls = joined((0, "a", "first", "{"), (0, None, None, "}"), (0, "b", "second", "["), (0, None, None, "]"))

    assert calls == (ToolCall("a", "first", "{}"), ToolCall("b", "second", "[]"))


def test_a_repeated_id_and_name_continue_their_call():
    calls = joined((0, "a", "first", "{"), (0, "b", "second", "["), (0, "a", "first", "}"), (0, "b", "second", "]"))

    assert calls == (ToolCall("a", "first", "{}"), ToolCall("b", "second", "[]"))


def test_without_indexes_ids_tell_calls_apart():
    calls = joined((None, "a", "first", "{"), (None, None, None, "}"), (None, "b", "second", "{}"))

    assert calls == (ToolCall("a", "first", "{}"), ToolCall("b", "second", "{}"))


def test_one_id_at_two_indexes_is_two_calls():
    calls = joined((0, "same", "first", "{}"), (1, "same", "second", "{}"))

    assert [call.name for call in calls] == ["first", "second"]


def test_an_id_that_comes_late_belongs_to_the_call_that_had_none():
    calls = joined((0, None, "first", "{"), (0, "a", None, "}"))

    assert calls == (ToolCall("a", "first", "{}"),)


def test_a_call_that_never_got_an_id_is_given_one():
    first, second = joined((0, None, "first", "{}"), (1, None, "second", "{}"))

    assert len({first.id, second.id, ""}) == 3


def test_a_chunk_without_choices_adds_nothing_but_its_count_of_tokens():
    pieces = ReplyPieces()
    counted = SimpleNamespace(choices=[], usage=SimpleNamespace(prompt_tokens=1))

    assert pieces.add(SimpleNamespace(choices=[])) == ""
    assert pieces.add(counted) == ""

    assert (pieces.content, pieces.usage_chunk) == ("", counted)


@pytest.mark.parametrize(
    ("fragments", "arguments"),
    [
        (('{"x": "', "ab", "ab", '"}'), '{"x": "abab"}'),
        (('{"n": ', "1", "1", "}"), '{"n": 11}'),
        (('{"a": {"b": {', "}", "}", "}"), '{"a": {"b": {}}}'),
        (('{"a": [{"a": [', '{"a": [', "]}", "]}]}"), '{"a": [{"a": [{"a": []}]}]}'),
        (('{"a":1}', '{"a":1}', '{"a":1}'), '{"a":1}'),
        (("{", '{"a"', '{"a":1', '{"a":1}'), '{"a":1}'),
        (('{"a": ', "1}", '{"a": 1}'), '{"a": 1}'),
        (('{"a": ', "1}", '{"a":1}'), '{"a":1}'),
        (("{}", '{"a"', ":1}"), '{"a":1}'),
        (("null", '{"a":1}'), '{"a":1}'),
        (("not ", "json", "json"), "not jsonjson"),
        (('{"half": "', "tex"), '{"half": "tex'),
        (('{"e": "\ud83d', '\ude00"}'), '{"e": "\U0001f600"}'),
    ],
)
def test_fragments_stay_joined_and_repetitions_are_taken_once(fragments, arguments):
    [call] = joined((0, "a", "f", fragments[0]), *((0, None, None, fragment) for fragment in fragments[1:]))

    assert call.arguments == arguments


@pytest.mark.parametrize(
    ("pieces", "names"),
    [
        (("get_", "weather"), ["get_weather"]),
        (("get", "_wea", "ther"), ["get_weather"]),
        (("get_weather", "get_weather"), ["get_weather"]),
        (("get", "get_weather"), ["get_weather"]),
        (("h", "a", "h", "a"), ["haha"]),
        (("get", "send"), ["get", "send"]),
    ],
)
def test_names_come_in_pieces_or_again_and_again(pieces, names):
    calls = joined(*((0, None, name, None) for name in pieces), tools=("get", "get_weather", "send", "haha"))

    assert [call.name for call in calls] == names


@pytest.mark.parametrize(
    ("deltas", "outline"),
    [
        pytest.param(
            [(0, "a", "f", '{"c":1}'), (0, "b", "f", '{"c":2}')],
            [("a", '{"c":1}'), ("b", '{"c":2}')],
            id="index 0 for all, whole",
        ),
        pytest.param(
            [(0, None, "f", '{"c":1}'), (0, None, "f", '{"c":2}')], [(None, '{"c":1}'), (None, '{"c":2}')], id="no ids"
        ),
        pytest.param(
            [(0, "a", "f", '{"c":1}'), (0, "a", "f", '{"c":2}')],
            [("a", '{"c":1}'), ("a", '{"c":2}')],
            id="one id for all",
        ),
        pytest.param(
            [(0, "a", "f", ""), (1, "a", "f", ""), (0, "a", None, '{"c":1}'), (1, "a", None, '{"c":2}')],
            [("a", '{"c":1}'), ("a", '{"c":2}')],
            id="one id, interleaved",
        ),
        pytest.param(
            [(0, "a", "f", ""), (0, "b", None, '{"c"'), (0, "c", None, ":1}")], [("a", '{"c":1}')], id="new id a piece"
        ),
        pytest.param(
            [(0, "a", "f", ""), (0, "b", "f", '{"c"'), (0, "c", "f", ":1}")],
            [("a", '{"c":1}')],
            id="new id and name a piece",
        ),
        pytest.param(
            [(0, "a", "now", ""), (0, "b", "now", "")], [("a", ""), ("b", "")], id="a tool without parameters, twice"
        ),
        pytest.param(
            [(0, "a", "f", '{"c": '), (0, "b", "f", '{"c": '), (0, "a", None, "1}"), (0, "b", None, "2}")],
            [("a", '{"c": 1}'), ("b", '{"c": 2}')],
            id="index 0 for all, interleaved",
        ),
    ],
)
def test_calls_are_told_apart_whatever_ids_and_indexes_say(deltas, outline):
    calls = joined(*deltas)

    assert [call.arguments for call in calls] == [arguments for _, arguments in outline]
    assert all(id_ is None or call.id == id_ for call, (id_, _) in zip(calls, outline, strict=True))


def test_arguments_that_are_no_text_become_json():
    pieces = ReplyPieces()
    call = SimpleNamespace(index=0, id="a", function=SimpleNamespace(name="f", arguments={"x": 1}))
    delta = SimpleNamespace(content=None, tool_calls=[call])

    pieces.add(SimpleNamespace(choices=[SimpleNamespace(delta=delta, finish_reason=None)]))

    assert pieces.tool_calls == (ToolCall("a", "f", '{"x": 1}'),)


def said(pieces: ReplyPieces, *texts: str) -> list[str]:
    chunks = [
        SimpleNamespace(choices=[SimpleNamespace(delta=SimpleNamespace(content=text), finish_reason=None)])
        for text in texts
    ]
    return [*map(pieces.add, chunks), pieces.end()]


@pytest.mark.parametrize(
    ("texts", "content", "reasoning"),
    [
        (("<think>a</think>b",), "b", "a"),
        (("\n<thi", "nk>a</th", "ink>\n\nb"), "b", "a"),
        (("<think>a</think><think>b</think>c",), "c", "ab"),
        (("<thinking>a</thinking>b",), "b", "a"),
        (("<think>cut off in though",), "", "cut off in though"),
        (("see <think>a</think> b",), "see <think>a</think> b", None),
        (("<thin", "k about it"), "<think about it", None),
        (("<", "b>"), "<b>", None),
        (([{"type": "thinking", "thinking": [{"text": "a"}]}], [{"type": "text", "text": "b"}]), "b", "a"),  # Mistral's
    ],
)
def test_thinking_aloud_at_the_beginning_is_reasoning_and_in_mid_text_it_is_text(texts, content, reasoning):
    pieces = ReplyPieces()

    shown = said(pieces, *texts)

    assert ("".join(shown), pieces.content, pieces.reasoning) == (content, content, reasoning)


def test_two_halves_of_a_character_meet_and_a_lone_one_is_replaced():
    pieces = ReplyPieces()

    assert said(pieces, "a\ud83d", "\ude00b", "\ud83d") == ["a", "\U0001f600b", "", "\ufffd"]


def test_sizes_are_bounded_while_they_arrive():
    text, arguments, calls = ReplyPieces(), ToolCallPieces(), ToolCallPieces()

    said(text, "a" * TEXT_MAX_CHARS, "b")
    for _ in range(11):
        arguments.add(index=0, call_id="a", name=None, arguments="x" * (ARGUMENTS_MAX_CHARS // 10))
    for number in range(CALLS_MAX + 1):
        calls.add(index=number, call_id=str(number), name="f", arguments="{}")

    assert text.excess == f"more than {TEXT_MAX_CHARS} characters"
    assert arguments.excess == f"a tool call of more than {ARGUMENTS_MAX_CHARS} characters"
    assert calls.excess == f"more than {CALLS_MAX} tool calls"


def test_arguments_that_come_all_so_far_each_time_may_be_longer_together():
    pieces, text = ToolCallPieces(), '{"text": "' + "x" * 3000 + '"}'

    for end in range(1, len(text) + 1):
        pieces.add(index=0, call_id="a", name="f", arguments=text[:end])

    assert pieces.excess is None
    assert pieces.join_calls() == (ToolCall("a", "f", text),)


def test_one_piece_is_what_it_is():
    assert join_arguments(["{broken"]) == "{broken"


def test_of_several_answers_at_once_the_first_is_the_answer():
    pieces = ReplyPieces()
    choices = [
        SimpleNamespace(index=index, delta=SimpleNamespace(content=text), finish_reason=None)
        for index, text in ((1, "other"), (0, "first"))
    ]

    assert pieces.add(SimpleNamespace(choices=choices)) == "first"
    assert pieces.add(SimpleNamespace(choices=choices[:1])) == ""
