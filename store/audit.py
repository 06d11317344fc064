"""What `audit` says of retention and erasure: how much, when, by which policy, and none of what it was.

What stays true: a row is written by the transaction that did what it tells. A thread stands there as
the SHA-256 of its tenant and id: whoever knows the id finds the row, the row does not tell the id.
(An id that can be guessed can be found by trying: the hash hides it from readers, not from searchers.)
"""

import hashlib
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, insert, text, update

from store.database.column_types import clock
from store.tables import audit
from store.tables.retention import NAMES_FILE


def note(connection: Connection, tenant: str, thread_id: str, action: str, details: dict[str, Any]) -> None:
    """Write one row."""
    connection.execute(
        insert(audit).values(
            tenant=tenant,
            thread_id=hash_of(tenant, thread_id) if thread_id else None,
            action=action,
            details=details,
            created_at=clock(),
        )
    )


def forget_name(connection: Connection, tenant: str, thread_id: str) -> None:
    """Where a row names this thread, let it say its hash. The doctor names what it mended."""
    sha256 = hash_of(tenant, thread_id)
    named = (audit.c.tenant == tenant) & (audit.c.thread_id == thread_id)
    connection.execute(update(audit).where(named).values(thread_id=sha256, details={"thread": sha256}))


def forget_hashes(connection: Connection, tenant: str, hashes: Select[tuple[str]]) -> None:
    """Where the doctor says what it did to one of these files, let it say no more than that it did."""
    connection.execute(update(audit).where(tells_of(tenant, hashes)).values(details={"file": "erased"}))


def tells_of(tenant: str, hashes: Select[tuple[str]]) -> ColumnElement[bool]:
    """A row in which the doctor names one of these files."""
    of_doctor = (audit.c.tenant == tenant) & audit.c.action.startswith("doctor.")
    # Word for word as the index of such rows has it: the audit grows with all that is ever deleted.
    return and_(of_doctor, text(NAMES_FILE), audit.c.details["sha256"].as_string().in_(hashes))


def hash_of(tenant: str, name: str) -> str:
    """What stands in place of the id of a thread, or of a user, where the id may name a person."""
    return "sha256:" + hashlib.sha256(f"{tenant}/{name}".encode()).hexdigest()
