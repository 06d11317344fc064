"""Summaries, as plain functions that a task, a command or a test can call."""

import asyncio
from collections.abc import Sequence
from functools import partial

import structlog

from agent.models import model_for, prepare
from agent.summarizer import summarize
from conversation.errors import ModelError
from store import summaries
from store.engine import Database
from store.settings import Settings
from store.summaries import Overdue

#: Threads of one run: a model call each, so the next tick is not kept waiting.
SUMMARIES_AT_ONCE = 10

_log = structlog.get_logger(__name__)


def run_summaries(database: Database, settings: Settings) -> int:
    """Summarize the threads that need it most; returns how many summaries were written."""
    if settings.summarize_after_messages == 0:
        return 0
    overdue = database.run(
        partial(summaries.overdue, after_messages=settings.summarize_after_messages, limit=SUMMARIES_AT_ONCE)
    )
    if not overdue:
        return 0
    prepare(settings.summary_model or settings.model)
    return sum(asyncio.run(_summarize_each(database, settings, overdue)))


async def _summarize_each(database: Database, settings: Settings, overdue: Sequence[Overdue]) -> list[bool]:
    """One event loop for all of them: a model's connections belong to it."""
    return [await summarize_thread(database, settings, each.tenant, each.thread_id) for each in overdue]


async def summarize_thread(database: Database, settings: Settings, tenant: str, thread_id: str) -> bool:
    """Write the next summary of a thread; False if there was nothing to cover, or no model."""
    draft = await asyncio.to_thread(
        database.run,
        partial(
            summaries.draft,
            tenant=tenant,
            thread_id=thread_id,
            keep_messages=settings.summarize_keep_messages,
        ),
    )
    if draft is None:
        return False
    name = settings.summary_model or settings.model
    try:
        reply = await summarize(model_for(name), name, previous=draft.previous, covered=draft.covered)
    except ModelError as error:
        _log.warning("summary_put_off", thread=thread_id, tenant=tenant, kind=error.kind)
        return False
    write = partial(summaries.put, draft=draft, content=reply.content, model=reply.model, usage=reply.usage)
    return await asyncio.to_thread(database.run, write)
