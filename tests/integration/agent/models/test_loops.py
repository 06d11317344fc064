"""Connections to providers are closed with the event loop that opened them, on every road."""

import asyncio
import gc
from contextlib import suppress
from pathlib import Path

import pytest

from agent.models.protocol import ModelRequest
from agent.models.provider_model import ProviderModel
from tests.stub_openai import StubOpenAI, reply


def open_sockets() -> int:
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found += str(descriptor.readlink()).startswith("socket:")
    return found


@pytest.mark.soak
def test_loops_one_after_the_other_leave_no_socket(
    provider: StubOpenAI, model: ProviderModel, question: ModelRequest
) -> None:
    provider.answer_with(lambda _: reply("Hi."))
    counts = []

    for _ in range(4):
        assert asyncio.run(model.complete(question)).content == "Hi."
        gc.collect()
        counts.append(open_sockets())

    # The stub's side of a connection may take a moment to notice.
    assert counts[-1] <= counts[0] + 1, counts
