"""Summaries over HTTP: what stands for the older part of a thread in front of a model."""

from fastapi import APIRouter

from conversation.validation import check_id
from producers.http.answer_shapes import Summary, SummaryList
from producers.http.dependencies import GatewayOf, Reader
from producers.http.visibility import database_of
from store.summaries.repository import list_summaries

router = APIRouter(tags=["summaries"])


@router.get("/threads/{thread_id}/summaries", operation_id="list_summaries")
async def list_all(gateway: GatewayOf, principal: Reader, thread_id: str) -> SummaryList:
    """List the summaries of a thread, the newest first; those that were withdrawn as well."""
    summaries = await database_of(gateway, principal).run_async(
        list_summaries, principal.tenant, check_id("thread_id", thread_id), user=principal.user
    )
    return SummaryList(summaries=[Summary.of(summary) for summary in summaries])
