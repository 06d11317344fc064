"""Summarizing one thread: read what to cover, have it written, put it in its place; and again.

What stays true: no connection is held while the model writes, and nothing of a summary is stored
before all of it is.
"""

from functools import partial

from conversation.summary import Summarizer, Summary, SummaryDefaults
from conversation.water_marks import WaterMarks
from store import summaries, summary_dues
from store.engine import Database
from store.settings import Settings


async def summarize_down(
    database: Database, tenant: str, thread_id: str, summarizer: Summarizer, marks: WaterMarks
) -> list[Summary]:
    """Write summary after summary until the thread is down at its low mark; returns those that were stored.

    Ends early where another summarizer came first. Raises `ThreadNotFound`, and `ModelError` where a
    summary cannot be used: those before it stay.
    """
    written: list[Summary] = []
    thread_key = 0
    look = partial(summaries.draft, tenant=tenant, thread_id=thread_id, marks=marks)
    while (draft := await database.run_async(look)) is not None:
        new = await summarizer.summarize(draft)
        stored = await database.run_async(partial(summaries.put, draft=draft, new=new))
        if stored is None:
            break
        written.append(stored)
        thread_key = draft.thread_key
    if written:
        # It was taken for as long as this could last.
        await database.run_async(partial(summary_dues.put_off, key=thread_key, seconds=0))
    return written


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
