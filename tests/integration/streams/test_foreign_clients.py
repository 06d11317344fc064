"""Clients that others wrote read a stream which a proxy cuts, and go on behind what they have seen.

npm's `eventsource` comes as `tests/event_readers/package-lock.json` pins it, on the Node.js of the lock files.
"""

import asyncio
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conversation.events import TurnEnded
from conversation.turn import TurnState
from tests.integration.producers.test_sql_clients import NODE, NPM
from tests.integration.streams.conftest import Stage
from tests.integration.streams.cutting_proxy import CuttingProxy
from tests.integration.streams.resuming_reader import ResumingReader
from tests.integration.streams.scripted_gateway import THREAD, delta, serve

pytestmark = pytest.mark.soak

PINNED = Path(__file__).parents[2] / "event_readers"
TEXTS = [f"piece {number}\r\ndata: x\n\n" for number in range(1, 13)]
NUMBERS = list(range(1, 14))
#: Bytes of an answer that pass: its head and some events.
PASSED_BYTES = 1300


@pytest.fixture
def over(stage: Stage) -> Stage:
    """A turn that is over, with what was said in it."""
    stage.producer.find_turn(stage.turn_id).cancel()
    end = TurnEnded(thread_id=THREAD, turn_id="t", number=13, state=TurnState.COMPLETED)
    stage.hub.events = [*(delta(n, text) for n, text in enumerate(TEXTS, 1)), end]
    stage.hub.is_over = True
    return stage


def node_folder() -> Path:
    """`eventsource`, installed beside the Python packages when its lock file changes."""
    lock = (PINNED / "package-lock.json").read_bytes()
    folder = Path(sys.prefix) / f"event-readers-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not (folder / "node_modules/eventsource/package.json").exists():
        folder.mkdir(exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PINNED / name, folder)
        install = [NODE, NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(install, cwd=folder, check=True, timeout=110)
    shutil.copy(PINNED / "read.mjs", folder)
    return folder


async def run(*command: Path | str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    return output.decode()


async def test_npm_eventsource_resumes_and_ends(over: Stage) -> None:
    program = await asyncio.to_thread(node_folder)
    with serve(over.app) as address:
        async with CuttingProxy(int(address.rpartition(":")[2]), size=PASSED_BYTES) as proxy:
            told = await run(NODE, program / "read.mjs", f"{proxy.address}/v1/turns/{over.turn_id}/events", "secret")
            # It stopped by itself, when it was told that nothing follows.
            assert proxy.connections > 2

    events = json.loads(told)
    assert [int(number) for _, number, _ in events] == NUMBERS
    assert [text for _, _, text in events[:-1]] == TEXTS


async def test_httpx_sse_resumes(over: Stage) -> None:
    with serve(over.app) as address:
        async with CuttingProxy(int(address.rpartition(":")[2]), size=PASSED_BYTES) as proxy:
            reader = ResumingReader(f"{proxy.address}/v1/turns/{over.turn_id}/events", {"Authorization": "secret"})
            await asyncio.wait_for(reader.read(), 30)

    assert reader.numbers == NUMBERS
    assert [event["text"] for event in reader.seen if event["type"] == "message.delta"] == TEXTS
    assert reader.connections > 2


async def test_curl_resumes(over: Stage) -> None:
    lines: list[str] = []
    last_id = ""
    with serve(over.app) as address:
        async with CuttingProxy(int(address.rpartition(":")[2]), size=PASSED_BYTES) as proxy:
            url = f"{proxy.address}/v1/turns/{over.turn_id}/events"
            while "event: turn.ended" not in lines:
                headers = ["-H", "Authorization: secret", "-H", f"Last-Event-ID: {last_id}"]
                told = await run("curl", "-sN", *headers, url)
                # What was cut in its middle is no event.
                lines += told[: told.rindex("\n\n")].splitlines() if "\n\n" in told else []
                last_id = next(line[4:] for line in reversed(lines) if line.startswith("id: "))

    data = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    assert [event["id"] for event in data if event["id"] is not None] == NUMBERS
    assert [event["text"] for event in data if event["type"] == "message.delta"] == TEXTS
