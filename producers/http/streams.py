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
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from conversation.events import ThreadEvent, TurnEnded
from producers.http.dependencies import Gateway, GatewayOf, Reader, gateway_of
from producers.http.long_poll import EventList, IdentifiedEvent, poll
from producers.http.principal import Principal
from producers.http.problems import Problem
from producers.http.sse import EventStreamResponse, encode_event
from producers.http.visibility import visible_thread, visible_turn

#: The highest number that JavaScript can count to: on a turn's stream, that of an end which has no number itself.
MAX_NUMBER = 2**53 - 1
#: Seconds of a long poll, at most.
MAX_WAIT_SECONDS = 60

router = APIRouter(tags=["events"])


def _read_number(value: object) -> object:
    """Digits alone: `int` would take much that no event was ever called."""
    if isinstance(value, str) and not re.fullmatch("[0-9]{1,16}", value):
        raise ValueError("must be the id of an event: digits alone")
    return value


def _drop_empty(value: object) -> object:
    """An `EventSource` that has seen no id says so by an empty one, if at all."""
    return None if value == "" else value


EventNumber = Annotated[int, Field(ge=0, le=MAX_NUMBER), BeforeValidator(_read_number)]
EventCursor = Annotated[str, Field(max_length=1000, pattern=r"^[!-~]+$")]
LastNumber = Annotated[EventNumber | None, BeforeValidator(_drop_empty), Header(alias="Last-Event-ID")]
LastCursor = Annotated[EventCursor | None, BeforeValidator(_drop_empty), Header(alias="Last-Event-ID")]
Wait = Annotated[float, Field(ge=0, le=MAX_WAIT_SECONDS, allow_inf_nan=False)]


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid")

    #: Answer with JSON, after so many seconds at the latest.
    wait: Wait | None = Field(None, description="Seconds to wait for events; the answer is JSON then, and no stream.")


class NumberOptions(_Options):
    """The parameters of a turn's events."""

    after: EventNumber | None = Field(None, description="The id of the last event that is known.")


class TokenOptions(NumberOptions):
    """The parameters of a thread's events."""

    token: str | None = Field(None, description="A stream token of the thread, for who can send no headers.")


class CursorOptions(_Options):
    """The parameters of the events of a user's threads."""

    after: EventCursor | None = Field(None, description="The id of the last event that is known.")
    user: str | None = Field(None, description="Whose threads; needed with a credential of no user.")


_SCHEMA = {"text/event-stream": {"schema": {"type": "string"}}}
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The events, as a stream or a list.", "model": EventList, "content": _SCHEMA}
}
TURN_RESPONSES = RESPONSES | {204: {"description": "The turn is over, and its end is known."}}


async def _authenticate_for_thread(request: Request, thread_id: str) -> Principal:
    """Whoever may read, and the bearer of a stream token of this very thread."""
    principal = await gateway_of(request).authenticator.authenticate(request.headers, request.query_params)
    if principal is None:
        raise Problem(401, "Unauthorized", "no valid key or token came with the request")
    if "read" not in principal.scopes:
        raise Problem(403, "Forbidden", "the credential lacks the scope 'read'")
    if principal.thread_id not in {None, thread_id}:
        raise Problem(404, "Not Found", "thread_id: no such thread is stored")
    return principal


@router.get("/turns/{turn_id}/events", responses=TURN_RESPONSES, response_model=None)
async def follow_turn(
    request: Request,
    *,
    gateway: GatewayOf,
    principal: Reader,
    turn_id: str,
    options: Annotated[NumberOptions, Query()],
    last_event_id: LastNumber = None,
) -> Response | EventList:
    """The events of a turn, to its end."""
    turn = await visible_turn(gateway, principal, turn_id)
    after = _choose_after(last_event_id, options.after)
    events = _events_of_turn(gateway, turn_id, after)
    if turn.state.is_final and options.wait is None:
        # Rows have all of it: the first event is there at once, if there is any.
        first = await anext(events, None)
        if first is None:
            return Response(status_code=204)
        events = _begin_with(first, events)
    return await _answer(request, gateway, events, options.wait, after=after, credential=principal.credential)


@router.get("/threads/{thread_id}/events", responses=RESPONSES, response_model=None)
async def follow_thread(
    request: Request,
    *,
    gateway: GatewayOf,
    principal: Annotated[Principal, Depends(_authenticate_for_thread)],
    thread_id: str,
    options: Annotated[TokenOptions, Query()],
    last_event_id: LastNumber = None,
) -> Response | EventList:
    """The events of a thread, for as long as it is stored."""
    await visible_thread(gateway, principal, thread_id)
    after = _choose_after(last_event_id, options.after)
    events = _with_numbers(gateway.hub.follow_thread(principal.tenant, thread_id, after=after))
    return await _answer(request, gateway, events, options.wait, after=after, credential=principal.credential)


@router.get("/events", responses=RESPONSES, response_model=None)
async def follow_user(
    request: Request,
    *,
    gateway: GatewayOf,
    principal: Reader,
    options: Annotated[CursorOptions, Query()],
    last_event_id: LastCursor = None,
) -> Response | EventList:
    """The events of all of a user's threads."""
    user = _choose_user(principal, options.user)
    cursor = last_event_id if last_event_id is not None else options.after
    events = _with_cursors(gateway.hub.follow_user(principal.tenant, user, cursor=cursor))
    return await _answer(request, gateway, events, options.wait, after=cursor, credential=principal.credential)


def turn_stream_response(gateway: Gateway, turn_id: str, *, after: int = 0) -> EventStreamResponse:
    """The events of a turn as an answer; whoever calls this has seen to it that its bearer may read them.

    No limit refuses it: the turn is sent already.
    """
    return _stream(gateway, _events_of_turn(gateway, turn_id, after), None)


async def _answer(
    request: Request,
    gateway: Gateway,
    events: AsyncGenerator[IdentifiedEvent],
    seconds: float | None,
    *,
    after: int | str | None,
    credential: str,
) -> Response | EventList:
    """A list for who asked to wait, else a stream."""
    if seconds is None:
        return _stream(gateway, events, credential)
    return await poll(request, gateway, events, seconds=seconds, after=after, credential=credential)


def _choose_after(last_event_id: int | None, after: int | None) -> int:
    """The id of a reader that comes again stands before that with which it came first."""
    return last_event_id if last_event_id is not None else after or 0


def _stream(gateway: Gateway, events: AsyncGenerator[IdentifiedEvent], credential: str | None) -> EventStreamResponse:
    return EventStreamResponse(
        _encode(events), streams=gateway.streams, settings=gateway.settings, credential=credential
    )


async def _encode(events: AsyncGenerator[IdentifiedEvent]) -> AsyncGenerator[bytes]:
    async with aclosing(events):
        async for event_id, event in events:
            yield encode_event(event, event_id)


async def _events_of_turn(gateway: Gateway, turn_id: str, after: int) -> AsyncGenerator[IdentifiedEvent]:
    if after == MAX_NUMBER:
        return
    async with aclosing(_with_numbers(gateway.hub.follow_turn(turn_id, after=after))) as events:
        async for event_id, event in events:
            # Without an id, a reader that comes again would be shown this end for ever.
            is_numberless_end = event_id is None and isinstance(event, TurnEnded)
            yield (MAX_NUMBER if is_numberless_end else event_id), event


async def _with_numbers(events: AsyncIterator[ThreadEvent]) -> AsyncGenerator[IdentifiedEvent]:
    async with _closing(events):
        async for event in events:
            yield event.number, event


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
    """Stop following at once when a reader leaves, not when the iterator is collected."""
    try:
        yield
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()


def _choose_user(principal: Principal, user: str | None) -> str:
    if user is None and principal.user is None:
        problem, fix = "is missing", "name the user whose threads you want to follow"
        raise Problem(400, "Invalid input", f"user: {problem}", field="user", problem=problem, fix=fix)
    if principal.user is not None and user not in {None, principal.user}:
        raise Problem(403, "Forbidden", "the credential is another user's")
    return principal.user or user or ""
