"""Waiting for the end of a turn, for a request that asks for so many seconds.

What stays true: a waiter has no connection of its own; all of a process share the hub's.
"""

import asyncio
from contextlib import aclosing

from producers.http.dependencies import Gateway

#: Seconds that a request may wait.
MAX_WAIT_SECONDS = 60


async def wait_for_end(gateway: Gateway, turn_id: str, seconds: float) -> None:
    """Wait until a turn is over, or the time is, or as long as the gateway lets any request wait."""
    seconds = min(seconds, gateway.settings.gateway_max_wait_seconds)
    try:
        async with asyncio.timeout(seconds), aclosing(gateway.hub.follow_turn(turn_id, after=0)) as events:
            # They end with the turn.
            async for _ in events:
                pass
    except TimeoutError:
        pass
