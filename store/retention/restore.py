"""Reading a thread back out of its archive: its parts, one behind the other, as one export.

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

from conversation.errors import InvalidInput, ThreadNotFound
from store.audit import hash_of
from store.blobs import BlobStore
from store.database.statements import AnyRow
from store.retention.carried_context import is_carried
from store.tables.retention import ARCHIVES, archives

#: Lines that one thread reads at a time.
PAGE = 500


@dataclass(frozen=True, slots=True)
class Archived:
    """A thread that was archived, in part or whole."""

    #: Of those that had this id, the oldest is 1.
    number: int
    messages: int
    parts: int
    #: When the first part of it was archived, and the last.
    first_at: datetime
    last_at: datetime


def archived_threads(connection: Connection, tenant: str, thread_id: str) -> list[Archived]:
    """The threads that had this id and were archived, the oldest first: one may follow another."""
    found = archives.c
    statement = (
        select(
            func.sum(found.messages).label("messages"),
            func.count().label("parts"),
            func.min(found.created_at).label("first_at"),
            func.max(found.created_at).label("last_at"),
        )
        .where(_is_stored(tenant, thread_id))
        .group_by(found.thread_key)
        .order_by(found.thread_key)
    )
    return [
        Archived(number, int(row.messages), row.parts, row.first_at, row.last_at)
        for number, row in enumerate(connection.execute(statement), start=1)
    ]


def stored_parts(
    connection: Connection, tenant: str, thread_id: str, *, nth: int | None = None
) -> Sequence[AnyRow]:
    """The parts of the `nth` thread that had this id, in order; of the youngest, if none is named.

    Raises `ThreadNotFound`, and `InvalidInput` for a number that none has.
    """
    statement = select(archives).where(_is_stored(tenant, thread_id))
    found = connection.execute(statement.order_by(archives.c.thread_key, archives.c.from_seq)).all()
    if not found:
        raise ThreadNotFound(f"no archive of thread {thread_id!r} is stored for tenant {tenant!r}")
    keys = list(dict.fromkeys(row.thread_key for row in found))
    if nth is not None and nth not in range(1, len(keys) + 1):
        raise InvalidInput("nth", f"is {nth}", f"pass a number from 1, the oldest, to {len(keys)}")
    key = keys[-1] if nth is None else keys[nth - 1]
    return [row for row in found if row.thread_key == key]


def _is_stored(tenant: str, thread_id: str) -> ColumnElement[bool]:
    of_thread = (archives.c.tenant == tenant) & (archives.c.thread_sha256 == hash_of(tenant, thread_id))
    return of_thread & (archives.c.state == "stored")


async def read_parts(files: BlobStore, parts: Sequence[AnyRow]) -> AsyncIterator[str]:
    """The thread as lines, for `import_thread`; no event loop waits for the file store.

    Raises `FileNotStored`.
    """
    lines = _lines_of_parts(files, parts)
    while page := await asyncio.to_thread(list, islice(lines, PAGE)):
        for line in page:
            yield line


def _lines_of_parts(files: BlobStore, parts: Sequence[AnyRow]) -> Iterator[str]:
    count = 0
    for line in _in_order(files, parts):
        count += 1
        yield json.dumps(line, ensure_ascii=False)
    yield json.dumps({"kind": "end", "lines": count})


def _in_order(files: BlobStore, parts: Sequence[AnyRow]) -> Iterator[dict[str, Any]]:
    """The newest header and what goes with it, then the turns of all parts, then their messages."""
    newest = list(_lines(files, parts[-1]))
    newest[0]["thread"]["retention_cut"] = parts[0].from_seq - 1
    about = [line for line in newest if line["kind"] in ("thread", "context", "summary")]
    yield from (line for line in about if not _comes_back(line, parts[0].from_seq - 1))
    told: set[str] = set()
    for part in parts:
        for line in _lines(files, part):
            # A turn stands in each part that has a message of it.
            if line["kind"] == "turn" and line["id"] not in told:
                told.add(line["id"])
                yield line
    for part in parts:
        yield from (line for line in _lines(files, part) if line["kind"] == "message")


def _comes_back(line: dict[str, Any], cut: int) -> bool:
    """Context that is a message of these parts as well."""
    return line["kind"] == "context" and is_carried(line["key"], above=cut)


def _lines(files: BlobStore, part: AnyRow) -> Iterator[dict[str, Any]]:
    text = gzip.decompress(files.get(ARCHIVES, part.sha256)).decode()
    # Not `splitlines`: a text may hold other ends of lines than the one that parts these.
    return (json.loads(line) for line in text.split("\n") if line)
