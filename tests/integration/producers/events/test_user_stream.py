"""Following all threads of a user: each thread whole and in order, and a cursor from which one goes on."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from conversation.errors import InvalidInput
from conversation.events import ThreadEvent
from producers import Producer
from producers.events.hub import NUMBER_MAX
from producers.events.user_cursor import CURSOR_MAX_CHARS, UserCursor, name_thread, read_user_cursor
from store.database.engine import Database
from store.live.event_channel import Ring, seal, topic_of
from tests.integration.producers.backend import answer
from tests.integration.producers.events.stage import Viewer, is_rising, open_client

ENDS = ["turn.started", "message.done", "message.done", "turn.ended"]


class UserViewer(Viewer):
    """Who follows a user, with the cursor of each event."""

    def __init__(self, producer: Producer, user: str = "ann", cursor: str | None = None) -> None:
        self.cursors: list[str] = []
        super().__init__(self._note(producer.user_events_async(user, cursor=cursor)))

    async def _note(self, items: AsyncIterator[tuple[str, ThreadEvent]]) -> AsyncIterator[ThreadEvent]:
        async for cursor, event in items:
            self.cursors.append(cursor)
            yield event

    def ended(self) -> list[str]:
        return [event.thread_id for event in self.seen if event.kind == "turn.ended"]

    def of(self, thread: str) -> list[Any]:
        return [event for event in self.seen if event.thread_id == thread and event.number is not None]


async def say(producer: Producer, database: Database, worker: str, *threads: str, user: str = "ann") -> None:
    async with open_client(producer.settings) as client:
        for thread in threads:
            await producer.send_async(thread, "hello", user=user)
            await asyncio.to_thread(answer, database, worker, thread, f"hi from {thread}")
            for topic in (topic_of("owner", "default", user), topic_of("thread", "default", thread)):
                await client.publish(topic, seal(topic, Ring(thread_id=thread, number=NUMBER_MAX), b""))


async def test_a_user_sees_all_their_threads_and_goes_on_from_any_cursor(
    database: Database, async_producer: Producer, worker: str
) -> None:
    await say(async_producer, database, worker, "old")
    viewer = UserViewer(async_producer)
    await asyncio.sleep(0.3)
    await say(async_producer, database, worker, "a", "b", "old")
    await say(async_producer, database, worker, "c", user="bob")
    await viewer.until(lambda viewer: sorted(viewer.ended()) == ["a", "b", "old"])

    for thread in ("a", "b", "old"):
        assert [event.kind for event in viewer.of(thread)] == ENDS
        assert is_rising([event.number for event in viewer.of(thread)])
    assert max(map(len, viewer.cursors)) < 200
    numbered = [index for index, event in enumerate(viewer.seen) if event.number is not None]
    for late_count, index in enumerate((numbered[0], numbered[5], numbered[-1]), start=1):
        again = UserViewer(async_producer, cursor=viewer.cursors[index])
        await say(async_producer, database, worker, "late")
        await again.until(lambda again, late_count=late_count: again.ended().count("late") == late_count)
        await again.close()
        for thread in ("a", "b", "old"):
            before = [event for event in viewer.seen[: index + 1] if event.thread_id == thread and event.number]
            assert before + again.of(thread) == viewer.of(thread)
        assert [event.kind for event in again.of("late")] == ENDS * late_count
    await viewer.close()
    assert not async_producer.connections.events.feeds._feeds


def test_a_cursor_is_read_as_it_was_written_and_nothing_else_is() -> None:
    cursor = UserCursor(read_user_cursor("u5").moment, {name_thread(f"t{number}"): 1 << 52 for number in range(50)})
    text = cursor.write()

    assert read_user_cursor(text) == cursor
    assert len(text) <= CURSOR_MAX_CHARS
    for wrong in (
        "",
        "u",
        "v5",
        "u5-",
        text + "x",
        "u" + "f" * 16,
        "u" + "f" * 17,
        "\x00",
        "u5\n",
        5,
        None,
        "u5" * 5000,
    ):
        with pytest.raises(InvalidInput):
            read_user_cursor(wrong)
