"""Fields that a provider wants back: the same whole and streamed, and after a crash."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

import threadmill
from agent.agent import Agent
from agent.chat_messages import build_messages
from agent.journal import make_reply_storable, model_step
from agent.models.profiles import PROFILES
from agent.models.protocol import ModelError, ModelReply, ModelRequest
from agent.models.provider_fields import FieldPieces
from agent.models.provider_model import ProviderModel
from conversation.message import Message, ToolCall
from conversation.replay import assistant_message, tool_calls_of
from conversation.step import Step
from tests.integration.agent.providers.histories import PICTURE, request, result, user
from tests.stub_providers import Said, StubProviders, sign

pytestmark = pytest.mark.soak

Ask = Callable[[ModelRequest], Awaitable[ModelReply]]

THINKING = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
LOOK = ToolCall("call_1", "look", '{"at": 1}')
SAID = Said("Let me see.", [LOOK, ToolCall("call_2", "look", '{"at": 2}')], thought="Hm, where?")
#: What is kept of `SAID`.
KEPT: dict[str, dict[str, Any]] = {
    "anthropic": {
        "thinking_blocks": [
            {"type": "thinking", "thinking": "Hm, where?", "signature": sign("Hm, where?")},
            {"type": "redacted_thinking", "data": sign("redacted Hm, where?")},
        ]
    },
    "gemini": {"thought_signatures": [sign("look")], "call_signatures": [sign("look"), None]},
    "deepseek": {},
    "openrouter": {
        "reasoning_details": [
            {"type": "reasoning.text", "text": "Hm, where?", "signature": sign("Hm, where?"), "index": 0}
        ]
    },
}


@pytest.fixture(params=["whole", "streamed"])
def ask(request: pytest.FixtureRequest, model: ProviderModel) -> Ask:
    async def ask_streamed(question: ModelRequest) -> ModelReply:
        *_, last = [item async for item in model.stream(question)]
        assert isinstance(last, ModelReply)
        return last

    return model.complete if request.param == "whole" else ask_streamed


def question(stubs: StubProviders, family: str, *messages: dict[str, Any]) -> ModelRequest:
    parameters = THINKING if family in ("anthropic", "bedrock") else {}
    return request(stubs, family, [user(), *messages], parameters=parameters, profile=PROFILES[family])


def stored(step: Step) -> Step:
    """The step as the journal gives it back: its database sorts the keys of objects."""
    return replace(step, result=json.loads(json.dumps(step.result, sort_keys=True)))


@pytest.mark.parametrize("family", KEPT)
async def test_what_a_provider_sends_beside_its_text_is_kept_as_it_came(
    family: str, stubs: StubProviders, ask: Ask
) -> None:
    stubs.script(SAID)

    reply = await ask(question(stubs, family))

    assert reply.provider_fields == {"family": family, **KEPT[family]}
    assert reply.content == "Let me see."
    assert reply.reasoning in ("Hm, where?", None) or family == "anthropic"


@pytest.mark.parametrize("family", [*KEPT, "bedrock"])
async def test_the_request_after_a_crash_has_the_bytes_of_the_one_before(
    family: str, stubs: StubProviders, model: ProviderModel
) -> None:
    stubs.script(SAID)
    reply = make_reply_storable(await model.complete(question(stubs, family)))
    step = model_step(0, reply, "digest")
    bodies = []

    for kept_step in (step, stored(step)):
        message = assistant_message("turn", kept_step, {})
        calls = tool_calls_of(kept_step)
        results = [Message(role="tool", tool_call_id=call.id, name=call.name, content='"x"') for call in calls]
        messages = build_messages(system_texts=(), window=(), new_messages=(message, *results))
        await model.complete(question(stubs, family, *messages))
        bodies.append(json.dumps(stubs.taken[-1][1]))

    assert stubs.refused == []
    assert bodies[0] == bodies[1]


async def test_a_loop_that_a_fallback_went_on_with_is_taken(stubs: StubProviders, model: ProviderModel) -> None:
    """Anthropic refuses to think in a loop whose last calls it did not think of."""
    stubs.script(SAID)
    first = await model.complete(question(stubs, "anthropic"))
    stubs.script(Said("", [LOOK]))
    second = await model.complete(question(stubs, "openai"))
    steps = [model_step(n, make_reply_storable(reply), "") for n, reply in enumerate((first, second))]
    loop = [assistant_message("turn", step, {}) for step in steps]

    built = build_messages(system_texts=(), window=(), new_messages=loop)
    await model.complete(question(stubs, "anthropic", *built))

    assert stubs.refused == []
    assert "thinking" not in stubs.taken[-1][1]


async def test_the_effort_to_reason_is_left_out_with_thinking(stubs: StubProviders, model: ProviderModel) -> None:
    asked = question(stubs, "anthropic", {"role": "assistant", "tool_calls": [_call()]}, result("call_1"))
    parameters = stubs.parameters("anthropic") | {"reasoning_effort": "high"}

    await model.complete(replace(asked, parameters=parameters))

    assert stubs.refused == []
    assert "thinking" not in stubs.taken[-1][1]


def _call() -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


@pytest.mark.parametrize(
    "block",
    [
        {"type": "thinking", "thinking": "half \ud83d", "signature": "x"},
        {"type": "thinking", "thinking": object(), "signature": "x"},
        {"type": "thinking", "thinking": "x" * 1_000_001, "signature": "x"},
    ],
    ids=["no unicode", "no json", "too long"],
)
def test_fields_that_no_message_can_hold_are_left_out(block: dict[str, Any]) -> None:
    pieces = FieldPieces()
    pieces._append("thinking_blocks", block)

    reply = pieces.finish(ModelReply(content="x", tool_calls=(LOOK,), model="m"), PROFILES["anthropic"])

    assert reply.provider_fields == {"family": "anthropic"}


async def test_a_picture_that_cannot_be_opened_is_left_out_and_remembered(stubs: StubProviders, ask: Ask) -> None:
    stubs.dead_addresses = {PICTURE["image_url"]["url"]}
    asked = question(stubs, "openai", user([{"type": "text", "text": "See:"}, PICTURE]))

    reply = await ask(asked)

    assert len(stubs.refused) == 1
    assert "no longer be opened" in json.dumps(stubs.taken[-1][1])
    assert reply.provider_fields == {"unreachable_pictures": [PICTURE["image_url"]["url"]]}


async def test_a_refusal_that_has_nothing_to_do_with_a_picture_is_told_as_it_is(
    stubs: StubProviders, model: ProviderModel
) -> None:
    asked = question(stubs, "openai", user([PICTURE]))

    with pytest.raises(ModelError) as caught:
        await model.complete(replace(asked, parameters=asked.parameters | {"extra_body": {"nonsense": 1}}))
    assert "unknown keys" in caught.value.provider_text


def test_an_agent_names_a_profile() -> None:
    strict = replace(PROFILES["openai"], system_first=True)

    assert Agent(name="a", profile="mistral").find_profile("openai/x") is PROFILES["mistral"]
    assert Agent(name="a", profile=strict).find_profile("openai/x") is strict
    with pytest.raises(Exception, match=r"agent\.profile"):
        Agent(name="a", profile="unknown")


async def test_a_fallback_is_fitted_to_its_own_provider(
    stubs: StubProviders, model: ProviderModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    stubs.script(SAID)
    first = make_reply_storable(await model.complete(question(stubs, "anthropic")))
    loop = [assistant_message("turn", model_step(0, first, ""), {}), Message(role="system", content="Be kind.")]
    built = build_messages(system_texts=["Be kind."], window=loop)
    monkeypatch.setenv("OPENAI_BASE_URL", stubs.parameters("compatible")["api_base"])
    monkeypatch.setenv("OPENAI_API_KEY", "sk-stub")
    asked = question(stubs, "anthropic", *built)
    nowhere = {**asked.parameters, "api_base": "http://127.0.0.1:9"}

    reply = await model.complete(replace(asked, parameters=nowhere, fallbacks=["openai/our-own"]))

    assert reply.model == "openai/our-own"
    assert stubs.refused == []
    assert "thinking" not in json.dumps(stubs.taken[-1])


async def test_a_thread_that_is_stored_goes_on_thinking(stubs: StubProviders) -> None:
    def look(at: int) -> str:
        return f"place {at}"

    agent = threadmill.Agent(
        name="guide",
        model_name=stubs.model("anthropic"),
        parameters=stubs.parameters("anthropic") | THINKING,
        tools=[look],
    )
    thread = threadmill.Thread()

    for text in ("Look.", "Look again."):
        stubs.script(SAID, Said("There."))
        thread.add_message(Message(role="user", content=text))
        result = await agent.go(thread)
        thread = result.thread

    thoughts = [block for message in stubs.taken[-1][1]["messages"] for block in message["content"]]
    assert stubs.refused == []
    assert [block["signature"] for block in thoughts if block["type"] == "thinking"] == [sign("Hm, where?")] * 2
