"""Every wait ends: at its time limit, or at once when it is cancelled, and the connection with it."""

import asyncio
import time
from dataclasses import replace

import pytest

from agent.models.protocol import TextDelta
from conversation.errors import ModelError
from tests.stub_openai import hang, keep_alive, reply, slow_chunks, status, stream, text_delta


async def test_a_hang_ends_at_the_timeout_and_hangs_up(provider, ask, question):
    provider.enqueue(hang(), hang())
    began = time.monotonic()

    with pytest.raises(ModelError) as raised:
        await ask(replace(question, timeout_seconds=0.2, max_attempts=2))

    assert (raised.value.kind, raised.value.retryable, len(provider.requests)) == ("timeout", True, 2)
    assert 0.4 <= time.monotonic() - began < 20
    assert all([await asyncio.to_thread(received.hung_up) for received in provider.requests])


async def test_a_stream_that_falls_silent_ends_long_before_the_timeout(provider, model, question):
    provider.enqueue(stream(text_delta("a"), ending="hang"))
    began = time.monotonic()

    with pytest.raises(ModelError) as raised:
        [item async for item in model.stream(replace(question, timeout_seconds=60, max_attempts=1))]

    assert raised.value.kind == "timeout"
    assert 0.3 <= time.monotonic() - began < 20
    assert await asyncio.to_thread(provider.requests[0].hung_up)


async def test_a_stream_that_goes_on_talking_is_cut_by_no_time_meant_for_silence(provider, model, question):
    provider.enqueue(slow_chunks("a " * 20, pause_seconds=0.05))

    items = [item async for item in model.stream(replace(question, timeout_seconds=0.5, silence_seconds=0.6))]

    assert items[-1].content == "a " * 20
    assert len(provider.requests) == 1


async def test_a_server_that_only_shows_that_it_is_there_is_not_silent(provider, model, question):
    provider.enqueue(keep_alive(times=12, pause_seconds=0.1, then=reply("Hi.")))

    items = [item async for item in model.stream(replace(question, timeout_seconds=0.8, silence_seconds=0.6))]

    assert items[-1].content == "Hi."


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (hang(), "no answer began within 0.4 s"),
        (stream(text_delta("a"), ending="hang"), "the stream fell silent for 0.3 s"),
    ],
    ids=["first byte", "silence"],
)
async def test_the_reason_that_is_told_names_the_limit(provider, model, question, behaviour, reason):
    provider.enqueue(behaviour)

    with pytest.raises(ModelError, match=reason) as raised:
        [
            item
            async for item in model.stream(replace(question, timeout_seconds=0.4, silence_seconds=0.3, max_attempts=1))
        ]

    assert raised.value.kind == "timeout"


async def test_a_slow_reader_does_not_count_as_a_silent_provider(provider, model, question):
    provider.enqueue(reply("a b c"))

    text = ""
    async for item in model.stream(question):
        await asyncio.sleep(0.35)  # longer than the idle timeout
        text += item.text if isinstance(item, TextDelta) else ""

    assert text == "a b c"
    assert len(provider.requests) == 1


@pytest.mark.parametrize("behaviour", [hang(), stream(text_delta("a"), ending="hang")], ids=["asking", "streaming"])
async def test_a_cancellation_passes_at_once_and_hangs_up(provider, ask, question, behaviour):
    provider.enqueue(behaviour)
    task = asyncio.create_task(ask(question))
    await asyncio.to_thread(provider.wait_for_requests, 1)
    await asyncio.sleep(0.05)  # let the first chunk arrive

    task.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert time.monotonic() - began < 10
    assert task.cancelled()
    assert await asyncio.to_thread(provider.requests[0].hung_up)
    assert len(provider.requests) == 1


async def test_a_cancellation_while_waiting_for_the_next_attempt_passes_at_once(provider, model, question):
    provider.enqueue(status(429, retry_after="30"))
    task = asyncio.create_task(type(model)().complete(question))
    await asyncio.to_thread(provider.wait_for_requests, 1)
    await asyncio.sleep(0.05)

    task.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert time.monotonic() - began < 10


async def test_closing_the_generator_closes_the_connection(provider, model, question):
    provider.enqueue(stream(text_delta("a"), ending="hang"))
    items = model.stream(question)
    assert await anext(items) == TextDelta("a")

    await items.aclose()

    assert await asyncio.to_thread(provider.requests[0].hung_up)
