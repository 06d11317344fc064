"""A thread belongs to one summarizer at a time; what comes too late changes nothing."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import Connection, select

from conversation.errors import ModelError
from conversation.summary import Draft, NewSummary, Summarizer, Summary
from store import tables
from store.summaries import due as summary_dues
from store.summaries import repository
from store.summaries.due import DueThread
from store.summaries.summarize import PAUSE_SECONDS, summarize_to_low_mark
from tests.integration.desk import Desk, marks
from tests.integration.store.summaries.conftest import now, reserved

pytestmark = pytest.mark.soak


class Interrupted:
    """A summarizer to whom something happens while it writes its first summary."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        self.meanwhile = meanwhile
        self.written = 0

    async def summarize(self, draft: Draft) -> NewSummary:
        self.written += 1
        if self.written == 1:
            await asyncio.to_thread(self.meanwhile)
        return NewSummary(content=f"they talked up to {draft.to_seq}", model="m")


async def summarized(
    desk: Desk, summarizer: Summarizer, *, due: DueThread | None = None, high: int = 3
) -> list[Summary]:
    try:
        return await summarize_to_low_mark(
            desk.database, "default", "t", summarizer, marks(keep=2, messages=high), due=due
        )
    finally:
        await desk.database.close_async()


def taken_now(desk: Desk) -> DueThread:
    """The thread, as a look finds it without anything being changed before."""
    (due,) = desk.database.run(summary_dues.reserve_due, marks={}, other_marks=marks(2, 1), limit=1)
    return due


def replaced_and_back(desk: Desk) -> None:
    """Another summary comes first, and somebody takes it back: the one before it is current again."""
    assert desk.put(desk.draft(marks(keep=2))) is not None
    assert desk.restore() is not None


@pytest.mark.parametrize("asked", [False, True])
async def test_a_summary_is_not_put_over_a_restore_that_came_meanwhile(desk: Desk, *, asked: bool) -> None:
    desk.chat("t", 10)
    due = None if asked else reserved(desk)

    written = await summarized(desk, Interrupted(partial(replaced_and_back, desk)), due=due)

    assert written == []
    row = desk.row()
    assert (row.summary_id, row.uncovered_messages) == (None, 20)
    assert round((row.summary_retry_at - now(desk)).total_seconds() / 3600) == 24


async def test_a_thread_of_which_a_summary_was_taken_back_is_not_begun_again(desk: Desk) -> None:
    """Its sweep had reserved it before, and drafts after the restore: nothing changes any more."""
    desk.chat("t", 10)
    desk.put(desk.draft(marks(keep=10)))
    due = reserved(desk)
    desk.restore()

    assert await summarized(desk, Interrupted(lambda: None), due=due) == []

    assert desk.row().summary_id is None
    assert round((desk.row().summary_retry_at - now(desk)).total_seconds() / 3600) == 24


def test_a_failure_after_a_restore_does_not_bring_the_next_attempt_forward(desk: Desk) -> None:
    desk.chat("t", 10)
    desk.put(desk.draft(marks(keep=10)))
    due = reserved(desk)
    desk.restore()

    assert desk.database.run(summary_dues.note_failure, due=due) == 0

    assert desk.row().summary_failures == 0
    assert round((desk.row().summary_retry_at - now(desk)).total_seconds() / 3600) == 24


async def test_whoever_is_asked_writes_also_after_a_restore(desk: Desk) -> None:
    desk.chat("t", 10)
    desk.put(desk.draft(marks(keep=10)))
    desk.restore()

    (written,) = await summarized(desk, Interrupted(lambda: None))

    assert written.to_seq == 18
    assert desk.row().summary_retry_at is None


async def test_each_summary_of_a_thread_reserves_it_for_the_next_one(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.chat("t", 500)
    due = reserved(desk)
    began, left = due.reserved_until, []
    summarizer = Interrupted(lambda: None)

    def told(connection: Connection, draft: Draft, new: NewSummary) -> Summary | None:
        left.append(connection.execute(select(tables.threads.c.summary_retry_at)).scalar_one())
        return put(connection, draft, new)

    put = repository.put
    monkeypatch.setattr(repository, "put", told)
    assert len(await summarized(desk, summarizer, due=due)) == 3

    assert began < left[0] < left[1] < left[2] == due.reserved_until
    assert desk.row().summary_retry_at <= now(desk)


async def test_a_long_history_is_given_back_after_some_summaries_and_due_again_soon(desk: Desk) -> None:
    desk.chat("t", 1_300)

    first = await summarized(desk, Interrupted(lambda: None), due=reserved(desk))
    # Others come first now, however few messages they have.
    pause = desk.row().summary_retry_at - now(desk)
    assert timedelta(0) < pause <= timedelta(seconds=PAUSE_SECONDS)
    desk.change(summary_retry_at=None)
    later = await summarized(desk, Interrupted(lambda: None), due=taken_now(desk))

    assert [summary.to_seq for summary in first] == [400, 800, 1_200, 1_600, 2_000]
    assert [summary.to_seq for summary in later] == [2_400, 2_598]


async def test_what_would_not_be_due_again_comes_down_to_the_low_mark(desk: Desk) -> None:
    desk.chat("t", 1_300)

    written = await summarized(desk, Interrupted(lambda: None), due=reserved(desk), high=1_000)

    assert [summary.to_seq for summary in written][4:] == [2_000, 2_400, 2_598]


async def test_whoever_is_asked_writes_a_long_history_to_its_end(desk: Desk) -> None:
    desk.chat("t", 1_300)

    assert len(await summarized(desk, Interrupted(lambda: None))) == 7

    assert desk.counted()[0] == 2


async def test_a_summary_that_would_outlive_its_reservation_is_broken_off(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow:
        async def summarize(self, draft: Draft) -> NewSummary:
            await asyncio.sleep(60)
            raise AssertionError(draft)

    assert summary_dues.WRITING_SECONDS + 60 < summary_dues.RESERVATION_SECONDS
    monkeypatch.setattr(summary_dues, "WRITING_SECONDS", 0.05)
    desk.chat("t", 10)

    with pytest.raises(ModelError) as refused:
        await summarized(desk, Slow(), due=reserved(desk))

    assert (refused.value.kind, refused.value.retryable) == ("summary_slow", True)
    assert desk.listed() == []


async def test_a_summary_that_came_too_late_gives_its_reservation_back(desk: Desk) -> None:
    """Retention cut the thread while the model wrote."""
    desk.chat("t", 10)

    assert await summarized(desk, Interrupted(partial(desk.change, history_starts_after=2)), due=reserved(desk)) == []

    waits = (desk.row().summary_retry_at - now(desk)).total_seconds()
    assert 0 < waits <= summary_dues.NOTHING_TO_COVER_SECONDS < summary_dues.RESERVATION_SECONDS


async def test_a_reservation_that_is_over_is_not_renewed(desk: Desk) -> None:
    desk.chat("t", 10)
    due = reserved(desk)
    other = reserved(desk)

    assert await summarized(desk, Interrupted(lambda: None), due=due) == []
    assert desk.row().summary_retry_at == other.reserved_until
    assert len(await summarized(desk, Interrupted(lambda: None), due=other)) == 1
