"""What is asked reaches the provider as it is, and what it answers comes back whole."""

import asyncio
import copy
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from agent.models.protocol import ModelReply
from conversation.errors import ModelError
from conversation.message import ToolCall, Usage
from tests.stub_openai import API_KEY, USAGE, reply, status

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {"name": "weather", "description": "Now.", "parameters": {"type": "object", "properties": {}}},
}
CALLS = (ToolCall("call_a", "weather", '{"city": "Oslo"}'), ToolCall("call_b", "weather", '{"city": "Rome"}'))


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

    *pieces, answer = [item async for item in model.stream(question)]

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
async def test_a_parameter_reaches_the_provider_unchanged(provider, model, question, name_of_model, parameter):
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
    strict = copy.deepcopy(WEATHER)
    strict["function"]["parameters"]["additionalProperties"] = False
    edited = replace(
        question, model="hosted_vllm/our-own", messages=[{"role": "user", "content": content}], tools=[strict]
    )
    before = copy.deepcopy(edited)

    await model.complete(edited)

    assert edited == before
    assert provider.requests[0].body == provider.requests[1].body


async def test_many_calls_run_at_once(provider, model, question):
    provider.answer_with(lambda received: reply(f"You said: {received.last_text}"))
    texts = [f"message {number}" for number in range(50)]

    answers = await asyncio.gather(
        *(model.complete(replace(question, messages=[{"role": "user", "content": text}])) for text in texts)
    )

    assert [answer.content for answer in answers] == [f"You said: {text}" for text in texts]


def test_importing_the_adapter_does_not_import_litellm():
    code = "import sys, agent.models.litellm_model; sys.exit('litellm' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
