"""`ThreadStore`: conversations for library users, in memory, SQLite or PostgreSQL.

What stays true: every method is one transaction, and a working copy is brought up to date only after
its commit; a save appends and never removes what is stored.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self
from weakref import WeakValueDictionary

from sqlalchemy import Connection

from conversation.arguments import check_flag, check_instance, check_items
from conversation.errors import ThreadNotFound
from conversation.ids import new_id
from conversation.message import Message
from conversation.openai_format import from_openai
from conversation.thread import Thread
from conversation.validation import check_text
from store import migrations
from store.branches.thread_branches import ThreadBranches
from store.database.engine import Database
from store.database.sqlite import lift_statement_limit
from store.erasure.thread_erasure import ThreadErasure
from store.file_store import FileStore
from store.files.message_files import store_files_of
from store.retention import delete_thread
from store.retention.thread_archives import ThreadArchives
from store.settings import Settings, load
from store.summaries.thread_summaries import ThreadSummaries
from store.threads import forks, repository
from store.threads.thread_queries import ThreadQueries

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


class ThreadStore(ThreadQueries, ThreadBranches, ThreadSummaries, ThreadArchives, ThreadErasure):
    """A store of threads, for library users."""

    def __init__(self, settings: Settings, *, tenant: str = "default", file_store: FileStore | None = None) -> None:
        super().__init__(settings, tenant=tenant, file_store=file_store)
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
        databases are made and migrated here; PostgreSQL's are left to `threadmill migrate`. Raises
        `DatabaseUnavailable`, and `OperatorError` for a schema of another release.
        """
        if settings is None:
            is_url_set = any(f"{prefix}_DATABASE_URL" in os.environ for prefix in ("THREADMILL", "NARRATOR"))
            if isinstance(database_url, str) and type(database_url) is not str:
                check_text("database_url", database_url)
            is_empty = database_url is None or (type(database_url) is str and not database_url)
            url = database_url if not is_empty else None if is_url_set else IN_MEMORY
            settings = load(**({} if url is None else {"database_url": url}))
        store = cls(settings, tenant=tenant, file_store=file_store)
        try:
            await store.database.run_async(_prepare_schema, database=store.database)
        except BaseException:
            await store.close()
            raise
        return store

    @classmethod
    def open_in_memory(cls) -> Self:
        """Open a store in memory, which lives until it is closed."""
        store = cls(load(database_url=IN_MEMORY))
        store.database.run(_prepare_schema, database=store.database)
        return store

    @classmethod
    def of(cls, thread: Thread) -> "ThreadStore | None":
        """The store that a working copy came from, if it is still open."""
        identity = check_instance("thread", thread, Thread).store_identity
        return _open_stores.get(identity) if identity is not None else None

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
        self.database.close()

    async def save_thread(self, thread: Thread, *, check_title: bool = False) -> Thread:
        """Append the thread's new messages, and write its title, metadata and context.

        Metadata is merged by key. Raises `TitleConflict` only if `check_title` asks for it, and `InvalidInput` for
        a copy that was not loaded and names another user than whose thread it is.
        """
        await self.save_threads([thread], check_title=check_title)
        return thread

    async def save_threads(self, batch: Sequence[Thread], *, check_title: bool = False) -> None:
        """Save several threads in one transaction: all of them, or none."""
        check_flag("check_title", check_title)
        for thread in check_items("batch", batch, Thread):
            # First of all: the comparison with what is stored trusts the fields of messages.
            for message in thread.messages if thread.has_messages else ():
                if message.seq is None:
                    message.check()
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
        check_instance("thread", thread, Thread)
        if thread.store_identity is None and thread.tenant == DEFAULT_TENANT:
            thread.tenant = self.tenant
        self._own({"tenant": thread.tenant})
        if not (isinstance(thread.store_identity, str) and str.__eq__(thread.store_identity, self.identity)):
            thread.loaded = None
            if thread.has_messages:
                thread.messages = [m if m.seq is None else replace(m, seq=None) for m in thread.messages]
        thread.store_identity = self.identity

    async def append(self, thread_id: str, *messages: Message, user: str | None = None) -> Thread:
        """Append messages to a thread without loading it; makes the thread, `user`'s, if it is not there."""
        thread = Thread(thread_id, tenant=self.tenant, user=user)
        thread.messages = list(messages)
        return await self.save_thread(thread)

    async def get_thread(self, thread_id: str, *, last: int | None = None) -> Thread:
        """A working copy with all its messages, or the `last` ones, and those that are `pending`.

        Raises `ThreadNotFound`.
        """
        return self._set_home(await self._run_on_thread(repository.load, thread_id, last=last))

    async def get_or_create_thread(self, thread_id: str, **options: Any) -> Thread:
        """The stored thread, or a new one that is stored now: of two callers at once, one makes it."""
        try:
            return await self.get_thread(thread_id)
        except ThreadNotFound:
            thread = Thread(thread_id, **self._own(options))
        await self.store_attachments(thread)
        return self._set_home(await self.database.run_async(repository.get_or_create, thread=thread))

    async def fork(
        self, thread_id: str, *, at: int | None = None, new_thread_id: str | None = None, last: int | None = None
    ) -> Thread:
        """A new thread with the history up to `at`, which is shared: messages and blobs are copied nowhere.

        With `last`, the working copy holds its newest messages alone, as that of `get_thread`.
        """
        made_id = new_id() if new_thread_id is None else new_thread_id
        return self._set_home(await self._run_on_thread(forks.fork, thread_id, new_id=made_id, at=at, last=last))

    async def import_messages(
        self, thread_id: str, messages: Iterable[Mapping[str, Any]], *, user: str | None = None
    ) -> ImportedMessages:
        """Append messages as chat-completions requests have them; makes the thread, `user`'s, if it is not there.

        A history that is not well-formed is repaired, as `changes` tells. Raises `InvalidInput` with the
        field that cannot be read: then nothing is stored.
        """
        conversion = from_openai(messages)
        thread = await self.append(thread_id, *conversion.messages, user=user)
        return ImportedMessages(thread, conversion.changes)

    async def delete_thread(self, thread_id: str) -> bool:
        """Delete a thread and all that belongs to it; False if there was none.

        What retention archived of it stays, and can be restored: `erase` deletes that, too. Raises
        `ThreadUnderLegalHold`.
        """
        return await self._run_on_thread(delete_thread.delete_thread, thread_id)

    async def store_attachments(self, thread: Thread, file_store: FileStore | None = None) -> None:
        """Store the bytes of new attachments, so that rows may point to them."""
        check_instance("thread", thread, Thread)
        # What is no list is refused by the check.
        new_messages = [each for each in thread.new_messages if type(each.attachments) is not list or each.attachments]
        if not new_messages:
            return
        for message in new_messages:
            message.check()
        files = file_store or await self._open_file_store()
        await store_files_of(self.database, files, thread.tenant, new_messages)


def _prepare_schema(connection: Connection, database: Database) -> None:
    if database.is_in_memory:
        migrations.create_newest(connection)
    elif database.is_sqlite:
        with lift_statement_limit(connection):
            migrations.upgrade_connection(connection)
    else:
        migrations.check(connection)
