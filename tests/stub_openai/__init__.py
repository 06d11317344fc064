"""A stub provider: an OpenAI-compatible HTTP server on a loopback port, scripted by the test.

What stays true: it is real HTTP (keep-alive, chunked server-sent events, sockets that break), every
request is recorded before it is answered, and leaving the `with` block ends whatever still hangs.

    with StubOpenAI() as provider:
        provider.enqueue(status(429, retry_after="1"), reply("Hello."))   # one per request, in order
        provider.answer_with(lambda request: reply(request.last_text))    # whenever the queue is empty
        environment = provider.environment()                              # for a process to be started
"""

from tests.stub_openai.behaviours import (
    USAGE,
    Chunk,
    cut_in_mid_stream,
    drop,
    finish,
    garbage,
    hang,
    keep_alive,
    reasoning_delta,
    reply,
    slow_chunks,
    status,
    stream,
    text_delta,
    tool_delta,
    usage_chunk,
)
from tests.stub_openai.exchange import Behaviour, Exchange, Received
from tests.stub_openai.server import API_KEY, StubOpenAI

__all__ = [  # noqa: RUF022  grouped for the reader
    # the server and what it records
    "API_KEY",
    "Received",
    "StubOpenAI",
    # behaviours
    "Behaviour",
    "Exchange",
    "cut_in_mid_stream",
    "drop",
    "garbage",
    "hang",
    "keep_alive",
    "reply",
    "slow_chunks",
    "status",
    "stream",
    # chunks
    "USAGE",
    "Chunk",
    "finish",
    "reasoning_delta",
    "text_delta",
    "tool_delta",
    "usage_chunk",
]
