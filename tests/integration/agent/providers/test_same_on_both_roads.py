"""The straight road asks what litellm asks: the same body, at the same path, with the same key, at the same price.

Each row is asked by both roads. What litellm has words of its own for, the straight road says in the same words or
leaves to litellm. `user` and `metadata` reach OpenRouter on the straight road alone.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import pytest

from agent.models.choose_road import needs_litellm
from agent.models.http.endpoints import ENDPOINTS
from agent.models.http.translated import SHARED, is_word_of_litellm
from agent.models.litellm_model import LitellmModel
from agent.models.litellm_road import LitellmRoad, load
from agent.models.model_list import load_model_list
from agent.models.prices import find_price
from agent.models.protocol import ModelRequest
from agent.models.provider_model import ProviderModel
from agent.models.spending import counted_usage
from conversation.errors import ModelError
from conversation.message import Usage
from tests.integration.agent.providers.histories import LOOK, PICTURE, assistant, call, result, system, tool, user
from tests.stub_openai import API_KEY, StubOpenAI, reply
from tests.stub_providers import Said
from tests.stub_providers.answers import anthropic, anthropic_events

pytestmark = pytest.mark.soak

MODELS = [
    "openai/gpt-4o",
    "openai/gpt-5",
    "openai/o3",
    "openai/our-own",
    "hosted_vllm/our-own",
    "deepseek/deepseek-chat",
    "deepseek/deepseek-reasoner",
    "mistral/mistral-large-latest",
    "moonshot/kimi-k2.5",
    "moonshot/moonshot-v1-8k",
    "zai/glm-4.6",
    "openrouter/openai/gpt-4o",
    "openrouter/anthropic/claude-sonnet-4.5",
    "anthropic/claude-sonnet-4-5",
    "anthropic/claude-opus-4-6",
    "anthropic/claude-3-haiku-20240307",
    "anthropic/our-own",
    "claude-sonnet-4-5",
    "gpt-4o",
]
PARAMETERS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.1, "n": 2},
    {"temperature": 1, "top_p": 0.5},
    {"max_tokens": 5},
    {"max_completion_tokens": 6},
    {"stop": "END"},
    {"stop": ["END", "STOP"]},
    {"seed": 3},
    {"presence_penalty": 0.1, "frequency_penalty": 0.2, "logit_bias": {"5": 1}},
    {"response_format": {"type": "json_object"}},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}},
    *({"tool_choice": choice} for choice in ("auto", "none", "required")),
    {"tool_choice": {"type": "function", "function": {"name": "look"}}},
    {"parallel_tool_calls": False},
    {"parallel_tool_calls": False, "tool_choice": "required"},
    {"user": "user-7", "metadata": {"purpose": "test"}},
    {"user": "a@b.test"},
    {"metadata": {"user_id": "u-1"}},
    {"reasoning_effort": "low"},
    {"reasoning_effort": "max"},
    {"reasoning_effort": "none"},
    {"reasoning_effort": {"effort": "high", "summary": "auto"}},
    {"thinking": {"type": "enabled", "budget_tokens": 1024}},
    {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 3000},
    {"thinking": {"type": "disabled"}},
    {"thinking": {"type": "adaptive"}},
    {"top_k": 40},
    {"min_p": 0.1, "chat_template_kwargs": {"enable_thinking": False}},
    {"service_tier": "auto", "store": True, "prompt_cache_key": "k", "verbosity": "low"},
    {"logprobs": True, "top_logprobs": 2},
    {"stream_options": {"include_obfuscation": False}},
    {"extra_body": {"guided": {"choice": ["a"]}, "temperature": 0.7}, "extra_headers": {"X-Tenant": "t"}},
    {"models": ["a", "b"], "route": "fallback", "transforms": ["x"], "provider": {"order": ["a"]}},
]
CLOSED = tool(at={"type": "object", "additionalProperties": False, "properties": {}, "description": "Where."})
MARKED = {"type": "text", "text": "Hi.", "cache_control": {"type": "ephemeral"}}
CONVERSATION = [
    system("Be kind."),
    user([MARKED, PICTURE, {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]),
    assistant("Let me see. ", call("call_1"), call("call_2", arguments="{}")),
    result("call_1"),
    result("call_2", "[1, 2]"),
    assistant(" There. "),
    user("Räksmörgås 🙂"),
]


@pytest.fixture
def provider() -> Iterator[StubOpenAI]:
    with StubOpenAI() as stub:
        yield stub


def answer(received: Any) -> Any:
    if "/messages" not in received.path:
        return reply("Hi.")

    def behave(exchange: Any) -> None:
        if not received.wants_stream:
            exchange.send_json(200, anthropic(Said("Hi.")))
            return
        exchange.start_stream()
        for event in anthropic_events(Said("Hi.")):
            exchange.send_event(event.partition("data: ")[2].strip())
        exchange.end_stream()

    return behave


async def sent(provider: StubOpenAI, model: ProviderModel, asked: ModelRequest, *, is_streamed: bool) -> Any:
    """What reached the provider, or the kind of the refusal before that."""
    provider.requests.clear()
    try:
        if is_streamed:
            [item async for item in model.stream(asked)]
        else:
            await model.complete(asked)
    except ModelError as error:
        if not provider.requests:
            return error.kind
    received = provider.requests[0]
    names = ("authorization", "x-api-key", "anthropic-version", "anthropic-beta", "x-tenant")
    body = {name: value for name, value in received.body.items() if (name, value) != ("stream", False)}
    return received.path, body, {name: received.headers.get(name) for name in names}


@pytest.mark.parametrize("name", MODELS)
async def test_both_roads_send_the_same(name: str, provider: StubOpenAI) -> None:
    provider.answer_with(answer)
    is_anthropic = name.startswith(("anthropic/", "claude"))
    base = provider.base_url.removesuffix("/v1") if is_anthropic else provider.base_url
    account = {"api_base": base, "api_key": API_KEY}
    asked = ModelRequest(model=name, messages=CONVERSATION, tools=[LOOK, CLOSED], max_attempts=1)
    different, straight = [], 0

    for number, parameters in enumerate(PARAMETERS):
        own = replace(asked, parameters={**account, **parameters}, tools=asked.tools if number % 4 else [LOOK])
        if needs_litellm(name, own.parameters, has_tools=True):
            continue
        straight += 1
        is_streamed = bool(number % 3)
        first = await sent(provider, ProviderModel(), own, is_streamed=is_streamed)
        second = await sent(provider, LitellmModel(), own, is_streamed=is_streamed)
        if name.startswith("openrouter/") and not isinstance(second, str):
            second[1].update({word: parameters[word] for word in ("user", "metadata") if word in parameters})
        # What litellm refuses by itself, or stumbles over, its provider judges on the straight road.
        if second not in ("refused", "unavailable", first):
            different.append((parameters, list(differences(first, second))))

    assert different == []
    assert straight > 10


@pytest.mark.parametrize(
    ("name", "parameters", "client"),
    [
        ("openai/gpt-4o", {}, "threadmill"),
        ("litellm/openai/gpt-4o", {}, "AsyncOpenAI"),
        ("openai/gpt-4o", {"drop_params": True}, "AsyncOpenAI"),
    ],
)
async def test_the_name_and_the_parameters_choose_the_road(
    provider: StubOpenAI, name: str, parameters: dict[str, Any], client: str
) -> None:
    provider.answer_with(answer)
    account = {"api_base": provider.base_url, "api_key": API_KEY, **parameters}

    reply = await ProviderModel().complete(ModelRequest(model=name, messages=[user()], parameters=account))

    [received] = provider.requests
    assert client in received.headers["user-agent"]
    assert (received.body["model"], reply.model, reply.cost is None) == ("gpt-4o", name, False)


def differences(first: Any, second: Any) -> Iterator[tuple[str, Any, Any]]:
    """What is not the same, by key: straight, and through litellm."""
    if isinstance(first, str) or isinstance(second, str):
        yield "request", first if isinstance(first, str) else "sent", second if isinstance(second, str) else "sent"
        return
    for own, theirs in zip(first, second, strict=True):
        if isinstance(own, str):
            if own != theirs:
                yield "path", own, theirs
            continue
        for key in own.keys() | theirs.keys():
            if own.get(key, "missing") != theirs.get(key, "missing"):
                yield key, own.get(key, "missing"), theirs.get(key, "missing")


def test_no_word_of_litellms_is_sent_to_a_provider() -> None:
    library = load()
    words = {*library.types.utils.all_litellm_params, "api_version", "deployment_id", "drop_params", "ssl_verify"}

    assert {word for word in words if not is_word_of_litellm(word)} <= SHARED
    taken = {"temperature", "max_tokens", "top_k", "guided_json", "chat_template_kwargs", "provider", "safe_prompt"}
    assert not [word for word in taken if is_word_of_litellm(word)]


USAGES: list[dict[str, Any]] = [
    {"prompt_tokens": 1000, "completion_tokens": 100},
    {"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 700}},
    {"prompt_tokens": 1000, "completion_tokens": 100, "completion_tokens_details": {"reasoning_tokens": 60}},
    {"prompt_tokens": 300_000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 100_000}},
    {"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"audio_tokens": 300}},
    {"prompt_tokens": 1000, "completion_tokens": 90, "completion_tokens_details": {"audio_tokens": 30}},
]


def test_a_price_is_litellms_own_for_each_model_that_is_asked_straight() -> None:
    library, road, different, count = load(), LitellmRoad(), [], 0

    for name, entry in load_model_list().items():
        provider = entry.get("litellm_provider")
        if provider not in ENDPOINTS or entry.get("mode") != "chat" or "input_cost_per_token" not in entry:
            continue
        model = name.removeprefix(f"{provider}/")
        for counts in USAGES:
            chunk = library.ModelResponse(usage=library.Usage(**counts))
            usage = counted_usage(chunk)
            own, theirs = find_price(provider, model, usage, chunk), road.price(f"{provider}/{model}", usage, chunk)
            count += 1
            if own != pytest.approx(theirs):
                different.append(f"{name} {counts}: {own} {theirs}")

    assert different == []
    assert count > 500


@pytest.mark.parametrize("moment", [(25, 0, 30), (25, 2, 0), (25, 5, 59), (25, 6, 0), (25, 23, 0), (28, 3, 0)])
def test_a_price_of_the_hour_is_litellms_own(moment: tuple[int, int, int]) -> None:
    load()
    price = import_module("litellm.litellm_core_utils.llm_cost_calc.utils").generic_cost_per_token
    usage = import_module("litellm").Usage(prompt_tokens=1000, completion_tokens=100)
    now = datetime(2026, 11, *moment, tzinfo=UTC)

    own = find_price("deepseek", "deepseek-v4-flash", Usage(1000, 100), None, now=now)

    assert own == pytest.approx(sum(price("deepseek-v4-flash", usage, "deepseek", current_time=now)))


def test_a_tuned_model_costs_what_litellm_says() -> None:
    library, name = load(), "openai/ft:gpt-4o-2024-08-06:us::x"
    chunk = library.ModelResponse(usage=library.Usage(prompt_tokens=1000, completion_tokens=100))

    own = find_price("openai", name.removeprefix("openai/"), Usage(1000, 100), chunk)

    assert own is not None
    assert own == pytest.approx(LitellmRoad().price(name, Usage(1000, 100), chunk))
