"""Passing trouble is tried again, a refusal is not, and nothing of a key shows."""

import asyncio
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from conversation.errors import ModelError
from tests.stub_openai import API_KEY, cut_in_mid_stream, drop, garbage, reply, status

NO_CHOICES = '{"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": []}'


@pytest.mark.parametrize(
    "trouble", [status(429), status(500), status(503), status(408), garbage(), garbage(NO_CHOICES), drop()]
)
async def test_passing_trouble_is_tried_again(provider, ask, question, trouble):
    provider.enqueue(trouble, trouble, reply("Hi."))

    answer = await ask(question)

    assert (answer.content, len(provider.requests)) == ("Hi.", 3)


@pytest.mark.parametrize(
    ("trouble", "kind"), [(status(429), "rate_limited"), (status(502), "unavailable"), (drop(), "unavailable")]
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
        (status(429, error_code="insufficient_quota"), "insufficient_quota"),
    ],
)
async def test_a_refusal_is_not_tried_again(provider, ask, question, refusal, kind):
    provider.answer_with(lambda _: refusal)

    with pytest.raises(ModelError) as raised:
        await ask(question)

    assert (raised.value.kind, raised.value.retryable, len(provider.requests)) == (kind, False, 1)


@pytest.mark.soak
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


async def test_fallbacks_are_asked_in_order_and_the_reply_names_the_one_that_answered(provider, ask, question):
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


async def test_connections_of_ended_streams_are_not_leaked(provider, model, question):
    provider.answer_with(lambda _: cut_in_mid_stream("a b"))

    for _ in range(5):
        with pytest.raises(ModelError):
            [item async for item in model.stream(replace(question, max_attempts=1))]

    await asyncio.to_thread(provider.wait_for_no_connections)


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
    assert "litellm" not in printed.lower()
    assert API_KEY not in str(raised.value) + raised.value.provider_text
    assert len(raised.value.provider_text) < 400
    assert (raised.value.__cause__, raised.value.__context__) == (None, None)
