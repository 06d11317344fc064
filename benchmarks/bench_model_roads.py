"""What a call of a model costs the worker's processor, by each road and by each client that could have been one.

Each in a process of its own, against the same stub provider: the seconds that its import takes, and the processor
time of a call with ten messages, fifty at once. The roads make a whole `ModelReply` with usage and price; the bare
clients send the same bytes and parse the same answer, and nothing else.
"""

import asyncio
import json
import resource
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.stage import Figure, is_quick, show
from tests.stub_openai import API_KEY, StubOpenAI, reply

AT_ONCE = 50
#: Milliseconds of a call by the straight road, at most.
CALL_MS_MAX = 2.0
MESSAGES = [
    {"role": "system" if number == 0 else "user" if number % 2 else "assistant", "content": f"word {number} " * 20}
    for number in range(10)
]
ROADS = ("aiohttp", "httpx", "openai", "litellm", "road straight", "road through litellm")

Ask = Callable[[], Awaitable[Any]]


def main() -> None:
    """Measure each in a process of its own, on one stub."""
    calls = 100 if is_quick(__doc__) else 1000
    with StubOpenAI() as provider:
        provider.answer_with(lambda _: reply("Hello."))
        seconds = {name: measure_apart(name, provider.base_url, calls) for name in ROADS}
    base_import, base_call = seconds["aiohttp"]
    show(
        "A call of a model, fifty at once",
        [
            *(
                Figure(
                    f"{name}: a call",
                    call_seconds * 1000,
                    "ms",
                    None if name == "aiohttp" else base_call * 1000,
                    CALL_MS_MAX if name == "road straight" else None,
                )
                for name, (_, call_seconds) in seconds.items()
            ),
            *(
                Figure(f"{name}: import", import_seconds, "s", None if name == "aiohttp" else base_import)
                for name, (import_seconds, _) in seconds.items()
            ),
        ],
    )


def measure_apart(name: str, base_url: str, calls: int) -> tuple[float, float]:
    """The processor seconds of the import and of one call, in a new process."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.bench_model_roads", "--", name, base_url, str(calls)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    import_seconds, call_seconds = map(float, output.split())
    return import_seconds, call_seconds


def measure_here(name: str, base_url: str, calls: int) -> None:
    """Print the processor seconds of the import, and of one call."""
    started = time.process_time()
    make_ask = MAKERS[name](base_url)
    imported = time.process_time() - started
    print(imported, asyncio.run(_measure_calls(make_ask, calls)))


async def _measure_calls(make_ask: Callable[[], Ask], calls: int) -> float:
    ask = make_ask()
    await asyncio.gather(*(ask() for _ in range(AT_ONCE)))  # connections, and what is imported late
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(calls // AT_ONCE):
        await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
    after = resource.getrusage(resource.RUSAGE_SELF)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / calls


def _make_aiohttp(base_url: str) -> Callable[[], Ask]:
    import aiohttp

    def make_ask() -> Ask:
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

        async def ask() -> Any:
            async with session.post(f"{base_url}/chat/completions", **_request()) as response:
                return json.loads(await response.read())

        return ask

    return make_ask


def _make_httpx(base_url: str) -> Callable[[], Ask]:
    import httpx

    def make_ask() -> Ask:
        client = httpx.AsyncClient(limits=httpx.Limits(max_connections=None, max_keepalive_connections=None))

        async def ask() -> Any:
            options = _request()
            response = await client.post(
                f"{base_url}/chat/completions", content=options["data"], headers=options["headers"]
            )
            return response.json()

        return ask

    return make_ask


def _make_openai(base_url: str) -> Callable[[], Ask]:
    import openai
    import openai.resources

    def make_ask() -> Ask:
        client = openai.AsyncOpenAI(api_key=API_KEY, base_url=base_url)
        return lambda: client.chat.completions.create(model="gpt-4o", messages=MESSAGES)

    return make_ask


def _make_litellm(base_url: str) -> Callable[[], Ask]:
    from agent.models.litellm_road import load

    library = load()
    account = {"api_key": API_KEY, "api_base": base_url}
    return lambda: lambda: library.acompletion(model="openai/gpt-4o", messages=MESSAGES, **account)


def _make_road(name: str) -> Callable[[str], Callable[[], Ask]]:
    def make(base_url: str) -> Callable[[], Ask]:
        from agent.model_factory import preload
        from agent.models.protocol import ModelRequest
        from agent.models.provider_model import ProviderModel

        preload(name, has_tools=False)
        account = {"api_key": API_KEY, "api_base": base_url}
        return lambda: lambda: ProviderModel().complete(ModelRequest(model=name, messages=MESSAGES, parameters=account))

    return make


def _request() -> dict[str, Any]:
    body = {"model": "gpt-4o", "messages": MESSAGES}
    headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}
    return {"data": json.dumps(body), "headers": headers}


MAKERS = {
    "aiohttp": _make_aiohttp,
    "httpx": _make_httpx,
    "openai": _make_openai,
    "litellm": _make_litellm,
    "road straight": _make_road("openai/gpt-4o"),
    "road through litellm": _make_road("litellm/openai/gpt-4o"),
}


if __name__ == "__main__":
    if "--" in sys.argv:
        name, base_url, calls = sys.argv[sys.argv.index("--") + 1 :]
        measure_here(name, base_url, int(calls))
    else:
        main()
