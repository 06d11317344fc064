"""A streamed answer is put together right, whatever a provider does with indexes and ids."""

from types import SimpleNamespace

from agent.models.stream_assembly import ReplyPieces, ToolCallPieces
from conversation.message import ToolCall


def joined(*deltas: tuple[int | None, str | None, str | None, str | None]) -> tuple[ToolCall, ...]:
    pieces = ToolCallPieces()
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
