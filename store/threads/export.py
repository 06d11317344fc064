"""A thread as lines of JSON: what is written here, `arrival` reads.

    {"kind": "thread", "format": "threadmill.thread", "version": 1, "thread": {…}}
    {"kind": "context", …}  {"kind": "summary", …}  {"kind": "turn", …}  {"kind": "message", …}
    {"kind": "end", "lines": 4}

What stays true: the lines show the thread as it was when the first was read, without turns that
were not finished then and without what still waited in the inbox; never more than a page of it is
in memory; a file that was cut off is known by its missing end. Files go by their hash, never as
bytes.
"""

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, not_, select

from conversation.errors import ThreadNotFound
from conversation.message import Message
from conversation.turn import FINAL_STATES
from store.database.statements import AnyRow
from store.history import message_rows
from store.history.visibility import goes_with_the_cut, is_hidden_turn
from store.tables import context, messages, summaries, threads, turns
from store.threads.export_format import SUMMARY, THREAD, TURN

FORMAT = "threadmill.thread"
#: Raised when a reader of the version before could misunderstand a line.
VERSION = 1
#: Rows of one page.
PAGE = 500

Record = dict[str, Any]


def export_thread(connection: Connection, tenant: str, thread_id: str) -> Iterator[Record]:
    """The lines of a thread, read page by page. Raises `ThreadNotFound`."""
    export = Export(tenant, thread_id)
    while page := export.next_page(connection):
        yield from page


@dataclass(slots=True)
class Export:
    """An export under way: each page may be read in a transaction of its own."""

    tenant: str
    thread_id: str
    _thread: AnyRow | None = None
    _last_position: int = 0
    #: What comes next: the rows behind this place of this kind; "" when all was written.
    _next: tuple[str, int] = ("thread", 0)
    _lines: int = 0

    def next_page(self, connection: Connection) -> list[Record]:
        """The next lines, none at the end. Run again before it returned, it gives the same ones."""
        while self._next[0]:
            kind, after = self._next
            lines, following = self._read(connection, kind, after)
            self._next = following
            self._lines += len(lines)
            if lines:
                return lines
        return []

    def _read(self, connection: Connection, kind: str, after: int) -> tuple[list[Record], tuple[str, int]]:
        match kind:
            case "thread":
                return self._read_thread(connection), ("turn", 0)
            case "turn":
                rows = self._turns(connection, after)
                last = rows[-1].position if len(rows) == PAGE else None
                return [turn_line(row) for row in rows], ("message", 0) if last is None else ("turn", last)
            case "message":
                lines = self._messages(connection, after)
                last = lines[-1]["seq"] if len(lines) == PAGE else None
                return lines, ("end", 0) if last is None else ("message", last)
            case _:
                return [{"kind": "end", "lines": self._lines}], ("", 0)

    def _read_thread(self, connection: Connection) -> list[Record]:
        """The header, and what there is little of. What comes later is read up to where it stands now."""
        of_thread = (threads.c.tenant == self.tenant) & (threads.c.id == self.thread_id)
        newest = select(func.coalesce(func.max(turns.c.position), 0)).where(
            turns.c.thread_key == threads.c.key, turns.c.state.in_(FINAL_STATES)
        )
        row = connection.execute(
            select(threads, newest.scalar_subquery().label("last_position")).where(of_thread)
        ).one_or_none()
        if row is None:
            raise ThreadNotFound(f"no thread {self.thread_id!r} is stored for tenant {self.tenant!r}")
        self._thread, self._last_position = row, row.last_position
        keyed = select(context.c.key, context.c.content).where(context.c.thread_key == row.key)
        summed = select(summaries).where(summaries.c.thread_key == row.key, not_(goes_with_the_cut(row.key)))
        return [
            header_line(row),
            *map(context_line, connection.execute(keyed.order_by(context.c.key))),
            *map(summary_line, connection.execute(summed.order_by(summaries.c.id))),
        ]

    def _turns(self, connection: Connection, after: int) -> Sequence[AnyRow]:
        assert self._thread is not None
        statement = select(turns).where(
            turns.c.thread_key == self._thread.key,
            turns.c.position > after,
            turns.c.position <= self._last_position,
            turns.c.state.in_(FINAL_STATES),
            not_(is_hidden_turn(self._thread.key)),
        )
        return connection.execute(statement.order_by(turns.c.position).limit(PAGE)).all()

    def _messages(self, connection: Connection, after: int) -> list[Record]:
        assert self._thread is not None
        key, to_seq = self._thread.key, self._thread.last_seq
        finished = select(turns.c.state.in_(FINAL_STATES) & (turns.c.position <= self._last_position)).where(
            turns.c.id == messages.c.turn_id
        )
        statement = message_rows.history_rows(key, after_seq=after, to_seq=to_seq)
        statement = statement.add_columns(finished.scalar_subquery().label("in_turn"))
        rows = connection.execute(statement.order_by(messages.c.seq).limit(PAGE)).all()
        found = message_rows.load(connection, key, rows)
        return [
            message_line(message, row.tokens, turn_id=message.turn_id if row.in_turn else None)
            for message, row in zip(found, rows, strict=True)
        ]


def next_page(connection: Connection, export: Export) -> tuple[list[Record], Export]:
    """A transaction that is run again must not skip a page: it goes on from where the last one ended."""
    following = copy(export)
    return following.next_page(connection), following


def header_line(row: AnyRow) -> Record:
    """The first line: what the thread's own row says."""
    return {"kind": "thread", "format": FORMAT, "version": VERSION, "thread": _plain(row, THREAD)}


def context_line(row: AnyRow) -> Record:
    """The line of a keyed system text."""
    return {"kind": "context", "key": row.key, "content": row.content}


def summary_line(row: AnyRow) -> Record:
    """The line of a summary."""
    return {"kind": "summary"} | _plain(row, SUMMARY)


def turn_line(row: AnyRow) -> Record:
    """The line of a turn that is over."""
    return {"kind": "turn"} | _plain(row, TURN)


def message_line(message: Message, tokens: int | None, *, turn_id: str | None) -> Record:
    """The line of a message; `turn_id` names a turn that has a line before it."""
    return {"kind": "message"} | message.to_json() | {"tokens": tokens, "turn_id": turn_id}


def _plain(row: AnyRow, columns: Iterable[str]) -> Record:
    values = {name: getattr(row, name) for name in columns}
    return {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()
    }
