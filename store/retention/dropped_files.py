"""Files that threads dropped and that are stored still: who is erased meanwhile takes them along.

What stays true: a row is written by the transaction that took the file off its message, and goes with
the blob; it names thread and user by hash.
"""

from collections.abc import Iterable

from sqlalchemy import Connection, select

from store.audit import hash_of
from store.database.statements import AnyRow, insert_for
from store.tables import threads
from store.tables.retention import dropped_files


def remember(connection: Connection, files: Iterable[AnyRow]) -> None:
    """Note the tenant, the hash and the thread's key of files, whose blobs are locked."""
    dropped = {(file.tenant, file.sha256, file.thread_key) for file in files}
    if not dropped:
        return
    keys = {key for _, _, key in dropped}
    named = select(threads.c.key, threads.c.tenant, threads.c.id).where(threads.c.key.in_(keys))
    hashes = {row.key: hash_of(row.tenant, row.id) for row in connection.execute(named)}
    rows = [
        {"tenant": tenant, "sha256": sha256, "thread_key": key, "thread_sha256": hashes[key]}
        for tenant, sha256, key in sorted(dropped)
    ]
    # As a list of rows, not as one long statement: a thread may have any number of files.
    connection.execute(insert_for(connection, dropped_files).on_conflict_do_nothing(), rows)
