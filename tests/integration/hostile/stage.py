"""One database with a little in it, and all that public verbs work on: the same on each database."""

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, event, update

import producers
import producers.api
from conversation.attachment import Attachment
from conversation.message import Message
from conversation.thread import Thread
from store.blobs import MemoryBlobs, PresignedUpload
from store.blobs.protocol import check_address
from store.database.engine import Database
from store.file_store import FileStore
from store.settings import load
from store.tables import turns
from store.thread_store import ThreadStore

#: Statements that change nothing.
_READS = ("SELECT", "BEGIN", "PRAGMA", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "SET")


class _Blobs(MemoryBlobs):
    """Files in memory, whose uploads are promised and never come."""

    def upload_url(
        self, tenant: str, upload_id: str, *, sha256: str, size: int, media_type: str, expires: timedelta
    ) -> PresignedUpload:
        del size, media_type
        check_address(tenant, sha256)
        return PresignedUpload(f"https://files.example/{upload_id}", "PUT", {}, datetime.now(UTC) + expires)


class Stage:
    """A store, a producer and files over one database, and what they hold at the beginning."""

    def __init__(self, database_url: str, broker_url: str, *, use_functions: bool) -> None:
        keys = base64.urlsafe_b64encode(b"k" * 32).decode()
        urls = {"database_url": database_url, "broker_url": broker_url, "file_store_url": "memory:"}
        settings = load(**urls, webhook_encryption_keys=keys)
        self.settings, self.runner = settings, asyncio.Runner()
        self.blobs = _Blobs()
        self.files = FileStore(self.blobs, settings)
        self.store = ThreadStore(settings, file_store=self.files)
        self.store.database = Database(settings, use_functions=use_functions)
        self.producer = producers.Producer(settings)
        self.producer.connections.database = Database(settings, use_functions=use_functions)
        self.producer.__dict__["blobs"] = self.blobs
        #: Transactions that changed rows and were committed since it was last set to 0.
        self.committed_writes = 0
        #: Statements that were begun, and that have ended, well or not.
        self.begun_statements = self.ended_statements = 0

    def fill(self) -> None:
        """Store what the valid arguments of verbs name."""
        self.file = self.await_(self.files.save(b"a note", "note.txt"))
        self.say_hello(user="somebody")
        self.turn = producers.send_message("sent", "hello", allow_unknown_agent=True)
        self.async_turn = self.await_(producers.find_turn_async(self.turn.id))
        self.failed_turn = producers.send_message("failed", "hello", allow_unknown_agent=True)
        self.producer.database.run(self._fail, self.failed_turn.id)
        self.ended_turn = producers.send_message("ended", "hello", allow_unknown_agent=True)
        self.ended_async_turn = self.await_(producers.find_turn_async(self.ended_turn.id))
        self.producer.database.run(self._fail, self.ended_turn.id)
        self.webhook_id = producers.create_webhook("https://example.org/hooks", agents=["nobody"]).webhook.id
        self.schedule = producers.create_schedule("hello", cron="0 9 * * *", thread_id="s")
        mapping = {"thread_id": "s", "text": "x", "idempotency_key": "{/id}"}
        self.inbound_source = producers.create_inbound_source("shop", mapping).source
        self.lines = self.await_(_collect(self.store.export_thread("t")))
        for database in (self.store.database, self.producer.database):
            self._count_writes(database)

    def say_hello(self, *, user: str | None = None) -> None:
        """Have the thread `t` with a message, whatever became of it and whoever it was given to."""
        message = Message(role="user", content="hello", attachments=[Attachment(filename="a.txt", content=b"a note")])
        self.await_(self.store.append("t", message, user=user))

    def load(self) -> Thread:
        """A working copy of the thread `t`."""
        return self.await_(self.store.get_thread("t"))

    def await_(self, awaitable: Any) -> Any:
        """The value of a call, on the event loop of this stage where it asks for one."""
        if hasattr(awaitable, "__aiter__"):
            awaitable = _collect(awaitable)
        return self.runner.run(awaitable) if hasattr(awaitable, "__await__") else awaitable

    def close(self) -> None:
        """Close all connections."""
        self.runner.run(self.store.close())
        self.runner.run(self.producer.close_async())
        self.runner.close()

    def _fail(self, connection: Connection, turn_id: str) -> None:
        connection.execute(update(turns).where(turns.c.id == turn_id).values(state="failed", error_kind="deadline"))

    def _count_writes(self, database: Database) -> None:
        engines = [database.engine]
        if not database.is_sqlite:
            engines.append(self.runner.run(_async_engine(database)).sync_engine)
        for engine in engines:
            event.listen(engine, "before_cursor_execute", self._note_statement)
            event.listen(engine, "after_cursor_execute", self._note_end)
            event.listen(engine, "handle_error", self._note_end)
            event.listen(engine, "commit", self._note_commit)
            event.listen(engine, "begin", lambda connection: connection.info.pop("has_written", None))

    def _note_end(self, *_: object) -> None:
        self.ended_statements += 1

    def _note_statement(self, connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        self.begun_statements += 1
        if not statement.lstrip(" (").upper().startswith(_READS) or "threadmill." in statement:
            connection.info["has_written"] = True

    def _note_commit(self, connection: Connection) -> None:
        self.committed_writes += connection.info.pop("has_written", False)


async def _async_engine(database: Database) -> Any:
    return database.async_engine


async def _collect(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


@contextmanager
def open_stage(database_url: str, broker_url: str, *, use_functions: bool) -> Iterator[Stage]:
    """Open a stage whose producer is the one of the process meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        stage = Stage(database_url, broker_url, use_functions=use_functions)
        patch.setattr(producers.api, "_default", stage.producer)
        try:
            stage.fill()
            yield stage
        finally:
            stage.close()
