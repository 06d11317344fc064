"""Archives: the messages of a batch, stored as a compressed export in the file store before deletion.

A thread's archive is a sequence of parts, one a batch, with all that the thread showed: also what it shares with
others, and what stays for them. Files are not in it: their bytes stay in the file store as long as another
message has them, or their grace lasts.

What stays true: the row is there before the object, so no object is without one; nothing is deleted
before its part was read back, byte for byte; the part counts as stored by the transaction that
deletes what it holds.
"""

import gzip
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, exists, insert, select, text, update

from conversation.ids import new_id
from store.audit import hash_of
from store.blobs import BlobStore
from store.database.column_types import DAY, clock, moment_ago
from store.history import message_rows
from store.history.row_ids import thread_id_of
from store.lineage import Lineage, select_range
from store.retention import deletion
from store.retention.deletion import Batch, BatchOutcome, lock_next_batch, remove_batch
from store.retention.thread_user import enter_user
from store.tables import messages, summaries, thread_context, turns
from store.tables.retention import ARCHIVES, NOT_STORED, archives
from store.threads.export import Record, context_line, header_line, message_line, summary_line, turn_line

#: Messages of one part, at most: a part is in memory, compressed and uncompressed.
PART_MAX_MESSAGES = 200
#: Seconds after which a part that is not stored counts as abandoned by its writer.
ABANDONED_AFTER_SECONDS = 3600.0
MEDIA_TYPE = "application/gzip"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an archive: the content of one batch, stored before the batch is deleted."""

    #: The key of the part's row in `archives`.
    key: int
    thread_key: int
    sha256: str
    content: bytes


def list_unfinished_parts(connection: Connection, thread_key: int) -> list[tuple[int, str]]:
    """List the thread's parts of which nothing was deleted yet: the keys of their rows, and their hashes."""
    is_unfinished = (archives.c.thread_key == thread_key) & (archives.c.state != "stored")
    rows = connection.execute(select(archives.c.key, archives.c.sha256).where(is_unfinished))
    return [(row.key, row.sha256) for row in rows]


def list_abandoned_parts(connection: Connection, limit: int) -> list[tuple[int, str]]:
    """List the oldest parts of any thread whose writer has died, as `list_unfinished_parts` does."""
    is_unfinished = text(NOT_STORED)  # word for word as its index has it
    statement = select(archives.c.key, archives.c.sha256).where(
        is_unfinished, archives.c.created_at < moment_ago(days=ABANDONED_AFTER_SECONDS / DAY)
    )
    rows = connection.execute(statement.order_by(archives.c.created_at).limit(limit))
    return [(row.key, row.sha256) for row in rows]


def discard(connection: Connection, archive_key: int) -> bool:
    """Mark a part as discarded, so that no batch is deleted for it; False if it is stored already."""
    part = archives.c.key == archive_key
    statement = update(archives).where(part, archives.c.state != "stored").values(state="discarded")
    connection.execute(statement)
    state = connection.execute(select(archives.c.state).where(part)).scalar_one_or_none()
    return state != "stored"


def delete_part(connection: Connection, archive_key: int) -> None:
    """Delete the row of a part whose object is gone."""
    connection.execute(delete(archives).where(archives.c.key == archive_key))


def draft(connection: Connection, thread_key: int) -> Part | None:
    """Insert the part of the next batch; None where nothing may be deleted, or needs an archive."""
    batch = lock_next_batch(connection, thread_key, limit=PART_MAX_MESSAGES)
    if batch is None or not _has_content(connection, batch):
        return None
    lines = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in _read_lines(connection, batch))
    content = gzip.compress(lines.encode(), mtime=0)
    sha256 = hashlib.sha256(content).hexdigest()
    thread = batch.thread
    row = connection.execute(
        insert(archives)
        .values(
            tenant=thread.tenant,
            thread_key=thread.key,
            thread_sha256=hash_of(thread.tenant, thread_id_of(thread.id)),
            user_sha256=enter_user(connection, thread.key),
            from_seq=batch.after_seq + 1,
            to_seq=batch.to_seq,
            messages=batch.messages,
            sha256=sha256,
            size=len(content),
            state="writing",
            created_at=clock(),
        )
        .returning(archives.c.key)
    )
    return Part(row.scalar_one(), thread.key, sha256, content)


def write(files: BlobStore, part: Part) -> None:
    """Put a part into the file store and read it back. Raises `FileNotStored` if the bytes differ."""
    files.put(ARCHIVES, part.sha256, part.content, MEDIA_TYPE)
    # The store itself raises for bytes with another hash.
    files.get(ARCHIVES, part.sha256)


def remove_archived_batch(connection: Connection, part: Part) -> BatchOutcome | None:
    """Delete the batch that a part holds; None where deletion is no longer allowed."""
    batch = lock_next_batch(connection, part.thread_key, limit=PART_MAX_MESSAGES)
    if batch is None:
        return None
    is_own = (archives.c.key == part.key) & (archives.c.state == "writing")
    bounds = {"from_seq": batch.after_seq + 1, "to_seq": batch.to_seq, "messages": batch.messages}
    has_same_bounds = [archives.c[name] == value for name, value in bounds.items()]
    result = connection.execute(update(archives).where(is_own, *has_same_bounds).values(state="stored"))
    return remove_batch(connection, batch) if result.rowcount else None


def remove_remainder(connection: Connection, thread_key: int) -> BatchOutcome | None:
    """Delete the last batch where nothing is left to archive; None where deletion is not allowed now."""
    batch = lock_next_batch(connection, thread_key, limit=PART_MAX_MESSAGES)
    return None if batch is None or _has_content(connection, batch) else remove_batch(connection, batch)


def finish_deletion(connection: Connection, key: int) -> BatchOutcome | None:
    """Enter the thread's owner in its archives and dropped files; then `remove_thread`, if it goes whole."""
    enter_user(connection, key)
    return deletion.remove_thread(connection, key)


def _has_content(connection: Connection, batch: Batch) -> bool:
    """Whether a batch needs a part. A thread without messages gets one, for its title and context."""
    if batch.is_archived:
        return False
    if batch.messages or batch.turns:
        return True
    parts = exists().where(archives.c.thread_key == batch.thread.key)
    return bool(batch.pending_deletion.whole) and not connection.execute(select(parts)).scalar_one()


def _read_lines(connection: Connection, batch: Batch) -> Iterator[Record]:
    """Read the thread as the lines of an export that has only the batch's messages."""
    thread, pending_deletion = batch.thread, batch.pending_deletion
    lineage = Lineage.of(thread)
    columns = [*message_rows.stored_columns(), messages.c.rolled_back]
    rows = connection.execute(select_range(lineage, columns, after_seq=batch.after_seq, to_seq=batch.to_seq)).all()
    header = header_line(thread)
    # Makes the bytes unique: two processes that archive one batch never delete each other's object.
    header["archive"] = new_id()
    header["thread"] |= {
        "history_starts_after": batch.after_seq,
        "summary_id": thread.summary_id or pending_deletion.summary_id,
    }
    turn_ids = {row.turn_id for row in rows} | set(batch.turns)
    lines = [header, *_read_context_and_summaries(connection, thread.key), *_read_turns(connection, lineage, turn_ids)]
    finished_ids = {line["id"] for line in lines if line["kind"] == "turn"}
    for message, row in zip(message_rows.load(connection, lineage, rows), rows, strict=True):
        turn_id = message.turn_id if message.turn_id in finished_ids else None
        lines.append(message_line(message, row.tokens, turn_id=turn_id, rolled_back=row.rolled_back))
    yield from lines
    yield {"kind": "end", "lines": len(lines)}


def _read_context_and_summaries(connection: Connection, key: int) -> Iterator[Record]:
    context_query = select(thread_context.c.key, thread_context.c.content).where(thread_context.c.thread_key == key)
    yield from map(context_line, connection.execute(context_query.order_by(thread_context.c.key)))
    summary_query = select(summaries).where(summaries.c.thread_key == key).order_by(summaries.c.to_seq, summaries.c.id)
    yield from map(summary_line, connection.execute(summary_query))


def _read_turns(connection: Connection, lineage: Lineage, ids: set[str | None]) -> Iterator[Record]:
    turn_ids: Sequence[str] = sorted(each for each in ids if each is not None)
    if turn_ids:
        of_thread = turns.c.thread_key.in_(lineage.keys) & turns.c.id.in_(turn_ids)
        yield from map(turn_line, connection.execute(select(turns).where(of_thread).order_by(turns.c.arrival_seq)))
