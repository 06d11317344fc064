"""Waiting for a database that is away: without end, or for a time that somebody set."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from conversation.backoff import add_jitter, pauses
from conversation.errors import DatabaseUnavailable

T = TypeVar("T")
#: Seconds before a database that is away is asked again, doubled up to the maximum.
RETRY_SECONDS, RETRY_MAX_SECONDS = 0.2, 3.0


async def insist(work: Callable[[], Awaitable[T]], seconds: float | None) -> T:
    """Do some work, again while the database is away. Raises `DatabaseUnavailable` after so many seconds."""
    failure = DatabaseUnavailable(f"the database did not answer within {seconds} seconds")
    try:
        async with asyncio.timeout(seconds):
            for pause in pauses(RETRY_SECONDS, RETRY_MAX_SECONDS):
                try:
                    return await work()
                except DatabaseUnavailable as error:
                    failure = error
                await asyncio.sleep(add_jitter(pause))
    except TimeoutError:
        pass
    raise failure
