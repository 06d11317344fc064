"""A long poll: events for clients that read no streams, in one answer each.

What stays true: an answer comes as soon as there is something that the client does not know; a notice alone, which
each answer brings again, is nothing new. A poll ends with its client, and with the gateway.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from pydantic import BaseModel, Field

from conversation.events import WAITING_NOTICES, ThreadDeleted, ThreadEvent, event_json
from producers.http.dependencies import Gateway
from producers.http.sse import wait_for_disconnect

#: The id after which an event's reader goes on, and the event.
IdentifiedEvent = tuple[int | str, ThreadEvent]
#: Reads what is stored: events that are news, and whether nothing will follow.
Look = Callable[[], Awaitable[tuple[list[IdentifiedEvent], bool]]]
#: Events of one answer, at most.
MAX_EVENTS = 500
#: Seconds in which the events of one moment are collected.
GATHER_SECONDS = 0.02
#: Seconds for a first look, where there is no other, however short the client waits.
LOOK_SECONDS = 1.0


class EventList(BaseModel):
    """An answer to a long poll."""

    #: In their order; `type` says what each is.
    events: list[dict[str, Any]]
    #: For the next poll: what this one has shown, or what it was asked for.
    after: int | str | None = Field(description="Send it as `after` with the next poll.")
    #: Nothing will follow.
    is_over: bool


async def poll(
    request: Request,
    gateway: Gateway,
    events: AsyncGenerator[IdentifiedEvent],
    *,
    look: Look | None = None,
    seconds: float,
    after: int | str | None,
    credential: str,
) -> EventList:
    """Wait so many seconds for events; returns what came. Raises `Problem` where there is no place for one more.

    `look` reads what is there already, so that whoever does not wait gets it all the same.
    """
    with gateway.streams.hold(gateway.settings, credential) as end:
        page = _Page()
        if look is not None:
            page.events, page.is_over = await look()
            if page.is_over or page.has_any_news() or not seconds:
                return page.to_answer(after)
            page.events.clear()
        seconds = min(seconds, gateway.settings.gateway_max_wait_seconds)
        await _wait_for_news(page, events, request, end, seconds if look else max(seconds, LOOK_SECONDS))
    return page.to_answer(after)


async def _wait_for_news(
    page: "_Page",
    events: AsyncGenerator[IdentifiedEvent],
    request: Request,
    end: "asyncio.Future[None]",
    seconds: float,
) -> None:
    """Collect events until there are some, or the time, the client or the gateway has come to its end."""
    collecting = asyncio.create_task(page.collect(events))
    tasks: set[asyncio.Future[Any]] = {
        collecting,
        asyncio.create_task(page.has_news.wait()),
        asyncio.create_task(wait_for_disconnect(request.receive)),
    }
    try:
        await asyncio.wait({*tasks, end}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        await page.settle(collecting)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if not collecting.cancelled():
        collecting.result()


@dataclass(slots=True)
class _Page:
    """The events that a poll has collected."""

    events: list[IdentifiedEvent] = field(default_factory=list)
    #: Set when there is something to answer with.
    has_news: asyncio.Event = field(default_factory=asyncio.Event)
    is_over: bool = False

    def has_any_news(self) -> bool:
        """Whether there is more than notices, which each answer brings again."""
        return any(not isinstance(event, WAITING_NOTICES) for _, event in self.events)

    async def collect(self, events: AsyncGenerator[IdentifiedEvent]) -> None:
        """Collect events until there are enough, or none follow."""
        async with aclosing(events):
            async for event_id, event in events:
                self.events.append((event_id, event))
                self.is_over |= isinstance(event, ThreadDeleted)
                if not isinstance(event, WAITING_NOTICES):
                    self.has_news.set()
                if len(self.events) >= MAX_EVENTS:
                    return
        self.is_over = True

    async def settle(self, collecting: "asyncio.Task[None]") -> None:
        """Return when what came in the same moment is here as well."""
        count = 0
        while self.has_news.is_set() and count < len(self.events) and not collecting.done():
            count = len(self.events)
            await asyncio.sleep(GATHER_SECONDS)

    def to_answer(self, after: int | str | None) -> EventList:
        """The answer to a client that knows all up to `after`."""
        return EventList(
            events=[event_json(event) for _, event in self.events],
            after=self.events[-1][0] if self.events else after,
            is_over=self.is_over,
        )
