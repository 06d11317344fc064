"""Reading a thread back out of its archive: its parts, one behind the other, as one export.

What stays true: a part is in memory while it is read, and no more than one; a part that is damaged or
missing stops the restore before anything is stored.
"""

import gzip
import json
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, select

from conversation.errors import ThreadNotFound
from store.files import BlobStore
from store.retention.audit import hash_of
from store.retention.carried import is_carried
from store.retention_tables import ARCHIVES, archives
from store.statements import AnyRow


def stored_parts(connection: Connection, tenant: str, thread_id: str) -> Sequence[AnyRow]:
    """The parts of the youngest thread that had this id, in order. Raises `ThreadNotFound`."""
    of_thread = (archives.c.tenant == tenant) & (archives.c.thread_sha256 == hash_of(tenant, thread_id))
    statement = select(archives).where(of_thread, archives.c.state == "stored")
    found = connection.execute(statement.order_by(archives.c.thread_key, archives.c.from_seq)).all()
    if not found:
        raise ThreadNotFound(f"no archive of thread {thread_id!r} is stored for tenant {tenant!r}")
    return [row for row in found if row.thread_key == found[-1].thread_key]


def lines_of_parts(files: BlobStore, parts: Sequence[AnyRow]) -> Iterator[str]:
    """The thread as lines, for `import_thread`. Raises `FileNotStored`."""
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
