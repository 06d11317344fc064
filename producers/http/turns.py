"""Turns over HTTP: list, read, wait for, cancel and requeue them."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from conversation.ids import new_id
from conversation.task_contract import CANCEL_CHANNEL
from producers.http.answer_shapes import OneTurn, Turn, TurnList, record_json, turn_json
from producers.http.dependencies import GatewayOf, Operator, Reader, Writer, path_of
from producers.http.idempotency import made_id_of
from producers.http.pending import name_of
from producers.http.request_shapes import NewAttempt
from producers.http.turn_waits import MAX_WAIT_SECONDS, wait_for_end
from producers.http.visibility import database_of, viewer_of, visible_turn
from producers.turn import AsyncTurn
from store.turns.thread_turns import list_of_thread
from store.turns.visible_turns import cancel_turn, requeue_turn

router = APIRouter(tags=["turns"])

_ACCEPTED: dict[int | str, dict[str, Any]] = {202: {"description": "The turn as it is now."}}


@router.get("/threads/{thread_id}/turns", operation_id="list_turns", response_model=TurnList)
async def list_all(
    gateway: GatewayOf,
    principal: Reader,
    thread_id: str,
    limit: Annotated[int, Query(ge=1, le=200, description="Turns of a page, at most.")] = 50,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
) -> Response:
    """List the turns of a thread, the newest first, without their messages."""
    page = await database_of(gateway, principal).run_async(
        list_of_thread, principal.tenant, thread_id, limit=limit, cursor=cursor, user=principal.user
    )
    return JSONResponse({"turns": [record_json(record) for record in page], "next_cursor": page.next_cursor})


@router.get("/turns/{turn_id}", operation_id="read_turn", response_model=Turn)
async def read(
    gateway: GatewayOf,
    principal: Reader,
    request: Request,
    turn_id: str,
    wait: Annotated[
        float, Query(ge=0, le=MAX_WAIT_SECONDS, description="Seconds to wait, at most, until it is over.")
    ] = 0,
) -> Response:
    """Read a turn, and what it answered once it is over."""
    view = await visible_turn(gateway, principal, turn_id, with_messages=True)
    if wait and not view.record.state.is_final:
        await wait_for_end(gateway, principal, request, view, seconds=wait)
        view = await visible_turn(gateway, principal, turn_id, with_messages=True)
    return JSONResponse(turn_json(view))


@router.post(
    "/turns/{turn_id}/cancel", operation_id="cancel_turn", status_code=202, response_model=OneTurn, responses=_ACCEPTED
)
async def cancel(gateway: GatewayOf, principal: Writer, turn_id: str) -> Response:
    """Ask a turn to stop. What it has said so far is kept."""
    connections = gateway.producer.connections
    outcome, view = await database_of(gateway, principal).run_async(
        cancel_turn, viewer_of(principal), turn_id, by=name_of(principal)
    )
    await connections.signals.publish_async(CANCEL_CHANNEL, outcome.turn_id)
    if outcome.wake_up is not None:
        await connections.notifier.notify_async(outcome.wake_up)
    return JSONResponse({"turn": turn_json(view)}, 202)


@router.post(
    "/turns/{turn_id}/requeue",
    operation_id="requeue_turn",
    status_code=202,
    response_model=OneTurn,
    responses=_ACCEPTED,
)
async def requeue(
    gateway: GatewayOf, principal: Operator, turn_id: str, request: Request, body: NewAttempt | None = None
) -> Response:
    """Queue a turn again that failed or was cancelled: itself, or as a new one where more was said since."""
    connections = gateway.producer.connections
    # The ids are made before the transaction, so that it may run again without asking twice.
    outcome, view = await database_of(gateway, principal).run_async(
        requeue_turn,
        viewer_of(principal),
        turn_id,
        new_turn_id=made_id_of(request),
        new_message_id=new_id(),
        agent=None if body is None else body.agent,
    )
    turn = AsyncTurn(
        id=outcome.turn_id,
        tenant=outcome.tenant,
        address=outcome.address,
        is_new=outcome.is_new,
        connections=connections,
    )
    await turn.notify()
    return JSONResponse({"turn": turn_json(view)}, 202, {"Location": path_of(request, f"/v1/turns/{outcome.turn_id}")})
