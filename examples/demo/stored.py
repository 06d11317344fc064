"""The rows and blobs that the demo checks its promises against: nothing else is asked."""

from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import Connection, select

from conversation.attachment import Attachment
from conversation.thread import Thread
from conversation.turn import TurnRecord
from store import tables
from store.blobs import open_file_store
from store.database.engine import Database
from store.settings import Settings
from store.threads import repository
from store.turns import records

TENANT = "default"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a turn's journal, as it stands."""

    index: int
    kind: str
    name: str
    call_id: str
    state: str
    #: The fencing token of the worker that wrote it.
    fencing_token: int
    finished_at: datetime | None


class StoredData:
    """The stored data of one installation, read beside it."""

    def __init__(self, settings: Settings) -> None:
        self._database = Database(settings)
        self._blobs = open_file_store(settings)

    def load_thread(self, thread_id: str) -> Thread:
        """The whole history, in the order of `seq`."""
        return self._database.run(repository.load, tenant=TENANT, thread_id=thread_id)

    def load_turn(self, thread_id: str) -> TurnRecord | None:
        """The thread's only turn; None before it is accepted."""
        return self._database.run(_load_turn, thread_id=thread_id)

    def load_journal(self, turn_id: str) -> list[Entry]:
        return self._database.run(_load_journal, turn_id=turn_id)

    def read_blob(self, attachment: Attachment) -> bytes:
        """The stored bytes behind an attachment."""
        assert attachment.sha256 is not None
        return self._blobs.get(TENANT, attachment.sha256)

    def close(self) -> None:
        self._database.close()
        self._blobs.close()


def _load_turn(connection: Connection, thread_id: str) -> TurnRecord | None:
    statement = (
        select(tables.turns.c.id)
        .join(tables.threads, tables.turns.c.thread_key == tables.threads.c.key)
        .where(tables.threads.c.tenant == TENANT, tables.threads.c.id == thread_id)
    )
    turn_id = connection.execute(statement).scalar_one_or_none()
    return None if turn_id is None else records.read(connection, turn_id)


def _load_journal(connection: Connection, turn_id: str) -> list[Entry]:
    steps = tables.steps.c
    columns = [steps[field.name] for field in fields(Entry)]
    rows = connection.execute(select(*columns).where(steps.turn_id == turn_id).order_by(steps.index))
    return [Entry(*row) for row in rows]
