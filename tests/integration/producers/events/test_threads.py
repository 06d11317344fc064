"""Following a thread: what a viewer is shown, whatever is lost, late, doubled or forged on its way."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from conversation.events import number_of_end
from producers.events.hub import EventHub
from store.settings import Settings
from tests.integration.producers.events.stage import (
    StoredRows,
    Viewer,
    Worker,
    ended,
    is_rising,
    open_client,
    open_hub,
    question,
    reply,
    started,
)


@dataclass
class Stage:
    rows: StoredRows
    hub: EventHub
    client: Any
    viewers: list[Viewer]

    def follow(self, after: int = 0, thread: str = "t", **options: Any) -> Viewer:
        viewer = Viewer(self.hub.follow_thread("default", thread, after=after, **options))
        self.viewers.append(viewer)
        return viewer

    def follow_turn(self, turn: str, after: int = 0) -> Viewer:
        viewer = Viewer(self.hub.follow_turn(turn, after=after))
        self.viewers.append(viewer)
        return viewer

    def worker(self, fence: int = 1, step: int = 0, **options: Any) -> Worker:
        return Worker(self.client, fence, step, **options)


@pytest.fixture
async def stage(settings: Settings) -> AsyncIterator[Stage]:
    rows = StoredRows()
    async with open_hub(settings, rows) as hub, open_client(settings) as client:
        opened = Stage(rows, hub, client, [])
        yield opened
        for viewer in opened.viewers:
            await viewer.close()


WHOLE = [started(1), question(1), reply(1, "one two three"), ended(1)]


@pytest.mark.parametrize("page_events", [1, 500])
async def test_a_viewer_is_shown_exactly_what_comes_after_their_number(stage: Stage, page_events: int) -> None:
    events = [*WHOLE, started(2), question(2), reply(2, "four"), ended(2)]
    stage.rows.add(*events)
    stage.rows.page_events = page_events
    numbers = [event.number or 0 for event in events]

    for after in (0, *numbers, numbers[0] + 1, numbers[3] + 5):
        expected = [event for event in events if (event.number or 0) > after]
        viewer = stage.follow(after)
        await viewer.until(lambda viewer, expected=expected: len(viewer.seen) >= len(expected))
        await asyncio.sleep(0)
        assert viewer.seen == expected


async def test_a_reply_grows_until_it_is_done(stage: Stage) -> None:
    stage.rows.add(started(1), question(1))
    worker = stage.worker()
    async with worker.answer_watches():
        viewer = stage.follow()
        await viewer.until(lambda viewer: len(viewer.seen) == 2)
        for word in ("one ", "two ", "three"):
            await worker.write(word)
        await viewer.until(lambda viewer: viewer.text() == "one two three")
        stage.rows.add(*WHOLE[2:])
        await worker.ring(number_of_end(1))
        await viewer.until(lambda viewer: viewer.kinds[-1] == "turn.ended")

    assert viewer.seen[-2:] == WHOLE[2:]
    assert is_rising(viewer.numbers)
    assert viewer.text() == "one two three"
