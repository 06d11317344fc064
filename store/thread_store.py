"""`ThreadStore`: conversations for library users, in memory, SQLite or PostgreSQL.

What stays true: every method is one transaction, and a working copy is brought up to date only after
its commit; a save appends and never removes what is stored.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from tempfile import TemporaryFile
from typing import Any, Self
from weakref import WeakValueDictionary

from sqlalchemy import Connection

from conversation.attachment import Attachment
from conversation.errors import InvalidInput, ThreadNotFound
from conversation.ids import new_id
from conversation.message import Message
from conversation.openai_format import from_openai
from conversation.thread import Thread
from conversation.validation import check_tenant_of_user
from store import migrations
from store.database.engine import Database
from store.erasure.thread_erasure import ThreadErasure
from store.file_store import FileStore
from store.files.blob_rows import lock_stored
from store.files.ingest import FileIngest
from store.retention import delete_thread
from store.retention.restore import ArchivedThread, list_archived_threads, load_stored_parts, read_parts
from store.settings import Settings, load
from store.summaries.thread_summaries import ThreadSummaries
from store.threads import forks, importer, listing, repository
from store.threads.export import Export, read_next_page
from store.threads.export_format import spool_lines
from store.threads.importer import ImportOutcome
from store.threads.listing import Order, Stats, ThreadFilter, ThreadPage
from store.threads.search import Hit, search_messages

IN_MEMORY = "sqlite://"
DEFAULT_TENANT = "default"

#: The stores of this process that are open, by identity.
_open_stores: "WeakValueDictionary[str, ThreadStore]" = WeakValueDictionary()


@dataclass(frozen=True, slots=True)
class ImportedMessages:
    """Messages that came from elsewhere."""

    #: The messages that were added, as a working copy.
    thread: Thread
    #: The changes that made the history well-formed; a sentence each.
    changes: tuple[str, ...]


class ThreadStore(ThreadSummaries, ThreadErasure):
    """A store of threads, for library users."""

    def __init__(
        self, settings: Settings, *, tenant: str = "default", file_store: FileStore | None = None
    ) -> None:
        self.settings = settings
        self.database = Database(settings)
        self.tenant = check_tenant_of_user(tenant)
        #: Where attachments of saved messages go; an agent that has one brings its own.
        self.file_store = file_store
        #: Names the database, for a thread to know where it is stored.
        self.identity = new_id() if self.is_in_memory else str(self.database.url)
        _open_stores[self.identity] = self

    @classmethod
    async def create(
        cls,
        database_url: str | None = None,
        *,
        tenant: str = "default",
        file_store: FileStore | None = None,
        settings: Settings | None = None,
    ) -> Self:
        """Open a store: `postgresql://…`, `sqlite:///file.db`; without a URL, the environment's.

        Where the environment names none, threads live in memory until the store is closed. SQLite
        databases are made and migrated here; PostgreSQL's are left to `threadmill init`. Raises
        `DatabaseUnavailable`, and `OperatorError` for a schema of another release.
        """
        if settings is None:
            is_url_set = any(f"{prefix}_DATABASE_URL" in os.environ for prefix in ("THREADMILL", "NARRATOR"))
            url = database_url or (None if is_url_set else IN_MEMORY)
            settings = load(**({} if url is None else {"database_url": url}))
        store = cls(settings, tenant=tenant, file_store=file_store)
        try:
            await store.database.run_async(_migrate if store.database.is_sqlite else migrations.check)
        except BaseException:
            await store.close()
            raise
        return store

    @classmethod
    def of(cls, thread: Thread) -> "ThreadStore | None":
        """The store that a working copy came from, if it is still open."""
        return _open_stores.get(thread.store_identity) if thread.store_identity is not None else None

    @property
    def is_in_memory(self) -> bool:
        """Whether the threads are in memory, and gone with this object."""
        return self.database.is_in_memory

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; what was in memory is gone."""
        # First of all, so that no caller begins on it any more.
        if _open_stores.get(self.identity) is self:
            del _open_stores[self.identity]
        await self.database.close_async()

    async def save_thread(self, thread: Thread, *, check_title: bool = False) -> Thread:
        """Append the thread's new messages, and write its title, metadata and context.

        Metadata is merged by key. Raises `TitleConflict` only if `check_title` asks for it.
        """
        await self.save_threads([thread], check_title=check_title)
        return thread

    async def save_threads(self, batch: Sequence[Thread], *, check_title: bool = False) -> None:
        """Save several threads in one transaction: all of them, or none."""
        for thread in batch:
            self.adopt(thread)
            await self.store_attachments(thread)
        # One order for all callers, so that two batches cannot wait for each other.
        ordered_threads = sorted(batch, key=lambda thread: (thread.tenant, thread.id))
        outcomes = await self.database.run_async(
            lambda connection: [
                repository.save(connection, thread, new=thread.new_messages, check_title=check_title)
                for thread in ordered_threads
            ]
        )
        for thread, outcome in zip(ordered_threads, outcomes, strict=True):
            repository.apply(thread, outcome)

    def adopt(self, thread: Thread) -> None:
        """Make a working copy this store's own: what another store holds of it is new here.

        Raises `InvalidInput` for a thread of another tenant.
        """
        if thread.store_identity is None and thread.tenant == DEFAULT_TENANT:
            thread.tenant = self.tenant
        if thread.tenant != self.tenant:
            raise InvalidInput(
                "tenant", f"is {thread.tenant!r} in a store for {self.tenant!r}", "open a store for it"
            )
        if thread.store_identity != self.identity:
            thread.loaded = None
            if thread.has_messages:
                thread.messages = [m if m.seq is None else replace(m, seq=None) for m in thread.messages]
        thread.store_identity = self.identity

    async def _open_file_store(self) -> FileStore:
        if self.file_store is None:
            self.file_store = await FileStore.create(settings=self.settings)
        return self.file_store

    def _set_home(self, thread: Thread) -> Thread:
        thread.store_identity = self.identity
        return thread

    async def append(self, thread_id: str, *messages: Message) -> Thread:
        """Append messages to a thread without loading it; makes the thread if it is not there."""
        thread = Thread(thread_id, tenant=self.tenant)
        thread.messages = list(messages)
        return await self.save_thread(thread)

    async def get_thread(self, thread_id: str, *, last: int | None = None) -> Thread:
        """A working copy with all its messages, or the `last` ones. Raises `ThreadNotFound`."""
        load = partial(repository.load, tenant=self.tenant, thread_id=thread_id, last=last)
        return self._set_home(await self.database.run_async(load))

    async def get_or_create_thread(self, thread_id: str, **options: Any) -> Thread:
        """The stored thread, or a new one that is stored now: of two callers at once, one makes it."""
        try:
            return await self.get_thread(thread_id)
        except ThreadNotFound:
            thread = Thread(thread_id, tenant=self.tenant, **options)
        await self.store_attachments(thread)
        return self._set_home(await self.database.run_async(repository.get_or_create, thread=thread))

    async def list_threads(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        order: Order = "created",
        **filters: Any,
    ) -> ThreadPage:
        """Threads without their messages, newest first; see `ThreadFilter` for the filters.

        Without `limit` all of them; with it a page, whose `next_cursor` leads on.
        """
        thread_filter = ThreadFilter(**{"tenant": self.tenant} | filters)
        page = await self.database.run_async(
            listing.list_threads, filters=thread_filter, limit=limit, cursor=cursor, order=order
        )
        for thread in page:
            self._set_home(thread)
        return page

    async def find_threads(self, metadata: Mapping[str, Any] | None = None, **filters: Any) -> ThreadPage:
        """All threads whose metadata has these values, without their messages."""
        return await self.list_threads(metadata=metadata, **filters)

    async def search_messages(self, query: str, *, limit: int = 20) -> list[Hit]:
        """Messages with these words, best first, with the passage highlighted."""
        return await self.database.run_async(search_messages, query=query, tenant=self.tenant, limit=limit)

    async def fork(
        self, thread_id: str, *, at: int | None = None, new_thread_id: str | None = None
    ) -> Thread:
        """A new thread with the history up to `at`; its messages keep their ids, blobs are shared."""
        fork = partial(
            forks.fork,
            tenant=self.tenant,
            thread_id=thread_id,
            new_id=new_thread_id or new_id(),
            at=at,
        )
        return self._set_home(await self.database.run_async(fork))

    async def export_thread(self, thread_id: str) -> AsyncIterator[str]:
        """The thread as JSON Lines, page by page; no connection is held between them.

        Raises `ThreadNotFound`. `import_thread` reads them.
        """
        export = Export(self.tenant, thread_id)
        while True:
            page, export = await self.database.run_async(read_next_page, export=export)
            if not page:
                return
            for line in page:
                yield json.dumps(line, ensure_ascii=False)

    async def import_thread(
        self, lines: Iterable[str] | AsyncIterable[str], *, thread_id: str | None = None
    ) -> ImportOutcome:
        """Store a thread out of the lines of an export: with the same ids, seqs and times, or not at all.

        Under `thread_id`, if it is named. Files do not come along: `missing_blobs` names those that
        the file store does not have. Raises `InvalidInput` for a thread that is stored already, and
        for lines that are broken, with the number of the line and the field.
        """
        with TemporaryFile("w+", encoding="utf-8", newline="\n") as spool:
            await spool_lines(lines, spool)

            def store(connection: Connection) -> ImportOutcome:
                spool.seek(0)
                return importer.import_thread(connection, spool, tenant=self.tenant, thread_id=thread_id)

            outcome = await self.database.run_async(store)
        if not outcome.blobs:
            return outcome
        files = await self._open_file_store()
        missing_blobs = [
            s for s in outcome.blobs if not await asyncio.to_thread(files.blobs.exists, self.tenant, s)
        ]
        return replace(outcome, missing_blobs=tuple(missing_blobs))

    async def list_archives(self, thread_id: str) -> list[ArchivedThread]:
        """List the archives of threads of this id, the oldest thread first: an id may be used again."""
        return await self.database.run_async(list_archived_threads, tenant=self.tenant, thread_id=thread_id)

    async def restore_archive(
        self, thread_id: str, *, as_id: str | None = None, nth: int | None = None
    ) -> ImportOutcome:
        """Read a thread back that retention archived, with its ids, seqs and times; under `as_id`, if named.

        Of several that had this id, the youngest, or the `nth` of `list_archives`. Raises
        `ThreadNotFound` where no archive is, and as `import_thread` does.
        """
        files = (await self._open_file_store()).blobs
        parts = await self.database.run_async(
            load_stored_parts, tenant=self.tenant, thread_id=thread_id, nth=nth
        )
        return await self.import_thread(read_parts(files, parts), thread_id=as_id)

    async def import_messages(
        self, thread_id: str, messages: Iterable[Mapping[str, Any]]
    ) -> ImportedMessages:
        """Append messages as chat-completions requests have them; makes the thread if it is not there.

        A history that is not well-formed is repaired, as `changes` tells. Raises `InvalidInput` with the
        field that cannot be read: then nothing is stored.
        """
        conversion = from_openai(messages)
        thread = await self.append(thread_id, *conversion.messages)
        return ImportedMessages(thread, conversion.changes)

    async def delete_thread(self, thread_id: str) -> bool:
        """Delete a thread and all that belongs to it; False if there was none.

        What retention archived of it stays, and can be restored: `erase` deletes that, too. Raises
        `ThreadUnderLegalHold`.
        """
        return await self.database.run_async(
            delete_thread.delete_thread,
            user_key=self.settings.user_metadata_key,
            tenant=self.tenant,
            thread_id=thread_id,
        )

    async def count(self, **filters: Any) -> int:
        """Count the threads that a listing with these filters would show."""
        thread_filter = ThreadFilter(**{"tenant": self.tenant} | filters)
        return await self.database.run_async(listing.count, filters=thread_filter)

    async def stats(self) -> Stats:
        """Count everything that is stored."""
        return await self.database.run_async(listing.stats, tenant=self.tenant)

    async def store_attachments(self, thread: Thread, file_store: FileStore | None = None) -> None:
        """Store the bytes of new attachments, so that rows may point to them."""
        new_messages = [message for message in thread.new_messages if message.attachments]
        if not new_messages:
            return
        files = file_store or await self._open_file_store()
        for message in new_messages:
            message.attachments[:] = [
                await self._examine(files, thread.tenant, f) for f in message.attachments
            ]
        ingest = FileIngest(self.database, files.blobs)
        await ingest.store_async(
            thread.tenant, [file for message in new_messages for file in message.attachments]
        )

    async def _examine(self, files: FileStore, tenant: str, file: Attachment) -> Attachment:
        """Examine a file; where only the file store has it, its bytes are read for the row to describe."""
        if file.content is None:
            stored_rows = await self.database.run_async(lock_stored, tenant=tenant, files=[file])
            if stored_rows or not await asyncio.to_thread(files.blobs.exists, tenant, str(file.sha256)):
                return file
            content = await asyncio.to_thread(files.blobs.get, tenant, str(file.sha256))
            file = Attachment(filename=file.filename, content=content)
        return files.examine_file(file)


def _migrate(connection: Connection) -> None:
    migrations.upgrade_connection(connection)
