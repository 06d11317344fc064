"""A store with conversations in it, on each database, that tests break and the doctor looks at."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Update, select, text, update

from conversation.attachment import Attachment
from conversation.ids import new_id
from conversation.message import Message
from conversation.thread import Thread
from conversation.turn import ClaimedTurn, Completed, Ending, Lease
from store import tables
from store.blobs import BlobStore, LocalBlobs
from store.database.engine import Database
from store.doctor import Examination, Note, Outcome, Result, Scope
from store.files import garbage_collection
from store.files.ingest import FileIngest
from store.settings import load
from store.threads import repository
from store.turns import claims, inbox, workers
from store.turns import settle as turns
from store.turns.claims import ClaimRequest
from store.turns.send_request import SendRequest

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
#: What happens in a test counts as new, however slow the machine is.
PATIENT = {"older_than_seconds": 600, "unclaimed_seconds": 3600, "upload_seconds": 0}


class Site:
    """An installation: the store's verbs, each in a transaction of its own, and the doctor."""

    def __init__(self, database: Database, files: BlobStore) -> None:
        self.database = database
        self.files = files

    # What happens there

    def worker(self, *agents: str) -> ClaimRequest:
        worker, serves = new_id(), dict.fromkeys(agents or ("assistant",), "1")
        register = partial(
            workers.register, worker=worker, host="here", pid=1, serves=serves, lease_duration_seconds=3600
        )
        self.database.run(register)
        return ClaimRequest(worker=worker, agents=serves)

    def kill(self, claimant: ClaimRequest) -> None:
        """It died twenty minutes ago: longer ago than a lease, not so long that its row is forgotten."""
        self.database.run(workers.beat, worker=claimant.worker, lease_duration_seconds=-1200)

    def forget(self, claimant: ClaimRequest) -> None:
        """It died so long ago that its row was cleared away."""
        gone = tables.workers.delete().where(tables.workers.c.id == claimant.worker)
        self.database.run(lambda c: c.execute(gone))

    def send(self, content: str | None = "hello", thread: str = "t", **options: Any) -> str:
        request = SendRequest(
            turn_id=new_id(),
            tenant=options.pop("tenant", "default"),
            thread_id=thread,
            message=None if content is None else Message(role="user", content=content),
            agent=options.pop("agent", "assistant"),
            allow_unknown_agent=True,
            **options,
        )
        return self.database.run(inbox.accept, request=request).turn_id

    def claim(self, claimant: ClaimRequest, thread: str = "t", held: Lease | None = None) -> ClaimedTurn:
        claim = partial(claims.claim, tenant="default", thread_id=thread, claimant=claimant, held=held)
        claimed = self.database.run(claim)
        assert isinstance(claimed, ClaimedTurn)
        return claimed

    def settle(self, claimed: ClaimedTurn, ending: Ending | None = None, *, release: bool = False) -> None:
        ending = ending or Completed(messages=(Message(role="assistant", content="an answer"),))
        self.database.run(turns.settle, lease=claimed.lease, turn_id=claimed.id, ending=ending, release=release)

    def answered(self, thread: str = "t", *replies: Message) -> ClaimedTurn:
        """A whole turn: asked, claimed, answered, with a worker that left in good order."""
        claimant = self.worker()
        self.send(thread=thread)
        claimed = self.claim(claimant, thread)
        self.settle(claimed, Completed(messages=replies) if replies else None, release=True)
        self.database.run(workers.unregister, worker=claimant.worker)
        return claimed

    def save(self, thread: Thread) -> None:
        files = [file for message in thread.new_messages for file in message.attachments]
        FileIngest(self.database, self.files).store(thread.tenant, files)
        saved = self.database.run(repository.save, thread=thread, new=thread.new_messages)
        repository.apply(thread, saved)

    def save_file(self, content: bytes = b"the bytes", thread: str = "t") -> str:
        """A thread whose message has a file; gives the file's hash."""
        file = Attachment(filename="a.txt", content=content, media_type="text/plain")
        holder = Thread(thread)
        holder.add_message(Message(role="user", content="see", attachments=[file]))
        self.save(holder)
        assert file.sha256 is not None
        return file.sha256

    def collect(self) -> None:
        """Garbage collection of files, without any grace."""
        self.database.run(garbage_collection.note_unused)
        for address in self.database.run(garbage_collection.mark_due, grace_days=0).addresses:
            delete_object = self.files.delete
            delete = partial(garbage_collection.delete_marked, address=address, delete_object=delete_object)
            assert self.database.run(delete)

    # What a test breaks and sees

    def write(self, *statements: Any) -> None:
        with self.database.engine.begin() as connection:
            for statement in statements:
                connection.execute(statement)

    def lose_blob_row(self, sha256: str) -> None:
        self.write_unchecked(f"DELETE FROM blobs WHERE sha256 = '{sha256}'")

    def write_unchecked(self, words: str) -> None:
        """As a restore of half a backup would: no foreign key is looked at."""
        if self.database.is_sqlite:
            # The driver's own connections do not look at them.
            with closing(sqlite3.connect(str(self.database.url.database))) as connection:
                connection.execute(words)
                connection.commit()
        else:
            self.write(text("SET LOCAL session_replication_role = replica"), text(words))

    def change(self, thread: str = "t", **values: Any) -> None:
        self.write(self.thread_update(thread).values(**values))

    def thread_update(self, thread: str) -> Update:
        return update(tables.threads).where(tables.threads.c.id == thread)

    def age(self, *names: str) -> None:
        """Nobody touched these threads, their turns and steps for years."""
        for name in names or ("t",):
            key = self.row(name).key
            self.write(
                self.thread_update(name).values(updated_at=LONG_AGO),
                update(tables.turns).where(tables.turns.c.thread_key == key).values(created_at=LONG_AGO),
                update(tables.turns)
                .where(tables.turns.c.thread_key == key, tables.turns.c.finished_at.is_not(None))
                .values(finished_at=LONG_AGO),
            )

    def rows(self, statement: Any) -> Sequence[Any]:
        with self.database.engine.begin() as connection:
            return connection.execute(statement).all()

    def row(self, thread: str = "t") -> Any:
        return self.rows(select(tables.threads).where(tables.threads.c.id == thread))[0]

    def turn(self, turn_id: str) -> Any:
        return self.rows(select(tables.turns).where(tables.turns.c.id == turn_id))[0]

    def history(self, thread: str = "t") -> list[tuple[int, str, str | None]]:
        columns = (tables.messages.c.seq, tables.messages.c.role, tables.messages.c.tool_call_id)
        found = self.rows(
            select(*columns).where(tables.messages.c.thread_key == self.row(thread).key).order_by(tables.messages.c.seq)
        )
        return [tuple(row) for row in found]

    # The doctor

    def examination(self, *only: str, repairs: bool = False, **scope: Any) -> Examination:
        return Examination(
            database=self.database, files=self.files, scope=Scope(**{**PATIENT, **scope}), repairs=repairs, only=only
        )

    def examine(self, *only: str, repairs: bool = False, **scope: Any) -> list[Result]:
        return list(self.examination(*only, repairs=repairs, **scope).run())

    def found(self, *only: str, **scope: Any) -> dict[str, list[Note]]:
        """The findings, by the name of their check."""
        return by_check(self.examine(*only, **scope))

    def repaired(self, *only: str, **scope: Any) -> dict[str, list[Note]]:
        return by_check(self.examine(*only, repairs=True, **scope))


def by_check(results: Sequence[Result]) -> dict[str, list[Note]]:
    assert [result.problem for result in results if result.problem] == []
    return {result.check.name: result.notes for result in results if result.notes}


def outcomes(found: dict[str, list[Note]]) -> dict[str, list[Outcome]]:
    return {name: [note.outcome for note in notes] for name, notes in found.items()}


@pytest.fixture
def files(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "files")


@pytest.fixture
def site(any_database: Database, files: LocalBlobs) -> Iterator[Site]:
    """An empty installation."""
    return Site(any_database, files)


@pytest.fixture
def postgres_site(database_url: str, files: LocalBlobs) -> Iterator[Site]:
    """An empty installation on PostgreSQL, where locks are rows' own; none is waited for in vain."""
    database = Database(load(database_url=database_url, db_lock_timeout_seconds=100, db_statement_timeout_seconds=100))
    yield Site(database, files)
    database.close()
