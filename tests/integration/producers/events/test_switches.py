"""Viewers of a thread whose id comes to stand for another branch: told so, and shown nothing of what they left."""

import asyncio
from dataclasses import replace

from conversation.events import MessageDone, ThreadEvent, ThreadSwitched, number_of_switch
from producers.events.feed import Feed
from producers.events.follow import Follower
from producers.events.rows import Source
from store.live.event_channel import Deltas, Ring
from store.turns.event_rows import EventPage
from tests.integration.producers.events.stage import (
    TENANT,
    StoredRows,
    ended,
    message_id,
    question,
    reply,
    started,
    turn_id,
)


class BranchRows(StoredRows):
    """The rows of a thread and its branches, of which one is chosen."""

    chosen = "t"
    switch: ThreadSwitched | None = None

    def choose(self, name: str, fence: int) -> None:
        self.chosen = name
        number = number_of_switch(fence)
        self.switch = ThreadSwitched(thread_id="t", number=number, branch=name, shared_to_seq=1)

    async def read_page(self, source: Source, after: int) -> EventPage:
        page = await super().read_page(replace(source, thread_id=self.chosen), after)
        switch = self.switch
        events = list(page.events)
        # A page in the middle ends before it.
        if switch is not None and switch.number > after and not page.has_more:
            events = sorted([*events, switch], key=lambda event: event.number or 0)
        return replace(page, events=tuple(events), address=self.chosen, switch=switch)


async def _nothing(_: Feed) -> None:
    return None


def feed_of(rows: BranchRows) -> Feed:
    return Feed(Source(TENANT, "t"), rows, prepare=_nothing, refresh=lambda _: None, read_slots=asyncio.Semaphore(4))


async def take(follower: Follower) -> list[ThreadEvent]:
    events = []
    while (event := await follower.next_event()) is not None:
        events.append(event)
    return events


def texts(events: list[ThreadEvent]) -> list[str]:
    return [e.message.content if isinstance(e, MessageDone) else e.kind for e in events]


def stock() -> BranchRows:
    rows = BranchRows()
    rows.add(started(1), question(1), reply(1, "old"), ended(1))
    rows.add(started(9), question(9), reply(9, "left"), ended(9))
    rows.add(started(1), question(1), reply(1, "old"), ended(1), thread="t/b")
    return rows


async def test_a_viewer_gets_the_switch_and_what_comes_behind_it() -> None:
    rows = stock()
    feed = feed_of(rows)
    viewer = Follower(feed, 0)
    assert texts(await take(viewer))[-2:] == ["left", "turn.ended"]

    rows.choose("t/b", fence=80)
    rows.add(started(81), question(81, "again"), reply(81, "new"), ended(81), thread="t/b")
    feed.hear(Ring(thread_id="t", number=0))
    await asyncio.sleep(0.1)

    seen = await take(viewer)
    assert texts(seen) == ["thread.switched", "turn.started", "again", "new", "turn.ended"]
    numbers = [event.number or 0 for event in seen]
    assert numbers == sorted(numbers)
    late, fresh = Follower(feed, ended(9).number or 0), Follower(feed, 0)
    assert texts(await take(late)) == texts(seen)
    assert "left" not in texts(await take(fresh))
    feed.close()


async def test_what_a_worker_writes_on_another_branch_is_not_shown() -> None:
    rows = stock()
    feed = feed_of(rows)
    viewer = Follower(feed, 0)
    await take(viewer)

    for thread in ("t/b", "t"):
        rows.add(started(82), thread=thread)
        feed.hear(
            Deltas(
                thread_id=thread,
                turn_id=turn_id(82),
                message_id=message_id(82),
                base=(82 << 26) | (1 << 13),
                previous=(82 << 26) | (1 << 13),
                deltas=(((82 << 26) | (1 << 13) + 1, f"of {thread}"),),
            )
        )
        await asyncio.sleep(0.05)

    shown = [event.text for event in await take(viewer) if event.kind == "message.delta"]  # type: ignore[union-attr]
    assert shown == ["of t"]
    feed.close()


async def test_a_reader_of_a_long_history_misses_nothing_before_an_old_switch() -> None:
    rows = stock()
    rows.page_events = 2
    rows.choose("t/b", fence=80)

    feed = feed_of(rows)
    assert texts(await take(Follower(feed, 0)))[1:3] == ["hello", "old"]
    feed.close()
