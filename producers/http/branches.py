"""Branches over HTTP: another answer, a changed message, and the choice between what came of them."""

from dataclasses import replace
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from conversation.branch_address import BRANCH_ID_CHARS, checked_address_of
from conversation.validation import check_id
from producers.branches import ring
from producers.http.answer_shapes import OneTurn, turn_json
from producers.http.branch_parameter import BranchOf
from producers.http.branch_shapes import BranchComparison, BranchList, ThreadBranch, comparison_json
from producers.http.dependencies import Gateway, GatewayOf, Operator, Reader, Writer, path_of
from producers.http.idempotency import made_id_of
from producers.http.message_bodies import MessageBody
from producers.http.principal import Principal
from producers.http.request_shapes import BranchName, NewAnswer, NewBranch, NewMessage
from producers.http.sending import prepare_request
from producers.http.visibility import acting_user, database_of, viewer_of, visible_turn
from producers.send_options import SendOptions
from producers.send_request import build_answer_request, limits_of
from producers.turn import AsyncTurn
from store.branches import branch_turns, branches
from store.branches.branch_turns import BranchTurn
from store.branches.delete_branch import delete_branch
from store.turns.send_request import SendRequest

router = APIRouter(tags=["branches"])

_TURN: dict[int | str, dict[str, Any]] = {202: {"description": "The turn on the new branch, which is chosen."}}


@router.post(
    "/threads/{thread_id}/regenerate",
    operation_id="regenerate",
    status_code=202,
    response_model=OneTurn,
    responses=_TURN,
)
async def regenerate(
    *,
    gateway: GatewayOf,
    principal: Writer,
    thread_id: str,
    request: Request,
    body: NewAnswer | None = None,
    branch: BranchOf = None,
) -> Response:
    """Have the last question answered once more, on a branch of its own. The old answer stays on its branch."""
    body = body or NewAnswer()
    options = SendOptions(
        agent=body.agent,
        metadata=body.metadata,
        user=acting_user(principal, body.user, body.metadata),
        tenant=principal.tenant,
        priority=body.priority,
        branch=branch,
    )
    send_request = build_answer_request(thread_id, options, gateway.settings)
    verb = partial(branch_turns.regenerate, keeps_agent=body.agent is None)
    return await _answer_on_branch(gateway, principal, request, send_request, verb)


@router.post(
    "/threads/{thread_id}/messages/{message_id}/edit",
    operation_id="edit_message",
    status_code=202,
    response_model=OneTurn,
    responses=_TURN,
)
async def edit(
    *,
    gateway: GatewayOf,
    principal: Writer,
    thread_id: str,
    message_id: str,
    request: Request,
    body: NewMessage,
    branch: BranchOf = None,
) -> Response:
    """Send another message in the place of a user's, on a branch from before it. The old one stays on its branch."""
    address = checked_address_of(thread_id, branch)
    send_request = await prepare_request(gateway, principal, address, MessageBody(body), key=None)
    verb = partial(
        branch_turns.edit_message, message_id=message_id, keeps_files="attachments" not in body.model_fields_set
    )
    return await _answer_on_branch(gateway, principal, request, send_request, verb)


@router.get("/threads/{thread_id}/branches", operation_id="list_branches")
async def list_all(gateway: GatewayOf, principal: Reader, thread_id: str) -> BranchList:
    """List the branches of a thread, the oldest first."""
    found = await database_of(gateway, principal).run_async(branches.list_branches, viewer_of(principal), thread_id)
    return BranchList(branches=[ThreadBranch.of(branch) for branch in found])


@router.post("/threads/{thread_id}/branches", operation_id="make_branch", status_code=201)
async def make(
    *,
    gateway: GatewayOf,
    principal: Writer,
    thread_id: str,
    request: Request,
    response: Response,
    body: NewBranch | None = None,
    branch: BranchOf = None,
) -> ThreadBranch:
    """Make a branch behind a message. It shares the history before, and is not chosen by this."""
    body = body or NewBranch()
    at = body.at if body.at_message is None else check_id("at_message", body.at_message)
    verb = partial(branches.make_branch, branch_id=_branch_id(request), at=at, name=body.name)
    made = await database_of(gateway, principal).run_async(
        verb, viewer_of(principal), checked_address_of(thread_id, branch)
    )
    response.headers["Location"] = path_of(request, f"/v1/threads/{thread_id}/branches/{made.id}")
    return ThreadBranch.of(made)


@router.patch("/threads/{thread_id}/branches/{branch_id}", operation_id="rename_branch")
async def rename(
    gateway: GatewayOf, principal: Writer, thread_id: str, branch_id: str, body: BranchName
) -> ThreadBranch:
    """Give a branch a name, or none."""
    of_branch = check_id("thread_id", thread_id), branch_id
    renamed = await database_of(gateway, principal).run_async(
        branches.rename_branch, viewer_of(principal), *of_branch, body.name
    )
    return ThreadBranch.of(renamed)


@router.post("/threads/{thread_id}/branches/{branch_id}/choose", operation_id="choose_branch")
async def choose(gateway: GatewayOf, principal: Writer, thread_id: str, branch_id: str) -> ThreadBranch:
    """Have the thread's id stand for a branch. Its viewers get `thread.switched`."""
    of_branch = check_id("thread_id", thread_id), branch_id
    chosen, before = await database_of(gateway, principal).run_async(
        branches.choose_branch, viewer_of(principal), *of_branch
    )
    if before is not None:
        await ring(gateway.producer.connections, principal.tenant, thread_id)
    return ThreadBranch.of(chosen)


@router.get(
    "/threads/{thread_id}/branches/{branch_id}/compare",
    operation_id="compare_branches",
    response_model=BranchComparison,
)
async def compare(
    *,
    gateway: GatewayOf,
    principal: Reader,
    thread_id: str,
    branch_id: str,
    other: Annotated[str, Query(alias="with", description="The id of the other branch.", max_length=255)],
) -> Response:
    """Compare two branches behind what they share."""
    of_thread = check_id("thread_id", thread_id), branch_id, other
    comparison = await database_of(gateway, principal).run_async(
        branches.compare_branches, viewer_of(principal), *of_thread
    )
    return JSONResponse(comparison_json(comparison))


@router.delete(
    "/threads/{thread_id}/branches/{branch_id}", operation_id="delete_branch", status_code=204, response_class=Response
)
async def delete(gateway: GatewayOf, principal: Operator, thread_id: str, branch_id: str) -> None:
    """Delete a branch; what others share of it stays for them."""
    of_branch = check_id("thread_id", thread_id), branch_id
    await database_of(gateway, principal).run_async(delete_branch, viewer_of(principal), *of_branch)


async def _answer_on_branch(
    gateway: Gateway, principal: Principal, request: Request, send_request: SendRequest, verb: Any
) -> Response:
    """Make the branch with its turn; a request that is run again finds both."""
    send_request = replace(send_request, turn_id=made_id_of(request))
    limits = limits_of(gateway.settings)
    run = partial(verb, branch_id=_branch_id(request))
    made: BranchTurn = await database_of(gateway, principal).run_async(run, viewer_of(principal), send_request, limits)
    connections = gateway.producer.connections
    if made.before is not None:
        await ring(connections, principal.tenant, send_request.thread_id)
    if made.accepted.needs_wake_up:
        turn = AsyncTurn(
            id=made.accepted.turn_id,
            tenant=principal.tenant,
            address=made.accepted.address,
            is_new=made.accepted.is_new,
            connections=connections,
            priority=send_request.priority,
        )
        await turn.notify()
    view = await visible_turn(gateway, principal, made.accepted.turn_id)
    location = path_of(request, f"/v1/turns/{made.accepted.turn_id}")
    return JSONResponse({"turn": turn_json(view)}, 202, {"Location": location})


def _branch_id(request: Request) -> str:
    """The id of the branch that a request makes: the same when it is run again after it broke off."""
    return made_id_of(request).replace("-", "")[-BRANCH_ID_CHARS:]
