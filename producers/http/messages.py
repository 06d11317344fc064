"""Messages over HTTP: the history of a thread by pages, and sending."""

from typing import Annotated, Any, Literal

from fastapi import Header, Query, Request
from fastapi.responses import JSONResponse, Response

from producers.http.answer_shapes import MessageList, OneTurn, page_json
from producers.http.dependencies import GatewayOf, Reader, Writer
from producers.http.idempotency_keys import read_key
from producers.http.message_bodies import REQUEST_BODY, read_message
from producers.http.parameters import make_router
from producers.http.resources import address_of
from producers.http.sending import send_message
from producers.http.visibility import viewer_of
from store.turns.message_pages import PAGE_MAX, list_messages

router = make_router("messages")

EVENT_STREAM = "text/event-stream"
_SENT: dict[int | str, dict[str, Any]] = {
    202: {"description": "The turn that answers it, as it was sent; or its events.", "content": {EVENT_STREAM: {}}}
}


@router.get("/threads/{thread_id}/messages", response_model=MessageList)
async def list_all(
    gateway: GatewayOf,
    principal: Reader,
    thread_id: str,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX, description="Messages of a page, at most.")] = 50,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
    order: Annotated[Literal["asc", "desc"], Query(description="The oldest first, or the newest.")] = "asc",
) -> Response:
    """List the messages of a thread, each with the id of the event that it was."""
    page = await gateway.producer.database.run_async(
        list_messages, viewer_of(principal), thread_id, limit=limit, cursor=cursor, order=order
    )
    return JSONResponse(page_json(page))


@router.post(
    "/threads/{thread_id}/messages",
    status_code=202,
    response_model=OneTurn,
    responses=_SENT,
    openapi_extra={"requestBody": REQUEST_BODY},
)
async def send(
    gateway: GatewayOf,
    principal: Writer,
    thread_id: str,
    request: Request,
    accept: Annotated[str, Header(description=f"`{EVENT_STREAM}` is answered with the turn's events.")] = "*/*",
    idempotency_key: Annotated[
        str | None, Header(description="The same key with the same message is sent once.", examples=["4711-1"])
    ] = None,
) -> Response:
    """Send a message to a thread, which is made if it is not there; a worker answers."""
    async with read_message(request, gateway.settings) as message:
        sent = await send_message(gateway, principal, thread_id, message, key=read_key(idempotency_key, principal))
    if EVENT_STREAM in accept.lower():
        from producers.http.streams import turn_stream_response

        return await turn_stream_response(gateway, sent.turn_id)
    headers = {"Location": address_of(request, 3, "turns", sent.turn_id)}
    if not sent.is_new:
        headers["Idempotent-Replayed"] = "true"
    return JSONResponse({"turn": sent.turn_json}, 202, headers)
