"""Messages over HTTP: the history of a thread by pages, and sending."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from conversation.branch_address import checked_address_of
from producers.events.rows import Source
from producers.http.answer_shapes import MessageList, OneTurn, page_json
from producers.http.branch_parameter import BranchOf
from producers.http.dependencies import GatewayOf, Reader, Writer, path_of
from producers.http.idempotency import key_of_send
from producers.http.message_bodies import REQUEST_BODY, read_message
from producers.http.sending import send_message
from producers.http.streams import turn_stream_response
from producers.http.visibility import database_of, viewer_of
from store.turns.message_pages import PAGE_MAX, list_messages

router = APIRouter(tags=["messages"])

EVENT_STREAM = "text/event-stream"
_SENT: dict[int | str, dict[str, Any]] = {
    202: {"description": "The turn that answers it, as it was sent; or its events.", "content": {EVENT_STREAM: {}}}
}


@router.get("/threads/{thread_id}/messages", operation_id="list_messages", response_model=MessageList)
async def list_all(
    *,
    gateway: GatewayOf,
    principal: Reader,
    thread_id: str,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX, description="Messages of a page, at most.")] = 50,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
    order: Annotated[Literal["asc", "desc"], Query(description="The oldest first, or the newest.")] = "asc",
    branch: BranchOf = None,
) -> Response:
    """List the messages of a thread, each with the id of the event that it was."""
    page = await database_of(gateway, principal).run_async(
        list_messages,
        viewer_of(principal),
        checked_address_of(thread_id, branch),
        limit=limit,
        cursor=cursor,
        order=order,
    )
    return JSONResponse(page_json(page))


@router.post(
    "/threads/{thread_id}/messages",
    operation_id="send_message",
    status_code=202,
    response_model=OneTurn,
    responses=_SENT,
    openapi_extra={"requestBody": REQUEST_BODY},
)
async def send(
    *,
    gateway: GatewayOf,
    principal: Writer,
    thread_id: str,
    request: Request,
    create: Annotated[bool, Query(description="Make the thread where there is none of this id.")] = False,
    branch: BranchOf = None,
) -> Response:
    """Send a message to a thread; a worker answers it.

    With `Accept: text/event-stream`, the answer is the stream of its turn's events.
    """
    async with read_message(request, gateway.settings) as message:
        key = key_of_send(request, principal, thread_id)
        address = checked_address_of(thread_id, branch)
        sent = await send_message(gateway, principal, address, message, key=key, creates=create)
    if EVENT_STREAM in request.headers.get("accept", "").lower():
        return await turn_stream_response(gateway, Source(principal.tenant, sent.address, sent.turn_id))
    headers = {"Location": path_of(request, f"/v1/turns/{sent.turn_id}")}
    if not sent.is_new:
        headers["Idempotent-Replayed"] = "true"
    return JSONResponse({"turn": sent.turn_json}, 202, headers)
