"""The certificate of an erasure: what was removed, how much, when, and a digest over all of it.

What stays true: a certificate is made once, by the transaction that ends the erasure, and stands in
`audit` as well; it holds hashes of ids and no id, and from then on its erasure's row does, too.
"""

import hashlib
import json
from typing import Any

from sqlalchemy import Connection, delete, select, update

from store.audit import write_audit_row
from store.database.column_types import clock
from store.database.sqlite import read_only
from store.erasure.subject import Subject
from store.tables.retention import erasure_items, erasures

Certificate = dict[str, Any]

#: The outcomes that a certificate can have.
ERASED, NOTHING_FOUND = "erased", "nothing was found"


def finish(connection: Connection, erasure_id: str, subject: Subject) -> Certificate:
    """End an erasure. Running it twice gives the same certificate."""
    of_erasure = erasures.c.id == erasure_id
    row = connection.execute(select(erasures, clock().label("now")).where(of_erasure).with_for_update()).one()
    if row.finished_at is not None:
        return dict(row.certificate)
    items = erasure_items.c
    content = {
        "format": "threadmill.erasure",
        "version": 1,
        "id": row.id,
        "tenant": row.tenant,
        "subject": {"kind": row.subject, "sha256": row.subject_sha256},
        "outcome": ERASED if any(row.counts.values()) else NOTHING_FOUND,
        "threads": _list_hashes(connection, erasure_id, "thread"),
        # Threads of others, which stay: what the subject said in them is erased, what was answered is not.
        "shared_threads": _list_hashes(connection, erasure_id, "shared"),
        "counts": dict(sorted(row.counts.items())),
        "requested_at": row.requested_at.isoformat(),
        "finished_at": row.now.isoformat(),
    }
    certificate = content | {"digest": digest_of(content)}
    connection.execute(
        update(erasures).where(of_erasure).values(finished_at=row.now, certificate=certificate, subject_id=None)
    )
    # From the hash of its bytes, an owner of the file could tell that it was here.
    connection.execute(delete(erasure_items).where(items.erasure_id == erasure_id, items.kind == "blob"))
    write_audit_row(connection, subject.tenant, "", "erasure.finished", certificate)
    return certificate


def _list_hashes(connection: Connection, erasure_id: str, kind: str) -> list[str]:
    items = erasure_items.c
    return sorted(
        connection.execute(select(items.sha256).where(items.erasure_id == erasure_id, items.kind == kind)).scalars()
    )


@read_only
def load_latest(connection: Connection, subject: Subject) -> Certificate | None:
    """Load the newest certificate of this subject."""
    query = (
        select(erasures.c.certificate)
        .where(
            erasures.c.tenant == subject.tenant,
            erasures.c.subject == subject.kind,
            erasures.c.subject_sha256 == subject.sha256,
            erasures.c.finished_at.is_not(None),
        )
        .order_by(erasures.c.finished_at.desc())
        .limit(1)
    )
    certificate = connection.execute(query).scalar_one_or_none()
    return None if certificate is None else dict(certificate)


def digest_of(certificate: Certificate) -> str:
    """The SHA-256 of a certificate without its digest, as JSON with sorted keys and no spaces."""
    content = {name: value for name, value in certificate.items() if name != "digest"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
