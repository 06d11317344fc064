"""The lineage of a history: where each part of what a thread or branch says is stored.

What stays true: a branch shares the history of the row that it was made from, up to a seq, and its own messages begin
after that; a lineage is written with its row and never changes. Whoever reads what a thread says reads it through
here; `messages.thread_key` alone says where a message is stored.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, FromClause, Select, or_, select, union_all

from store.database.statements import AnyRow
from store.tables import messages, threads

#: The seq to which a row's own part of its history reaches: it has no end.
OPEN_END = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Part:
    """Messages of a history that are stored with one row: those with `after_seq < seq <= to_seq`."""

    thread_key: int
    after_seq: int
    to_seq: int
    #: Without any, nobody looks for system messages in it.
    has_system: bool = True

    def clip(self, after_seq: int, to_seq: int) -> "Part":
        """The part of it that a range holds; it may be empty."""
        return Part(self.thread_key, max(self.after_seq, after_seq), min(self.to_seq, to_seq), self.has_system)

    @property
    def is_empty(self) -> bool:
        """Whether no seq is in it."""
        return self.after_seq >= self.to_seq

    def holds(self, table: FromClause = messages) -> ColumnElement[bool]:
        """Whether a row of `messages` is in it."""
        held = (table.c.thread_key == self.thread_key) & (table.c.seq > self.after_seq)
        return held if self.to_seq == OPEN_END else held & (table.c.seq <= self.to_seq)


@dataclass(frozen=True, slots=True)
class Lineage:
    """The parts of a history, oldest first; the last one is stored with the thread or branch itself."""

    parts: tuple[Part, ...]

    @classmethod
    def of(cls, row: AnyRow) -> "Lineage":
        """The lineage of a row of `threads`, of which `key` and `lineage` are read."""
        return cls.build(row.key, row.lineage)

    @classmethod
    def build(cls, key: int, stored: Sequence[Sequence[int]] | None) -> "Lineage":
        """The lineage of a row with this key, as its column says: [thread_key, to_seq, has_system], oldest first."""
        if not stored:
            return cls((Part(key, 0, OPEN_END),))
        ends = [0, *(to_seq for _, to_seq, _ in stored)]
        shared = [
            Part(thread_key, after_seq, to_seq, bool(has_system))
            for (thread_key, _, has_system), (after_seq, to_seq) in zip(stored, pairwise(ends), strict=True)
        ]
        return cls((*shared, Part(key, ends[-1], OPEN_END)))

    @property
    def key(self) -> int:
        """The key of the thread or branch whose history it is."""
        return self.parts[-1].thread_key

    @property
    def keys(self) -> tuple[int, ...]:
        """The keys of the rows with which its messages are stored."""
        return tuple(part.thread_key for part in self.parts)

    @property
    def shared_to_seq(self) -> int:
        """The seq up to which it is shared; 0 where it shares nothing."""
        return self.parts[-1].after_seq

    def key_at(self, seq: int | None) -> int:
        """The key of the row with which the message of a seq is stored; of one that has none yet, its own."""
        if seq is None:
            return self.key
        return next(part.thread_key for part in self.parts if seq <= part.to_seq)

    def slices(self, after_seq: int, to_seq: int = OPEN_END) -> tuple[Part, ...]:
        """The parts of a range of seqs, oldest first: at least one, which may be empty."""
        clipped = [part.clip(after_seq, to_seq) for part in self.parts]
        return tuple(part for part in clipped if not part.is_empty) or (clipped[-1],)

    def holds(self, table: FromClause = messages, *, after_seq: int = 0, to_seq: int = OPEN_END) -> ColumnElement[bool]:
        """Whether a row of `messages` is of this history: for conditions in which order does not matter."""
        return or_(*(part.holds(table) for part in self.slices(after_seq, to_seq)))

    def share(self, to_seq: int, *, has_own_system: bool) -> list[list[int]]:
        """The column `lineage` of a branch that shares this history up to a seq."""
        flags = [*(part.has_system for part in self.parts[:-1]), has_own_system]
        clipped = [(part.clip(0, to_seq), flag) for part, flag in zip(self.parts, flags, strict=True)]
        return [[part.thread_key, part.to_seq, int(flag)] for part, flag in clipped if not part.is_empty]


def row_lineage(key: int) -> Lineage:
    """The messages that are stored with a row, and no other: for those that delete and archive them."""
    return Lineage.build(key, None)


def read_lineage(connection: Connection, key: int) -> Lineage:
    """The lineage of the thread or branch with this key; of one that is not stored, of nothing shared."""
    statement = select(threads.c.lineage).where(threads.c.key == key)
    return Lineage.build(key, connection.execute(statement).scalar_one_or_none())


def select_range(
    lineage: Lineage,
    columns: Sequence[Column[Any] | ColumnElement[Any]],
    *,
    after_seq: int = 0,
    to_seq: int = OPEN_END,
    where: Sequence[ColumnElement[bool]] = (),
    source: FromClause = messages,
    newest_first: bool = False,
    limit: int | None = None,
) -> Select[Any]:
    """Select columns of a range of a history, in its order; `seq` has to be among them.

    Each part is read by the index of its messages and stops at the limit by itself. `source` may join them to others.
    """
    members = []
    for part in lineage.slices(after_seq, to_seq):
        member = select(*columns).select_from(source).where(part.holds(), *where)
        members.append(member.order_by(messages.c.seq.desc() if newest_first else messages.c.seq).limit(limit))
    if len(members) == 1:
        return members[0]
    # SQLite takes an order and a limit of one member only as a statement of its own.
    together = union_all(*(select(member.subquery()) for member in members)).subquery("history")
    statement = select(*together.c).order_by(together.c.seq.desc() if newest_first else together.c.seq)
    return statement.limit(limit)


def system_parts(lineage: Lineage, to_seq: int) -> Iterator[Part]:
    """The parts up to and with a seq in which system messages may be."""
    return (part for part in lineage.slices(0, to_seq) if part.has_system)
