"""What followers share, on real rows: one listener, one poll, one read; and what they leave behind."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event as sqlalchemy_event

from producers import Producer
from producers.events.hub import EventHub
from store.database.engine import Database
from store.settings import Settings
from tests.integration.producers.backend import answer
from tests.integration.producers.events.stage import SOON_SECONDS, Viewer, is_rising, open_client

ENDS = ["turn.started", "message.done", "message.done", "turn.ended"]


@contextmanager
def count_statements(hub: EventHub, database: Database) -> Iterator[list[str]]:
    """The statements of this loop, from now on, but for those that begin and end transactions."""
    statements: list[str] = []
    engine = database.async_engine.sync_engine

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("SET"):
            statements.append(statement)

    sqlalchemy_event.listen(engine, "before_cursor_execute", note)
    yield statements
    sqlalchemy_event.remove(engine, "before_cursor_execute", note)


async def follow_all(producer: Producer, threads: list[str]) -> list[Viewer]:
    viewers = [Viewer(producer.thread_events_async(thread)) for thread in threads]
    for viewer in viewers:
        await viewer.until(lambda viewer: viewer.kinds == ENDS)
    return viewers


@pytest.mark.parametrize("threads", [1, 50])
async def test_fifty_followers_share_a_listener_a_poll_and_their_reads(
    settings: Settings, database: Database, async_producer: Producer, worker: str, threads: int
) -> None:
    names = [f"t{number % threads}" for number in range(50)]
    for name in set(names):
        await async_producer.send_async(name, "hello")
        answer(database, worker, name, "hi")
    tasks_before = len(asyncio.all_tasks())
    async with open_client(settings) as client:
        before = await client.client_list(_type="pubsub"), await client.info("commandstats")
        with count_statements(async_producer.connections.events, async_producer.database) as statements:
            viewers = await follow_all(async_producer, names)
            listeners = await client.client_list(_type="pubsub")
            task_count = len(asyncio.all_tasks()) - tasks_before - len(viewers)
        stats = await client.info("commandstats")
        for viewer in viewers:
            await viewer.close()
        await eventually(lambda: len(asyncio.all_tasks()) == tasks_before)

        async def are_gone() -> bool:
            return not await client.client_list(_type="pubsub")

        await eventually(are_gone)

    def calls(command: str) -> int:
        return (
            stats.get(f"cmdstat_{command}", {"calls": 0})["calls"]
            - before[1].get(f"cmdstat_{command}", {"calls": 0})["calls"]
        )

    assert len(listeners) - len(before[0]) == 1
    assert calls("subscribe") <= threads // 2 + 3
    assert calls("publish") <= threads // 2 + 3
    assert task_count <= threads + 10
    # Of the feeds that begin in one moment, all threads are looked at in one statement.
    peeks = [each for each in statements if "unfinished" in each and "SELECT threads.tenant" in each]
    assert len(peeks) <= threads // 2 + 3
    # Each thread is read once; once more, where the broker was slow to answer.
    pages = [each for each in statements if "FROM messages" in each and "turns_fencing_token" in each]
    assert threads <= len(pages) <= 2 * threads


async def eventually(holds: Any) -> None:
    async with asyncio.timeout(SOON_SECONDS):
        while True:
            result = holds()
            if await result if asyncio.iscoroutine(result) else result:
                return
            await asyncio.sleep(0.01)


async def test_a_turn_is_followed_from_its_handle(database: Database, async_producer: Producer, worker: str) -> None:
    turn = await async_producer.send_async("t", "hello")
    viewer = Viewer(turn.events())
    await viewer.until(lambda viewer: viewer.kinds == ["turn.queued"])
    await asyncio.to_thread(answer, database, worker, "t", "hi")
    await viewer.until(lambda viewer: viewer.is_over)

    assert viewer.kinds == ["turn.queued", *ENDS]
    assert is_rising(viewer.numbers)
    again = [event.kind async for event in turn.events(after=viewer.numbers[1])]
    assert again == ENDS[2:]
    assert [event.kind async for event in turn.events(after=viewer.numbers[-1])] == []


def test_callers_who_block_share_one_loop_and_leave_nothing(
    producer: Producer, database: Database, worker: str
) -> None:
    turns = [producer.send(f"t{number}", "hello") for number in range(4)]
    seen: dict[str, list[str]] = {turn.id: [] for turn in turns}

    def follow(turn: Any) -> None:
        seen[turn.id] += [event.kind for event in turn.events()]

    threads = [threading.Thread(target=follow, args=(turn,)) for turn in turns]
    for thread in threads:
        thread.start()
    for turn in turns:
        answer(database, worker, turn.thread_id, "hi")
    for thread in threads:
        thread.join(SOON_SECONDS)
    left = producer.thread_events("t0")
    first = next(left).kind
    loops = [thread for thread in threading.enumerate() if thread.name == "threadmill-events"]
    left.close()  # type: ignore[attr-defined]
    feeds = producer.connections.events._feeds
    open_feeds = [len(each._feeds) for each in feeds.values()]
    blocked: list[str] = []
    waiting = threading.Thread(target=lambda: blocked.extend(event.kind for event in producer.thread_events("t1")))
    waiting.start()
    deadline = time.monotonic() + SOON_SECONDS
    while len(blocked) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    producer.close()
    waiting.join(SOON_SECONDS)

    assert all(kinds[-4:] == ENDS for kinds in seen.values())
    assert first == "turn.started"
    assert len(loops) == 1
    assert open_feeds == [0]
    assert not waiting.is_alive()
    assert "threadmill-events" not in {thread.name for thread in threading.enumerate()}


PROGRAM = """
import asyncio, json, os, sys
from itertools import islice
from producers import Producer

producer = Producer()
kinds = {}
async def look(name):
    kinds[name] = []
    async for event in producer.thread_events_async("t"):
        kinds[name].append(event.kind)
        if event.kind == "turn.ended":
            return

asyncio.run(look("first run"))
asyncio.run(look("second run"))
kinds["sync"] = [event.kind for event in islice(producer.thread_events("t"), 4)]
reader, writer = os.pipe()
child = os.fork()
if child == 0:
    status = 1
    try:
        told = {"child": [event.kind for event in islice(producer.thread_events("t"), 4)]}
        os.write(writer, json.dumps(told).encode())
        status = 0
    finally:
        os._exit(status)
_, status = os.waitpid(child, 0)
kinds |= json.loads(os.read(reader, 65536))
kinds["sync after"] = [event.kind for event in islice(producer.thread_events("t"), 4)]
producer.close()
print(json.dumps(kinds))
"""


def test_any_number_of_loops_and_a_forked_child_follow(
    settings: Settings, database: Database, producer: Producer, worker: str
) -> None:
    producer.send("t", "hello")
    answer(database, worker, "t", "hi")
    environment = {
        **os.environ,
        "THREADMILL_DATABASE_URL": settings.database_url.get_secret_value(),
        "THREADMILL_BROKER_URL": settings.broker_url.get_secret_value(),
        "PYTHONPATH": str(Path(__file__).parents[4]),
    }

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert len(told) == 5
    assert all(kinds == ENDS for kinds in told.values()), told
    assert "Task" not in done.stderr
