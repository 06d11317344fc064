"""Restoring a thread from its archive: its parts are read in order, as one export.

What stays true: a part is in memory while it is read, and no more than one; a part that is damaged or
missing stops the restore before anything is stored.
"""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from conversation.arguments import INTEGER_MAX, check_whole_number
from conversation.errors import InvalidInput, ThreadNotFound
from store.audit import hash_of
from store.blobs import BlobStore
from store.database.sqlite import read_only
from store.database.statements import AnyRow
from store.retention.carried_context import is_carried
from store.tables.retention import ARCHIVES, archives

#: Lines that one thread reads at a time.
PAGE = 500


@dataclass(frozen=True, slots=True)
class ArchivedThread:
    """A thread that was archived, in part or whole."""

    #: Counts the threads that had this id: the oldest is 1.
    number: int
    messages: int
    parts: int
    #: When the first part of it was archived, and the last.
    first_at: datetime
    last_at: datetime


@read_only
def list_archived_threads(connection: Connection, tenant: str, thread_id: str) -> list[ArchivedThread]:
    """List the archived threads that had this id, the oldest first: an id may be used again."""
    columns = archives.c
    statement = (
        select(
            func.sum(columns.messages).label("messages"),
            func.count().label("parts"),
            func.min(columns.created_at).label("first_at"),
            func.max(columns.created_at).label("last_at"),
        )
        .where(_is_stored(tenant, thread_id))
        .group_by(columns.thread_key)
        .order_by(columns.thread_key)
    )
    return [
        ArchivedThread(number, int(row.messages), row.parts, row.first_at, row.last_at)
        for number, row in enumerate(connection.execute(statement), start=1)
    ]


def load_stored_parts(
    connection: Connection, tenant: str, thread_id: str, *, nth: int | None = None
) -> Sequence[AnyRow]:
    """Load the parts of the `nth` thread that had this id, in order; of the youngest, if `nth` is None.

    Raises `ThreadNotFound`, and `InvalidInput` for a number that none has.
    """
    if nth is not None:
        nth = check_whole_number("nth", nth, minimum=1, maximum=INTEGER_MAX, fix="pass a number from 1, the oldest")
    statement = select(archives).where(_is_stored(tenant, thread_id))
    parts = connection.execute(statement.order_by(archives.c.thread_key, archives.c.from_seq)).all()
    if not parts:
        raise ThreadNotFound(f"no archive of thread {thread_id!r} is stored for tenant {tenant!r}")
    keys = list(dict.fromkeys(row.thread_key for row in parts))
    if nth is not None and nth > len(keys):
        raise InvalidInput("nth", f"is {nth}", f"pass a number from 1, the oldest, to {len(keys)}")
    key = keys[-1] if nth is None else keys[nth - 1]
    return [row for row in parts if row.thread_key == key]


def _is_stored(tenant: str, thread_id: str) -> ColumnElement[bool]:
    of_thread = (archives.c.tenant == tenant) & (archives.c.thread_sha256 == hash_of(tenant, thread_id))
    return of_thread & (archives.c.state == "stored")


async def read_parts(files: BlobStore, parts: Sequence[AnyRow]) -> AsyncIterator[str]:
    """Read the thread as lines, for `import_thread`; no event loop waits for the file store.

    Raises `FileNotStored`.
    """
    lines = _encode_lines(files, parts)
    while page := await asyncio.to_thread(list, islice(lines, PAGE)):
        for line in page:
            yield line


def _encode_lines(files: BlobStore, parts: Sequence[AnyRow]) -> Iterator[str]:
    count = 0
    for line in _merge_parts(files, parts):
        count += 1
        yield json.dumps(line, ensure_ascii=False)
    yield json.dumps({"kind": "end", "lines": count})


def _merge_parts(files: BlobStore, parts: Sequence[AnyRow]) -> Iterator[dict[str, Any]]:
    """Merge the lines of all parts: the newest header, context and summaries, then turns, then messages."""
    newest_lines = list(_read_lines(files, parts[-1]))
    newest_lines[0]["thread"]["history_starts_after"] = parts[0].from_seq - 1
    thread_lines = [line for line in newest_lines if line["kind"] in ("thread", "context", "summary")]
    yield from (line for line in thread_lines if not _is_restored_as_message(line, parts[0].from_seq - 1))
    turn_ids: set[str] = set()
    for part in parts:
        for line in _read_lines(files, part):
            # A turn stands in each part that has a message of it.
            if line["kind"] == "turn" and line["id"] not in turn_ids:
                turn_ids.add(line["id"])
                yield line
    for part in parts:
        yield from (line for line in _read_lines(files, part) if line["kind"] == "message")


def _is_restored_as_message(line: dict[str, Any], cutoff: int) -> bool:
    """Whether a line is context that these parts hold as a system message, too."""
    return line["kind"] == "context" and is_carried(line["key"], above=cutoff)


def _read_lines(files: BlobStore, part: AnyRow) -> Iterator[dict[str, Any]]:
    text = gzip.decompress(files.get(ARCHIVES, part.sha256)).decode()
    # Not `splitlines`: a text may hold other ends of lines than the one that parts these.
    return (json.loads(line) for line in text.split("\n") if line)
