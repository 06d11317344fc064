"""Threads over HTTP: make, read, list, search, change, fork and delete them."""

from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request, Response

from conversation.errors import InvalidInput
from conversation.thread import Thread as WorkingCopy
from conversation.validation import check_id
from producers.http import thread_lists
from producers.http.answer_shapes import Thread, ThreadList
from producers.http.dependencies import Gateway, GatewayOf, Operator, Reader, Writer, path_of
from producers.http.entity_tags import read_etags, write_etag
from producers.http.idempotency import is_repeat, made_id_of
from producers.http.principal import Principal
from producers.http.problems import Problem
from producers.http.request_shapes import NewFork, NewThread, ThreadChanges
from producers.http.visibility import acting_user, database_of, viewer_of, visible_thread
from store.retention.delete_thread import delete_visible_thread
from store.threads.editing import UNCHANGED, create_thread, edit_thread, version_of
from store.threads.forks import fork_visible_thread
from store.threads.listing import ThreadFilter
from store.threads.thread_views import ThreadView

router = APIRouter(tags=["threads"])


@router.post("/threads", operation_id="create_thread", status_code=201)
async def create(
    gateway: GatewayOf, principal: Writer, body: NewThread, request: Request, response: Response
) -> Thread:
    """Make a thread."""
    thread = WorkingCopy(
        made_id_of(request) if body.id is None else body.id,
        user=acting_user(principal, body.user, body.metadata),
        title=body.title,
        metadata=body.metadata,
        tenant=principal.tenant,
    )
    view = await database_of(gateway, principal).run_async(create_thread, thread)
    if view is None:
        view = await _made_before(gateway, principal, thread.id, request)
    response.headers["Location"] = path_of(request, f"/v1/threads/{view.id}")
    return _answer(view, response)


@router.get("/threads", operation_id="list_threads", response_model_exclude_unset=True)
async def list_all(
    *,
    gateway: GatewayOf,
    principal: Reader,
    limit: Annotated[int, Query(ge=1, le=200, description="Threads of a page, at most.")] = 50,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
    order: Annotated[Literal["created", "updated"], Query(description="What is newest.")] = "created",
    user: Annotated[str | None, Query(description="Whose threads.")] = None,
    title: Annotated[str | None, Query(description="A part of the title, whatever the case.")] = None,
    metadata: Annotated[str | None, Query(description="A JSON object of which each value is in the metadata.")] = None,
    q: Annotated[str | None, Query(description='Words of a message: `"a phrase"`, `or`, `-not`. Best first.')] = None,
) -> ThreadList:
    """List threads, the newest first; with `q`, those in which messages have its words, with snippets of them."""
    filters = ThreadFilter(
        tenant=principal.tenant,
        user=acting_user(principal, user, None),
        title=title,
        metadata=thread_lists.read_metadata_filter(metadata),
    )
    database = database_of(gateway, principal)
    if q is None:
        return await thread_lists.list_threads(database, filters, limit=limit, cursor=cursor, order=order)
    if cursor is not None:
        raise InvalidInput("cursor", "goes with no search, which has one page", "leave it out")
    return await thread_lists.search_threads(database, q, filters, limit)


@router.get("/threads/{thread_id}", operation_id="read_thread")
async def read(gateway: GatewayOf, principal: Reader, thread_id: str, response: Response) -> Thread:
    """Read a thread."""
    return _answer(await visible_thread(gateway, principal, thread_id), response)


@router.patch("/threads/{thread_id}", operation_id="change_thread")
async def change(
    *,
    gateway: GatewayOf,
    principal: Writer,
    thread_id: str,
    body: ThreadChanges,
    response: Response,
    if_match: Annotated[str | None, Header(description="The `ETag` that the thread must still have.")] = None,
) -> Thread:
    """Change the title, the metadata and the policy of a thread, or hand it over to another agent."""
    view = await database_of(gateway, principal).run_async(
        edit_thread,
        viewer_of(principal),
        thread_id,
        title=body.title if "title" in body.model_fields_set else UNCHANGED,
        metadata=body.metadata,
        assigned_agent=body.agent if "agent" in body.model_fields_set else UNCHANGED,
        when_busy=body.when_busy if "when_busy" in body.model_fields_set else UNCHANGED,
        versions=read_etags(if_match),
    )
    if view is None:
        raise Problem(412, "Precondition Failed", "the thread was changed since; read it again", retryable=False)
    return _answer(view, response)


@router.delete("/threads/{thread_id}", operation_id="delete_thread", status_code=204, response_class=Response)
async def delete(gateway: GatewayOf, principal: Operator, thread_id: str) -> None:
    """Delete a thread with all that belongs to it."""
    await database_of(gateway, principal).run_async(delete_visible_thread, viewer_of(principal), thread_id)


@router.post("/threads/{thread_id}/fork", operation_id="fork_thread", status_code=201)
async def fork(
    *, gateway: GatewayOf, principal: Writer, thread_id: str, body: NewFork, request: Request, response: Response
) -> Thread:
    """Copy a thread, up to a message, into a new one of the same user."""
    copy_id = made_id_of(request) if body.id is None else check_id("id", body.id)
    view = await database_of(gateway, principal).run_async(
        fork_visible_thread, viewer_of(principal), thread_id, copy_id, at=body.at
    )
    if view is None:
        view = await _made_before(gateway, principal, copy_id, request)
    response.headers["Location"] = path_of(request, f"/v1/threads/{view.id}")
    return _answer(view, response)


def _answer(view: ThreadView, response: Response) -> Thread:
    version = version_of(view.title, view.metadata, view.user, view.when_busy, view.agent)
    response.headers["ETag"] = write_etag(version)
    return Thread.of(view)


async def _made_before(gateway: Gateway, principal: Principal, thread_id: str, request: Request) -> ThreadView:
    """The thread that an earlier run of this very request made. Raises `Problem` where another one did."""
    if is_repeat(request):
        return await visible_thread(gateway, principal, thread_id)
    problem, fix = "is the id of a thread already", "pass another one"
    raise Problem(409, "Conflict", f"id: {problem}; {fix}", field="id", problem=problem, fix=fix)
