"""The audit of retention and erasure: how much was deleted, when, by which policy, and no content of it.

What stays true: a row is written by the transaction that did what the row records. A thread stands there as
the SHA-256 of its tenant and id: whoever knows the id finds the row, the row does not tell the id.
A row of the doctor has the id itself, which it is there to find again, until the thread is deleted.
(An id that can be guessed can be found by trying: the hash hides it from readers, not from searchers.)
"""

import hashlib
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, insert, text, update

from store.database.column_types import clock
from store.tables import audit
from store.tables.retention import NAMES_FILE


def write_audit_row(connection: Connection, tenant: str, thread_id: str, action: str, details: dict[str, Any]) -> None:
    """Write one row of the audit; the thread stands in it as its hash."""
    _insert(connection, tenant, hash_of(tenant, thread_id) if thread_id else None, action, details)


def write_repair_row(connection: Connection, action: str, details: dict[str, Any]) -> None:
    """Write one row of a doctor's repair: the thread, if `details` name one, stands in it as its id.

    Deletion and erasure of the thread replace the id: see `pseudonymize_thread`.
    """
    _insert(connection, details["tenant"], details.get("thread"), action, details)


def pseudonymize_thread(connection: Connection, tenant: str, thread_id: str) -> None:
    """Replace the thread's id with its hash in rows that name it, such as those of the doctor's repairs."""
    sha256 = hash_of(tenant, thread_id)
    of_thread = (audit.c.tenant == tenant) & (audit.c.thread_id == thread_id)
    connection.execute(update(audit).where(of_thread).values(thread_id=sha256, details={"thread": sha256}))


def redact_file_hashes(connection: Connection, tenant: str, hashes: Select[tuple[str]]) -> None:
    """Remove the files' hashes from rows of the doctor; that a repair was made stays recorded."""
    connection.execute(update(audit).where(names_files(tenant, hashes)).values(details={"file": "erased"}))


def names_files(tenant: str, hashes: Select[tuple[str]]) -> ColumnElement[bool]:
    """The condition for rows in which the doctor names one of these files."""
    of_doctor = (audit.c.tenant == tenant) & audit.c.action.startswith("doctor.")
    # Word for word as the index of such rows has it: the audit grows with all that is ever deleted.
    return and_(of_doctor, text(NAMES_FILE), audit.c.details["sha256"].as_string().in_(hashes))


def _insert(connection: Connection, tenant: str, thread: str | None, action: str, details: dict[str, Any]) -> None:
    values = {"tenant": tenant, "thread_id": thread, "action": action, "details": details}
    # Inline: its key is not returned, which the gateway's role may not read.
    connection.execute(insert(audit).inline().values(**values, created_at=clock()))


def hash_of(tenant: str, name: str) -> str:
    """The SHA-256 that replaces the id of a thread or user where the id may identify a user."""
    return "sha256:" + hashlib.sha256(f"{tenant}/{name}".encode()).hexdigest()
