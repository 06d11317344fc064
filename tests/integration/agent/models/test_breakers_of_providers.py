"""A model behind its circuit breaker, by each road: what is asked, what is put off, and what a fallback does."""

import resource
from dataclasses import replace

import pytest

from agent.models.breaker import Breakers
from agent.models.protocol import ModelReply, TextDelta
from conversation.errors import ModelError
from conversation.exhaustion import Exhausted, Resource
from tests.litellm_border import close_roads
from tests.stub_openai import cut_in_mid_stream, reply, slow_chunks, status

FAILURES = 3


@pytest.fixture
def breakers():
    return Breakers(failures_to_open=FAILURES, probe_seconds=3600)


@pytest.fixture
def guarded(question, breakers):
    return replace(question, breakers=breakers, max_attempts=10)


def end_period(breakers):
    for breaker in breakers._breakers.values():
        breaker._no_probe_before = 0


async def fails(ask, question):
    with pytest.raises(ModelError) as raised:
        await ask(question)
    return raised.value


async def test_a_breaker_that_opens_ends_the_attempts_and_what_comes_then_is_put_off(provider, ask, guarded):
    provider.answer_with(lambda _: status(503, message="down"))

    first, second = await fails(ask, guarded), await fails(ask, guarded)

    assert len(provider.requests) == FAILURES
    assert (first.kind, first.is_put_off, first.breaker) == ("unavailable", False, second.breaker)
    assert (second.kind, second.retryable, second.is_put_off) == ("unavailable", True, True)
    assert "down" in str(first)
    assert "not asked" in str(second)


async def test_a_fallback_answers_while_the_first_model_is_away(provider, ask, guarded, breakers):
    provider.answer_with(lambda request: reply("Hi.") if request.body["model"] == "other" else status(503))
    question = replace(guarded, fallbacks=["openai/other"])

    answers = [await ask(question) for _ in range(3)]
    end_period(breakers)
    answers.append(await ask(question))

    assert [answer.content for answer in answers] == ["Hi."] * 4
    asked = [request.body["model"] for request in provider.requests]
    assert (asked.count("gpt-4o"), asked.count("other")) == (FAILURES + 1, 4)


async def test_of_several_models_the_error_is_told_of_one_that_was_asked(provider, ask, guarded):
    provider.answer_with(lambda _: status(503))
    await fails(ask, guarded)

    error = await fails(ask, replace(guarded, fallbacks=["openai/other"]))

    assert not error.is_put_off
    assert "openai/other" in str(error)


async def test_a_probe_is_one_attempt(provider, ask, guarded, breakers):
    provider.answer_with(lambda _: status(503))
    await fails(ask, guarded)
    end_period(breakers)

    error = await fails(ask, guarded)

    assert len(provider.requests) == FAILURES + 1
    assert not error.is_put_off


async def test_the_first_word_of_a_probe_closes_the_breaker(provider, model, ask, guarded, breakers):
    provider.answer_with(lambda _: status(503))
    await fails(model.complete, guarded)
    end_period(breakers)
    provider.answer_with(lambda _: slow_chunks("Hel lo", pause_seconds=0.05))
    (breaker,) = breakers._breakers.values()

    were_open = [breaker.is_open async for item in model.stream(guarded) if isinstance(item, TextDelta)]

    assert were_open
    assert not any(were_open)


async def test_answers_that_break_off_open_it_as_well(provider, model, guarded):
    provider.answer_with(lambda _: cut_in_mid_stream("Hel"))

    with pytest.raises(ModelError) as raised:
        [item async for item in model.stream(guarded)]

    assert (raised.value.kind, len(provider.requests)) == ("stream_interrupted", FAILURES)
    assert raised.value.breaker is not None


async def test_a_refusal_opens_nothing(provider, ask, guarded):
    provider.answer_with(lambda _: status(401))

    errors = [await fails(ask, guarded) for _ in range(2 * FAILURES)]

    assert len(provider.requests) == 2 * FAILURES
    assert {(error.kind, error.breaker) for error in errors} == {("unauthorized", None)}


async def test_without_breakers_each_question_is_asked(provider, ask, question):
    provider.answer_with(lambda _: status(503))
    for _ in range(4):
        await fails(ask, question)
    provider.answer_with(lambda _: reply("Hi."))

    answer = await ask(question)

    assert isinstance(answer, ModelReply)
    assert answer.content == "Hi."


async def test_a_process_without_descriptors_says_so_and_no_breaker_counts_it(provider, ask, guarded, breakers):
    provider.answer_with(lambda _: reply("Hi."))
    await ask(guarded)  # imports what it needs
    await close_roads()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    # No new descriptor has a number as low as that.
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        for _ in range(FAILURES):
            with pytest.raises(Exhausted) as raised:
                await ask(guarded)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    assert raised.value.resource is Resource.DESCRIPTORS
    assert (await ask(guarded)).content == "Hi."
    assert not any(breaker.is_open or breaker._failures for breaker in breakers._breakers.values())
