"""Any history that the store accepts gives a request that each strict provider takes, and the same prefix each time."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agent.chat_messages import build_messages
from agent.models.profiles import PROFILES
from agent.models.protocol import ModelRequest
from agent.models.request_fitting import fit_request
from conversation.history import open_calls
from conversation.message import Message, ToolCall
from conversation.parts import ImagePart, TextPart
from conversation.window import start_at_turn_boundary
from tests.integration.agent.providers.histories import request
from tests.litellm_border import close_roads, list_roads
from tests.stub_providers import StubProviders, sign

TEXTS = st.sampled_from(["", " ", "\n", "Hi.", "Räksmörgås 🙂", '{"a": NaN}', "[1]", '{"a": "\\ud83d"}', "x" * 3000])
IDS = st.sampled_from(["a", "a-1", "call_" + "x" * 41, "call[1]", "c" * 60, "é", "functions.look:0", " ", "ABCdef123"])
ARGUMENTS = st.sampled_from(
    [
        *("", "{}", '{"at": 1}', "[]", "null", "not json", '{"at": NaN}', '{"at": 1e999}', '{"at": "\\ud83d"}'),
        *('{"at": ' * 90 + "1" + "}" * 90, '{"at": ' + "9" * 400 + "}", '"text"', '{"at": 1, "at": Infinity}'),
    ]
)
NAMES = st.sampled_from(["look", "2fa", "a b", "", "é" * 70, "x" * 80])
TURNS = st.sampled_from([None, "0198f3c0-0000-7000-8000-000000000001", "0198f3c0-0000-7000-8000-000000000002"])
FIELDS = st.sampled_from(
    [
        None,
        {"family": "anthropic"},
        {"family": "anthropic", "thinking_blocks": [{"type": "thinking", "thinking": "Hm.", "signature": sign("Hm.")}]},
        {"family": "bedrock", "thinking_blocks": [{"type": "thinking", "thinking": "Hm.", "signature": sign("Hm.")}]},
        {"family": "gemini", "thought_signatures": [], "call_signatures": [None]},
        {"family": "deepseek"},
        {"family": "openrouter", "reasoning_details": [{"text": "Hm.", "signature": sign("Hm.")}]},
        {"unreachable_pictures": ["https://pictures.test/b.png"]},
    ]
)
PICTURES = st.sampled_from([(), (ImagePart("https://pictures.test/b.png"),)])


@st.composite
def histories(draw: st.DrawFn) -> list[Message]:
    """Messages in any order of roles that `check_next` allows."""
    messages: list[Message] = []
    for _ in range(draw(st.integers(0, 8))):
        messages.extend(draw(blocks()))
    assert open_calls(messages) == {}
    for seq, message in enumerate(messages, start=draw(st.sampled_from([1, 7]))):
        message.turn_id = draw(TURNS)
        message.seq = seq
    return messages


@st.composite
def blocks(draw: st.DrawFn) -> list[Message]:
    role = draw(st.sampled_from(["system", "user", "assistant", "tools"]))
    name = draw(st.sampled_from([None, "Ann", "Ann Lee <x>"]))
    if role == "system":
        return [Message(role="system", content=draw(TEXTS), name=name)]
    if role == "user":
        parts = draw(PICTURES)
        return [Message(role="user", parts=(TextPart(draw(TEXTS)), *parts), name=name)]
    if role == "assistant":
        return [Message(role="assistant", content=draw(TEXTS), name=name, provider_fields=draw(FIELDS))]
    ids = draw(st.lists(IDS, min_size=1, max_size=3, unique=True))
    calls = tuple(ToolCall(id_, draw(NAMES), draw(ARGUMENTS)) for id_ in ids)
    asking = Message(
        role="assistant", content=draw(TEXTS), tool_calls=calls, reasoning="Hm.", provider_fields=draw(FIELDS)
    )
    results = [
        Message(role="tool", tool_call_id=id_, name="look", content=draw(TEXTS)) for id_ in draw(st.permutations(ids))
    ]
    return [asking, *results]


def build(messages: Sequence[Message], purpose: str) -> list[dict[str, Any]]:
    return build_messages(system_texts=[purpose], window=start_at_turn_boundary(messages))


@pytest.mark.soak
@pytest.mark.parametrize("road", list_roads(pytest.mark.endurance))
@pytest.mark.parametrize("family", PROFILES)
@settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories(), purpose=st.sampled_from(["", "Be kind."]), thinks=st.booleans())
@example(history=[], purpose="", thinks=False)
@example(history=[Message(role="system", content="Ask.")], purpose="", thinks=False)
async def test_any_history_gives_a_request_that_the_provider_takes(
    family: str, road: Any, stubs: StubProviders, *, history: list[Message], purpose: str, thinks: bool
) -> None:
    parameters = (
        {"thinking": {"type": "enabled", "budget_tokens": 1024}}
        if thinks and family in ("anthropic", "bedrock")
        else {}
    )
    messages = build(history, purpose)
    # litellm fetches Bedrock's pictures by itself, and here is no network.
    profile = replace(PROFILES[family], pictures=family != "bedrock")
    asked = request(stubs, family, messages, profile=profile, parameters=parameters)
    if family == "openai" and not messages:
        return  # nothing is asked, and OpenAI is sent what is said

    try:
        await road()().complete(asked)
    finally:
        await close_roads()

    assert stubs.refused == []


@settings(max_examples=60, derandomize=True, deadline=None)
@given(history=histories(), family=st.sampled_from(sorted(PROFILES)))
def test_fitting_is_pure_and_gives_equal_bytes_for_equal_messages(history: list[Message], family: str) -> None:
    messages = build(history, "Be kind.")
    before = json.dumps(messages)

    first, second = (
        fit_request(ModelRequest(model="m", messages=copy), PROFILES[family]) for copy in (messages, json.loads(before))
    )

    assert json.dumps(first.messages) == json.dumps(second.messages)
    assert json.dumps(messages) == before


@settings(max_examples=60, derandomize=True, deadline=None)
@given(history=histories(), family=st.sampled_from(sorted(PROFILES)))
def test_a_fitted_request_stays_as_it_is(history: list[Message], family: str) -> None:
    fitted = fit_request(ModelRequest(model="m", messages=build(history, "Be kind.")), PROFILES[family])
    without_fields = [
        {key: value for key, value in message.items() if key in ("role", "content")} for message in fitted.messages
    ]

    again = fit_request(fitted, PROFILES[family])

    assert [{key: m[key] for key in ("role", "content")} for m in again.messages] == without_fields
