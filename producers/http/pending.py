"""Pending calls over HTTP: what turns wait for, listed and decided."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from producers.http.dependencies import GatewayOf, Reader, Writer
from producers.http.pending_shapes import CallList, CallPage, NewDecision, OneCall, call_json
from producers.http.principal import Principal
from producers.http.visibility import database_of, viewer_of, visible_turn
from store.turns.pending_listing import list_pending, read_pending
from store.turns.requester import REQUESTER_MAX_CHARS
from store.turns.visible_turns import decide_call

router = APIRouter(tags=["pending"])


@router.get("/pending", operation_id="list_pending", response_model=CallPage)
async def list_all(
    gateway: GatewayOf,
    principal: Reader,
    user: Annotated[str | None, Query(description="Only of turns in which this user asks.")] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="Calls of a page, at most.")] = 50,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
) -> Response:
    """List what turns wait for, the oldest first: approvals, questions, tools that the client runs."""
    page = await database_of(gateway, principal).run_async(
        list_pending, principal.tenant, user=user, owner=principal.user, limit=limit, cursor=cursor
    )
    return JSONResponse({"pending": [call_json(call) for call in page], "next_cursor": page.next_cursor})


@router.get("/turns/{turn_id}/pending", operation_id="read_pending", response_model=CallList)
async def read(gateway: GatewayOf, principal: Reader, turn_id: str) -> Response:
    """Read what a turn waits for, with the arguments that would run."""
    view = await visible_turn(gateway, principal, turn_id)
    calls = await database_of(gateway, principal).run_async(read_pending, view.record.id, tenant=principal.tenant)
    return JSONResponse({"pending": [call_json(call) for call in calls]})


@router.post("/turns/{turn_id}/pending/{call_id}", operation_id="decide_call", response_model=OneCall)
async def decide(gateway: GatewayOf, principal: Writer, turn_id: str, call_id: str, body: NewDecision) -> Response:
    """Decide a pending call. The last one that a turn waits for has it go on. The same decision again is fine."""
    outcome = await database_of(gateway, principal).run_async(
        decide_call, viewer_of(principal), turn_id, call_id, body.build(), by=name_of(principal), digest=body.digest
    )
    if outcome.wake_up is not None:
        await gateway.producer.connections.notifier.notify_async(outcome.wake_up)
    return JSONResponse({"call": call_json(outcome.call)})


def name_of(principal: Principal) -> str:
    """The name of who asks, in one line that can be printed."""
    name = principal.user or principal.credential or "gateway"
    return "".join(char if char.isprintable() else "?" for char in name)[:REQUESTER_MAX_CHARS]
