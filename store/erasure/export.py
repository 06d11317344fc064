"""An export of all that is stored of a person, or of one thread, as a ZIP file for them.

    manifest.json          whose it is, and when it was made
    threads/0001.jsonl     a thread, as `export_thread` writes it: messages, context, summaries, turns
    threads/0001.work.jsonl   what its turns did: journals, and messages that wait in the inbox
    files.jsonl, files/…   the files of its messages: names, and bytes by their hash
    archives/….jsonl.gz    what retention put aside
    threads/0001.audit.jsonl   what was deleted or mended in it

What stays true: it is written as it is read, a page or a file at a time; no connection is held while
a page is written. What retention is about to delete is not in it.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZipFile

from sqlalchemy import Connection, Select, select

from conversation.errors import FileNotStored, ThreadNotFound
from store.blob_rows import BLOCKED
from store.columns import clock
from store.erasure.run import Runs, keys
from store.erasure.subject import Subject
from store.files import BlobStore
from store.retention.audit import hash_of
from store.retention_tables import ARCHIVES, archives
from store.statements import AnyRow
from store.tables import attachments, audit, blobs, messages, steps, threads, turn_inputs, turns
from store.transfer import Export, next_page

#: Rows of one page.
PAGE = 200

Line = dict[str, Any]


@dataclass(slots=True)
class PersonExport:
    """An export under way."""

    database: Runs
    files: BlobStore
    subject: Subject
    _written: set[str] = field(default_factory=set)

    def write(self, target: IO[bytes]) -> int:
        """Write the whole export; returns how many threads are in it. Raises `ThreadNotFound`."""
        self.subject.check()
        count = 0
        listed: list[Line] = []
        with ZipFile(target, "w", ZIP_DEFLATED) as archive:
            for key in keys(self.database, self.subject):
                thread = self.database.run(partial(_thread, key=key))
                if thread is not None:
                    count += 1
                    self._write_thread(archive, f"threads/{count:04}", thread)
                    listed += self._write_files(archive, thread)
            put_aside = self._write_archives(archive)
            if not count and not put_aside:
                raise ThreadNotFound(f"nothing is stored of this {self.subject.kind}")
            _write_lines(archive, "files.jsonl", listed)
            archive.writestr("manifest.json", json.dumps(self._manifest(count), ensure_ascii=False))
        return count

    def _manifest(self, count: int) -> Line:
        now: datetime = self.database.run(lambda connection: connection.execute(select(clock())).scalar_one())
        named = {"user": self.subject.user} if self.subject.user else {"thread": self.subject.thread_id}
        return {
            "format": "threadmill.person",
            "version": 1,
            "tenant": self.subject.tenant,
            **named,
            "threads": count,
            "exported_at": now.isoformat(),
        }

    def _write_thread(self, archive: ZipFile, name: str, thread: AnyRow) -> None:
        export = Export(thread.tenant, thread.id)
        with archive.open(f"{name}.jsonl", "w", force_zip64=True) as member:
            while True:
                page, export = self.database.run(partial(next_page, export=export))
                if not page:
                    break
                member.write(_text(page))
        with archive.open(f"{name}.work.jsonl", "w", force_zip64=True) as member:
            after = 0
            while work := self.database.run(partial(_work, key=thread.key, after=after)):
                after, lines = work
                member.write(_text(lines))
        _write_lines(archive, f"{name}.audit.jsonl", self.database.run(partial(_audit, thread=thread)))

    def _write_files(self, archive: ZipFile, thread: AnyRow) -> list[Line]:
        rows = self.database.run(partial(_files, key=thread.key))
        lines = []
        for row in rows:
            # What a scanner did not pass is told, and not handed out.
            passed = row.scan not in BLOCKED
            stored = passed and (row.sha256 in self._written or self._write_file(archive, row))
            lines.append({"thread": thread.id, **_plain(row), "stored": stored})
        return lines

    def _write_file(self, archive: ZipFile, row: AnyRow) -> bool:
        """False where its bytes are lost: the rest is the person's all the same."""
        try:
            with (
                self.files.open(self.subject.tenant, row.sha256) as chunks,
                archive.open(f"files/{row.sha256}", "w", force_zip64=True) as member,
            ):
                for chunk in chunks:
                    member.write(chunk)
        except FileNotStored:
            return False
        self._written.add(row.sha256)
        return True

    def _write_archives(self, archive: ZipFile) -> int:
        rows = self.database.run(partial(_archives, subject=self.subject))
        for row in rows:
            archive.writestr(f"archives/{row.sha256}.jsonl.gz", self.files.get(ARCHIVES, row.sha256))
        return len(rows)


def _thread(connection: Connection, *, key: int) -> AnyRow | None:
    return connection.execute(select(threads).where(threads.c.key == key)).one_or_none()


def _work(connection: Connection, *, key: int, after: int) -> tuple[int, list[Line]] | None:
    """The next turns' journals and inputs, and the position of the last of these turns."""
    of_thread = (turns.c.thread_key == key) & (turns.c.position > after)
    page = select(turns.c.id, turns.c.position).where(of_thread).order_by(turns.c.position).limit(PAGE)
    found = connection.execute(page).all()
    if not found:
        return None
    ids = [row.id for row in found]
    journal = select(steps).where(steps.c.turn_id.in_(ids)).order_by(steps.c.turn_id, steps.c.index)
    inbox = select(turn_inputs).where(turn_inputs.c.turn_id.in_(ids)).order_by(turn_inputs.c.turn_id)
    return found[-1].position, [
        *({"row": "step", **_plain(row)} for row in connection.execute(journal)),
        *({"row": "input", **_plain(row)} for row in connection.execute(inbox)),
    ]


def _files(connection: Connection, *, key: int) -> Sequence[AnyRow]:
    joined = attachments.join(
        blobs, (attachments.c.tenant == blobs.c.tenant) & (attachments.c.sha256 == blobs.c.sha256)
    )
    hidden = select(messages.c.id).where(
        messages.c.thread_key == key,
        messages.c.seq <= select(threads.c.retention_cut).where(threads.c.key == key).scalar_subquery(),
    )
    columns = (attachments.c.message_id, attachments.c.filename, attachments.c.sha256)
    statement: Select[Any] = select(*columns, blobs.c.size, blobs.c.media_type, blobs.c.scan, blobs.c.text)
    of_thread = (attachments.c.thread_key == key) & attachments.c.message_id.not_in(hidden)
    ordered = statement.select_from(joined).where(of_thread).order_by(*columns)
    return connection.execute(ordered).all()


def _audit(connection: Connection, *, thread: AnyRow) -> list[Line]:
    names = [thread.id, hash_of(thread.tenant, thread.id)]
    of_thread = (audit.c.tenant == thread.tenant) & audit.c.thread_id.in_(names)
    return [_plain(row) for row in connection.execute(select(audit).where(of_thread).order_by(audit.c.key))]


def _archives(connection: Connection, *, subject: Subject) -> Sequence[AnyRow]:
    theirs = archives.c[f"{subject.kind}_sha256"] == subject.sha256
    of_subject = (archives.c.tenant == subject.tenant) & theirs & (archives.c.state == "stored")
    return connection.execute(select(archives).where(of_subject).order_by(archives.c.key)).all()


def _plain(row: AnyRow) -> Line:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in row._asdict().items()
    }


def _write_lines(archive: ZipFile, name: str, lines: Iterable[Line]) -> None:
    archive.writestr(name, _text(lines))


def _text(lines: Iterable[Line]) -> bytes:
    return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines).encode()
