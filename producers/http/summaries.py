"""Summaries over HTTP: what stands for the older part of a thread in front of a model."""

from fastapi import APIRouter

from conversation.validation import check_id
from producers.http.answer_shapes import Summary, SummaryList
from producers.http.dependencies import GatewayOf, Reader
from producers.http.visibility import database_of
from store.summaries.repository import list_summaries

router = APIRouter(tags=["summaries"])

#: Summaries of one answer, at most.
SUMMARIES_MAX = 200


@router.get("/threads/{thread_id}/summaries", operation_id="list_summaries")
async def list_all(gateway: GatewayOf, principal: Reader, thread_id: str) -> SummaryList:
    """List the newest 200 summaries of a thread, the newest first; those that were withdrawn as well."""
    summaries = await database_of(gateway, principal).run_async(
        list_summaries, principal.tenant, check_id("thread_id", thread_id), user=principal.user, limit=SUMMARIES_MAX
    )
    return SummaryList(summaries=[Summary.of(summary) for summary in summaries])
