"""What a model call on the straight road holds while its answer is waited for."""

import asyncio
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from agent.models.http import road
from agent.models.provider_model import ProviderModel
from tests.stub_openai import Exchange

PIECE = '{"choices": [{"index": 0, "delta": {"content": "Hi."}, "finish_reason": null}]}'


@pytest.mark.parametrize("begins", [False, True], ids=["before an answer begins", "while an answer comes"])
async def test_nobody_holds_what_was_sent(provider, question, monkeypatch, *, begins):
    bodies: list[bytes] = []
    arrived, released = threading.Event(), threading.Event()

    def hold(exchange: Exchange) -> None:
        if begins:
            exchange.start_stream()
            exchange.send_event(PIECE)
        arrived.set()
        released.wait(20)
        exchange.cut()

    def write(body: dict[str, Any], write: Callable[..., bytes] = road._write) -> bytes:
        bodies.append(write(body))
        return bodies[-1]

    monkeypatch.setattr(road, "_write", write)
    provider.answer_with(lambda _: hold)
    answer = ProviderModel().stream(replace(question, silence_seconds=20))
    asking = asyncio.create_task(anext(answer))
    await asyncio.to_thread(arrived.wait, 20)
    try:
        for _ in range(20):
            # What has arrived is let go in the next moment.
            await asyncio.sleep(0.01)
            if (holders := sys.getrefcount(bodies[0])) == 2:
                break
        # This list, and the call that counts.
        assert holders == 2
    finally:
        released.set()
        asking.cancel()
        await asyncio.wait([asking])
        await answer.aclose()
