"""An agent whose model waits, and a probe of the loop that it waits on; a worker of `waiting` loads it.

What stays true: a reply says when it was due, so that whoever reads it knows how late its commit was;
the probe runs on the worker's own loop and writes down by how much it overslept.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

from agent.agent import Agent
from agent.models.protocol import ModelReply, ModelRequest, StreamRestarted, TextDelta
from agent.registry import register

#: Where the worker's probe writes, and for how long the model waits.
LAG_FILE, SECONDS = "BENCH_LAG_FILE", "BENCH_WAIT_SECONDS"
#: Seconds between two looks of the probe.
PROBE_SECONDS = 0.01
#: A message of this content is answered at once.
WARM_UP = "warm up"

_probes: set[asyncio.Task[None]] = set()


class WaitingModel:
    """A model that takes its time, and none of the processor's."""

    async def complete(self, request: ModelRequest) -> ModelReply:
        if not _probes:
            _probes.add(asyncio.create_task(_watch_loop()))
        if request.messages[-1]["content"] == WARM_UP:
            return ModelReply(content="warm", model=request.model)
        due_at = time.time() + float(os.environ[SECONDS])
        await asyncio.sleep(due_at - time.time())
        return ModelReply(content=f"{due_at:.6f}", model=request.model)

    async def stream(self, request: ModelRequest) -> AsyncIterator[TextDelta | StreamRestarted | ModelReply]:
        reply = await self.complete(request)
        yield TextDelta(reply.content)
        yield reply


async def _watch_loop() -> None:
    """Sleep over and over; note, one a line, the moment and the milliseconds by which each sleep was too long."""
    # A line at a time: what is read has to have come to the file, and a write is a hundredth of a sleep.
    with Path(os.environ[LAG_FILE]).open("a", buffering=1) as file:  # noqa: ASYNC230
        while True:
            before = time.perf_counter()
            await asyncio.sleep(PROBE_SECONDS)
            lag_ms = 1000 * (time.perf_counter() - before - PROBE_SECONDS)
            file.write(f"{time.time():.3f} {lag_ms:.3f}\n")


waiting = register(Agent(name="waiting", purpose="You wait.", model=WaitingModel()))
