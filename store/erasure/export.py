"""An export of all that is stored of a user, or of one thread, as a ZIP file.

    manifest.json          whose it is, when it was made, and what of it is lost
    threads/0001.jsonl     a thread, as `export_thread` writes it: messages, context, summaries, turns
    threads/0001.work.jsonl   its turns in any state, with idempotency keys, journals and the inbox
    threads/0001.held.jsonl   the rest of a half turn, which only a legal hold keeps
    threads/0001.policy.jsonl   a policy of its own
    threads/0001.audit.jsonl   what was deleted or mended in it
    files.jsonl            the files of its messages: names, hashes, and whether their bytes are here
    files/…, texts/…       their bytes, and the texts that were extracted, by their hash: each once
    uploads.jsonl          what a client said of these files when it put them, or was about to
    archives/….jsonl.gz    what retention archived
    sent.jsonl             what the user said in threads of others
    schedules.jsonl        the schedules that send in the user's name, or to the thread
    slack.jsonl            what is known of the user's messages in Slack, or of the thread's

What stays true: it is written as it is read, a page or a file at a time, and of what was written only
names are kept; no connection is held while a page is written. What retention is about to delete is not
in it. Lost bytes do not stop an export: the manifest names them.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import IO
from zipfile import ZIP_DEFLATED, ZipFile

from sqlalchemy import select

from conversation.errors import FileNotStored, ThreadNotFound
from store.blobs import BlobStore
from store.database.column_types import clock
from store.database.engine import TransactionRunner
from store.database.statements import AnyRow
from store.erasure import export_rows
from store.erasure.export_rows import PAGE, Line
from store.erasure.subject import Subject
from store.erasure.workflow import iterate_thread_keys
from store.files.blob_rows import BLOCKED_SCANS
from store.files.prepared_rows import load_texts
from store.history.row_ids import exact_address
from store.tables.retention import ARCHIVES
from store.threads.export import Export, read_next_page


@dataclass(frozen=True, slots=True)
class ExportOutcome:
    """The outcome of an export."""

    #: How many threads are in it.
    threads: int
    #: Members of the ZIP file that are missing or damaged, because the file store has lost their bytes.
    lost: tuple[str, ...] = ()


@dataclass(slots=True)
class UserExport:
    """An export under way."""

    database: TransactionRunner
    files: BlobStore
    subject: Subject
    #: The hashes of the files that are listed.
    _hashes: set[str] = field(default_factory=set)
    _written_names: set[str] = field(default_factory=set)
    _lost_names: list[str] = field(default_factory=list)

    def write(self, target: IO[bytes]) -> ExportOutcome:
        """Write the whole export. Raises `ThreadNotFound`, and `FileStoreUnavailable`."""
        self.subject.check()
        count = 0
        # A ZIP file is written a member at a time: this one waits in a file until the others are written.
        with TemporaryFile() as file_list, ZipFile(target, "w", ZIP_DEFLATED) as archive:
            for key in iterate_thread_keys(self.database, self.subject):
                thread = self.database.run(export_rows.load_thread, key=key)
                if thread is not None:
                    count += 1
                    self._write_thread(archive, f"threads/{count:04}", thread)
                    self._write_files(archive, thread, file_list)
            archive_count = self._write_archives(archive)
            sent_count = self._write_sent_messages(archive, file_list)
            schedule_count = self._write_schedules(archive)
            slack_count = self._write_slack_messages(archive)
            if not any((count, archive_count, sent_count, schedule_count, slack_count)):
                raise ThreadNotFound(f"nothing is stored of this {self.subject.kind}")
            file_list.seek(0)
            with archive.open("files.jsonl", "w", force_zip64=True) as member:
                copyfileobj(file_list, member)
            self._write_uploads(archive)
            archive.writestr("manifest.json", json.dumps(self._manifest(count), ensure_ascii=False))
        return ExportOutcome(count, tuple(self._lost_names))

    def _manifest(self, count: int) -> Line:
        now: datetime = self.database.run(lambda connection: connection.execute(select(clock())).scalar_one())
        return {
            "format": "threadmill.person",
            "version": 1,
            "tenant": self.subject.tenant,
            self.subject.kind: self.subject.name,
            "threads": count,
            "lost": self._lost_names,
            "exported_at": now.isoformat(),
        }

    def _write_thread(self, archive: ZipFile, name: str, thread: AnyRow) -> None:
        export = Export(thread.tenant, exact_address(thread.id))
        with archive.open(f"{name}.jsonl", "w", force_zip64=True) as member:
            while True:
                page, export = self.database.run(read_next_page, export=export)
                if not page:
                    break
                member.write(_encode_lines(page))
        with archive.open(f"{name}.work.jsonl", "w", force_zip64=True) as member:
            after = 0
            while turn_page := self.database.run(export_rows.load_turns, key=thread.key, after=after):
                after, lines = turn_page
                member.write(_encode_lines(lines))
        with archive.open(f"{name}.held.jsonl", "w", force_zip64=True) as member:
            after = 0
            while lines := self.database.run(export_rows.load_held_messages, key=thread.key, after=after):
                after = lines[-1]["seq"]
                member.write(_encode_lines(lines))
        for kind, read in (("policy", export_rows.load_policies), ("audit", export_rows.load_audit)):
            _write_lines(archive, f"{name}.{kind}.jsonl", self.database.run(read, row=thread))

    def _write_files(self, archive: ZipFile, thread: AnyRow, file_list: IO[bytes]) -> None:
        after = ("", -1)
        while rows := self.database.run(export_rows.load_files, key=thread.key, after=after):
            for row in rows:
                self._list_file(archive, {"thread": thread.id, **export_rows.row_to_json(row)}, file_list)
            after = (rows[-1].message_id, rows[-1].place)

    def _list_file(self, archive: ZipFile, line: Line, file_list: IO[bytes]) -> None:
        # A file that the scanner did not pass is listed, and its bytes are left out.
        is_clean = line["scan"] not in BLOCKED_SCANS
        is_stored = is_clean and self._write_file(archive, line["sha256"])
        file_list.write(_encode_lines([{**line, "stored": is_stored}]))
        self._hashes.add(line["sha256"])

    def _write_file(self, archive: ZipFile, sha256: str) -> bool:
        """Write the bytes and the text of a file, once; False where its bytes are lost."""
        if sha256 not in self._hashes:
            for text in self.database.run(load_texts, tenant=self.subject.tenant, hashes=[sha256]).values():
                archive.writestr(f"texts/{sha256}.txt", text)
        return self._write_object(archive, f"files/{sha256}", self.subject.tenant, sha256)

    def _write_uploads(self, archive: ZipFile) -> None:
        hashes = sorted(self._hashes)
        with archive.open("uploads.jsonl", "w", force_zip64=True) as member:
            for start in range(0, len(hashes), PAGE):
                page = hashes[start : start + PAGE]
                member.write(
                    _encode_lines(self.database.run(export_rows.load_uploads, tenant=self.subject.tenant, hashes=page))
                )

    def _write_archives(self, archive: ZipFile) -> int:
        rows = self.database.run(export_rows.load_archives, subject=self.subject)
        for row in rows:
            self._write_object(archive, f"archives/{row.sha256}.jsonl.gz", ARCHIVES, row.sha256)
        return len(rows)

    def _write_schedules(self, archive: ZipFile) -> int:
        lines = self.database.run(export_rows.load_schedules, subject=self.subject)
        if lines:
            _write_lines(archive, "schedules.jsonl", lines)
        return len(lines)

    def _write_slack_messages(self, archive: ZipFile) -> int:
        """Write the rows of messages out of Slack, if there are any; returns their number."""
        after, count = 0, 0
        with TemporaryFile() as lines:
            while page := self.database.run(export_rows.load_slack_messages, subject=self.subject, after=after):
                after, count = page[-1]["key"], count + len(page)
                lines.write(_encode_lines(page))
            lines.seek(0)
            if count:
                with archive.open("slack.jsonl", "w", force_zip64=True) as member:
                    copyfileobj(lines, member)
        return count

    def _write_sent_messages(self, archive: ZipFile, file_list: IO[bytes]) -> int:
        """Write what the user said in threads of others, if they did; returns the number of messages."""
        after, count = 0, 0
        with TemporaryFile() as lines:
            while page := self.database.run(export_rows.load_sent_turns, subject=self.subject, after=after):
                after, rows = page
                lines.write(_encode_lines(map(export_rows.row_to_json, rows)))
                for file in self.database.run(export_rows.load_sent_files, rows=rows):
                    self._list_file(archive, export_rows.row_to_json(file), file_list)
                count += len(rows)
            lines.seek(0)
            if count:
                with archive.open("sent.jsonl", "w", force_zip64=True) as member:
                    copyfileobj(lines, member)
        return count

    def _write_object(self, archive: ZipFile, name: str, tenant: str, sha256: str) -> bool:
        """Write an object, once; False where its bytes are lost or damaged: the export goes on."""
        if name not in self._written_names and name not in self._lost_names:
            try:
                with self.files.open(tenant, sha256) as chunks, archive.open(name, "w", force_zip64=True) as member:
                    for chunk in chunks:
                        member.write(chunk)
                self._written_names.add(name)
            except FileNotStored:
                self._lost_names.append(name)
        return name in self._written_names


def _write_lines(archive: ZipFile, name: str, lines: Iterable[Line]) -> None:
    archive.writestr(name, _encode_lines(lines))


def _encode_lines(lines: Iterable[Line]) -> bytes:
    return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines).encode()
