"""The methods of `ThreadStore` that erase and export the data of a user, a thread or a tenant."""

import asyncio
from typing import IO

from conversation.errors import InvalidInput
from conversation.quotation import quote
from store.erasure.certificate import Certificate
from store.erasure.export import ExportOutcome, UserExport
from store.erasure.subject import Subject
from store.erasure.workflow import run_erasure
from store.open_store import OpenStore


class ThreadErasure(OpenStore):
    """Erasure and export, for a store with these settings, database and tenant."""

    async def erase(
        self, *, user: str | None = None, thread_id: str | None = None, whole_tenant: bool = False
    ) -> Certificate:
        """Delete all that is stored of a user, of one thread, or of the tenant; the certificate says what.

        `whole_tenant` takes uploads, policies, and every version of every object in the file store, too:
        stop all senders of the tenant first. Archives go as well, which `delete_thread` leaves.
        Raises `InvalidInput`, `ThreadUnderLegalHold`, and `FileStoreUnavailable`. An erasure that broke off
        goes on when it is called again, and by itself with retention's run; a new hold stops it.
        """
        subject = self._subject(user, thread_id, whole_tenant=whole_tenant)
        blobs = (await self._open_file_store()).blobs
        return await asyncio.to_thread(run_erasure, self.database, blobs, subject)

    async def export_user(
        self, target: IO[bytes], *, user: str | None = None, thread_id: str | None = None
    ) -> ExportOutcome:
        """Write all that is stored of a user, or of one thread, as a ZIP file; says what is in it.

        Bytes that the file store has lost are named there, and in the manifest. Raises `ThreadNotFound`
        where nothing is stored, and `FileStoreUnavailable`.
        """
        subject = self._subject(user, thread_id)
        if not callable(getattr(target, "write", None)):
            raise InvalidInput("target", f"is {quote(target)}", "pass a file that is open for writing bytes")
        export = UserExport(self.database, (await self._open_file_store()).blobs, subject)
        return await asyncio.to_thread(export.write, target)

    def _subject(self, user: str | None, thread_id: str | None, *, whole_tenant: bool = False) -> Subject:
        return Subject(tenant=self.tenant, user=user, thread_id=thread_id, whole_tenant=whole_tenant)
