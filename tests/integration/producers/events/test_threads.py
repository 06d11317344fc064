"""Following a thread: what a viewer is shown, whatever is lost, late, doubled or forged on its way."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from pydantic import SecretStr

from conversation.errors import DatabaseUnavailable, InvalidInput, ThreadNotFound
from conversation.events import TurnEnded, number_of_end, number_of_start
from conversation.turn import TurnState
from producers.events.hub import NUMBER_MAX, EventHub
from producers.events.rows import Source
from store.live.event_channel import seal, topic_of
from store.settings import Settings
from tests.integration.producers.backend import free_port
from tests.integration.producers.events.stage import (
    KEY,
    StoredRows,
    Viewer,
    Worker,
    base_of,
    ended,
    is_rising,
    open_client,
    open_hub,
    question,
    queued,
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
        viewer = Viewer(self.hub.follow_turn(Source("default", "t", turn), after=after))
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


async def begin_reply(stage: Stage, *words: str) -> Worker:
    """A turn that runs, of whose reply some words came before anybody looked."""
    stage.rows.add(started(1), question(1))
    worker = stage.worker()
    for word in words:
        await worker.write(word, is_lost=True)
    return worker


async def finish(stage: Stage, text: str, *viewers: Viewer) -> None:
    stage.rows.add(reply(1, text), ended(1))
    await stage.worker().ring(number_of_end(1))
    for viewer in viewers:
        await viewer.until(lambda viewer: viewer.kinds[-1:] == ["turn.ended"])
        assert is_rising(viewer.numbers)


async def test_a_viewer_who_comes_in_mid_piece_gets_exactly_the_rest_of_the_text(stage: Stage) -> None:
    worker = await begin_reply(stage, "one ", "two ")
    async with worker.answer_watches() as watches:
        first = stage.follow()
        await first.until(lambda viewer: viewer.text() == "one two ")
        await worker.write("three ")
        await first.until(lambda viewer: viewer.text() == "one two three ")
        fresh_count = sum(is_fresh for _, is_fresh in watches)

        rests = {}
        for after, rest in ((0, "one two three "), (1, "two three "), (2, "three "), (3, "")):
            rests[after] = stage.follow(worker.base + after if after else 0)
            await rests[after].until(lambda viewer, rest=rest: viewer.text() == rest)
        await worker.write("four")
        for after, viewer in rests.items():
            rest = "one two three four".split(" ", after)[-1]
            await viewer.until(lambda viewer, rest=rest: viewer.text() == rest)
        await finish(stage, "one two three four", first, *rests.values())

    assert sum(is_fresh for _, is_fresh in watches) == fresh_count, "the hub's memory has the whole piece"


async def test_a_viewer_who_comes_again_is_cut_where_they_were(stage: Stage) -> None:
    worker = await begin_reply(stage, "one ", "two ", "three")
    async with worker.answer_watches():
        again = stage.follow(worker.base + 2)
        await again.until(lambda viewer: viewer.text() == "three")
        await finish(stage, "one two three", again)

    assert again.kinds == ["message.delta", "message.done", "turn.ended"]


async def test_a_lost_delta_is_mended_by_what_the_worker_has(stage: Stage) -> None:
    worker = await begin_reply(stage)
    async with worker.answer_watches():
        viewer = stage.follow()
        await viewer.until(lambda viewer: len(viewer.seen) == 2)
        await worker.write("one ")
        await viewer.until(lambda viewer: viewer.text() == "one ")
        await worker.write("two ", is_lost=True)
        await worker.write("three ")
        await viewer.until(lambda viewer: viewer.text() == "one two three ")
        await worker.write("four")
        await viewer.until(lambda viewer: viewer.text() == "one two three four")

    assert "message.restarted" not in viewer.kinds
    assert is_rising(viewer.numbers)


async def test_a_restart_is_told_to_those_who_saw_what_it_voids(stage: Stage) -> None:
    worker = await begin_reply(stage)
    async with worker.answer_watches():
        viewer = stage.follow()
        await viewer.until(lambda viewer: len(viewer.seen) == 2)
        await worker.write("wrong ")
        await viewer.until(lambda viewer: viewer.text() == "wrong ")
        await worker.write(None)
        await worker.write("right")
        await viewer.until(lambda viewer: viewer.text() == "right")
        fresh, again = stage.follow(), stage.follow(worker.base + 1)
        await fresh.until(lambda viewer: viewer.text() == "right")
        await again.until(lambda viewer: viewer.text() == "right")
        await finish(stage, "right", viewer, fresh, again)

    assert "message.restarted" in viewer.kinds
    assert again.kinds[:2] == ["message.restarted", "message.delta"]
    assert "message.restarted" not in fresh.kinds


@pytest.mark.parametrize(
    ("streamed", "content", "kinds"),
    [
        ("one two", "one two", []),
        ("one ", "one two", ["message.delta"]),
        ("one two", "one", ["message.restarted"]),
        ("one", "two", ["message.restarted"]),
    ],
)
async def test_what_was_streamed_is_the_message_or_is_void(
    stage: Stage, streamed: str, content: str, kinds: list[str]
) -> None:
    worker = await begin_reply(stage)
    viewer = stage.follow()
    await viewer.until(lambda viewer: len(viewer.seen) == 2)
    await worker.write(streamed)
    await viewer.until(lambda viewer: viewer.text() == streamed)

    await finish(stage, content, viewer)

    assert viewer.kinds[3:] == [*kinds, "message.done", "turn.ended"]
    assert viewer.text() in (content, "")


async def test_a_new_attempt_drops_the_open_piece(stage: Stage) -> None:
    worker = await begin_reply(stage)
    viewer = stage.follow()
    await viewer.until(lambda viewer: len(viewer.seen) == 2)
    await worker.write("lost with its worker ")
    await viewer.until(lambda viewer: viewer.text())

    stage.rows.add(started(2, attempt=2, turn="turn-1"))
    second = stage.worker(2)
    await second.ring(number_of_start(2))
    await viewer.until(lambda viewer: viewer.kinds[-1] == "turn.started")
    await worker.write("a dead worker's last words")
    await second.write("again")
    await viewer.until(lambda viewer: viewer.text() == "again")
    late = stage.follow()
    await late.until(lambda viewer: viewer.text() == "again")

    assert is_rising(viewer.numbers)
    assert [event.attempt for event in viewer.seen if event.kind == "turn.started"] == [1, 2]


async def test_a_reply_is_not_shown_before_what_comes_before_it(stage: Stage) -> None:
    stage.rows.add(started(1), question(1))
    viewer = stage.follow()
    await viewer.until(lambda viewer: len(viewer.seen) == 2)

    stage.rows.add(reply(1, "let me look"))
    second = stage.worker(1, step=2)
    await second.write("it is there")
    await viewer.until(lambda viewer: viewer.text(second.piece().message_id) == "it is there")

    assert viewer.kinds == ["turn.started", "message.done", "message.done", "message.delta"]


async def test_envelopes_that_are_late_doubled_forged_foreign_or_malformed_are_ignored(stage: Stage) -> None:
    worker = await begin_reply(stage)
    viewer = stage.follow()
    await viewer.until(lambda viewer: len(viewer.seen) == 2)
    first = await worker.write("one ")
    short_piece = worker.piece()
    second = await worker.write("two ")
    topic = topic_of("thread", "default", "t")
    for late in (second, first, short_piece, first):
        await worker.send(late)
    forged = replace(second, previous=worker.number, deltas=((worker.number + 1, "forged"),))
    await worker.send(forged, key=b"another installation's key")
    await worker.send(replace(forged, thread_id="another"))
    await stage.client.publish(topic, seal(topic_of("thread", "other", "t"), forged, KEY))
    for data in (b"", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"thread":"t","number":"1"}', b"0" * 64 + b"null"):
        await stage.client.publish(topic, data)
    await worker.write("three")
    await viewer.until(lambda viewer: viewer.text() == "one two three")
    await finish(stage, "one two three", viewer)

    assert viewer.text() == "one two three"


async def test_the_broker_may_be_away_and_nothing_is_lost(settings: Settings) -> None:
    rows = StoredRows()
    rows.add(started(1), question(1))
    away = settings.model_copy(update={"broker_url": SecretStr(f"redis://127.0.0.1:{free_port()}/0")})
    async with open_hub(away, rows) as hub:
        viewers = [Viewer(hub.follow_thread("default", "t")), Viewer(hub.follow_turn(Source("default", "t", "turn-1")))]
        for viewer in viewers:
            await viewer.until(lambda viewer: len(viewer.seen) == 2)
        peeks = rows.peeks
        rows.add(reply(1, "one"))
        for viewer in viewers:
            await viewer.until(lambda viewer: len(viewer.seen) == 3)
        rows.add(ended(1))
        await viewers[0].until(lambda viewer: len(viewer.seen) == 4)
        await viewers[1].until(lambda viewer: viewer.is_over)
        await viewers[0].close()

    assert rows.peeks - peeks <= 8, "one look for all"


async def test_a_viewer_waits_for_the_database_and_is_told_where_they_ask(stage: Stage) -> None:
    stage.rows.add(started(1), question(1))
    viewer = stage.follow()
    await viewer.until(lambda viewer: len(viewer.seen) == 2)
    stage.rows.is_away = True
    stage.rows.add(reply(1, "one"))
    await stage.worker().ring(number_of_end(1))
    patient, impatient = stage.follow(), stage.follow(thread="u", patience=0.3)
    with pytest.raises(AssertionError, match="away"):
        await impatient.until(lambda viewer: viewer.seen)
    assert isinstance(impatient.error, DatabaseUnavailable)

    stage.rows.is_away = False

    await viewer.until(lambda viewer: len(viewer.seen) == 3)
    await patient.until(lambda viewer: len(viewer.seen) == 3)


async def test_who_waits_is_told_of_their_place_and_of_an_end_without_a_beginning(stage: Stage) -> None:
    stored = stage.rows.thread()
    stored.notices = [queued("turn-1"), queued("turn-9", 1)]
    viewer, of_turn = stage.follow(), stage.follow_turn("turn-9")
    await viewer.until(lambda viewer: len(viewer.seen) == 2)
    stage.rows.add(started(1))
    stored.notices = [queued("turn-9", 0)]
    await stage.worker().ring()
    await viewer.until(lambda viewer: len(viewer.seen) == 4)
    cancelled = TurnEnded(thread_id="t", turn_id="turn-9", number=None, state=TurnState.CANCELLED)
    stored.notices = [cancelled]
    await stage.worker().ring()
    await viewer.until(lambda viewer: len(viewer.seen) == 5)
    await of_turn.until(lambda viewer: viewer.is_over)
    late = stage.follow()
    await late.until(lambda viewer: len(viewer.seen) == 1)

    assert viewer.seen == [queued("turn-1"), queued("turn-9", 1), started(1), queued("turn-9", 0), cancelled]
    assert of_turn.seen[-1] == cancelled


async def test_a_thread_that_is_deleted_ends_its_streams(stage: Stage) -> None:
    stage.rows.add(started(1), question(1))
    viewer = stage.follow()
    await viewer.until(lambda viewer: len(viewer.seen) == 2)
    del stage.rows.threads["default", "t"]
    await stage.worker().ring()
    await viewer.until(lambda viewer: viewer.is_over)
    nobody = stage.follow(thread="never")
    with pytest.raises(AssertionError):
        await nobody.until(lambda viewer: viewer.seen)

    assert viewer.kinds[-1] == "thread.deleted"
    assert isinstance(nobody.error, ThreadNotFound)


async def test_a_turns_stream_ends_with_its_end(stage: Stage) -> None:
    stage.rows.add(*WHOLE, started(2), question(2))
    whole, again, over = stage.follow_turn("turn-1"), stage.follow_turn("turn-1", base_of(1)), None
    for viewer in (whole, again):
        await viewer.until(lambda viewer: viewer.is_over)
    over = stage.follow_turn("turn-1", number_of_end(1))
    await over.until(lambda viewer: viewer.is_over)
    running = stage.follow_turn("turn-2")
    await running.until(lambda viewer: len(viewer.seen) == 2)
    worker = stage.worker(2)
    await worker.write("two")
    await running.until(lambda viewer: viewer.text() == "two")
    stage.rows.add(reply(2, "two"), ended(2))
    await worker.ring(number_of_end(2))
    await running.until(lambda viewer: viewer.is_over)

    assert whole.seen == WHOLE
    assert again.seen == WHOLE[2:]
    assert over.seen == []
    assert running.seen[-1] == ended(2)


async def test_a_number_that_rows_do_not_have_starves_nobody(stage: Stage) -> None:
    stage.rows.add(*WHOLE)
    bogus = stage.follow(NUMBER_MAX)
    honest = stage.follow(number_of_end(1))
    await asyncio.sleep(0.1)
    stage.rows.add(started(2), question(2))
    await stage.worker().ring(number_of_start(2))
    await honest.until(lambda viewer: len(viewer.seen) == 2)

    assert bogus.seen == []
    for wrong in (-1, NUMBER_MAX + 1, True, "1", None):
        viewer = stage.follow(wrong)  # type: ignore[arg-type]
        with pytest.raises(AssertionError):
            await viewer.until(lambda viewer: viewer.seen)
        assert isinstance(viewer.error, InvalidInput)


async def test_a_slow_viewer_holds_nothing_up_and_is_kept_nothing_for(stage: Stage) -> None:
    worker = await begin_reply(stage)
    slow = stage.hub.follow_thread("default", "t")
    assert [(await anext(slow)).kind, (await anext(slow)).kind] == ["turn.started", "message.done"]
    fast = stage.follow()
    for _ in range(300):
        await worker.write("word ")
    await fast.until(lambda viewer: viewer.text() == "word " * 300)
    delta = await anext(slow)
    for fence in range(2, 202):
        stage.rows.add(ended(fence - 1), started(fence), question(fence))
    await worker.ring(number_of_end(200))
    await fast.until(lambda viewer: len(viewer.numbers) > 500)
    (feed,) = stage.hub.feeds._feeds.values()
    kept = len(feed.tail)
    rest = [await anext(slow) for _ in range(600)]
    await slow.aclose()

    assert delta.text == "word " * 300  # type: ignore[union-attr]
    assert kept <= 64
    assert [event.number for event in rest] == [event.number for event in stage.rows.thread().events[2:]]
