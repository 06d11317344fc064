"""Streams of events over HTTP: of a turn, of a thread, of all threads of a user.

What stays true: the id that a reader has seen last, sent back as `Last-Event-ID` or `after`, goes on behind it,
without a gap or a repeat, whatever has happened in between; a turn that is over and seen to its end is answered 204,
which ends the attempts of an `EventSource`. Clients without streams get the same events as JSON, with `wait`.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BeforeValidator, Field

from conversation.branch_address import checked_address_of
from conversation.errors import InvalidInput
from conversation.events import WAITING_NOTICES, ThreadEvent, TurnEnded
from conversation.validation import check_id
from producers.events.rows import Source
from producers.events.user_cursor import read_user_cursor
from producers.http.branch_parameter import BranchOf
from producers.http.dependencies import Gateway, GatewayOf, Reader, authenticate
from producers.http.long_poll import EventList, IdentifiedEvent, Look, poll
from producers.http.principal import Principal
from producers.http.problems import Problem
from producers.http.sse import EventStreamResponse, encode_event
from producers.http.visibility import database_of, visible_thread, visible_turn
from store.database.engine import PatientRunner
from store.turns.event_rows import read_turn_events, resume_thread_events

#: The highest number that JavaScript can count to: on a turn's stream, that of an end which has no number itself.
MAX_NUMBER = 2**53 - 1
#: Seconds of a long poll, at most.
MAX_WAIT_SECONDS = 60
#: Characters of a cursor, at most.
CURSOR_MAX_CHARS = 2000

router = APIRouter(tags=["events"])


def _read_number(value: object) -> object:
    """Digits alone: `int` would take much that no event was ever called."""
    if isinstance(value, str) and not re.fullmatch("[0-9]{1,16}", value):
        raise ValueError("must be the id of an event: digits alone")
    return value


def _drop_empty(value: object) -> object:
    """An `EventSource` that has seen no id says so by an empty one, if at all."""
    return None if value == "" else value


_Number = Annotated[int, Field(ge=0, le=MAX_NUMBER), BeforeValidator(_read_number)]
_Cursor = Annotated[str, Field(max_length=CURSOR_MAX_CHARS, pattern="^[!-~]+$")]
_SEEN = "The id of the last event that was seen."
_AGAIN = "The same, as an `EventSource` sends it that comes again; it stands before `after`."
AfterNumber = Annotated[_Number | None, Query(description=_SEEN)]
AfterCursor = Annotated[_Cursor | None, Query(description=_SEEN)]
LastNumber = Annotated[_Number | None, BeforeValidator(_drop_empty), Header(alias="Last-Event-ID", description=_AGAIN)]
LastCursor = Annotated[_Cursor | None, BeforeValidator(_drop_empty), Header(alias="Last-Event-ID", description=_AGAIN)]
Wait = Annotated[
    float | None,
    Query(
        ge=0,
        le=MAX_WAIT_SECONDS,
        allow_inf_nan=False,
        description="Seconds to wait for events, at most: the answer is a list then, and no stream.",
    ),
]

_CONTENT = {"text/event-stream": {"schema": {"type": "string"}}}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The events, as a stream or a list.", "model": EventList, "content": _CONTENT}
}
_TURN_RESPONSES = _RESPONSES | {204: {"description": "The turn is over, and its end was seen."}}


async def _authenticate_for_thread(request: Request, thread_id: str) -> Principal:
    """The principal, if it may read: the bearer of a stream token of this very thread may, too."""
    principal = await authenticate(request)
    if "read" not in principal.scopes:
        raise Problem(403, "Forbidden", "the credential lacks the scope 'read'")
    if principal.thread_id not in {None, thread_id}:
        raise Problem(403, "Forbidden", "the token is another thread's")
    return principal


@router.get("/turns/{turn_id}/events", responses=_TURN_RESPONSES, response_model=None)
async def follow_turn(
    request: Request,
    gateway: GatewayOf,
    principal: Reader,
    *,
    turn_id: str,
    after: AfterNumber = None,
    wait: Wait = None,
    last_event_id: LastNumber = None,
) -> Response | EventList:
    """Follow the events of a turn, to its end."""
    turn = await visible_turn(gateway, principal, turn_id)
    seen = _choose_after(last_event_id, after)
    source = Source(principal.tenant, turn.record.address, turn.record.id)
    events = _follow_turn(gateway, source, seen)
    if wait is not None:
        look = _look_at_turn(database_of(gateway, principal), source, seen)
        return await poll(
            request, gateway, events, look=look, seconds=wait, after=seen, credential=principal.credential
        )
    if turn.record.state.is_final:
        # Rows have all of it: the first event is there at once, if there is any.
        first = await anext(events, None)
        if first is None:
            return Response(status_code=204)
        events = _begin_with(first, events)
    return _stream(gateway, events, principal.credential)


@router.get("/threads/{thread_id}/events", responses=_RESPONSES, response_model=None)
async def follow_thread(
    request: Request,
    gateway: GatewayOf,
    principal: Annotated[Principal, Depends(_authenticate_for_thread)],
    *,
    thread_id: str,
    after: AfterNumber = None,
    wait: Wait = None,
    branch: BranchOf = None,
    token: Annotated[str | None, Query(description="A stream token, for who can send no headers.")] = None,  # noqa: ARG001 - read with the credentials
    last_event_id: LastNumber = None,
) -> Response | EventList:
    """Follow the events of a thread, for as long as it is stored."""
    await visible_thread(gateway, principal, thread_id, branch=branch)
    seen, address = _choose_after(last_event_id, after), checked_address_of(thread_id, branch)
    events = _with_numbers(gateway.hub.follow_thread(principal.tenant, address, after=seen), seen)
    if wait is not None:
        look = _look_at_thread(database_of(gateway, principal), principal.tenant, address, seen)
        return await poll(
            request, gateway, events, look=look, seconds=wait, after=seen, credential=principal.credential
        )
    return _stream(gateway, events, principal.credential)


@router.get("/events", responses=_RESPONSES, response_model=None)
async def follow_user(
    request: Request,
    gateway: GatewayOf,
    principal: Reader,
    *,
    after: AfterCursor = None,
    wait: Wait = None,
    user: Annotated[str | None, Query(description="Whose threads; needed with a credential of no user.")] = None,
    last_event_id: LastCursor = None,
) -> Response | EventList:
    """Follow the events of all threads of a user."""
    seen = last_event_id if last_event_id is not None else after
    if seen is not None:
        _check_cursor(seen, "after" if last_event_id is None else "Last-Event-ID")
    user = _choose_user(principal, user)
    events = _with_cursors(gateway.hub.follow_user(principal.tenant, user, cursor=seen))
    if wait is not None:
        return await poll(request, gateway, events, seconds=wait, after=seen, credential=principal.credential)
    return _stream(gateway, events, principal.credential)


async def turn_stream_response(gateway: Gateway, source: Source, *, after: int = 0) -> EventStreamResponse:
    """The events of a turn as an answer; whoever calls this has seen to it that its bearer may read them.

    No limit refuses it: the turn is sent already.
    """
    return _stream(gateway, _follow_turn(gateway, source, after), None)


def _stream(gateway: Gateway, events: AsyncGenerator[IdentifiedEvent], credential: str | None) -> EventStreamResponse:
    return EventStreamResponse(
        _encode(events), streams=gateway.streams, settings=gateway.settings, credential=credential
    )


async def _encode(events: AsyncGenerator[IdentifiedEvent]) -> AsyncGenerator[bytes]:
    async with aclosing(events):
        async for event_id, event in events:
            yield encode_event(event, event_id)


async def _follow_turn(gateway: Gateway, source: Source, after: int) -> AsyncGenerator[IdentifiedEvent]:
    if after == MAX_NUMBER:
        return
    events = gateway.hub.follow_turn(source, after=after)
    async with aclosing(_with_numbers(events, after)) as identified:
        async for event_id, event in identified:
            yield _id_in_turn(event_id, event), event


def _id_in_turn(event_id: int | str, event: ThreadEvent) -> int | str:
    """The id of an event on its turn's stream: an end without a number would be shown for ever to who comes again."""
    return MAX_NUMBER if event.number is None and isinstance(event, TurnEnded) else event_id


def _look_at_turn(database: PatientRunner, source: Source, after: int) -> Look:
    async def look() -> tuple[list[IdentifiedEvent], bool]:
        page = await database.run_async(read_turn_events, source.turn_id or "", tenant=source.tenant, after=after)
        unseen = [] if after == MAX_NUMBER else [*page.notices, *page.events]
        is_over = page.running is None and not any(isinstance(notice, WAITING_NOTICES) for notice in page.notices)
        return [(_id_in_turn(event.number or after, event), event) for event in unseen], is_over

    return look


def _look_at_thread(database: PatientRunner, tenant: str, thread_id: str, after: int) -> Look:
    async def look() -> tuple[list[IdentifiedEvent], bool]:
        page = await database.run_async(resume_thread_events, tenant, thread_id, after=after)
        return [(event.number or after, event) for event in (*page.notices, *page.events)], False

    return look


async def _with_numbers(events: AsyncIterator[ThreadEvent], after: int) -> AsyncGenerator[IdentifiedEvent]:
    """Each event with the id behind which its reader goes on.

    A notice has that of the event before it: there are clients that take what has none for the beginning.
    """
    async with _closing(events):
        async for event in events:
            after = event.number or after
            yield after, event


async def _with_cursors(events: AsyncIterator[tuple[str, ThreadEvent]]) -> AsyncGenerator[IdentifiedEvent]:
    async with _closing(events):
        async for cursor, event in events:
            yield cursor, event


async def _begin_with(
    first: IdentifiedEvent, others: AsyncGenerator[IdentifiedEvent]
) -> AsyncGenerator[IdentifiedEvent]:
    async with aclosing(others):
        yield first
        async for identified in others:
            yield identified


@asynccontextmanager
async def _closing(events: AsyncIterator[Any]) -> AsyncIterator[None]:
    """Stop following when a reader leaves, not only once the iterator is collected."""
    try:
        yield
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()


def _choose_after(last_event_id: int | None, after: int | None) -> int:
    """The id of a reader that comes again stands before that with which it came first."""
    return last_event_id if last_event_id is not None else after or 0


def _check_cursor(text: str, field: str) -> None:
    try:
        read_user_cursor(text)
    except InvalidInput as error:
        raise InvalidInput(field, error.problem, error.fix) from None


def _choose_user(principal: Principal, user: str | None) -> str:
    if principal.user is None:
        if user is None:
            raise InvalidInput("user", "is missing", "name the user whose threads you want to follow")
        # Before the stream begins: its reader would come again and again.
        return check_id("user", user)
    if user not in (None, principal.user):
        raise InvalidInput("user", "is not the user of your credential", "leave it out")
    return principal.user
