"""The branches of a thread: made, listed, named, chosen and compared.

What stays true: a thread has one chosen branch at any time, and of two that choose at once the later one decides;
whoever makes or chooses one locks the thread's first row, then the branches that it reads or changes.
"""

from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Any

from sqlalchemy import Connection, ScalarSelect, Select, func, literal, select, update

from conversation.branch_address import BRANCH_NAME_MAX_CHARS, MAIN, address_of, check_address, split_address
from conversation.errors import BranchInUse, LimitReached, MessageNotFound
from conversation.message import Message
from conversation.validation import check_id, check_text
from store.database.column_types import clock
from store.database.sqlite import read_only
from store.database.statements import AnyRow
from store.history import message_rows
from store.history.visibility import cutoff_of
from store.lineage import OPEN_END, Lineage, select_range
from store.tables import messages, threads, turns
from store.tables.turns import is_unfinished_in_thread
from store.threads.branch_rows import is_first, is_of_thread
from store.threads.branching import Share, check_share, insert_sharing
from store.threads.visible_threads import Viewer, find_thread, lock_visible_thread, thread_not_found
from store.turns.next_turn import is_alive

#: Branches of one thread, at most: a listing has all of them.
BRANCHES_MAX = 1_000
#: Fencing tokens that a switch leaves out: a viewer who hears late of it has seen none of that many claims.
SWITCH_FENCES = 64
#: Messages of each branch that a comparison shows, at most.
COMPARED_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A branch of a thread, without its messages."""

    #: `main` for the thread's first one.
    id: str
    name: str | None
    #: Why it was made: `branch`, `regenerate` or `edit`; None for the thread's first one.
    origin: str | None
    #: The thread's id stands for it.
    is_chosen: bool
    #: The branch with which the last message is stored that it shares; None where it shares nothing of this thread.
    parent: str | None
    #: The seq up to which it shares the history of others; its own messages come after that.
    shared_to_seq: int
    last_seq: int
    created_at: datetime
    updated_at: datetime
    #: Turns on it that wait or run.
    unfinished_turns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two branches behind what they share."""

    #: The newest seq up to which both are the same history.
    shared_to_seq: int
    #: The messages of each behind it, the oldest first: `COMPARED_MAX` at most.
    ours: tuple[Message, ...]
    theirs: tuple[Message, ...]


@read_only
def list_branches(connection: Connection, viewer: Viewer, thread_id: str) -> list[Branch]:
    """List all branches of a thread, the oldest first. Raises `ThreadNotFound`."""
    first = _find_first(connection, viewer, thread_id)
    return _read_branches(connection, first)


def make_branch(
    connection: Connection,
    viewer: Viewer,
    address: str,
    *,
    branch_id: str,
    at: int | str | None = None,
    name: str | None = None,
) -> Branch:
    """Make a branch of the chosen one, or of that of an address, behind a seq or a message; it is not chosen by that.

    Running it twice with one id makes one branch. Raises `ThreadNotFound`, `BranchNotFound`, `MessageNotFound`,
    `LimitReached`, and `InvalidInput` as `check_share`.
    """
    name = _check_name(name)
    first = lock_first(connection, viewer, address)
    source = lock_visible_thread(connection, viewer, address)
    at_seq = seq_of(connection, source, at, field="at") if isinstance(at, str) else at
    share = check_share(connection, source, at_seq)
    insert_branch(connection, first, source, branch_id, share, origin="branch", name=name)
    return _read_branch(connection, first, branch_id)


def rename_branch(connection: Connection, viewer: Viewer, thread_id: str, branch: str, name: str | None) -> Branch:
    """Give a branch another name, or none. Raises `ThreadNotFound`, `BranchNotFound`, `InvalidInput`."""
    name = _check_name(name)
    row = lock_visible_thread(connection, viewer, address_of(thread_id, check_id("branch", branch)))
    connection.execute(update(threads).where(threads.c.key == row.key).values(branch_name=name))
    return _read_branch(connection, _find_first(connection, viewer, thread_id), branch)


def choose_branch(connection: Connection, viewer: Viewer, thread_id: str, branch: str) -> tuple[Branch, str | None]:
    """Have a thread's id stand for a branch; returns it, and the address of the row that was chosen before.

    The address is None where nothing changed. Raises `ThreadNotFound`, `BranchNotFound`, and `BranchInUse` while a
    worker answers on that branch: the events of its answer have numbers below that of the switch.
    """
    first = lock_first(connection, viewer, thread_id)
    target = lock_visible_thread(connection, viewer, address_of(thread_id, check_id("branch", branch)))
    before = choose_row(connection, first, target)
    return _read_branch(connection, _find_first(connection, viewer, thread_id), branch), before


@read_only
def compare_branches(connection: Connection, viewer: Viewer, thread_id: str, ours: str, theirs: str) -> Comparison:
    """Compare two branches of a thread. Raises `ThreadNotFound`, `BranchNotFound`."""
    rows = [find_thread(connection, viewer, address_of(thread_id, check_id("branch", each))) for each in (ours, theirs)]
    shared_to_seq = find_shared_end(rows[0], rows[1])
    own, other = (_load_behind(connection, row, shared_to_seq) for row in rows)
    return Comparison(shared_to_seq=shared_to_seq, ours=own, theirs=other)


def find_shared_end(one: AnyRow, other: AnyRow) -> int:
    """The newest seq up to which two rows are the same history: where their lineages part."""
    pairs = zip(Lineage.of(one).parts, Lineage.of(other).parts, strict=False)
    equal = takewhile(lambda pair: pair[0].thread_key == pair[1].thread_key, pairs)
    ends = [min(left.to_seq, right.to_seq) for left, right in equal]
    return min(ends[-1], one.last_seq, other.last_seq) if ends else 0


def lock_first(connection: Connection, viewer: Viewer, address: str) -> AnyRow:
    """Lock a thread's first row, by which those that make and choose branches take their turns."""
    statement = _select_first(viewer, address).with_for_update(key_share=True)
    return _one(viewer, address, connection.execute(statement).one_or_none())


def insert_branch(
    connection: Connection,
    first: AnyRow,
    source: AnyRow,
    branch_id: str,
    share: Share,
    *,
    origin: str,
    name: str | None = None,
) -> AnyRow | None:
    """Insert a branch of a locked thread; None if it is there already. Raises `LimitReached`."""
    count = select(func.count()).where(threads.c.root_key == first.key)
    if connection.execute(count).scalar_one() >= BRANCHES_MAX:
        raise LimitReached(f"thread_id: {first.id!r} has {BRANCHES_MAX} branches, as many as fit; delete some")
    of_thread = {"root_key": first.key, "branch_origin": origin, "branch_name": name, "legal_hold": first.legal_hold}
    return insert_sharing(connection, source, address_of(first.id, branch_id), share, **of_thread)


def choose_row(connection: Connection, first: AnyRow, target: AnyRow) -> str | None:
    """Choose a locked row; returns the id of the one before, None where it is chosen already. Raises `BranchInUse`."""
    current_key = first.chosen_key or first.key
    if target.key == current_key:
        return None
    held = literal(target.lease_owner, threads.c.lease_owner.type)
    if target.lease_owner is not None and connection.execute(select(is_alive(held))).scalar_one():
        raise BranchInUse(f"branch: {branch_id_of(target)!r} answers a message; choose it when that is over")
    # Its row, too: no claim may number events meanwhile.
    current_row = select(threads.c.id, threads.c.fencing_token).where(threads.c.key == current_key)
    current = connection.execute(current_row.with_for_update(key_share=True)).one()
    fence = max(current.fencing_token, target.fencing_token) + SWITCH_FENCES
    numbers = {"fencing_token": fence, "chosen_fence": fence, "chosen_after_seq": target.last_seq}
    connection.execute(update(threads).where(threads.c.key == target.key).values(**numbers))
    chosen_key = None if target.key == first.key else target.key
    of_first = update(threads).where(threads.c.key == first.key)
    connection.execute(of_first.values(chosen_key=chosen_key, updated_at=clock()))
    before: str = current.id
    return before


def check_idle(connection: Connection, row: AnyRow) -> None:
    """Raise `BranchInUse` while a turn of a branch waits or runs."""
    turn = select(turns.c.id).where(turns.c.thread_key == row.key, is_unfinished_in_thread()).limit(1)
    turn_id = connection.execute(turn).scalar_one_or_none()
    if turn_id is not None:
        raise BranchInUse(f"branch: turn {turn_id} of {branch_id_of(row)!r} is not over; wait for it, or cancel it")


def seq_of(connection: Connection, row: AnyRow, message_id: str, *, field: str = "message_id") -> int:
    """The seq of a message of a branch; its caller knows the id as `field`. Raises `MessageNotFound`."""
    lineage, is_message = Lineage.of(row), messages.c.id == check_id(field, message_id)
    is_visible = (messages.c.seq > cutoff_of(row.key)) & messages.c.rolled_back.is_(False)
    seq = connection.execute(select(messages.c.seq).where(lineage.holds(), is_message, is_visible)).scalar_one_or_none()
    if seq is None:
        raise MessageNotFound(f"{field}: no message {message_id!r} is in the history of thread {row.id!r}")
    return int(seq)


def branch_id_of(row: AnyRow) -> str:
    """The id of the branch that a row is."""
    return split_address(row.id)[1] or MAIN


def _check_name(name: str | None) -> str | None:
    return None if name is None else check_text("name", name, max_chars=BRANCH_NAME_MAX_CHARS)


def _find_first(connection: Connection, viewer: Viewer, thread_id: str) -> AnyRow:
    return _one(viewer, thread_id, connection.execute(_select_first(viewer, thread_id)).one_or_none())


def _select_first(viewer: Viewer, address: str) -> Select[Any]:
    thread_id, _ = split_address(check_address("thread_id", address))
    return select(threads).where(viewer.sees, threads.c.id == thread_id, is_first())


def _one(viewer: Viewer, address: str, row: AnyRow | None) -> AnyRow:
    if row is None:
        raise thread_not_found(viewer, split_address(address)[0])
    return row


def _read_branch(connection: Connection, first: AnyRow, branch_id: str) -> Branch:
    return next(branch for branch in _read_branches(connection, first) if branch.id == branch_id)


def _read_branches(connection: Connection, first: AnyRow) -> list[Branch]:
    rows = connection.execute(_select_branches(first.key)).all()
    ids = {row.key: branch_id_of(row) for row in rows}
    chosen_key = first.chosen_key or first.key
    return [
        Branch(
            id=ids[row.key],
            name=row.branch_name,
            origin=row.branch_origin,
            is_chosen=row.key == chosen_key,
            parent=ids.get(row.parent_key),
            shared_to_seq=row.shared_to_seq or 0,
            last_seq=row.last_seq,
            created_at=row.created_at,
            updated_at=row.updated_at,
            unfinished_turns=row.unfinished_turns,
        )
        for row in rows
    ]


def _select_branches(root_key: int) -> Select[Any]:
    names = ("key", "id", "parent_key", "shared_to_seq", "branch_origin", "branch_name", "last_seq")
    columns = [threads.c[name] for name in (*names, "created_at", "updated_at")]
    is_there = is_of_thread(root_key) & threads.c.deleted_at.is_(None)
    return select(*columns, _count_unfinished().label("unfinished_turns")).where(is_there).order_by(threads.c.key)


def _count_unfinished() -> ScalarSelect[int]:
    count = select(func.count()).where(turns.c.thread_key == threads.c.key, is_unfinished_in_thread())
    return count.correlate(threads).scalar_subquery()


def _load_behind(connection: Connection, row: AnyRow, seq: int) -> tuple[Message, ...]:
    lineage, in_view = Lineage.of(row), [messages.c.seq > cutoff_of(row.key), messages.c.rolled_back.is_(False)]
    columns = message_rows.stored_columns()
    statement = select_range(lineage, columns, after_seq=seq, to_seq=OPEN_END, where=in_view, limit=COMPARED_MAX)
    return message_rows.load(connection, lineage, connection.execute(statement))
