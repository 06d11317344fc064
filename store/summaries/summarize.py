"""Summarizing one thread: load a draft, have it written, store the summary; and again.

What stays true: no connection is held while the model writes, nothing of a summary is stored before
all of it is, and none takes longer than its thread is reserved. A thread that needs hundreds is
released in between, so that other threads are summarized too.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from conversation.errors import ModelError
from conversation.summary import Draft, NewSummary, Summarizer, Summary, SummaryDefaults
from conversation.water_marks import WaterMarks
from store.database.engine import Database
from store.settings import Settings
from store.summaries import due as summary_dues
from store.summaries import repository
from store.summaries.due import NOTHING_TO_COVER_SECONDS, DueThread

#: Summaries after which a thread that is still above its high mark is released for a while; one below it is
#: finished, since it would not be due again.
SUMMARIES_IN_A_ROW = 5
#: Seconds for which other threads come first then: the fullest are reserved first, and ten that need
#: hundreds of summaries would fill every batch.
PAUSE_SECONDS = 1.0


async def summarize_to_low_mark(
    database: Database,
    tenant: str,
    thread_id: str,
    summarizer: Summarizer,
    marks: WaterMarks,
    *,
    due: DueThread | None = None,
) -> list[Summary]:
    """Store summary after summary until the thread is down at its low mark; returns them.

    `due` is the reservation of a thread that was found due: it is renewed with each summary, and released
    at the end, after `SUMMARIES_IN_A_ROW` also above its high mark, so that it is due again soon. Ends
    early where another summarizer came first, or a summary was withdrawn meanwhile. Raises
    `ThreadNotFound`, and `ModelError` where a summary cannot be used: those before it stay.
    """
    stored_summaries: list[Summary] = []
    # Nothing written: a single long turn, or another summarizer came first.
    retry_seconds = NOTHING_TO_COVER_SECONDS
    while (summary := await _summarize_once(database, tenant, thread_id, summarizer, marks, due=due)) is not None:
        stored_summaries.append(summary)
        retry_seconds = 0.0
        if due is None or len(stored_summaries) < SUMMARIES_IN_A_ROW:
            continue
        # A thread below its high mark would not be due again, and never come down to the low one.
        if await database.run_async(summary_dues.is_above_high_mark, tenant, thread_id, marks=marks):
            retry_seconds, due.has_more = PAUSE_SECONDS, True
            break
    if due is not None:
        await database.run_async(summary_dues.postpone, due=due, seconds=retry_seconds)
    return stored_summaries


async def _summarize_once(
    database: Database, tenant: str, thread_id: str, summarizer: Summarizer, marks: WaterMarks, *, due: DueThread | None
) -> Summary | None:
    """Store the next summary; None where nothing is to be covered, or the summary came too late."""
    draft = await database.run_async(repository.load_draft, tenant, thread_id, marks=marks)
    if draft is None:
        return None
    new_summary = draft.shared or await _write_summary(summarizer, draft)
    outcome = await database.run_async(_store_summary, draft=draft, new=new_summary, due=due)
    if due is not None and outcome.reserved_until is not None:
        due.reserved_until = outcome.reserved_until
    return outcome.summary


async def _write_summary(summarizer: Summarizer, draft: Draft) -> NewSummary:
    """Have a draft written. Raises `ModelError` also where that outlasts the reservation."""
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
class _StoreOutcome:
    #: None where the summary came too late.
    summary: Summary | None
    #: The thread is reserved until then; None where it is not.
    reserved_until: datetime | None


def _store_summary(connection: Connection, draft: Draft, new: NewSummary, due: DueThread | None) -> _StoreOutcome:
    """Store a summary, and renew the reservation for the next one."""
    reserved_until = summary_dues.renew(connection, due) if due is not None else None
    if due is not None and reserved_until is None:
        return _StoreOutcome(None, None)
    summary = repository.put(connection, draft, new)
    if summary is not None and due is None:
        # A caller asked for it: earlier failures and pauses no longer count.
        summary_dues.reset_failures(connection, draft.thread_key)
    return _StoreOutcome(summary, reserved_until)


def defaults_of(settings: Settings) -> SummaryDefaults:
    """The defaults for summaries, out of the settings."""
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
