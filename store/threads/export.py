"""Export of a thread as lines of JSON, which `importer` reads.

    {"kind": "thread", "format": "threadmill.thread", "version": 1, "thread": {…}}
    {"kind": "context", …}  {"kind": "summary", …}  {"kind": "turn", …}  {"kind": "message", …}
    {"kind": "end", "lines": 4}

Of a thread with branches, each of these follows in the same way, with what it shares of one before it in its header.

What stays true: the lines show the thread as it was when the first was read, without turns that
were not finished then and without messages that still waited in the inbox; never more than a page of
it is in memory; a truncated file is known by its missing end. Files go by their hash, never as bytes.
"""

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, not_, select

from conversation.branch_address import split_address
from conversation.errors import ThreadNotFound
from conversation.message import Message
from conversation.turn import FINAL_STATES
from store.database.sqlite import read_only
from store.database.statements import AnyRow
from store.history import message_rows
from store.history.arrival_order import first_turns
from store.history.row_ids import is_row_of
from store.history.visibility import is_hidden_summary, is_hidden_turn
from store.lineage import Lineage
from store.tables import messages, summaries, thread_context, threads, turns
from store.threads.branch_exports import ExportedBranch, list_exported_branches
from store.threads.export_format import SUMMARY, THREAD, TURN

FORMAT = "threadmill.thread"
#: Raised when a reader of the version before could misunderstand a line.
VERSION = 1
#: Rows of one page.
PAGE = 500

Record = dict[str, Any]


@dataclass(slots=True)
class Export:
    """An export under way: each page may be read in a transaction of its own."""

    tenant: str
    thread_id: str
    _thread: AnyRow | None = None
    _last_arrival_seq: int = 0
    #: The kind of the next rows, "" when all was written; and the number behind which they begin.
    _next: tuple[str, int] = ("thread", 0)
    _lines: int = 0
    #: The branches of the thread, by their addresses, and what each shares of one before it; none where one was named.
    _branches: Sequence[ExportedBranch] = ()
    _branch: int = 0

    def read_next_page(self, connection: Connection) -> list[Record]:
        """Read the next lines, none at the end. Repeated after a failure, it reads the same lines."""
        while self._next[0]:
            kind, after = self._next
            lines, next_position = self._read(connection, kind, after)
            self._next = next_position
            self._lines += len(lines)
            if lines:
                return lines
        return []

    def _read(self, connection: Connection, kind: str, after: int) -> tuple[list[Record], tuple[str, int]]:
        match kind:
            case "thread":
                return self._read_thread(connection), ("turn", 0)
            case "turn":
                rows = self._read_turns(connection, after)
                last = rows[-1].arrival_seq if len(rows) == PAGE else None
                return [turn_line(row) for row in rows], ("message", 0) if last is None else ("turn", last)
            case "message":
                lines = self._read_messages(connection, after)
                last = lines[-1]["seq"] if len(lines) == PAGE else None
                return lines, ("end", 0) if last is None else ("message", last)
            case _:
                return self._end()

    def _read_thread(self, connection: Connection) -> list[Record]:
        """Read header, context and summaries, and note up to where turns and messages will be exported."""
        if not self._branch:
            self._branches = list_exported_branches(connection, self.tenant, self.thread_id)
        address = self._branches[self._branch].address if self._branches else self.thread_id
        of_thread = is_row_of(self.tenant, address)
        newest_arrival_seq = select(func.coalesce(func.max(turns.c.arrival_seq), 0)).where(
            turns.c.thread_key == threads.c.key, turns.c.state.in_(FINAL_STATES)
        )
        row = connection.execute(
            select(threads, newest_arrival_seq.scalar_subquery().label("last_arrival_seq")).where(of_thread)
        ).one_or_none()
        if row is None:
            raise ThreadNotFound(f"no thread {self.thread_id!r} is stored for tenant {self.tenant!r}")
        self._thread, self._last_arrival_seq = row, row.last_arrival_seq
        context_statement = select(thread_context.c.key, thread_context.c.content).where(
            thread_context.c.thread_key == row.key
        )
        summary_statement = select(summaries).where(summaries.c.thread_key == row.key, not_(is_hidden_summary(row.key)))
        header = header_line(row)
        if self._branches:
            header["thread"] |= self._branches[self._branch].header
        return [
            header,
            *map(context_line, connection.execute(context_statement.order_by(thread_context.c.key))),
            *map(summary_line, connection.execute(summary_statement.order_by(summaries.c.to_seq, summaries.c.id))),
        ]

    def _end(self) -> tuple[list[Record], tuple[str, int]]:
        """The end of the thread, or of a branch; the next one follows."""
        end = {"kind": "end", "lines": self._lines}
        self._branch += 1
        # Counted anew: this one is added to it.
        self._lines = -1
        return [end], ("thread", 0) if self._branch < len(self._branches) else ("", 0)

    def _read_turns(self, connection: Connection, after: int) -> Sequence[AnyRow]:
        assert self._thread is not None
        statement = select(turns).where(
            turns.c.thread_key == self._thread.key,
            turns.c.arrival_seq > after,
            turns.c.arrival_seq <= self._last_arrival_seq,
            turns.c.state.in_(FINAL_STATES),
            not_(is_hidden_turn(self._thread.key)),
        )
        page = first_turns(statement, turns, limit=PAGE)
        return connection.execute(select(page).order_by(page.c.arrival_seq)).all()

    def _read_messages(self, connection: Connection, after: int) -> list[Record]:
        assert self._thread is not None
        lineage, to_seq = Lineage.of(self._thread), self._thread.last_seq
        is_finished = select(turns.c.state.in_(FINAL_STATES) & (turns.c.arrival_seq <= self._last_arrival_seq)).where(
            turns.c.id == messages.c.turn_id, turns.c.thread_key == lineage.key
        )
        in_turn = is_finished.scalar_subquery().label("in_turn")
        if self._branches:
            after = max(after, self._branches[self._branch].shared_to_seq)
        statement = message_rows.kept_rows(lineage, in_turn, after_seq=after, to_seq=to_seq, limit=PAGE)
        rows = connection.execute(statement).all()
        loaded_messages = message_rows.load(connection, lineage, rows)
        return [
            message_line(
                message, row.tokens, turn_id=message.turn_id if row.in_turn else None, rolled_back=row.rolled_back
            )
            for message, row in zip(loaded_messages, rows, strict=True)
        ]


@read_only
def read_next_page(connection: Connection, export: Export) -> tuple[list[Record], Export]:
    """Read the next page, and return it with the export behind it; a repeated transaction skips none."""
    next_export = copy(export)
    return next_export.read_next_page(connection), next_export


def header_line(row: AnyRow) -> Record:
    """The first line: the columns of the thread's row. Of a branch, too, under the thread's id."""
    thread_id, branch = split_address(row.id)
    values = _json_values(row, THREAD) | {"id": thread_id} | ({} if branch is None else {"branch": branch})
    return {"kind": "thread", "format": FORMAT, "version": VERSION, "thread": values}


def context_line(row: AnyRow) -> Record:
    """The line of a keyed system text."""
    return {"kind": "context", "key": row.key, "content": row.content}


def summary_line(row: AnyRow) -> Record:
    """The line of a summary."""
    return {"kind": "summary"} | _json_values(row, SUMMARY)


def turn_line(row: AnyRow) -> Record:
    """The line of a turn that is over."""
    return {"kind": "turn"} | _json_values(row, TURN)


def message_line(message: Message, tokens: int | None, *, turn_id: str | None, rolled_back: bool = False) -> Record:
    """The line of a message; `turn_id` names a turn that has a line before it. One out of view says so."""
    line = {"kind": "message"} | message.to_json() | {"tokens": tokens, "turn_id": turn_id}
    return line | {"rolled_back": True} if rolled_back else line


def _json_values(row: AnyRow, columns: Iterable[str]) -> Record:
    values = {name: getattr(row, name) for name in columns}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}
