"""The offline model: it says what it is, quotes, looks up, and calls the tools it is told to call."""

import json
import time
from collections.abc import Sequence
from typing import Any

import pytest

from agent.chat_messages import build_messages
from agent.models.parts import image_part, text_part
from agent.models.protocol import RECALL_MODEL, ModelReply, ModelRequest, TextDelta
from agent.offline.model import DISCLAIMER, RecallModel
from agent.tools.tool import Tool
from agent.tools.toolbox import Toolbox
from conversation.errors import ModelError
from conversation.message import Message, ToolCall


def add(a: int, b: int) -> int:
    return a + b


def clock() -> str: ...


TURN_ID = "0198f3c0-0000-7000-8000-000000000001"
TOOLS = Toolbox([add, clock, Tool.from_function(add, name="send-mail")])


def asked(*messages: Message | str, parts: dict[str, Any] | None = None, **values: Any) -> ModelRequest:
    made = [m if isinstance(m, Message) else Message(role="user", content=m) for m in messages]
    built = build_messages(system_texts=["Be kind."], window=made, attachment_parts=parts)
    return ModelRequest(model=RECALL_MODEL, messages=built, tools=TOOLS.declarations(), **values)


def said(content: str) -> Message:
    return Message(role="assistant", content=content)


async def reply_to(*messages: Message | str, **values: Any) -> ModelReply:
    return await RecallModel().complete(asked(*messages, **values))


def called(reply: ModelReply) -> list[tuple[str, Any]]:
    return [(call.name, json.loads(call.arguments)) for call in reply.tool_calls]


def block(reply: ModelReply, results: Sequence[str]) -> list[Message]:
    """The reply and its tools' results, as the next request carries them."""
    answers = [
        Message(role="tool", tool_call_id=call.id, name=call.name, content=result)
        for call, result in zip(reply.tool_calls, results, strict=True)
    ]
    return [Message(role="assistant", tool_calls=reply.tool_calls), *answers]


async def test_it_says_what_it_is_and_quotes_the_last_message() -> None:
    reply = await reply_to("first", said("ok"), 'second "quoted"\nline')

    assert reply.content == f'{DISCLAIMER}\nYou wrote: "second "quoted"\nline"'
    assert (reply.finish_reason, reply.cost, reply.model) == ("stop", 0.0, "offline/recall")


async def test_it_answers_a_question_with_what_was_said_and_where() -> None:
    reply = await reply_to(
        "Hello! My cat is called Mimi. My dog is Rex.", said("ok"), "What is my cat?", said("ok"), "Who is the cat?"
    )

    assert reply.content.splitlines()[2:] == ['From message 1: "My cat is called Mimi."']


async def test_a_second_sentence_is_quoted_if_it_fits_nearly_as_well() -> None:
    reply = await reply_to("The red car is fast. The red bike is slow.", said("ok"), "How fast is the red car?")

    assert reply.content.splitlines()[2:] == ['From message 1: "The red car is fast."']

    reply = await reply_to("The red car is fast. The red bike is slow.", said("ok"), "What is red and slow or fast?")

    assert len(reply.content.splitlines()[2:]) == 2


async def test_a_question_is_not_answered_with_itself() -> None:
    reply = await reply_to("I wonder about tea. Where is the tea?")

    assert reply.content.endswith("I found nothing about that in this conversation.")


async def test_what_was_said_last_wins() -> None:
    reply = await reply_to("My colour is red.", said("ok"), "My colour is blue.", said("ok"), "Which colour?")

    assert reply.content.splitlines()[2] == 'From message 3: "My colour is blue."'


async def test_it_looks_into_attached_text() -> None:
    question = Message(role="user", content="What is the total?")
    invoice = text_part("invoice.pdf", "Invoice 7\nTotal: 42.50 EUR\nThank you")

    reply = await reply_to(question, parts={question.id: [invoice, image_part(b"1", "image/png")]})

    assert reply.content.splitlines()[1:] == [
        'You wrote: "What is the total?"',
        "You attached: invoice.pdf, 1 image(s).",
        'From attached invoice.pdf: "Total: 42.50 EUR"',
    ]


async def test_it_looks_into_results_of_tools() -> None:
    call = ToolCall("c", "add", "{}")
    result = Message(role="tool", tool_call_id="c", name="add", content='{"account": {"balance": 12}}')

    reply = await reply_to(
        "go", Message(role="assistant", tool_calls=(call,)), result, said("ok"), "What is the balance?"
    )

    assert reply.content.splitlines()[2] == 'From message 3: "account.balance: 12"'


async def test_it_says_that_it_found_nothing() -> None:
    assert (await reply_to("What is love?")).content.endswith("I found nothing about that in this conversation.")


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ('call add with {"a": 1, "b": 2}', [("add", {"a": 1, "b": 2})]),
        ('Please CALL `add` with {"a": {"b": "}"}}!', [("add", {"a": {"b": "}"}})]),
        ('add({"a": 1}) and send-mail {"a": 2}', [("add", {"a": 1}), ("send-mail", {"a": 2})]),
        ("call clock, please", [("clock", {})]),
        ('add {"a": "call clock"}', [("add", {"a": "call clock"})]),
    ],
)
async def test_it_calls_the_tools_that_a_message_names(text: str, calls: list[tuple[str, Any]]) -> None:
    reply = await reply_to(text)

    assert called(reply) == calls
    assert (reply.content, reply.finish_reason) == ("", "tool_calls")


@pytest.mark.parametrize("text", ["call me tomorrow", "add milk", 'other {"a": 1}', "the clock {of} time", "clock"])
async def test_an_ordinary_sentence_calls_nothing(text: str) -> None:
    reply = await reply_to(text.replace("clock {of}", "hour {of}"))

    assert reply.tool_calls == ()
    assert len(reply.content.splitlines()) == 2


async def test_broken_json_is_sent_as_it_was_written() -> None:
    [call] = (await reply_to('call add with {"a": } please\nthanks }')).tool_calls

    assert call.arguments == '{"a": }'


async def test_it_asks_for_arguments_that_it_was_not_given() -> None:
    reply = await reply_to("call add")

    assert reply.tool_calls == ()
    assert reply.content.endswith("To call add I need its arguments as JSON: a, b.")


async def test_it_says_which_tools_there_are() -> None:
    assert (await reply_to('call fly with {"to": "x"}')).content.endswith(
        "There is no tool fly. There are: add, clock, send-mail."
    )


async def test_it_tells_what_tools_returned_and_how_they_failed() -> None:
    text = 'add {"a": 1} and call clock'
    first = await reply_to(text)

    last = await reply_to(text, *block(first, ['{"error": {"type": "Timeout", "message": "late"}}', '"noon"']))

    assert last.content.splitlines()[1:] == [
        f'You wrote: "{text}"',
        "add failed: Timeout: late",
        "clock returned: noon",
    ]


async def test_then_puts_calls_one_after_the_other() -> None:
    text = 'call add with {"a": 1}, then call clock and add {"a": 2} and then send-mail {"a": 3}'
    history: list[Message | str] = [text]
    stages = []

    while (reply := await reply_to(*history)).tool_calls:
        stages.append([name for name, _arguments in called(reply)])
        history += block(reply, ["1"] * len(reply.tool_calls))

    assert stages == [["add"], ["clock", "add"], ["send-mail"]]
    assert reply.content.count("returned: 1") == 4


async def test_call_ids_are_stable_and_unique_in_a_thread() -> None:
    text = 'call add with {"a": 1} and call add with {"a": 1}'
    first, again = await reply_to(text), await reply_to(text)
    later = await reply_to(text, *block(first, ["1", "1"]), said("ok"), text)

    ids = [call.id for reply in (first, later) for call in reply.tool_calls]

    assert first == again
    assert len(set(ids)) == 4


@pytest.mark.parametrize("text", ["hello   there\n\nyou", 'call add with {"a": 1}', ""])
async def test_it_streams_what_it_would_have_answered_whole(text: str) -> None:
    *deltas, last = [item async for item in RecallModel().stream(asked(text))]

    assert last == await reply_to(text)
    assert "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)) == last.content


async def test_a_delay_is_per_word_in_a_stream_and_once_otherwise() -> None:
    slow = asked("hi", parameters={"delay_seconds": 0.01})

    start = time.monotonic()
    words = len([item async for item in RecallModel().stream(slow)]) - 1
    streamed = time.monotonic() - start
    await RecallModel().complete(slow)
    whole = time.monotonic() - start - streamed

    assert words > 10
    assert streamed >= words * 0.01
    assert 0.01 <= whole < words * 0.01


@pytest.mark.parametrize("delay", [-1, "1", True, float("nan"), 1e9])
async def test_a_delay_that_is_no_number_of_seconds_is_refused(delay: object) -> None:
    with pytest.raises(ModelError, match="delay_seconds"):
        await reply_to("hi", parameters={"delay_seconds": delay})


async def test_it_never_answers_as_another_model() -> None:
    with pytest.raises(ModelError, match="cannot answer as openai/gpt-5"):
        await RecallModel().complete(ModelRequest(model="openai/gpt-5", messages=[]))


async def test_it_counts_words_as_tokens() -> None:
    reply = await reply_to("one two three")

    assert reply.usage.prompt_tokens == len(["Be", "kind.", "one", "two", "three"])
    assert reply.usage.completion_tokens == len(reply.content.split())


async def test_it_answers_when_nobody_wrote_anything() -> None:
    reply = await reply_to()

    assert reply.content == f"{DISCLAIMER}\nNobody wrote anything yet."


async def test_it_answers_a_system_message_that_its_turn_was_asked_by() -> None:
    asks = Message(role="system", content="Ask how it went.", turn_id=TURN_ID)
    quoted = f'{DISCLAIMER}\nYou wrote: "Ask how it went."'

    new_thread = await RecallModel().complete(
        ModelRequest(model=RECALL_MODEL, messages=build_messages(system_texts=(), window=[asks]))
    )

    assert new_thread.content == quoted
    assert (await reply_to(asks)).content == quoted
    assert (await reply_to("What is 1 + 1?", said("2"), asks)).content == quoted


async def test_it_answers_the_user_where_a_system_message_stands_beside_the_question() -> None:
    holds = Message(role="system", content="Be brief.")

    assert (await reply_to(holds, "hello")).content == f'{DISCLAIMER}\nYou wrote: "hello"'
    assert (await reply_to("hello", holds)).content == f'{DISCLAIMER}\nYou wrote: "hello"'


async def test_a_system_message_may_call_tools_in_its_turn() -> None:
    asks = Message(role="system", content='call add with {"a": 1, "b": 2}', turn_id=TURN_ID)

    first = await reply_to("hello", said("hi"), asks)
    second = await reply_to("hello", said("hi"), asks, *block(first, ["3"]))

    assert called(first) == [("add", {"a": 1, "b": 2})]
    assert "add returned: 3" in second.content
