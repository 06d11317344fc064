"""Import of an exported thread: whole, with its ids, seqs and times, or not at all.

What stays true: the import is one transaction of the caller's; no more than a page of lines is in
memory; a line that is wrong is named by its number and field; nothing stored is overwritten. A
thread that arrives under another id or tenant gets turns and summaries with ids of their own, since
the old ones are taken where it came from. An id in a line names another line of the same file, or it is
refused; the thread is never longer than its lines say, and never under legal hold.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Table, func, select, update

from conversation.arguments import INTEGER_MAX, check_flag
from conversation.branch_address import address_of
from conversation.errors import InvalidInput
from conversation.message import Message
from conversation.quotation import quote
from conversation.validation import check_id, check_tenant_of_user
from store.database.column_types import clock
from store.database.statements import insert_for
from store.files.attachments import insert_attachments
from store.history import message_rows
from store.history.counters import recount
from store.history.visibility import is_summary_of
from store.lineage import Lineage
from store.tables import messages, summaries, thread_context, threads, turns
from store.threads.branch_imports import (
    FIRST,
    BranchPlace,
    ImportedBranches,
    ImportOutcome,
    Names,
    find_taken_ids,
    until_end,
)
from store.threads.export import FORMAT, PAGE, VERSION
from store.threads.export_format import (
    CONTEXT,
    KINDS,
    SUMMARY,
    THREAD,
    TURN,
    Line,
    check_count,
    check_fields,
    locate_errors,
    parse_lines,
)
from store.threads.import_bounds import ANY_FILES, FILES_MAX, FileBounds, ImportingUser

#: Messages whose files are stored by one statement.
FILES_PAGE = 50
#: What a line has beside its message.
_OF_ROW = ("kind", "tokens", "rolled_back")
#: Namespace of the ids of copies: each is derived from the id that it copies, the same one each time.
_COPY_NAMESPACE = uuid.UUID("2f6e64a0-2f3c-5c0e-9d4e-3f1f6c6f1f0b")


def import_thread(
    connection: Connection,
    lines: Iterable[dict[str, Any] | str],
    *,
    tenant: str | None = None,
    thread_id: str | None = None,
    user: str | None = None,
    file_bounds: FileBounds = ANY_FILES,
    is_archive: bool = False,
) -> ImportOutcome:
    """Store a thread out of its lines, with its branches; under another tenant or id where they are named.

    With `user`, as a file of theirs: the thread is theirs, with no system text and with their own files alone. An
    archive of ours may be a part of its thread, which ends where its header says.

    A file counts as missing when it is not stored here: its row waits for the bytes. Raises `InvalidInput`:
    for a thread that is stored already (delete it first, or name another id), for lines that are
    broken, truncated, or of a newer version.
    """
    remaining_lines = parse_lines(lines)
    header = next(remaining_lines, None)
    if header is None:
        raise InvalidInput("line 1", "is missing", "pass what export_thread gave")

    names: Names = tenant, thread_id, user

    def store(header: Line, place: BranchPlace = FIRST) -> tuple[_ThreadImport, ImportOutcome]:
        with locate_errors(header.number):
            thread_import = _begin(connection, header, names, place)
        thread_import.file_bounds, thread_import.is_archive = file_bounds, is_archive
        # Up to the next end: a branch may follow.
        section = until_end(remaining_lines)
        while page := list(islice(section, PAGE)):
            thread_import.store_lines(page)
        return thread_import, thread_import.finish()

    first, outcome = store(header)
    names = first.tenant, first.thread_id, user
    branches = ImportedBranches(connection, first.key)
    branches.note_first(header)
    for header in remaining_lines:
        place = branches.find_place(header)
        branch, branch_outcome = store(header, place)
        branches.note(branch.key, place)
        outcome = outcome.add(branch_outcome)
    branches.choose()
    return outcome


def _begin(connection: Connection, header: Line, names: Names, place: BranchPlace) -> "_ThreadImport":
    tenant, thread_id, user = names
    if header["kind"] != "thread" or header["format"] != FORMAT:
        raise InvalidInput("format", "is not ours", f"the first line is the header of a {FORMAT}")
    version = check_count("version", header["version"])
    if version > VERSION:
        raise InvalidInput("version", f"is {version}", f"this release reads up to {VERSION}: take a newer one")
    columns = check_fields(header["thread"], THREAD)
    if columns["history_starts_after"] > columns["last_seq"]:
        raise InvalidInput("history_starts_after", "is behind last_seq", "nothing behind the end was deleted")
    target = (
        check_tenant_of_user(tenant or columns["tenant"]),
        check_id("thread_id", columns["id"] if thread_id is None else thread_id),
    )
    importing_user = ImportingUser(target[0], None if user is None else check_id("user", user))
    importing_user.check_thread(columns)
    thread_import = _ThreadImport(
        connection,
        *target,
        is_copy=target != (columns["tenant"], columns["id"]),
        last_seq=columns["last_seq"],
        summary_id=columns["summary_id"],
        importing_user=importing_user,
        lineage=place.lineage,
        _seq=max(columns["history_starts_after"], place.shared_to_seq),
    )
    # What only its lines can say is not taken from the header: its end and its summary stand at `finish`. A hold is
    # an operator's word on this installation. Version 0 would say that there is no context: lines may bring some.
    row_id = address_of(target[1], place.branch)
    own_values = {"tenant": target[0], "id": row_id, "owner": user or columns["owner"], "context_version": 1}
    values = columns | own_values | dict(place.values) | {"last_seq": 0, "summary_id": None, "legal_hold": False}
    statement = insert_for(connection, threads).values(values)
    statement = statement.on_conflict_do_nothing(index_elements=["tenant", "id"])
    key = connection.execute(statement.returning(threads.c.key)).scalar_one_or_none()
    if key is None:
        fix = "delete that thread first, or name another thread_id"
        raise InvalidInput("thread.id", f"{row_id!r} is stored already", fix)
    thread_import.key = key
    return thread_import


@dataclass(slots=True)
class _ThreadImport:
    """An import under way."""

    connection: Connection
    tenant: str
    thread_id: str
    #: The thread gets another tenant or id than it was exported with.
    is_copy: bool
    #: As the header says: no line may stand behind it.
    last_seq: int
    #: The id of its summary in the file.
    summary_id: str | None
    importing_user: ImportingUser
    #: The seq of the newest message, or up to which all were deleted before.
    _seq: int
    #: The column of a branch that shares the history of another one.
    lineage: list[list[int]] | None = None
    key: int = 0
    file_bounds: FileBounds = ANY_FILES
    is_archive: bool = False
    #: The ids of its summaries in the file, and the highest seq that one of them covers.
    summary_ids: set[str] = field(default_factory=set)
    covered_to: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    #: Ids of turns that forks still show of a thread that comes back out of its archive.
    taken_ids: set[str] = field(default_factory=set)
    #: Hash → whether the database knew the file before.
    files: dict[str, bool] = field(default_factory=dict)
    #: Of the newest line: its number, and the index of its kind.
    _number: int = 1
    _kind_index: int = 0

    def store_lines(self, page: Sequence[Line]) -> None:
        """Store the next lines."""
        page_messages: list[Message] = []
        rows: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
        if self.is_archive and not self.is_copy:
            self.taken_ids |= find_taken_ids(self.connection, page)
        for line in page:
            with locate_errors(line.number):
                self._check_order(line)
                if line["kind"] == "message":
                    page_messages.append(self._read_message(line))
                    rows["message"].append(self._message_row(page_messages[-1], line))
                elif line["kind"] != "end":
                    rows[line["kind"]].append(self._row(line))
        location = f"line {page[0].number}" if len(page) == 1 else f"lines {page[0].number}-{page[-1].number}"
        for kind, table in (("context", thread_context), ("summary", summaries), ("turn", turns)):
            _insert(self.connection, table, rows[kind], location)
        self._check_turns(rows["message"], location)
        _insert(self.connection, messages, rows["message"], location)
        for start in range(0, len(page_messages), FILES_PAGE):
            self._store_files(page_messages[start : start + FILES_PAGE])

    @property
    def end_seq(self) -> int:
        """The last seq of the thread: a header could say anything, but for one of ours."""
        return self.last_seq if self.is_archive else self._seq

    def finish(self) -> ImportOutcome:
        if not self.counts["end"]:
            raise InvalidInput(f"line {self._number + 1}", "is missing", "the file was truncated: copy it again")
        if self.covered_to > self.end_seq:
            raise InvalidInput("summary: to_seq", f"is {self.covered_to}", f"the last message stands at {self._seq}")
        if self.summary_id not in {None, *self.summary_ids}:
            raise InvalidInput("line 1: summary_id", f"is {quote(self.summary_id)}", "it names a summary of this file")
        self._finish_thread()
        return ImportOutcome(
            tenant=self.tenant,
            thread_id=self.thread_id,
            messages=self.counts["message"],
            turns=self.counts["turn"],
            summaries=self.counts["summary"],
            context=self.counts["context"],
            blobs=tuple(sorted(self.files)),
            missing_blobs=tuple(sorted(sha256 for sha256, known in self.files.items() if not known)),
        )

    def _finish_thread(self) -> None:
        """Point to its summary, and count what that does not cover: the header could say anything."""
        summary_id = self.own_id(self.summary_id)
        covered_to = select(func.coalesce(func.max(summaries.c.to_seq), 0)).where(is_summary_of(self.key, summary_id))
        self.connection.execute(
            update(threads)
            .where(threads.c.key == self.key)
            .values(
                last_seq=self.end_seq,
                summary_id=summary_id,
                retained_from=message_rows.oldest_created_at(self.key),
                **recount(Lineage.build(self.key, self.lineage), after_seq=covered_to.scalar_subquery()),
            )
        )

    def own_id(self, value: str | None) -> str | None:
        """The id under which a turn or summary is stored here."""
        if value is None or not (self.is_copy or value in self.taken_ids):
            return value
        return str(uuid.uuid5(_COPY_NAMESPACE, f"{self.tenant}/{self.thread_id}/{value}"))

    def _check_order(self, line: Line) -> None:
        kind_index = KINDS.index(line["kind"])
        if self.counts["end"] or kind_index == 0 or kind_index < self._kind_index:
            raise InvalidInput("kind", f"{line['kind']} stands too late", f"keep the order: {', '.join(KINDS)}")
        if line["kind"] == "end" and line["lines"] != 1 + sum(self.counts.values()):
            raise InvalidInput("lines", f"says {quote(line['lines'])}", "a line is missing: copy the file again")
        self._number, self._kind_index = line.number, kind_index
        self.counts[line["kind"]] += 1

    def _row(self, line: Line) -> dict[str, Any]:
        match line["kind"]:
            case "context":
                values = check_fields(line.values, CONTEXT)
                self.importing_user.check_row("context", values)
                return values | {"thread_key": self.key}
            case "summary":
                values = check_fields(line.values, SUMMARY)
                self._note_summary(values)
                ids = {name: self.own_id(values[name]) for name in ("id", "previous_id")}
                return {**values, **ids, "thread_key": self.key}
            case _:
                values = check_fields(line.values, TURN)
                self._check_turn(values)
                ids = {name: self.own_id(values[name]) for name in ("id", "interrupted_by", "merged_into")}
                return values | ids | {"thread_key": self.key, "tenant": self.tenant}

    def _note_summary(self, values: dict[str, Any]) -> None:
        """Check what a summary covers and follows, and note it."""
        if not 0 < values["from_seq"] <= values["to_seq"] <= self.last_seq:
            fix = f"it covers messages from 1 to the thread's last_seq, {self.last_seq}"
            raise InvalidInput("to_seq", f"is {values['to_seq']} from {values['from_seq']}", fix)
        if values["previous_id"] not in {None, *self.summary_ids}:
            raise InvalidInput("previous_id", f"is {quote(values['previous_id'])}", "it names a summary before it")
        self.summary_ids.add(values["id"])
        self.covered_to = max(self.covered_to, values["to_seq"])

    def _check_turn(self, values: dict[str, Any]) -> None:
        self.importing_user.check_row("turn", values)
        if (values["window_to_seq"] or 0) > self.last_seq:
            raise InvalidInput("window_to_seq", "is behind the thread's last_seq", f"that is {self.last_seq}")
        if values["error_kind"] is not None and values["error_message"] is None:
            raise InvalidInput("error_message", "is missing", "an error has both")

    def _read_message(self, line: Line) -> Message:
        seq = check_count("seq", line["seq"])
        if not self._seq < seq <= self.last_seq:
            fix = f"it grows from line to line, up to the thread's last_seq, {self.last_seq}"
            raise InvalidInput("seq", f"is {seq}", fix)
        self._seq = seq
        for name in ("id", "role", "content", "created_at"):
            line[name]  # raises where it is missing: a default would be made up
        message_json = {name: value for name, value in line.values.items() if name not in _OF_ROW}
        message = Message.from_json(message_json)
        self.file_bounds.check(message)
        self.importing_user.check_message(self.connection, message)
        return message

    def _message_row(self, message: Message, line: Line) -> dict[str, Any]:
        (row,) = message_rows.reply_rows(self.key, None, after_seq=self._seq - 1, replies=[message])
        tokens = line.values.get("tokens")
        return row | {
            "turn_id": self.own_id(message.turn_id),
            "tokens": None if tokens is None else check_count("tokens", tokens, INTEGER_MAX),
            "rolled_back": check_flag("rolled_back", line.values.get("rolled_back", False)),
        }

    def _check_turns(self, rows: Sequence[dict[str, Any]], location: str) -> None:
        turn_ids = {row["turn_id"] for row in rows} - {None}
        if not turn_ids:
            return
        stored_ids = select(turns.c.id).where(turns.c.thread_key == self.key, turns.c.id.in_(turn_ids))
        missing_ids = turn_ids - set(self.connection.execute(stored_ids).scalars())
        if missing_ids:
            raise InvalidInput(f"{location}: turn_id", f"{min(missing_ids)!r} is no turn before it", "keep its line")

    def _store_files(self, new_messages: Sequence[Message]) -> None:
        """Store the files of messages, in statements of a bounded size."""
        new_files = [file for message in new_messages for file in message.attachments if file.sha256 not in self.files]
        if len(self.files) + len({file.sha256 for file in new_files}) > FILES_MAX:
            raise InvalidInput(f"line {self._number}: attachments", "are too many", f"at most {FILES_MAX} files fit")
        if new_files:
            reservations = self.file_bounds.reserve(self.connection, self.tenant, new_files)
            self.files |= {sha256: row.is_stored for sha256, row in reservations.items()}
        insert_attachments(self.connection, self.key, self.tenant, new_messages)


def _insert(connection: Connection, table: Table, rows: Sequence[dict[str, Any]], location: str) -> None:
    if not rows:
        return
    statement = insert_for(connection, table).on_conflict_do_nothing().returning(next(iter(table.primary_key.columns)))
    inserted_rows = connection.execute(
        statement.values(updated_at=clock()) if table is thread_context else statement, rows
    ).all()
    if len(inserted_rows) != len(rows):
        raise InvalidInput(f"{location}: id", "is stored already, or there twice", "each has an id of its own")
