"""Files that threads dropped and that are still stored: an erasure of their user deletes them, too.

What stays true: a row is written by the transaction that took the file off its message, and goes with
the blob; it names thread and user by hash.
"""

from collections.abc import Iterable

from sqlalchemy import Connection, select

from store.audit import hash_of
from store.database.statements import AnyRow, insert_for
from store.history.row_ids import thread_id_of
from store.tables import threads
from store.tables.retention import dropped_files


def record(connection: Connection, files: Iterable[AnyRow]) -> None:
    """Record the tenant, hash and thread of dropped files. Their blobs are locked by this transaction."""
    addresses = {(file.tenant, file.sha256, file.thread_key) for file in files}
    if not addresses:
        return
    keys = {key for _, _, key in addresses}
    query = select(threads.c.key, threads.c.tenant, threads.c.id).where(threads.c.key.in_(keys))
    hashes = {row.key: hash_of(row.tenant, thread_id_of(row.id) or row.id) for row in connection.execute(query)}
    rows = [
        {"tenant": tenant, "sha256": sha256, "thread_key": key, "thread_sha256": hashes[key]}
        for tenant, sha256, key in sorted(addresses)
    ]
    # As a list of rows, not as one long statement: a thread may have any number of files.
    connection.execute(insert_for(connection, dropped_files).on_conflict_do_nothing(), rows)
