"""Having files made ready elsewhere: what a worker of turns does, whose processor is for its turns."""

import asyncio
import time

from tasks.publish import ring_for_file

#: Seconds after which whoever waits rings again.
RING_AGAIN_SECONDS = 10.0
#: Files that a process remembers to have rung for.
REMEMBERED = 1000


class QueuedMaker:
    """Rings for the workers that hear the queue of files."""

    def __init__(self) -> None:
        self._rung_at: dict[tuple[str, str], float] = {}

    async def make(self, tenant: str, sha256: str) -> None:
        """Ring, unless this process did so a moment ago. What comes of it is found in the database."""
        now = time.monotonic()
        if now - self._rung_at.get((tenant, sha256), -RING_AGAIN_SECONDS) < RING_AGAIN_SECONDS:
            return
        if len(self._rung_at) >= REMEMBERED:
            self._rung_at.clear()
        self._rung_at[tenant, sha256] = now
        await asyncio.to_thread(ring_for_file, tenant, sha256)
