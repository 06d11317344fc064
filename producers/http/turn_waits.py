"""Waiting for the end of a turn, for a request that asks for so many seconds.

What stays true: a waiter has no connection of its own, all of a process share the hub's; it waits no longer than its
client and its gateway are there.
"""

import asyncio
from contextlib import aclosing
from typing import Any

from fastapi import Request

from producers.events.rows import Source
from producers.http.dependencies import Gateway
from producers.http.principal import Principal
from producers.http.sse import wait_for_disconnect
from store.turns.visible_turns import TurnView

#: Seconds that a request may ask to wait; the settings may allow fewer.
MAX_WAIT_SECONDS = 60


async def wait_for_end(
    gateway: Gateway, principal: Principal, request: Request, turn: TurnView, *, seconds: float
) -> None:
    """Wait until a turn is over, or the time is. Raises `Problem` where the credential waits too often at once."""
    seconds = min(seconds, gateway.settings.gateway_max_wait_seconds)
    with gateway.streams.hold(gateway.settings, principal.credential) as end:
        following = asyncio.create_task(_follow_to_end(gateway, turn))
        tasks: set[asyncio.Future[Any]] = {following, asyncio.create_task(wait_for_disconnect(request.receive))}
        try:
            await asyncio.wait({*tasks, end}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    if not following.cancelled():
        following.result()


async def _follow_to_end(gateway: Gateway, turn: TurnView) -> None:
    record = turn.record
    source = Source(record.tenant, record.address, record.id)
    # Behind all that the attempt under way may say.
    async with aclosing(gateway.hub.follow_turn(source, after=turn.end_of_attempt)) as events:
        async for _ in events:
            pass
