"""Import of an exported thread: whole, with its ids, seqs and times, or not at all.

What stays true: the import is one transaction of the caller's; no more than a page of lines is in
memory; a line that is wrong is named by its number and field; nothing stored is overwritten. A
thread that arrives under another id or tenant gets turns and summaries with ids of their own, since
the old ones are taken where it came from.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Table, func, select, update

from conversation.arguments import INTEGER_MAX
from conversation.errors import InvalidInput
from conversation.message import Message
from conversation.quotation import quote
from conversation.validation import check_id, check_tenant_of_user
from store.database.column_types import clock
from store.database.statements import insert_for
from store.files.attachments import insert_attachments
from store.files.blob_rows import reserve
from store.history import message_rows
from store.history.counters import recount
from store.tables import messages, summaries, thread_context, threads, turns
from store.threads.export import FORMAT, PAGE, VERSION
from store.threads.export_format import (
    CONTEXT,
    FILES_MAX,
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

#: Namespace of the ids of copies: each is derived from the id that it copies, the same one each time.
_COPY_NAMESPACE = uuid.UUID("2f6e64a0-2f3c-5c0e-9d4e-3f1f6c6f1f0b")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOutcome:
    """The outcome of an import: what it stored."""

    tenant: str
    thread_id: str
    messages: int
    turns: int
    summaries: int
    context: int
    #: Hashes of the files of its messages.
    blobs: tuple[str, ...]
    #: Hashes whose bytes are not here; once they are in the file store, they are read.
    missing_blobs: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def import_thread(
    connection: Connection,
    lines: Iterable[dict[str, Any] | str],
    *,
    tenant: str | None = None,
    thread_id: str | None = None,
) -> ImportOutcome:
    """Store a thread out of its lines; under another tenant or id where they are named.

    A file counts as missing when it is not stored here: its row waits for the bytes. Raises `InvalidInput`:
    for a thread that is stored already (delete it first, or name another id), for lines that are
    broken, truncated, or of a newer version.
    """
    remaining_lines = parse_lines(lines)
    header = next(remaining_lines, None)
    if header is None:
        raise InvalidInput("line 1", "is missing", "pass what export_thread gave")
    with locate_errors(header.number):
        thread_import = _begin(connection, header, tenant, thread_id)
    while page := list(islice(remaining_lines, PAGE)):
        thread_import.store_lines(page)
    return thread_import.finish()


def _begin(connection: Connection, header: Line, tenant: str | None, thread_id: str | None) -> "_ThreadImport":
    if header["kind"] != "thread" or header["format"] != FORMAT:
        raise InvalidInput("format", "is not ours", f"the first line is the header of a {FORMAT}")
    version = check_count("version", header["version"])
    if version > VERSION:
        raise InvalidInput("version", f"is {version}", f"this release reads up to {VERSION}: take a newer one")
    columns = check_fields(header["thread"], THREAD)
    target = (
        check_tenant_of_user(tenant or columns["tenant"]),
        check_id("thread_id", columns["id"] if thread_id is None else thread_id),
    )
    thread_import = _ThreadImport(
        connection, *target, is_copy=target != (columns["tenant"], columns["id"]), last_seq=columns["last_seq"]
    )
    values = columns | {"tenant": target[0], "id": target[1], "summary_id": thread_import.own_id(columns["summary_id"])}
    # Version 0 would say that there is no context: the lines behind may bring some.
    statement = insert_for(connection, threads).values(values | {"context_version": 1})
    statement = statement.on_conflict_do_nothing(index_elements=["tenant", "id"])
    key = connection.execute(statement.returning(threads.c.key)).scalar_one_or_none()
    if key is None:
        fix = "delete that thread first, or name another thread_id"
        raise InvalidInput("thread.id", f"{target[1]!r} is stored already", fix)
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
    last_seq: int
    key: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    #: Hash → whether the database knew the file before.
    files: dict[str, bool] = field(default_factory=dict)
    #: Of the newest line: its number, the index of its kind, its seq.
    _number: int = 1
    _kind_index: int = 0
    _seq: int = 0

    def store_lines(self, page: Sequence[Line]) -> None:
        """Store the next lines."""
        page_messages: list[Message] = []
        rows: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
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
            self._insert(table, rows[kind], location)
        self._check_turns(rows["message"], location)
        self._insert(messages, rows["message"], location)
        self._note_files(page_messages)
        insert_attachments(self.connection, self.key, self.tenant, page_messages)

    def finish(self) -> ImportOutcome:
        if not self.counts["end"]:
            raise InvalidInput(f"line {self._number + 1}", "is missing", "the file was truncated: copy it again")
        self._count()
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

    def _count(self) -> None:
        """Count what no summary covers: counters out of the file could say anything."""
        covered_statement = select(func.coalesce(func.max(summaries.c.to_seq), 0))
        covered_statement = covered_statement.where(
            summaries.c.thread_key == self.key, summaries.c.id == threads.c.summary_id
        )
        covered_to = covered_statement.correlate(threads).scalar_subquery()
        of_thread = update(threads).where(threads.c.key == self.key)
        counters = recount(self.key, after_seq=covered_to)
        self.connection.execute(of_thread.values(**counters, retained_from=message_rows.oldest_created_at(self.key)))

    def own_id(self, value: str | None) -> str | None:
        """The id under which a turn or summary is stored here."""
        if value is None or not self.is_copy:
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
                return check_fields(line.values, CONTEXT) | {"thread_key": self.key}
            case "summary":
                values = check_fields(line.values, SUMMARY)
                ids = {name: self.own_id(values[name]) for name in ("id", "previous_id")}
                return {**values, **ids, "thread_key": self.key}
            case _:
                values = check_fields(line.values, TURN)
                own_columns = {"thread_key": self.key, "tenant": self.tenant, "id": self.own_id(values["id"])}
                return values | own_columns

    def _read_message(self, line: Line) -> Message:
        seq = check_count("seq", line["seq"])
        if not self._seq < seq <= self.last_seq:
            fix = f"it grows from line to line, up to the thread's last_seq, {self.last_seq}"
            raise InvalidInput("seq", f"is {seq}", fix)
        self._seq = seq
        for name in ("id", "role", "content", "created_at"):
            line[name]  # raises where it is missing: a default would be made up
        message_json = {name: value for name, value in line.values.items() if name not in ("kind", "tokens")}
        message = Message.from_json(message_json)
        for file in message.attachments:
            if file.size is None or file.media_type is None:
                raise InvalidInput("attachments", "lack size or media_type", "both are stored with the hash")
        return message

    def _message_row(self, message: Message, line: Line) -> dict[str, Any]:
        (row,) = message_rows.reply_rows(
            self.key, self.own_id(message.turn_id), after_seq=self._seq - 1, replies=[message]
        )
        tokens = line.values.get("tokens")
        return row | {"tokens": None if tokens is None else check_count("tokens", tokens, INTEGER_MAX)}

    def _check_turns(self, rows: Sequence[dict[str, Any]], location: str) -> None:
        turn_ids = {row["turn_id"] for row in rows} - {None}
        if not turn_ids:
            return
        stored_ids = select(turns.c.id).where(turns.c.thread_key == self.key, turns.c.id.in_(turn_ids))
        missing_ids = turn_ids - set(self.connection.execute(stored_ids).scalars())
        if missing_ids:
            raise InvalidInput(f"{location}: turn_id", f"{min(missing_ids)!r} is no turn before it", "keep its line")

    def _insert(self, table: Table, rows: Sequence[dict[str, Any]], location: str) -> None:
        if not rows:
            return
        statement = insert_for(self.connection, table).on_conflict_do_nothing()
        if table is thread_context:
            statement = statement.values(updated_at=clock())
        column = next(iter(table.primary_key.columns))
        inserted_rows = self.connection.execute(statement.returning(column), rows).all()
        if len(inserted_rows) != len(rows):
            raise InvalidInput(f"{location}: id", "is stored already, or there twice", "each has an id of its own")

    def _note_files(self, new_messages: Sequence[Message]) -> None:
        new_files = [file for message in new_messages for file in message.attachments if file.sha256 not in self.files]
        if len(self.files) + len({file.sha256 for file in new_files}) > FILES_MAX:
            raise InvalidInput("attachments", f"are more than {FILES_MAX} files", "import the thread without some")
        if new_files:
            reservations = reserve(self.connection, self.tenant, new_files)
            self.files |= {sha256: row.is_stored for sha256, row in reservations.items()}
