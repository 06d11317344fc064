"""Providers whose errors quote the user: a turn keeps none of it, on no road, unless a setting says so."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from agent.agent import Agent
from agent.models.provider_model import ProviderModel
from conversation.message import Message
from conversation.turn import Failed, RetryLater, TurnError
from tests.integration.scripted import run_of
from tests.litellm_border import straight, through_litellm
from tests.stub_openai import API_KEY, Behaviour, Exchange, StubOpenAI, reply, status
from tests.tries import check_tries

#: What the user writes.
WORDS = "xylophone-4711"
MODELS = ("openai/gpt-4o", "anthropic/claude-sonnet-4-5")
ECHO = f"cannot answer '{WORDS}' with key {API_KEY}"


def in_mid_stream(exchange: Exchange) -> None:
    """The error as an event of a stream that began, in the form of either provider."""
    exchange.start_stream()
    exchange.send_event(json.dumps({"type": "error", "error": {"type": ECHO, "message": ECHO, "code": ECHO}}))
    exchange.end_stream()


def refuse_as_html(exchange: Exchange) -> None:
    exchange.send_json(502, f"<html>{ECHO}</html>")


ERRORS: dict[str, Behaviour] = {
    **{str(code): status(code, message=ECHO) for code in (400, 401, 402, 403, 404, 413, 422, 429, 500, 503)},
    "of a code": status(400, message=ECHO, error_code=ECHO, error_type=ECHO),
    "too long": status(400, message=f"maximum context length is 10 tokens. {ECHO}"),
    "html": refuse_as_html,
    "in mid-stream": in_mid_stream,
    "filtered": reply(ECHO, finish_reason="content_filter"),
    "refused": reply("", refusal=ECHO),
}


async def error_of(
    provider: StubOpenAI, model: ProviderModel, model_name: str, behaviour: Behaviour, *, is_kept: bool = False
) -> TurnError:
    """The error of a turn whose provider answers so."""
    provider.answer_with(lambda _: behaviour)
    address = provider.base_url if model_name.startswith("openai") else provider.base_url.removesuffix("/v1")
    agent = Agent(
        name="a", parameters={"api_base": address, "api_key": API_KEY, "max_tokens": 50}, model_max_attempts=1
    )
    window = (Message(role="user", content=WORDS),)
    run = run_of(agent, model, model_name=model_name, keeps_provider_errors=is_kept, window=window)
    ending = await run.run()
    assert isinstance(ending, Failed | RetryLater)
    assert ending.error is not None
    assert ending.error.kind == "model_error"
    return ending.error


async def count_echoes(provider: StubOpenAI, find_class: Callable[[], Any]) -> tuple[int, int]:
    """How often a provider quoted the user, and how often a word of it was kept."""
    errors = [
        await error_of(provider, find_class()(backoff_initial_seconds=0.001), model_name, behaviour)
        for model_name in MODELS
        for behaviour in ERRORS.values()
    ]
    return len(errors), sum(WORDS in str(error) or API_KEY in str(error) for error in errors)


async def test_what_a_provider_says_is_not_kept(provider: StubOpenAI) -> None:
    assert (await count_echoes(provider, straight))[1] == 0


@pytest.mark.soak
async def test_what_a_provider_says_is_kept_on_no_road(provider: StubOpenAI) -> None:
    counts = [await count_echoes(provider, find_class) for find_class in (straight, through_litellm)]

    tries, successes = (sum(column) for column in zip(*counts, strict=True))
    check_tries("a provider's error that quotes the user, by each road", tries=tries, successes=successes)


async def test_a_turn_keeps_our_sentence_and_with_the_setting_the_provider_s_without_keys(provider: StubOpenAI) -> None:
    refusal = ERRORS["400"]

    kept = await error_of(provider, ProviderModel(), "openai/gpt-4o", refusal)
    kept_whole = await error_of(provider, ProviderModel(), "openai/gpt-4o", refusal, is_kept=True)

    sentence = "refused: openai/gpt-4o: the provider refused the request (HTTP status 400)"
    assert kept.message == sentence
    assert kept_whole.message == f"{sentence}: cannot answer '{WORDS}' with key ***"
