"""The processor time of one call of a model, on our roads, and by each client that could have been one, alone.

A stub in a process of its own answers after a tenth of a second; fifty calls are in the air at once, of
eleven messages each, as workers have them. Each road has a process of its own and is warm. aiohttp alone is
the least: a request and its JSON, no retries, no errors told apart, no usage and no cost.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any

from benchmarks.figures import Figure, Measures, at_most
from benchmarks.stage import ROOT, STEERING_PREFIXES, rounds_within

AT_ONCE = 50
ANSWER_SECONDS = 0.1
#: Seconds after which no further round begins.
BUDGET_SECONDS = 40
MESSAGES = [{"role": ("assistant", "user")[n % 2], "content": f"message {n}".ljust(200, ".")} for n in range(1, 12)]
REQUEST: dict[str, Any] = {"model": "stub", "messages": MESSAGES}
USAGE = {"prompt_tokens": 500, "completion_tokens": 20, "total_tokens": 520}
WORDS = [f"word{number} " for number in range(20)]
Call = Callable[[], Awaitable[object]]
#: What each road is called in the table.
ROADS = {
    "aiohttp": "aiohttp alone",
    "httpx": "httpx alone",
    "openai": "OpenAI's SDK alone",
    "direct": "Threadmill, directly",
    "direct_stream": "Threadmill, directly, in pieces",
    "litellm": "litellm alone",
    "through_litellm": "Threadmill, through litellm",
}


def measure(*, quick: bool) -> Measures:
    """Each road in turn, round by round."""
    calls, rounds = (100, 1) if quick else (400, 3)
    runs: dict[str, list[float]] = defaultdict(list)
    with running_stub() as url:
        for _ in rounds_within(BUDGET_SECONDS, rounds):
            for name in ROADS:
                runs[name].append(run_road(name, url, calls))
    base = {
        name: Figure(key=name, label=ROADS[name], rounds=runs[name], unit="ms")
        for name in ("aiohttp", "httpx", "openai", "litellm")
    }
    own = {name: own_figure(name, runs, base["litellm"]) for name in ("direct", "direct_stream", "through_litellm")}
    return [(base | own)[name] for name in ROADS]


def own_figure(name: str, runs: dict[str, list[float]], baseline: Figure) -> Figure:
    """Our roads, against litellm."""
    demand = at_most(1) if name == "direct" else None
    return Figure(key=name, label=ROADS[name], rounds=runs[name], unit="ms", baseline=baseline, demand=demand)


@contextmanager
def running_stub() -> Iterator[str]:
    """The address of the stub."""
    command = [sys.executable, "-m", "benchmarks.models", "serve"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
    finally:
        process.terminate()
        process.wait(timeout=10)


def run_road(name: str, url: str, calls: int) -> float:
    """Milliseconds of processor time of a call, measured in a process of its own."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(STEERING_PREFIXES)}
    variables = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "OPENAI_API_KEY": "sk-stub", "OPENAI_BASE_URL": url}
    command = [sys.executable, "-m", "benchmarks.models", name, url, str(calls)]
    process = subprocess.run(
        command, cwd=ROOT, env={**clean, **variables}, stdout=subprocess.PIPE, text=True, check=True
    )
    return float(process.stdout.splitlines()[-1])


async def serve_stub() -> None:
    """Answer every request after a while, whole or in pieces; print the port."""
    from aiohttp import web

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        await asyncio.sleep(ANSWER_SECONDS)
        if not body.get("stream"):
            message = {"role": "assistant", "content": "".join(WORDS)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            kind = {"id": "c", "object": "chat.completion", "created": 1, "model": "stub"}
            return web.json_response({**kind, "choices": [choice], "usage": USAGE})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in pieces():
            await response.write(f"data: {piece}\n\n".encode())
        return response

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=512)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


def pieces() -> Iterator[str]:
    """The events of a streamed answer."""
    kind = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "stub"}
    for word in WORDS:
        yield json.dumps({**kind, "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]})
    yield json.dumps({**kind, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    yield json.dumps({**kind, "choices": [], "usage": USAGE})
    yield "[DONE]"


async def measure_road(name: str, url: str, calls: int) -> float:
    """Milliseconds of processor time of a call, with many in the air."""
    async with open_road(name, url) as call:
        await asyncio.gather(*(call() for _ in range(AT_ONCE)))
        started = time.process_time()
        left = iter(range(calls))

        async def keep_calling() -> None:
            for _ in left:
                await call()

        await asyncio.gather(*(keep_calling() for _ in range(AT_ONCE)))
        return 1000 * (time.process_time() - started) / calls


def open_road(name: str, url: str) -> AbstractAsyncContextManager[Call]:
    """A road, open: a function that makes one call."""
    if name == "aiohttp":
        return _open_aiohttp(url)
    if name == "httpx":
        return _open_httpx(url)
    if name == "openai":
        return _open_openai(url)
    if name == "litellm":
        return _open_litellm(url)
    prefix = "litellm/" if name == "through_litellm" else ""
    return _open_own(f"{prefix}openai/stub", url, streams=name.endswith("stream"))


@asynccontextmanager
async def _open_aiohttp(url: str) -> AsyncIterator[Call]:
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)) as session:

        async def call() -> object:
            async with session.post(f"{url}/chat/completions", json=REQUEST) as response:
                return (await response.json())["choices"][0]["message"]["content"]

        yield call


@asynccontextmanager
async def _open_httpx(url: str) -> AsyncIterator[Call]:
    import httpx

    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=AT_ONCE), timeout=60) as client:

        async def call() -> object:
            response = await client.post(f"{url}/chat/completions", json=REQUEST)
            return response.json()["choices"][0]["message"]["content"]

        yield call


@asynccontextmanager
async def _open_openai(url: str) -> AsyncIterator[Call]:
    import openai

    async with openai.AsyncOpenAI(api_key="sk-stub", base_url=url) as client:
        yield lambda: client.chat.completions.create(**REQUEST)


@asynccontextmanager
async def _open_litellm(url: str) -> AsyncIterator[Call]:
    import litellm

    litellm.suppress_debug_info = True
    yield lambda: litellm.acompletion(
        model="openai/stub", messages=REQUEST["messages"], api_base=url, api_key="sk-stub"
    )


@asynccontextmanager
async def _open_own(model_name: str, url: str, *, streams: bool) -> AsyncIterator[Call]:
    from agent.model_factory import model_for
    from agent.models.protocol import ModelRequest

    model = model_for(model_name)
    parameters = {"api_base": url, "api_key": "sk-stub"}

    def request() -> ModelRequest:
        return ModelRequest(model=model_name, messages=MESSAGES, parameters=parameters)

    async def call_streaming() -> object:
        return [item async for item in model.stream(request())]

    yield call_streaming if streams else (lambda: model.complete(request()))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve_stub())
    else:
        print(asyncio.run(measure_road(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
