"""Keyed context over HTTP: texts that models read in every turn of a thread."""

from fastapi import APIRouter
from fastapi.responses import Response

from producers.http.answer_shapes import ContextEntry, ContextList
from producers.http.dependencies import GatewayOf, Reader, Writer
from producers.http.problems import Problem
from producers.http.request_shapes import NewText
from producers.http.visibility import database_of, viewer_of
from store.threads.thread_context import delete_context, list_context, put_context

router = APIRouter(tags=["context"])


@router.get("/threads/{thread_id}/context", operation_id="list_context")
async def list_all(gateway: GatewayOf, principal: Reader, thread_id: str) -> ContextList:
    """List the context of a thread, by key."""
    texts = await database_of(gateway, principal).run_async(list_context, viewer_of(principal), thread_id)
    return ContextList(context=[ContextEntry.of(text) for text in texts])


@router.put("/threads/{thread_id}/context/{key}", operation_id="write_context")
async def write(gateway: GatewayOf, principal: Writer, thread_id: str, key: str, body: NewText) -> ContextEntry:
    """Write a text under a key, in place of the one before. Turns that begin from now on have it."""
    text = await database_of(gateway, principal).run_async(
        put_context, viewer_of(principal), thread_id, key, body.content
    )
    return ContextEntry.of(text)


@router.delete(
    "/threads/{thread_id}/context/{key}", operation_id="delete_context", status_code=204, response_class=Response
)
async def delete(gateway: GatewayOf, principal: Writer, thread_id: str, key: str) -> None:
    """Remove the text of a key."""
    if not await database_of(gateway, principal).run_async(delete_context, viewer_of(principal), thread_id, key):
        raise Problem(404, "Not Found", "key: the thread has no context under this key")
