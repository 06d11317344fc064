"""Branches of an imported thread: which line begins one, and what it shares of those before it.

What stays true: a branch shares the history of one that stands before it in the file, up to a message of that; of a
file that says otherwise, nothing is stored.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, select, update

from conversation.arguments import check_one_of
from conversation.branch_address import BRANCH_NAME_MAX_CHARS, MAIN
from conversation.errors import InvalidInput
from conversation.ids import is_our_id
from conversation.quotation import quote
from conversation.validation import check_id, check_text
from store.lineage import Lineage
from store.tables import messages, threads, turns
from store.threads.export_format import Line, check_count, locate_errors

#: A tenant, a thread's id and a user, where they are named.
Names = tuple[str | None, str | None, str | None]
#: Why there is a branch, as its row says.
ORIGINS = ("branch", "regenerate", "edit")


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

    def add(self, other: "ImportOutcome") -> "ImportOutcome":
        """The outcome with that of a branch of the same thread."""
        return replace(
            self,
            messages=self.messages + other.messages,
            turns=self.turns + other.turns,
            summaries=self.summaries + other.summaries,
            context=self.context + other.context,
            blobs=tuple(sorted({*self.blobs, *other.blobs})),
            missing_blobs=tuple(sorted({*self.missing_blobs, *other.missing_blobs})),
        )


@dataclass(frozen=True, slots=True)
class BranchPlace:
    """The place of a branch among those of its thread."""

    #: None of the thread's first one.
    branch: str | None = None
    #: Columns of its row.
    values: Mapping[str, Any] = field(default_factory=dict)
    lineage: list[list[int]] | None = None
    shared_to_seq: int = 0


FIRST = BranchPlace()


@dataclass(slots=True)
class ImportedBranches:
    """The branches of a thread that are stored so far."""

    connection: Connection
    first_key: int
    #: By the id of a branch.
    keys: dict[str, int] = field(default_factory=dict)
    chosen: str | None = None

    def note_first(self, header: Line) -> None:
        """Note the thread's first branch, and which one its id stands for."""
        self.keys[MAIN] = self.first_key
        chosen = header["thread"].get("chosen")
        self.chosen = None if chosen is None else check_id("chosen", chosen)

    def find_place(self, header: Line) -> BranchPlace:
        """Find the place of a branch out of its header. Raises `InvalidInput`."""
        with locate_errors(header.number):
            return self._find_place(header)

    def _find_place(self, header: Line) -> BranchPlace:
        values = header["thread"] if header["kind"] == "thread" else None
        if not isinstance(values, Mapping) or "branch" not in values:
            fix = "only branches of the thread follow its end"
            raise InvalidInput("kind", f"{header['kind']} stands too late", fix)
        branch = check_id("branch", values["branch"])
        if branch in self.keys:
            raise InvalidInput("branch", f"{branch!r} is there twice", "each has an id of its own")
        name, origin = values.get("branch_name"), values.get("branch_origin")
        of_first = select(threads.c.owner, threads.c.title, threads.c.metadata).where(threads.c.key == self.first_key)
        columns: dict[str, Any] = {
            # All branches of a thread have these in common.
            **self.connection.execute(of_first).one()._asdict(),
            "root_key": self.first_key,
            "branch_name": None if name is None else check_text("branch_name", name, max_chars=BRANCH_NAME_MAX_CHARS),
            "branch_origin": None if origin is None else check_one_of("branch_origin", origin, ORIGINS),
        }
        shares = values.get("shares")
        if shares is None:
            return BranchPlace(branch, columns)
        if not isinstance(shares, Mapping) or shares.get("branch") not in self.keys:
            raise InvalidInput("shares", f"is {quote(shares)}", "it names a branch before it")
        return self._share(branch, columns, self.keys[shares["branch"]], check_count("shares", shares.get("to_seq")))

    def _share(self, branch: str, columns: dict[str, Any], key: int, to_seq: int) -> BranchPlace:
        source = self.connection.execute(select(threads).where(threads.c.key == key)).one()
        if not 0 < to_seq <= source.last_seq:
            raise InvalidInput("shares", f"ends at {to_seq}", f"it is a seq of that branch, up to {source.last_seq}")
        shared = Lineage.of(source)
        has_system = select(messages.c.seq).where(messages.c.thread_key == key, messages.c.role == "system").limit(1)
        lineage = shared.share(to_seq, has_own_system=self.connection.execute(has_system).first() is not None)
        columns |= {"parent_key": lineage[-1][0], "shared_to_seq": to_seq, "lineage": lineage}
        return BranchPlace(branch, columns, lineage, to_seq)

    def note(self, key: int, place: BranchPlace) -> None:
        """Note a branch that is stored; to retention, it is as old as what it shares."""
        assert place.branch is not None
        self.keys[place.branch] = key
        if place.lineage:
            first = threads.alias("first")
            retained_from = select(first.c.retained_from).where(first.c.key == self.first_key).scalar_subquery()
            statement = update(threads).where(threads.c.key == key, threads.c.retained_from.is_(None))
            self.connection.execute(statement.values(retained_from=retained_from))

    def choose(self) -> None:
        """Have the thread's id stand for the branch for which it stood. Raises `InvalidInput`."""
        if self.chosen in (None, MAIN):
            return
        if self.chosen not in self.keys:
            raise InvalidInput("chosen", f"is {quote(self.chosen)}", "it names a branch of this file")
        statement = update(threads).where(threads.c.key == self.first_key)
        self.connection.execute(statement.values(chosen_key=self.keys[self.chosen]))


def until_end(lines: Iterator[Line]) -> Iterator[Line]:
    """The lines up to and with the next end."""
    for line in lines:
        yield line
        if line["kind"] == "end":
            return


def find_taken_ids(connection: Connection, lines: Sequence[Line]) -> set[str]:
    """Find the ids of turns in these lines that are stored already."""
    ids = [line.values.get("id") for line in lines if line["kind"] == "turn"]
    statement = select(turns.c.id).where(turns.c.id.in_([each for each in ids if is_our_id(each)]))
    return set(connection.execute(statement).scalars()) if ids else set()
