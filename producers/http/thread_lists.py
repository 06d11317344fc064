"""The listing and the search of threads, as a request asks for them."""

import json
from collections.abc import Sequence
from typing import Any

from conversation.errors import InvalidInput
from producers.http.answer_shapes import ListedThread, Snippet, Thread, ThreadList
from store.database.engine import PatientRunner
from store.threads.listing import ThreadFilter
from store.threads.search import HITS_MAX, Hit, search_messages
from store.threads.thread_views import ThreadView, list_views, read_views


def read_metadata_filter(text: str | None) -> dict[str, Any]:
    """The JSON object in a parameter. Raises `InvalidInput`."""
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InvalidInput("metadata", "is no JSON object", 'write it as {"plan":"pro"}, percent-encoded')
    return value


async def search_threads(database: PatientRunner, query: str, filters: ThreadFilter, limit: int) -> ThreadList:
    """The threads in which messages have the words of a query, best first, with what was found in each."""
    # Each hit costs a passage. Filters may leave few of them.
    hits_max = HITS_MAX if filters.title or filters.metadata else min(limit, HITS_MAX)
    hits = await database.run_async(search_messages, query, tenant=filters.tenant, user=filters.user, limit=hits_max)
    views = await database.run_async(read_views, filters, {hit.thread_id for hit in hits}) if hits else {}
    found_ids = [thread_id for thread_id in dict.fromkeys(hit.thread_id for hit in hits) if thread_id in views]
    return ThreadList(
        threads=[_add_snippets(views[thread_id], _hits_in(thread_id, hits)) for thread_id in found_ids[:limit]],
        next_cursor=None,
    )


def _hits_in(thread_id: str, hits: Sequence[Hit]) -> list[Hit]:
    return [hit for hit in hits if hit.thread_id == thread_id]


def _add_snippets(view: ThreadView, hits: Sequence[Hit]) -> ListedThread:
    snippets = [Snippet.of(hit) for hit in hits]
    return ListedThread(**Thread.of(view).model_dump(), snippets=snippets)


async def list_threads(
    database: PatientRunner, filters: ThreadFilter, *, limit: int, cursor: str | None, order: Any
) -> ThreadList:
    """A page of threads, the newest first."""
    page = await database.run_async(list_views, filters, limit=limit, cursor=cursor, order=order)
    threads = [ListedThread(**Thread.of(view).model_dump()) for view in page]
    return ThreadList(threads=threads, next_cursor=page.next_cursor)
