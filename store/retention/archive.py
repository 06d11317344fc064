"""Archives: what a batch is about to delete, as the lines of an export, compressed, in the file store.

A thread's archive is a row of parts, one a batch. Files are not in it: their bytes stay in the file
store as long as another message has them, or their grace lasts.

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
from store.retention import deletion
from store.retention.deletion import Batch, Removed, next_batch, remove
from store.retention.thread_user import enter_user
from store.tables import context, messages, summaries, turns
from store.tables.retention import ARCHIVES, BEGUN, archives
from store.threads.export import Record, context_line, header_line, message_line, summary_line, turn_line

#: Messages of one part: it is in memory, compressed and not.
PART = 200
#: Seconds after which nobody is taken to be writing a part any more.
LEFT_SECONDS = 3600.0
MEDIA_TYPE = "application/gzip"


@dataclass(frozen=True, slots=True)
class Part:
    """What is archived before a batch is deleted."""

    #: Its row.
    key: int
    thread_key: int
    sha256: str
    content: bytes


def unfinished(connection: Connection, thread_key: int) -> list[tuple[int, str]]:
    """Parts that were begun and of which nothing was deleted: the keys of their rows, and their hashes."""
    begun = (archives.c.thread_key == thread_key) & (archives.c.state != "stored")
    rows = connection.execute(select(archives.c.key, archives.c.sha256).where(begun))
    return [(row.key, row.sha256) for row in rows]


def left_behind(connection: Connection, limit: int) -> list[tuple[int, str]]:
    """As `unfinished`, of threads that may be gone or held: whoever began them has died since."""
    begun = text(BEGUN)  # word for word as its index has it
    statement = select(archives.c.key, archives.c.sha256).where(
        begun, archives.c.created_at < moment_ago(days=LEFT_SECONDS / DAY)
    )
    rows = connection.execute(statement.order_by(archives.c.created_at).limit(limit))
    return [(row.key, row.sha256) for row in rows]


def discard(connection: Connection, archive_key: int) -> bool:
    """From now on nothing is deleted for the sake of this part; False where something was: it is stored."""
    part = archives.c.key == archive_key
    begun = update(archives).where(part, archives.c.state != "stored").values(state="discarded")
    connection.execute(begun)
    state = connection.execute(select(archives.c.state).where(part)).scalar_one_or_none()
    return state != "stored"


def forget(connection: Connection, archive_key: int) -> None:
    """Delete the row of a part whose object is gone."""
    connection.execute(delete(archives).where(archives.c.key == archive_key))


def draft(connection: Connection, thread_key: int, *, user_key: str) -> Part | None:
    """Enter the part for the next batch; None where nothing may be deleted, or is left to keep."""
    batch = next_batch(connection, thread_key, limit=PART)
    if batch is None or not _has_something(connection, batch):
        return None
    lines = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in _lines(connection, batch))
    content = gzip.compress(lines.encode(), mtime=0)
    sha256 = hashlib.sha256(content).hexdigest()
    thread = batch.thread
    row = connection.execute(
        insert(archives)
        .values(
            tenant=thread.tenant,
            thread_key=thread.key,
            thread_sha256=hash_of(thread.tenant, thread.id),
            user_sha256=enter_user(connection, thread.key, user_key),
            from_seq=batch.cut.deleted_to + 1,
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
    """Put a part into the file store and read it back. Raises `FileNotStored` if it is not what was put."""
    files.put(ARCHIVES, part.sha256, part.content, MEDIA_TYPE)
    # Of what comes back with another hash, the store itself says that it is damaged.
    files.get(ARCHIVES, part.sha256)


def remove_archived(connection: Connection, part: Part) -> Removed | None:
    """Delete the batch that a part holds; None where it may not be deleted any more."""
    batch = next_batch(connection, part.thread_key, limit=PART)
    if batch is None:
        return None
    mine = (archives.c.key == part.key) & (archives.c.state == "writing")
    holds = {"from_seq": batch.cut.deleted_to + 1, "to_seq": batch.to_seq, "messages": batch.messages}
    same = [archives.c[name] == value for name, value in holds.items()]
    kept = connection.execute(update(archives).where(mine, *same).values(state="stored"))
    return remove(connection, batch) if kept.rowcount else None


def remove_rest(connection: Connection, thread_key: int) -> Removed | None:
    """End a cut of which nothing is left to archive; None where it may not be ended now."""
    batch = next_batch(connection, thread_key, limit=PART)
    return None if batch is None or _has_something(connection, batch) else remove(connection, batch)


def end_cut(connection: Connection, key: int, *, user_key: str) -> Removed | None:
    """What the cut leaves behind names the thread's user; then `remove_thread`, if the thread goes whole."""
    enter_user(connection, key, user_key)
    return deletion.remove_thread(connection, key)


def _has_something(connection: Connection, batch: Batch) -> bool:
    """A thread without messages has at least a title and context: one part says so."""
    if batch.messages or batch.turns:
        return True
    there = exists().where(archives.c.thread_key == batch.thread.key)
    return bool(batch.cut.whole) and not connection.execute(select(there)).scalar_one()


def _lines(connection: Connection, batch: Batch) -> Iterator[Record]:
    """The thread as if the batch were all there is of it."""
    thread, cut = batch.thread, batch.cut
    statement = message_rows.stored_rows(thread.key, after_seq=cut.deleted_to, to_seq=batch.to_seq)
    rows = connection.execute(statement.order_by(messages.c.seq)).all()
    header = header_line(thread)
    # Two processes that archive the same batch have an object each, and remove no other's.
    header["archive"] = new_id()
    header["thread"] |= {
        "retention_cut": cut.deleted_to,
        "summary_id": thread.summary_id or cut.summary_id,
    }
    known = {row.turn_id for row in rows} | set(batch.turns)
    told = [header, *_about(connection, thread.key), *_turns(connection, known)]
    finished = {line["id"] for line in told if line["kind"] == "turn"}
    for message, row in zip(message_rows.load(connection, thread.key, rows), rows, strict=True):
        turn_id = message.turn_id if message.turn_id in finished else None
        told.append(message_line(message, row.tokens, turn_id=turn_id))
    yield from told
    yield {"kind": "end", "lines": len(told)}


def _about(connection: Connection, key: int) -> Iterator[Record]:
    keyed = select(context.c.key, context.c.content).where(context.c.thread_key == key)
    yield from map(context_line, connection.execute(keyed.order_by(context.c.key)))
    summed = select(summaries).where(summaries.c.thread_key == key).order_by(summaries.c.id)
    yield from map(summary_line, connection.execute(summed))


def _turns(connection: Connection, ids: set[str | None]) -> Iterator[Record]:
    wanted: Sequence[str] = sorted(each for each in ids if each is not None)
    if wanted:
        found = connection.execute(select(turns).where(turns.c.id.in_(wanted)).order_by(turns.c.position))
        yield from map(turn_line, found)
