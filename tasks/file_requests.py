"""Requests for prepared files: a worker of turns leaves the work to the workers of files."""

import asyncio
import time

from tasks.publish import request_file

#: Seconds after which a waiting turn requests its file again.
REQUEST_AGAIN_SECONDS = 10.0
#: Files that a process remembers to have requested, at most.
REMEMBERED_MAX = 1000


class FileRequester:
    """Requests files from the workers that consume the queue of files."""

    def __init__(self) -> None:
        self._requested_at: dict[tuple[str, str], float] = {}

    async def request(self, tenant: str, sha256: str) -> None:
        """Request a file, unless this process did so a moment ago. The result appears in the database."""
        now = time.monotonic()
        if now - self._requested_at.get((tenant, sha256), -REQUEST_AGAIN_SECONDS) < REQUEST_AGAIN_SECONDS:
            return
        if len(self._requested_at) >= REMEMBERED_MAX:
            self._requested_at.clear()
        self._requested_at[tenant, sha256] = now
        await asyncio.to_thread(request_file, tenant, sha256)
