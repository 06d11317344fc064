"""The methods of `ThreadStore` that write a thread as JSON Lines, and read one back."""

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from dataclasses import replace
from tempfile import TemporaryFile
from typing import Any

from sqlalchemy import Connection

from conversation.branch_address import check_address
from store.open_store import OpenStore
from store.threads import importer
from store.threads.branch_imports import ImportOutcome
from store.threads.export import Export, read_next_page
from store.threads.export_format import spool_lines
from store.threads.import_bounds import FileBounds


class ThreadExports(OpenStore):
    """The methods of `ThreadStore` for exports and imports."""

    async def export_thread(self, thread_id: str) -> AsyncIterator[str]:
        """The thread with its branches as JSON Lines, page by page; no connection is held between them.

        Of one branch alone, by its address. Raises `ThreadNotFound`. `import_thread` reads them.
        """
        export = Export(self.tenant, check_address("thread_id", thread_id))
        while True:
            page, export = await self.database.run_async(read_next_page, export=export)
            if not page:
                return
            for line in page:
                yield json.dumps(line, ensure_ascii=False)

    async def import_thread(
        self, lines: Iterable[str] | AsyncIterable[str], *, thread_id: str | None = None, user: str | None = None
    ) -> ImportOutcome:
        """Store a thread out of the lines of an export: with the same ids, seqs and times, or not at all.

        Under `thread_id`, if it is named. With `user`, as a file that this user made, and not the tenant: the thread is
        theirs, system texts are refused, and so are files that they did not upload. Files do not come along:
        `missing_blobs` names those that the file store does not have. A legal hold is never imported.

        Raises `InvalidInput` for a thread that is stored already, and for lines that are broken, with the number of
        the line and the field; `LimitReached` for more bytes of files than the tenant may have.
        """
        return await self._import(lines, thread_id=thread_id, user=user, file_bounds=FileBounds(self.settings))

    async def _import(
        self, lines: Iterable[str] | AsyncIterable[str], *, thread_id: str | None, **options: Any
    ) -> ImportOutcome:
        with TemporaryFile("w+", encoding="utf-8", newline="\n") as spool:
            await spool_lines(lines, spool)

            def store(connection: Connection) -> ImportOutcome:
                spool.seek(0)
                return importer.import_thread(connection, spool, tenant=self.tenant, thread_id=thread_id, **options)

            outcome = await self.database.run_async(store)
        if not outcome.blobs:
            return outcome
        files = await self._open_file_store()
        missing_blobs = [s for s in outcome.blobs if not await asyncio.to_thread(files.blobs.exists, self.tenant, s)]
        return replace(outcome, missing_blobs=tuple(missing_blobs))
