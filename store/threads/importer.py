"""Reading what `transfer` wrote: a thread arrives whole, with its ids, places and times, or not at all.

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

from conversation.errors import InvalidInput
from conversation.message import Message
from conversation.validation import check_id, check_tenant_of_user
from store.database.column_types import clock
from store.database.statements import insert_for
from store.files.attachments import insert_attachments
from store.files.blob_rows import announce
from store.history import message_rows
from store.history.counters import recounted
from store.tables import context, messages, summaries, threads, turns
from store.threads.export import FORMAT, PAGE, VERSION
from store.threads.export_format import (
    CONTEXT,
    KINDS,
    SUMMARY,
    THREAD,
    TURN,
    Line,
    checked,
    named,
    numbered,
    whole_number,
)

#: Ids of copies are made from this and the id that they are a copy of: the same ones each time.
_COPIES = uuid.UUID("2f6e64a0-2f3c-5c0e-9d4e-3f1f6c6f1f0b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import stored."""

    tenant: str
    thread_id: str
    messages: int
    turns: int
    summaries: int
    context: int
    #: Hashes of the files of its messages.
    blobs: tuple[str, ...]
    #: Those whose bytes are not here; put them into the file store, and they are read.
    missing_blobs: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def import_thread(
    connection: Connection,
    lines: Iterable[dict[str, Any] | str],
    *,
    tenant: str | None = None,
    thread_id: str | None = None,
) -> Imported:
    """Store a thread out of its lines; under another tenant or id where they are named.

    A file counts as missing when it is not stored here: its row waits for the bytes. Raises `InvalidInput`:
    for a thread that is stored already (delete it first, or name another id), for lines that are
    broken, cut off, or of a newer version.
    """
    rest = numbered(lines)
    header = next(rest, None)
    if header is None:
        raise InvalidInput("line 1", "is missing", "pass what export_thread gave")
    with named(header.number):
        arrival = _begin(connection, header, tenant, thread_id)
    while page := list(islice(rest, PAGE)):
        arrival.take(page)
    return arrival.done()


def _begin(connection: Connection, header: Line, tenant: str | None, thread_id: str | None) -> "_Arrival":
    if header["kind"] != "thread" or header["format"] != FORMAT:
        raise InvalidInput("format", "is not ours", f"the first line is the header of a {FORMAT}")
    version = whole_number("version", header["version"])
    if version > VERSION:
        raise InvalidInput(
            "version", f"is {version}", f"this release reads up to {VERSION}: take a newer one"
        )
    said = checked(header["thread"], THREAD)
    wanted = (check_tenant_of_user(tenant or said["tenant"]), check_id("id", thread_id or said["id"]))
    arrival = _Arrival(
        connection, *wanted, is_copy=wanted != (said["tenant"], said["id"]), last_seq=said["last_seq"]
    )
    values = said | {"tenant": wanted[0], "id": wanted[1], "summary_id": arrival.own_id(said["summary_id"])}
    # So that context is looked for: the lines behind may bring some.
    statement = insert_for(connection, threads).values(values | {"context_version": 1})
    statement = statement.on_conflict_do_nothing(index_elements=["tenant", "id"])
    key = connection.execute(statement.returning(threads.c.key)).scalar_one_or_none()
    if key is None:
        fix = "delete that thread first, or name another thread_id"
        raise InvalidInput("thread.id", f"{wanted[1]!r} is stored already", fix)
    arrival.key = key
    return arrival


@dataclass(slots=True)
class _Arrival:
    """An import under way."""

    connection: Connection
    tenant: str
    thread_id: str
    #: It arrives under another name than it left with.
    is_copy: bool
    last_seq: int
    key: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    #: Hash → whether the database knew the file before.
    files: dict[str, bool] = field(default_factory=dict)
    #: Of the newest line: its number, its kind's place, its seq.
    _number: int = 1
    _kind: int = 0
    _seq: int = 0

    def take(self, page: Sequence[Line]) -> None:
        """Store the next lines."""
        said: list[Message] = []
        rows: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
        for line in page:
            with named(line.number):
                self._check_place(line)
                if line["kind"] == "message":
                    said.append(self._message(line))
                    rows["message"].append(self._message_row(said[-1], line))
                elif line["kind"] != "end":
                    rows[line["kind"]].append(self._row(line))
        where = f"line {page[0].number}" if len(page) == 1 else f"lines {page[0].number}-{page[-1].number}"
        for kind, table in (("context", context), ("summary", summaries), ("turn", turns)):
            self._insert(table, rows[kind], where)
        self._check_turns(rows["message"], where)
        self._insert(messages, rows["message"], where)
        self._note_files(said)
        insert_attachments(self.connection, self.key, self.tenant, said)

    def done(self) -> Imported:
        if not self.counts["end"]:
            raise InvalidInput(
                f"line {self._number + 1}", "is missing", "the file was cut off: copy it again"
            )
        self._count()
        return Imported(
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
        """What no summary covers is counted here: the file could say anything."""
        covered = select(func.coalesce(func.max(summaries.c.to_seq), 0))
        covered = covered.where(summaries.c.thread_key == self.key, summaries.c.id == threads.c.summary_id)
        behind = covered.correlate(threads).scalar_subquery()
        of_thread = update(threads).where(threads.c.key == self.key)
        counted = recounted(self.key, behind=behind)
        self.connection.execute(of_thread.values(**counted, retained_from=message_rows.oldest(self.key)))

    def own_id(self, value: str | None) -> str | None:
        """The id under which a turn or summary is stored here."""
        if value is None or not self.is_copy:
            return value
        return str(uuid.uuid5(_COPIES, f"{self.tenant}/{self.thread_id}/{value}"))

    def _check_place(self, line: Line) -> None:
        kind = KINDS.index(line["kind"])
        if self.counts["end"] or kind == 0 or kind < self._kind:
            raise InvalidInput(
                "kind", f"{line['kind']} stands too late", f"keep the order: {', '.join(KINDS)}"
            )
        if line["kind"] == "end" and line["lines"] != 1 + sum(self.counts.values()):
            raise InvalidInput("lines", f"says {line['lines']}", "a line is missing: copy the file again")
        self._number, self._kind = line.number, kind
        self.counts[line["kind"]] += 1

    def _row(self, line: Line) -> dict[str, Any]:
        match line["kind"]:
            case "context":
                return checked(line.values, CONTEXT) | {"thread_key": self.key}
            case "summary":
                values = checked(line.values, SUMMARY)
                ids = {name: self.own_id(values[name]) for name in ("id", "previous_id")}
                return {**values, **ids, "thread_key": self.key}
            case _:
                values = checked(line.values, TURN)
                own = {"thread_key": self.key, "tenant": self.tenant, "id": self.own_id(values["id"])}
                return values | own

    def _message(self, line: Line) -> Message:
        seq = whole_number("seq", line["seq"])
        if not self._seq < seq <= self.last_seq:
            fix = f"it grows from line to line, up to the thread's last_seq, {self.last_seq}"
            raise InvalidInput("seq", f"is {seq}", fix)
        self._seq = seq
        for name in ("id", "role", "content", "created_at"):
            line[name]  # raises where it is missing: a default would be made up
        given = {name: value for name, value in line.values.items() if name not in ("kind", "tokens")}
        message = Message.from_json(given)
        for file in message.attachments:
            if file.size is None or file.mime_type is None:
                raise InvalidInput("attachments", "lack size or mime_type", "both are stored with the hash")
        return message

    def _message_row(self, message: Message, line: Line) -> dict[str, Any]:
        (row,) = message_rows.reply_rows(
            self.key, self.own_id(message.turn_id), after_seq=self._seq - 1, replies=[message]
        )
        tokens = line.values.get("tokens")
        return row | {"tokens": None if tokens is None else whole_number("tokens", tokens)}

    def _check_turns(self, rows: Sequence[dict[str, Any]], where: str) -> None:
        wanted = {row["turn_id"] for row in rows} - {None}
        if not wanted:
            return
        found = select(turns.c.id).where(turns.c.thread_key == self.key, turns.c.id.in_(wanted))
        missing = wanted - set(self.connection.execute(found).scalars())
        if missing:
            raise InvalidInput(f"{where}: turn_id", f"{min(missing)!r} is no turn before it", "keep its line")

    def _insert(self, table: Table, rows: Sequence[dict[str, Any]], where: str) -> None:
        if not rows:
            return
        statement = insert_for(self.connection, table).on_conflict_do_nothing()
        if table is context:
            statement = statement.values(updated_at=clock())
        column = next(iter(table.primary_key.columns))
        stored = self.connection.execute(statement.returning(column), rows).all()
        if len(stored) != len(rows):
            raise InvalidInput(
                f"{where}: id", "is stored already, or there twice", "each has an id of its own"
            )

    def _note_files(self, said: Sequence[Message]) -> None:
        new = [file for message in said for file in message.attachments if file.sha256 not in self.files]
        if new:
            announced = announce(self.connection, self.tenant, new)
            self.files |= {sha256: row.is_stored for sha256, row in announced.items()}
