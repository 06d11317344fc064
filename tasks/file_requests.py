"""Requests for prepared files: a worker of turns leaves the work to the workers of files.

What stays true: a file has its place in the queue, which is in the database, before a wake-up is published for it.
"""

import asyncio
import time
from collections.abc import Collection

from store.database.engine import Database
from store.files import file_queue
from tasks.publish import request_file

#: Seconds after which a waiting turn requests its file again.
REQUEST_AGAIN_SECONDS = 10.0
#: Files that a process remembers to have requested, at most.
REMEMBERED_MAX = 1000


class FileRequester:
    """Requests files from the workers that consume the queue of files."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._requested_at: dict[tuple[str, str], float] = {}
        #: By tenant, what is requested in this round of the loop, and who will send it: one statement for a turn.
        self._batches: dict[str, tuple[list[str], asyncio.Task[None]]] = {}

    async def request(self, tenant: str, sha256: str) -> None:
        """Request a file, unless this process did so a moment ago. The result appears in the database."""
        now = time.monotonic()
        if now - self._requested_at.get((tenant, sha256), -REQUEST_AGAIN_SECONDS) < REQUEST_AGAIN_SECONDS:
            return
        if len(self._requested_at) >= REMEMBERED_MAX:
            self._requested_at.clear()
        self._requested_at[tenant, sha256] = now
        if tenant not in self._batches:
            self._batches[tenant] = [], asyncio.create_task(self._send_batch(tenant))
        hashes, sending = self._batches[tenant]
        hashes.append(sha256)
        # Others wait for it as well.
        await asyncio.shield(sending)

    async def _send_batch(self, tenant: str) -> None:
        await asyncio.sleep(0)
        hashes, _ = self._batches.pop(tenant)
        scans = bool(self._database.settings.scanner_url)
        try:
            placed = await self._database.run_async(file_queue.request, tenant=tenant, hashes=hashes, scans=scans)
        except BaseException:
            for sha256 in hashes:
                self._requested_at.pop((tenant, sha256), None)
            raise
        await asyncio.to_thread(publish_requests, tenant, hashes, placed)


def publish_requests(tenant: str, hashes: Collection[str], placed: int) -> None:
    """Publish a wake-up for each file that got a place; for those that wait already, one, should theirs be lost."""
    for sha256 in list(hashes)[: max(placed, 1)]:
        request_file(tenant, sha256)
