"""The adapter for litellm, against a stub provider over real HTTP."""

import asyncio
import contextlib
import logging
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from agent import litellm_model
from agent.litellm_model import LitellmModel
from agent.model import ModelReply, ModelRequest, Restarted, TextDelta
from conversation.errors import ModelError
from conversation.message import ToolCall, Usage
from tests.stub_openai import (
    API_KEY,
    USAGE,
    StubOpenAI,
    cut_in_mid_stream,
    drop,
    finish,
    garbage,
    hang,
    reasoning_delta,
    reply,
    slow_chunks,
    status,
    stream,
    text_delta,
    tool_delta,
    usage_chunk,
)

Ask = Callable[[ModelRequest], Awaitable[ModelReply]]

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Now.",
        "parameters": {"type": "object", "properties": {}},
    },
}
CALLS = (ToolCall("call_a", "weather", '{"city": "Oslo"}'), ToolCall("call_b", "weather", '{"city": "Rome"}'))


pytestmark = [
    # Both are of litellm's own code. It installs these filters at its import; pytest takes them out again.
    pytest.mark.filterwarnings("ignore:.*`ReadOnly` qualifier.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:Accessing the .* attribute on the instance is deprecated"),
]


@pytest.fixture(scope="module", autouse=True)
def _loaded(clean_environment: None) -> None:
    litellm_model.load()


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    yield
    await litellm_model.close()


@pytest.fixture
def provider() -> Iterator[StubOpenAI]:
    with StubOpenAI() as stub:
        yield stub


@pytest.fixture
def model() -> LitellmModel:
    """It waits next to nothing between attempts."""
    return LitellmModel(backoff_initial_seconds=0.001, backoff_max_seconds=0.002, idle_timeout_seconds=0.3)


@pytest.fixture
def question(provider: StubOpenAI) -> ModelRequest:
    return ModelRequest(
        model="openai/gpt-4o",
        messages=[{"role": "user", "content": "Hello?"}],
        parameters={"api_base": provider.base_url, "api_key": API_KEY},
        timeout_seconds=5,
        max_attempts=3,
    )


async def items_of(model: LitellmModel, request: ModelRequest) -> list[TextDelta | Restarted | ModelReply]:
    return [item async for item in model.stream(request)]


@pytest.fixture(params=["whole", "streamed"])
def ask(request: pytest.FixtureRequest, model: LitellmModel) -> Ask:
    """Ask in both ways: what holds for one holds for the other."""

    async def ask_streamed(question: ModelRequest) -> ModelReply:
        *_, last = await items_of(model, question)
        assert isinstance(last, ModelReply)
        return last

    return model.complete if request.param == "whole" else ask_streamed


def text_before(items: list[Any]) -> str:
    """What a viewer has on the screen once the stream has ended."""
    start = max((number for number, item in enumerate(items) if isinstance(item, Restarted)), default=-1)
    return "".join(item.text for item in items[start + 1 :] if isinstance(item, TextDelta))


async def test_an_answer_comes_with_its_tool_calls_reasoning_usage_and_cost(provider, ask, question):
    provider.enqueue(reply("It rains.", tool_calls=CALLS, reasoning="Look outside."))

    answer = await ask(replace(question, tools=[WEATHER]))

    assert answer.cost == pytest.approx(9.375e-05)
    assert replace(answer, cost=None) == ModelReply(
        content="It rains.",
        tool_calls=CALLS,
        reasoning="Look outside.",
        model="openai/gpt-4o",
        finish_reason="tool_calls",
        usage=USAGE,
    )


async def test_a_model_without_a_known_price_has_no_cost(provider, ask, question):
    provider.enqueue(reply("Hi."))

    answer = await ask(replace(question, model="openai/our-own"))

    assert (answer.cost, answer.usage, answer.model) == (None, USAGE, "openai/our-own")


async def test_tokens_that_the_provider_did_not_count_are_not_guessed(provider, ask, question):
    provider.enqueue(reply("Hi.", usage=None))

    answer = await ask(question)

    assert (answer.usage, answer.cost) == (Usage(), None)


async def test_pieces_joined_are_the_content_of_the_reply_at_the_end(provider, model, question):
    text = "One <s> two </s> three\n\nfour ü 🙂"
    provider.enqueue(reply(text))

    *pieces, answer = await items_of(model, question)

    assert len(pieces) > 3
    assert "".join(piece.text for piece in pieces) == answer.content == text


@pytest.mark.parametrize(
    "parameter",
    [
        ("temperature", 0.0),
        ("top_p", 0.5),
        ("stop", ["END"]),
        ("max_tokens", 5),
        ("max_completion_tokens", 6),
        ("seed", 3),
        ("n", 1),
        ("presence_penalty", 0.1),
        ("frequency_penalty", 0.2),
        ("logit_bias", {"5": 1}),
        ("response_format", {"type": "json_object"}),
        ("tool_choice", {"type": "function", "function": {"name": "weather"}}),
        ("parallel_tool_calls", False),
        ("user", "user-7"),
        ("metadata", {"purpose": "test"}),
        ("reasoning_effort", "low"),
        ("verbosity", "low"),
        ("service_tier", "auto"),
        ("store", True),
        ("prompt_cache_key", "k"),
        ("top_k", 40),
        ("min_p", 0.1),
    ],
    ids=lambda parameter: parameter[0],
)
@pytest.mark.parametrize("name_of_model", ["openai/gpt-4o", "openai/our-own", "hosted_vllm/our-own"])
async def test_a_parameter_reaches_the_provider_unchanged(
    provider, model, question, name_of_model, parameter
):
    name, value = parameter
    provider.enqueue(reply("Hi."))
    request = replace(question, model=name_of_model, tools=[WEATHER])

    await model.complete(replace(request, parameters={**request.parameters, name: value}))

    body = provider.requests[0].body
    assert body[name] == value
    assert (body["tools"], body["messages"]) == ([WEATHER], request.messages)


async def test_the_extra_body_the_headers_and_the_key_reach_the_provider(provider, model, question):
    provider.enqueue(reply("Hi."))
    more = {"extra_body": {"guided": {"choice": ["a"]}}, "extra_headers": {"X-Tenant": "t"}}

    await model.complete(replace(question, parameters={**question.parameters, **more}))

    [received] = provider.requests
    assert received.body["guided"] == {"choice": ["a"]}
    assert received.headers["x-tenant"] == "t"
    assert received.headers["authorization"] == f"Bearer {API_KEY}"


async def test_nothing_of_ours_or_of_litellm_s_is_added_to_the_body(provider, model, question):
    provider.enqueue(reply("Hi."))

    await model.complete(question)

    assert provider.requests[0].body == {"model": "gpt-4o", "messages": question.messages}


async def test_the_environment_leads_to_the_provider(provider, model, question, monkeypatch):
    for name, value in provider.environment().items():
        monkeypatch.setenv(name, value)
    provider.answer_with(lambda received: reply(f"You said: {received.last_text}"))

    answer = await model.complete(replace(question, parameters={}))

    assert answer.content == "You said: Hello?"
    assert provider.requests[0].headers["authorization"] == f"Bearer {API_KEY}"


async def test_a_parameter_that_the_request_s_own_fields_decide_is_refused(model, question):
    with pytest.raises(ModelError, match="timeout cannot be set here") as raised:
        await model.complete(replace(question, parameters={"timeout": 6000}))

    assert (raised.value.kind, raised.value.retryable) == ("refused", False)


async def test_the_request_is_left_as_it_was(provider, model, question):
    provider.enqueue(status(500), reply("Hi."))
    content = [{"type": "text", "text": "Hello?", "cache_control": {"type": "ephemeral"}}]
    request = replace(question, messages=[{"role": "user", "content": content}])

    await model.complete(request)

    assert provider.requests[0].body == provider.requests[1].body
    assert content == [{"type": "text", "text": "Hello?", "cache_control": {"type": "ephemeral"}}]


@pytest.mark.parametrize("trouble", [status(429), status(500), status(503), status(408), garbage(), drop()])
async def test_passing_trouble_is_tried_again(provider, ask, question, trouble):
    provider.enqueue(trouble, trouble, reply("Hi."))

    answer = await ask(question)

    assert (answer.content, len(provider.requests)) == ("Hi.", 3)


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [(status(429), "rate_limited"), (status(502), "unavailable"), (drop(), "unavailable")],
)
async def test_attempts_are_counted_and_only_ours(provider, ask, question, trouble, kind):
    provider.answer_with(lambda _: trouble)

    with pytest.raises(ModelError) as raised:
        await ask(question)

    assert (raised.value.kind, raised.value.retryable, len(provider.requests)) == (kind, True, 3)


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (status(400), "refused"),
        (status(401), "unauthorized"),
        (status(403), "unauthorized"),
        (status(404), "not_found"),
        (status(422), "refused"),
        (status(400, message="This model's maximum context length is 8192 tokens."), "context_length"),
        (status(400, error_code="content_filter", message="Filtered."), "content_filtered"),
        (status(429, error_code="insufficient_quota"), "out_of_credit"),
    ],
)
async def test_a_refusal_is_not_tried_again(provider, ask, question, refusal, kind):
    provider.answer_with(lambda _: refusal)

    with pytest.raises(ModelError) as raised:
        await ask(question)

    assert (raised.value.kind, raised.value.retryable, len(provider.requests)) == (kind, False, 1)


async def test_a_provider_nobody_knows_is_refused(model, question):
    with pytest.raises(ModelError) as raised:
        await model.complete(replace(question, model="no-such-provider/x"))

    assert (raised.value.kind, raised.value.retryable) == ("refused", False)


async def test_a_pause_that_the_provider_asks_for_is_kept(provider, model, question):
    provider.enqueue(status(429, retry_after="0.3"), reply("Hi."))

    await model.complete(question)

    first, second = provider.requests
    assert 0.3 <= second.at - first.at < 2


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "date"])
async def test_a_long_pause_is_handed_to_the_caller(provider, ask, question, code, as_date):
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True)
    provider.enqueue(status(code, retry_after=date if as_date else "600"))

    with pytest.raises(ModelError) as raised:
        await ask(question)

    assert raised.value.retryable
    assert raised.value.retry_after_seconds == pytest.approx(600, abs=3)
    assert len(provider.requests) == 1


async def test_fallbacks_are_asked_in_order_and_the_reply_names_the_one_that_answered(
    provider, ask, question
):
    answers = {"gpt-4o": status(401), "second": status(500), "third": reply("Hi.")}
    provider.answer_with(lambda received: answers[received.body["model"]])

    request = replace(question, fallbacks=["openai/second", "openai/third", "openai/fourth"])
    answer = await ask(request)

    assert [received.body["model"] for received in provider.requests] == ["gpt-4o", *["second"] * 3, "third"]
    assert (answer.model, answer.content) == ("openai/third", "Hi.")


async def test_when_every_model_fails_the_error_is_the_one_worth_another_attempt(provider, model, question):
    answers = {"gpt-4o": status(429, retry_after="600"), "second": status(401)}
    provider.answer_with(lambda received: answers[received.body["model"]])

    with pytest.raises(ModelError) as raised:
        await model.complete(replace(question, fallbacks=["openai/second"]))

    assert (raised.value.kind, raised.value.retry_after_seconds) == ("rate_limited", 600)


async def test_a_key_never_reaches_a_fallback_of_another_provider(provider, model, question, monkeypatch):
    monkeypatch.setenv("DEEPSEEK_API_BASE", provider.base_url)
    monkeypatch.setenv("DEEPSEEK_API_KEY", "sk-another-key")
    provider.enqueue(status(401), reply("Hi."))

    answer = await model.complete(replace(question, fallbacks=["deepseek/deepseek-chat"]))

    assert answer.model == "deepseek/deepseek-chat"
    keys = [received.headers["authorization"] for received in provider.requests]
    assert keys == [f"Bearer {API_KEY}", "Bearer sk-another-key"]


async def test_parallel_tool_calls_that_arrive_interleaved_are_told_apart(provider, model, question):
    provider.enqueue(
        stream(
            tool_delta(0, call_id="call_a", name="weather", arguments=""),
            tool_delta(1, call_id="call_b", name="weather", arguments=""),
            tool_delta(0, arguments='{"city": '),
            tool_delta(1, arguments='{"city": '),
            {"choices": []},
            tool_delta(1, arguments='"Rome"}'),
            tool_delta(0, arguments='"Oslo"}'),
            finish("tool_calls"),
            usage_chunk(USAGE),
        )
    )

    [answer] = await items_of(model, replace(question, tools=[WEATHER]))

    assert (answer.tool_calls, answer.finish_reason, answer.usage) == (CALLS, "tool_calls", USAGE)


@pytest.mark.parametrize("index", [0, None], ids=["every index is zero", "no index"])
@pytest.mark.parametrize("repeats_id", [False, True], ids=["id once", "id repeated"])
async def test_tool_calls_of_providers_with_other_habits_are_told_apart(
    provider, model, question, index, repeats_id
):
    deltas = [
        delta
        for call in CALLS
        for delta in (
            tool_delta(index, call_id=call.id, name=call.name, arguments=call.arguments[:5]),
            tool_delta(index, call_id=call.id if repeats_id else None, arguments=call.arguments[5:]),
        )
    ]
    provider.enqueue(stream(*deltas, finish("tool_calls")))

    [answer] = await items_of(model, replace(question, tools=[WEATHER]))

    assert answer.tool_calls == CALLS


BROKEN_STREAMS = [
    pytest.param(cut_in_mid_stream("Hel lo"), "cut_off", id="cut"),
    pytest.param(stream(text_delta("Hel lo"), ending="unfinished"), "cut_off", id="ended without done"),
    pytest.param(stream(text_delta("Hel lo")), "cut_off", id="done without a reason"),
    pytest.param(stream(text_delta("Hel lo"), ending="hang"), "timeout", id="fell silent"),
    pytest.param(stream(text_delta("Hel lo"), {"error": {"message": "x"}}), "cut_off", id="error in it"),
]


@pytest.mark.parametrize(("broken", "kind"), BROKEN_STREAMS)
async def test_a_broken_stream_is_void_and_asked_for_again(provider, model, question, broken, kind):
    provider.enqueue(broken, reply("Hello there."))

    items = await items_of(model, question)

    assert items.count(Restarted()) == 1
    assert isinstance(items[0], TextDelta)
    assert text_before(items) == items[-1].content == "Hello there."


@pytest.mark.parametrize(("broken", "kind"), BROKEN_STREAMS)
async def test_a_stream_that_breaks_each_time_is_an_error_of_its_kind(
    provider, model, question, broken, kind
):
    provider.answer_with(lambda _: broken)

    with pytest.raises(ModelError) as raised:
        await items_of(model, replace(question, max_attempts=2))

    assert (raised.value.kind, raised.value.retryable, len(provider.requests)) == (kind, True, 2)


async def test_an_attempt_that_showed_nothing_is_replaced_silently(provider, model, question):
    provider.enqueue(status(500), stream(reasoning_delta("Hm"), ending="cut"), reply("Hi."))

    items = await items_of(model, question)

    assert items[:-1] == [TextDelta("Hi.")]


async def test_a_fallback_voids_what_the_first_model_showed(provider, model, question):
    provider.enqueue(cut_in_mid_stream("Hel"), reply("Hi."))

    items = await items_of(model, replace(question, max_attempts=1, fallbacks=["openai/second"]))

    assert items[:-1] == [TextDelta("Hel"), Restarted(), TextDelta("Hi.")]


async def test_a_hang_ends_at_the_timeout_and_hangs_up(provider, ask, question):
    provider.enqueue(hang(), hang())
    began = time.monotonic()

    with pytest.raises(ModelError) as raised:
        await ask(replace(question, timeout_seconds=0.2, max_attempts=2))

    assert (raised.value.kind, raised.value.retryable, len(provider.requests)) == ("timeout", True, 2)
    assert 0.4 <= time.monotonic() - began < 2
    assert all([await abandoned(received) for received in provider.requests])


async def test_a_stream_that_trickles_on_ends_at_the_timeout(provider, model, question):
    provider.enqueue(slow_chunks("a " * 100, pause_seconds=0.05))

    with pytest.raises(ModelError) as raised:
        await items_of(model, replace(question, timeout_seconds=0.4, max_attempts=1))

    assert raised.value.kind == "timeout"
    assert await abandoned(provider.requests[0])


async def test_a_slow_reader_does_not_count_as_a_silent_provider(provider, model, question):
    provider.enqueue(reply("a b c"))

    text = ""
    async for item in model.stream(question):
        await asyncio.sleep(0.35)  # longer than the idle timeout
        text += item.text if isinstance(item, TextDelta) else ""

    assert text == "a b c"
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    "behaviour", [hang(), stream(text_delta("a"), ending="hang")], ids=["asking", "streaming"]
)
async def test_a_cancellation_passes_at_once_and_hangs_up(provider, ask, question, behaviour):
    provider.enqueue(behaviour)
    task = asyncio.create_task(ask(question))
    await until(lambda: len(provider.requests) == 1)
    await asyncio.sleep(0.05)  # let the first chunk arrive

    task.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert time.monotonic() - began < 0.5
    assert task.cancelled()
    assert await abandoned(provider.requests[0])
    assert len(provider.requests) == 1


async def test_a_cancellation_while_waiting_for_the_next_attempt_passes_at_once(provider, question):
    provider.enqueue(status(429, retry_after="30"))
    task = asyncio.create_task(LitellmModel().complete(question))
    await until(lambda: len(provider.requests) == 1)
    await asyncio.sleep(0.05)

    task.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert time.monotonic() - began < 0.5


async def test_closing_the_generator_closes_the_connection(provider, model, question):
    provider.enqueue(stream(text_delta("a"), ending="hang"))
    items = model.stream(question)
    assert await anext(items) == TextDelta("a")

    await items.aclose()

    assert await abandoned(provider.requests[0])


async def test_connections_of_ended_streams_are_not_leaked(provider, model, question):
    provider.answer_with(lambda _: cut_in_mid_stream("a b"))

    for _ in range(5):
        with pytest.raises(ModelError):
            await items_of(model, replace(question, max_attempts=1))

    await until(lambda: not provider.open_connections)


async def test_many_calls_run_at_once(provider, model, question):
    provider.answer_with(lambda received: reply(f"You said: {received.last_text}"))
    texts = [f"message {number}" for number in range(50)]

    answers = await asyncio.gather(
        *(model.complete(replace(question, messages=[{"role": "user", "content": text}])) for text in texts)
    )

    assert [answer.content for answer in answers] == [f"You said: {text}" for text in texts]


async def test_no_key_and_no_message_is_printed_logged_or_chained(provider, ask, question, capfd, caplog):
    caplog.set_level(logging.DEBUG)
    echo = f"Bad key {API_KEY}, you sent: " + "secret-text " * 100
    provider.enqueue(status(500, message=echo), status(401, message=echo))
    request = replace(question, messages=[{"role": "user", "content": "secret-text"}])

    with pytest.raises(ModelError) as raised:
        await ask(request)
    await asyncio.sleep(0.05)  # litellm reports failures from tasks of its own

    printed = "".join(capfd.readouterr()) + caplog.text
    assert API_KEY not in printed
    assert "secret-text" not in printed
    assert API_KEY not in str(raised.value)
    assert len(str(raised.value)) < 400
    assert (raised.value.__cause__, raised.value.__context__) == (None, None)


def test_importing_the_adapter_does_not_import_litellm():
    code = "import sys, agent.litellm_model; sys.exit('litellm' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def abandoned(received: Any) -> bool:
    """Whether the client hangs up on this request within a moment."""
    return await asyncio.to_thread(received.abandoned.wait, 2)


async def until(condition: Any) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2):
            while not condition():  # noqa: ASYNC110  it comes true in a thread
                await asyncio.sleep(0.005)
    assert condition()
