"""`ThreadStore`: conversations for library users, in memory, SQLite or PostgreSQL.

What stays true: every verb is one transaction, and a working copy is brought up to date only after
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
from store.files.ingest import Keeper
from store.retention import delete_thread
from store.retention.restore import Archived, archived_threads, read_parts, stored_parts
from store.settings import Settings, load
from store.summaries.thread_summaries import ThreadSummaries
from store.threads import forks, importer, listing, repository
from store.threads.export import Export, next_page
from store.threads.export_format import keep_lines
from store.threads.importer import Imported
from store.threads.listing import Order, Stats, ThreadFilter, ThreadPage
from store.threads.search import Hit, search_messages

IN_MEMORY = "sqlite://"
DEFAULT_TENANT = "default"

#: The stores of this process that are open, by identity.
_open: "WeakValueDictionary[str, ThreadStore]" = WeakValueDictionary()


@dataclass(frozen=True, slots=True)
class ImportedMessages:
    """Messages that came from elsewhere."""

    #: The messages that were added, as a working copy.
    thread: Thread
    #: What was changed so that the history is well-formed; a sentence each.
    changes: tuple[str, ...]


class ThreadStore(ThreadSummaries, ThreadErasure):
    """Where threads are kept."""

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
        _open[self.identity] = self

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
            named = any(f"{prefix}_DATABASE_URL" in os.environ for prefix in ("THREADMILL", "NARRATOR"))
            url = database_url or (None if named else IN_MEMORY)
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
        return _open.get(thread.home) if thread.home is not None else None

    @property
    def is_in_memory(self) -> bool:
        """Whether everything here is gone with this object."""
        return self.database.is_in_memory

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; what was in memory is gone."""
        # First of all: nobody shall begin on it any more.
        if _open.get(self.identity) is self:
            del _open[self.identity]
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
        # One order for everybody, so that two batches cannot wait for each other.
        ordered = sorted(batch, key=lambda thread: (thread.tenant, thread.id))
        saved = await self.database.run_async(
            lambda connection: [
                repository.save(connection, thread, new=thread.new_messages, check_title=check_title)
                for thread in ordered
            ]
        )
        for thread, done in zip(ordered, saved, strict=True):
            repository.apply(thread, done)

    def adopt(self, thread: Thread) -> None:
        """Make a working copy this store's own: what another store holds of it is new here.

        Raises `InvalidInput` for a thread of another tenant.
        """
        if thread.home is None and thread.tenant == DEFAULT_TENANT:
            thread.tenant = self.tenant
        if thread.tenant != self.tenant:
            raise InvalidInput(
                "tenant", f"is {thread.tenant!r} in a store for {self.tenant!r}", "open a store for it"
            )
        if thread.home != self.identity:
            thread.loaded = None
            if thread.has_messages:
                thread.messages = [m if m.seq is None else replace(m, seq=None) for m in thread.messages]
        thread.home = self.identity

    async def _files(self) -> FileStore:
        if self.file_store is None:
            self.file_store = await FileStore.create(settings=self.settings)
        return self.file_store

    def _own(self, thread: Thread) -> Thread:
        thread.home = self.identity
        return thread

    async def append(self, thread_id: str, *messages: Message) -> Thread:
        """Append messages to a thread without loading it; makes the thread if it is not there."""
        thread = Thread(thread_id, tenant=self.tenant)
        thread.messages = list(messages)
        return await self.save_thread(thread)

    async def get_thread(self, thread_id: str, *, last: int | None = None) -> Thread:
        """A working copy with all its messages, or the `last` ones. Raises `ThreadNotFound`."""
        load = partial(repository.load, tenant=self.tenant, thread_id=thread_id, last=last)
        return self._own(await self.database.run_async(load))

    async def get_or_create_thread(self, thread_id: str, **options: Any) -> Thread:
        """The stored thread, or a new one that is stored now: of two callers at once, one makes it."""
        try:
            return await self.get_thread(thread_id)
        except ThreadNotFound:
            thread = Thread(thread_id, tenant=self.tenant, **options)
        await self.store_attachments(thread)
        return self._own(await self.database.run_async(partial(repository.get_or_create, thread=thread)))

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
        wanted = ThreadFilter(**{"tenant": self.tenant} | filters)
        page = await self.database.run_async(
            partial(listing.list_threads, filters=wanted, limit=limit, cursor=cursor, order=order)
        )
        for thread in page:
            self._own(thread)
        return page

    async def find_threads(self, metadata: Mapping[str, Any] | None = None, **filters: Any) -> ThreadPage:
        """All threads whose metadata has these values, without their messages."""
        return await self.list_threads(metadata=metadata, **filters)

    async def search_messages(self, query: str, *, limit: int = 20) -> list[Hit]:
        """Messages with these words, best first, with the passage highlighted."""
        return await self.database.run_async(
            partial(search_messages, query=query, tenant=self.tenant, limit=limit)
        )

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
        return self._own(await self.database.run_async(fork))

    async def export_thread(self, thread_id: str) -> AsyncIterator[str]:
        """The thread as JSON Lines, page by page; no connection is held between them.

        Raises `ThreadNotFound`. `import_thread` reads them.
        """
        export = Export(self.tenant, thread_id)
        while True:
            page, export = await self.database.run_async(partial(next_page, export=export))
            if not page:
                return
            for line in page:
                yield json.dumps(line, ensure_ascii=False)

    async def import_thread(
        self, lines: Iterable[str] | AsyncIterable[str], *, thread_id: str | None = None
    ) -> Imported:
        """Store a thread out of the lines of an export: with the same ids, seqs and times, or not at all.

        Under `thread_id`, if it is named. Files do not come along: `missing_blobs` names those that
        the file store does not have. Raises `InvalidInput` for a thread that is stored already, and
        for lines that are broken, with the number of the line and the field.
        """
        with TemporaryFile("w+", encoding="utf-8", newline="\n") as spool:
            await keep_lines(lines, spool)

            def store(connection: Connection) -> Imported:
                spool.seek(0)
                return importer.import_thread(connection, spool, tenant=self.tenant, thread_id=thread_id)

            done = await self.database.run_async(store)
        if not done.blobs:
            return done
        files = await self._files()
        missing = [s for s in done.blobs if not await asyncio.to_thread(files.blobs.exists, self.tenant, s)]
        return replace(done, missing_blobs=tuple(missing))

    async def list_archives(self, thread_id: str) -> list[Archived]:
        """What retention archived under this id, the oldest thread first: an id may be used again."""
        listed = partial(archived_threads, tenant=self.tenant, thread_id=thread_id)
        return await self.database.run_async(listed)

    async def restore_archive(
        self, thread_id: str, *, as_id: str | None = None, nth: int | None = None
    ) -> Imported:
        """Read a thread back that retention archived, with its ids, seqs and times; under `as_id`, if named.

        Of several that had this id, the youngest, or the `nth` of `list_archives`. Raises
        `ThreadNotFound` where no archive is, and as `import_thread` does.
        """
        files = (await self._files()).blobs
        named = partial(stored_parts, tenant=self.tenant, thread_id=thread_id, nth=nth)
        parts = await self.database.run_async(named)
        return await self.import_thread(read_parts(files, parts), thread_id=as_id)

    async def import_messages(
        self, thread_id: str, messages: Iterable[Mapping[str, Any]]
    ) -> ImportedMessages:
        """Append messages as chat-completions requests have them; makes the thread if it is not there.

        What cannot stand as it is is repaired, and said in `changes`. Raises `InvalidInput` with the
        place of what cannot be read: then nothing is stored.
        """
        read = from_openai(messages)
        thread = await self.append(thread_id, *read.messages)
        return ImportedMessages(thread, read.changes)

    async def delete_thread(self, thread_id: str) -> bool:
        """Delete a thread and all that belongs to it; False if there was none.

        What retention archived of it stays, and can be restored: `erase` deletes that, too. Raises
        `InvalidInput` for a thread under legal hold.
        """
        deletion = partial(delete_thread.delete_thread, user_key=self.settings.user_metadata_key)
        return await self.database.run_async(partial(deletion, tenant=self.tenant, thread_id=thread_id))

    async def count(self, **filters: Any) -> int:
        """How many threads a listing with these filters would show."""
        wanted = ThreadFilter(**{"tenant": self.tenant} | filters)
        return await self.database.run_async(partial(listing.count, filters=wanted))

    async def stats(self) -> Stats:
        """Counts of everything that is stored."""
        return await self.database.run_async(partial(listing.stats, tenant=self.tenant))

    async def store_attachments(self, thread: Thread, file_store: FileStore | None = None) -> None:
        """Store the bytes of new attachments, so that rows may point to them."""
        new = [message for message in thread.new_messages if message.attachments]
        if not new:
            return
        files = file_store or await self._files()
        for message in new:
            message.attachments[:] = [
                await self._examined(files, thread.tenant, f) for f in message.attachments
            ]
        keeper = Keeper(self.database, files.blobs)
        await keeper.keep_async(thread.tenant, [file for message in new for file in message.attachments])

    async def _examined(self, files: FileStore, tenant: str, file: Attachment) -> Attachment:
        """With its bytes where no row knows them, though the file store does: a row says what they are."""
        if file.content is None:
            known = await self.database.run_async(partial(lock_stored, tenant=tenant, files=[file]))
            if known or not await asyncio.to_thread(files.blobs.exists, tenant, str(file.sha256)):
                return file
            content = await asyncio.to_thread(files.blobs.get, tenant, str(file.sha256))
            file = Attachment(filename=file.filename, content=content)
        return files.examined(file)


def _migrate(connection: Connection) -> None:
    migrations.upgrade_connection(connection)
