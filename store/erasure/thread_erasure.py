"""The verbs of `ThreadStore` that a person, or a tenant that leaves, may ask for."""

import asyncio
from typing import IO

from store.database.engine import Database, FromThread
from store.erasure.certificate import Certificate
from store.erasure.export import Exported, PersonExport
from store.erasure.subject import Subject
from store.erasure.workflow import run_erasure
from store.file_store import FileStore
from store.settings import Settings


class ThreadErasure:
    """Erasure and export, for a store that has these."""

    settings: Settings
    database: Database
    tenant: str

    async def _files(self) -> FileStore:
        raise NotImplementedError

    async def erase(
        self, *, user: str | None = None, thread_id: str | None = None, everything: bool = False
    ) -> Certificate:
        """Delete all that is stored of a user, of one thread, or of the tenant; the certificate says what.

        `everything` takes uploads, policies, and every version of every object in the file store, too:
        see that nobody sends for the tenant any more. Archives go as well, which `delete_thread` leaves.
        Raises `InvalidInput`, `ThreadHeld`, and `FileStoreUnavailable`. What broke off goes on when it
        is called again, and by itself with retention's run; a hold that came meanwhile stops it.
        """
        subject = self._subject(user, thread_id, everything=everything)
        blobs = (await self._files()).blobs
        return await asyncio.to_thread(run_erasure, self._from_a_thread(), blobs, subject)

    async def export_person(
        self, target: IO[bytes], *, user: str | None = None, thread_id: str | None = None
    ) -> Exported:
        """Write all that is stored of a user, or of one thread, as a ZIP file; says what is in it.

        Bytes that the file store has lost are named there, and in the manifest. Raises `ThreadNotFound`
        where nothing is stored, and `FileStoreUnavailable`.
        """
        subject = self._subject(user, thread_id)
        export = PersonExport(self._from_a_thread(), (await self._files()).blobs, subject)
        return await asyncio.to_thread(export.write, target)

    def _subject(self, user: str | None, thread_id: str | None, *, everything: bool = False) -> Subject:
        return Subject(
            tenant=self.tenant,
            user=user,
            thread_id=thread_id,
            everything=everything,
            user_key=self.settings.user_metadata_key,
        )

    def _from_a_thread(self) -> FromThread:
        return FromThread(self.database, asyncio.get_running_loop())
