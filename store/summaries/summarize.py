"""Summarizing one thread: read what to cover, have it written, put it in its place; and again.

What stays true: no connection is held while the model writes, nothing of a summary is stored before
all of it is, and none takes longer than its thread is reserved. A thread that needs hundreds leaves
others their turn in between.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from sqlalchemy import Connection

from conversation.errors import ModelError
from conversation.summary import Draft, NewSummary, Summarizer, Summary, SummaryDefaults
from conversation.water_marks import WaterMarks
from store.database.engine import Database
from store.settings import Settings
from store.summaries import due as summary_dues
from store.summaries import repository
from store.summaries.due import NOTHING_SECONDS, Due

#: Summaries after which a thread that is still above its high mark is left for a while; one below it is
#: finished, since it would not be due again.
IN_A_ROW = 5
#: Seconds in which it is somebody else's turn then: the fullest come first, and ten that need hundreds
#: would fill every batch.
PAUSE_SECONDS = 1.0


async def summarize_down(
    database: Database,
    tenant: str,
    thread_id: str,
    summarizer: Summarizer,
    marks: WaterMarks,
    *,
    due: Due | None = None,
) -> list[Summary]:
    """Write summary after summary until the thread is down at its low mark; returns those that were stored.

    `due` is the reservation of whoever was not asked to: it is renewed with each summary, and given back,
    after `IN_A_ROW` of them also with the thread above its high mark, so that it is due again soon. Ends
    early where another summarizer came first, or somebody took a summary back meanwhile. Raises
    `ThreadNotFound`, and `ModelError` where a summary cannot be used: those before it stay.
    """
    written: list[Summary] = []
    # Nothing written: a single long turn, or another summarizer came first.
    again_seconds = NOTHING_SECONDS
    look = partial(repository.draft, tenant=tenant, thread_id=thread_id, marks=marks)
    # What is left below the high mark would not be due again, and never come down to the low one.
    is_above = partial(summary_dues.is_above, tenant=tenant, thread_id=thread_id, marks=marks)
    while (draft := await database.run_async(look)) is not None:
        new = await _written(summarizer, draft)
        stored = await database.run_async(partial(_put, draft=draft, new=new, due=due))
        if due is not None and stored.until is not None:
            due.until = stored.until
        if stored.summary is None:
            break
        written.append(stored.summary)
        again_seconds = 0.0
        if due is not None and len(written) >= IN_A_ROW and await database.run_async(is_above):
            again_seconds, due.goes_on = PAUSE_SECONDS, True
            break
    if due is not None:
        await database.run_async(partial(summary_dues.put_off, due=due, seconds=again_seconds))
    return written


async def _written(summarizer: Summarizer, draft: Draft) -> NewSummary:
    """Raises `ModelError` also where it takes so long that somebody else may begin."""
    limit = asyncio.timeout(summary_dues.WRITING_SECONDS)
    try:
        async with limit:
            return await summarizer.summarize(draft)
    except TimeoutError:
        if not limit.expired():
            raise
        problem = f"it was not written within {summary_dues.WRITING_SECONDS:g} s"
        raise ModelError("summary_slow", problem, retryable=True) from None


@dataclass(frozen=True, slots=True)
class _Stored:
    #: None where it came too late.
    summary: Summary | None
    #: The thread is reserved until then; None where it is not.
    until: datetime | None


def _put(connection: Connection, draft: Draft, new: NewSummary, due: Due | None) -> _Stored:
    """Put a summary in its place, and have the time for the next one."""
    until = summary_dues.renew(connection, due) if due is not None else None
    if due is not None and until is None:
        return _Stored(None, None)
    summary = repository.put(connection, draft, new)
    if summary is not None and due is None:
        # Somebody asked for it: what the thread was put off for is over.
        summary_dues.try_again(connection, draft.thread_key)
    return _Stored(summary, until)


def defaults_of(settings: Settings) -> SummaryDefaults:
    """What the settings say about summaries."""
    return SummaryDefaults(
        model=settings.model,
        summary_model=settings.summary_model,
        max_chars=settings.summary_max_chars,
        is_checked=settings.summary_check,
        marks=WaterMarks(
            high_messages=settings.summarize_after_messages,
            high_tokens=settings.summarize_after_tokens,
            low_messages=settings.summarize_keep_messages,
            low_tokens=settings.summarize_keep_tokens,
        ),
    )
