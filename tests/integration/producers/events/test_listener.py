"""Listening to topics: after the server was away as before, and workers are told who follows."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from store.live import event_listener
from store.live.event_channel import WATCH_CHANNEL, WATCHERS_CHANNEL, read_watch, topic_of
from store.live.event_listener import EventListener
from store.settings import Settings
from tests.integration.producers.backend import silent_server
from tests.integration.producers.events.stage import (
    SOON_SECONDS,
    StoredRows,
    Viewer,
    Worker,
    ended,
    open_client,
    open_hub,
    question,
    reply,
    started,
)
from threadmill.embedded.valkey import EmbeddedValkey

TOPICS = [topic_of("thread", "default", f"t{number}") for number in range(3)]


async def eventually(holds: Any) -> None:
    async with asyncio.timeout(SOON_SECONDS):
        while not holds():  # noqa: ASYNC110 - what is waited for is on the server
            await asyncio.sleep(0.01)


class Heard:
    """What a listener passed on."""

    def __init__(self, settings: Settings) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.confirmed: list[str] = []
        self.listener = EventListener(settings, receive=self._receive, confirm=self.confirmed.append)

    def _receive(self, topic: str, data: bytes) -> None:
        self.messages.append((topic, data))


@asynccontextmanager
async def hear_watches(client: Any) -> AsyncIterator[list[tuple[list[str], bool]]]:
    watches: list[tuple[list[str], bool]] = []
    async with client.pubsub(ignore_subscribe_messages=True) as channel:
        await channel.subscribe(WATCH_CHANNEL)

        async def listen() -> None:
            async for message in channel.listen():
                watches.append(read_watch(message["data"]))  # noqa: PERF401 - one at a time

        listening = asyncio.create_task(listen())
        yield watches
        listening.cancel()


async def test_workers_are_told_what_is_followed_when_it_begins_when_they_ask_and_now_and_then(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_listener, "WATCH_AGAIN_SECONDS", 0.3)
    heard = Heard(settings)
    async with open_client(settings) as client, hear_watches(client) as watches:
        for topic in TOPICS:
            heard.listener.follow(topic)
        await eventually(lambda: len(heard.confirmed) == 3)
        await eventually(lambda: (sorted(TOPICS), True) in watches)
        await eventually(lambda: (sorted(TOPICS), False) in watches)
        monkeypatch.setattr(event_listener, "WATCH_AGAIN_SECONDS", 1000.0)
        await asyncio.sleep(0.4)
        watches.clear()
        await client.publish(WATCHERS_CHANNEL, "")
        await eventually(lambda: (sorted(TOPICS), False) in watches)
        heard.listener.leave(TOPICS[0])
        await client.publish(TOPICS[0], b"left")
        await client.publish(TOPICS[1], b"kept")
        await eventually(lambda: (TOPICS[1], b"kept") in heard.messages)
        for topic in TOPICS[1:]:
            heard.listener.leave(topic)
        await heard.listener.wait_closed()
        assert not [each for each in await client.client_list(_type="pubsub") if each["sub"] != "1"]

    assert len(asyncio.all_tasks()) == 1


async def test_a_topic_is_confirmed_again_when_the_server_is_back_and_replies_go_on(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_listener, "LISTEN_AGAIN_MAX_SECONDS", 0.25)
    rows = StoredRows()
    rows.add(started(1), question(1))
    with EmbeddedValkey(tmp_path / "valkey") as server:
        here = settings.model_copy(update={"broker_url": SecretStr(server.url)})
        port = int(server.url.rpartition(":")[2].partition("/")[0])
        hub_context = open_hub(here, rows)
        hub = await hub_context.__aenter__()
        viewer = Viewer(hub.follow_thread("default", "t"))
        await viewer.until(lambda viewer: len(viewer.seen) == 2)
        async with Redis.from_url(server.url) as client:
            worker = Worker(client)
            await worker.write("one ")
            await viewer.until(lambda viewer: viewer.text() == "one ")
            await client.flushall()
            await worker.write("two ")
            await viewer.until(lambda viewer: viewer.text() == "one two ")
    await worker.lose("three ")

    with EmbeddedValkey(tmp_path / "valkey", port=port):
        async with Redis.from_url(server.url) as client:
            worker.client = client
            async with worker.answer_watches():
                await viewer.until(lambda viewer: viewer.text() == "one two three ")
            rows.add(reply(1, "one two three "), ended(1))
            await viewer.until(lambda viewer: viewer.kinds[-1] == "turn.ended")
        await viewer.close()
        await hub_context.__aexit__(None, None, None)


async def test_a_server_that_never_answers_holds_nobody_up(settings: Settings) -> None:
    rows = StoredRows()
    rows.add(started(1), question(1))
    with silent_server() as port:
        url = SecretStr(f"redis://:x@127.0.0.1:{port}/0")
        deaf = settings.model_copy(update={"broker_url": url, "notify_timeout_seconds": 0.2})
        async with open_hub(deaf, rows) as hub:
            begun = time.monotonic()
            viewer = Viewer(hub.follow_thread("default", "t"))
            await viewer.until(lambda viewer: len(viewer.seen) == 2)
            assert time.monotonic() - begun < SOON_SECONDS / 2
            rows.add(ended(1))
            await viewer.until(lambda viewer: len(viewer.seen) == 3)
            await viewer.close()
