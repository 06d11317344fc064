"""The items of an erasure, by hash: threads that go, threads of others, files to be erased."""

from collections.abc import Sequence

from sqlalchemy import Connection

from store.audit import hash_of
from store.database.statements import AnyRow, insert_for
from store.history.row_ids import thread_id_of
from store.tables.retention import erasure_items


def record_items(
    connection: Connection, erasure_id: str, kind: str, hashes: Sequence[str], *, reopens: bool = False
) -> None:
    """Record items of an erasure, each once; with `reopens`, one that was done is to be done again."""
    if hashes:
        rows = [{"erasure_id": erasure_id, "kind": kind, "sha256": sha256} for sha256 in hashes]
        statement = insert_for(connection, erasure_items).values(rows)
        reopening = statement.on_conflict_do_update(
            index_elements=["erasure_id", "kind", "sha256"], set_={"done": False}
        )
        connection.execute(reopening if reopens else statement.on_conflict_do_nothing())


def hash_of_thread(row: AnyRow) -> str:
    """The hash of a thread's id, out of any of its rows; of one that was left to others, of the name that it has."""
    return hash_of(row.tenant, thread_id_of(row.id) or row.id)
