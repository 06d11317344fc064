"""Branches in plain Python: rows that share what was said before them.

What stays true: a line is stored with one row and never moves; what a row reads of others is fixed when it is made.
A line goes when no row that is there reads it.
"""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from conversation.branch_address import MAIN
from conversation.errors import BranchInUse, BranchNotFound, InvalidInput, MessageNotFound, ThreadNotFound
from tests.integration.store.turns.model_based.values import Ask, Line, Thread, Turn

if TYPE_CHECKING:
    from tests.integration.store.turns.model_based.reference import Mailbox

#: Fencing tokens that a switch leaves out.
SWITCH_FENCES = 64

# Rows by address


def first_row(mailbox: "Mailbox", address: str) -> str:
    """The name of a thread's first row."""
    name, _, _ = address.partition("/")
    if name not in mailbox.threads:
        raise ThreadNotFound
    return name


def resolve(mailbox: "Mailbox", address: str) -> str:
    """The name of the row that an address stands for."""
    name, _, branch = address.partition("/")
    if not branch:
        return mailbox.threads[first_row(mailbox, name)].chosen or name
    if branch == MAIN:
        return first_row(mailbox, name)
    if address not in mailbox.threads or mailbox.threads[address].is_deleted:
        raise BranchNotFound
    return address


def row_for(mailbox: "Mailbox", address: str) -> str:
    """The row that a message for this address goes to; a thread that is not there is made by it."""
    name, _, branch = address.partition("/")
    if name not in mailbox.threads:
        if branch:
            raise BranchNotFound
        return name
    return resolve(mailbox, address)


def rows_of(mailbox: "Mailbox", first: str) -> list[str]:
    """The names of all rows of a thread, the oldest first."""
    its = [name for name, row in mailbox.threads.items() if first in (name, row.root)]
    return sorted(its, key=lambda name: mailbox.threads[name].number)


# What they say


def lines(mailbox: "Mailbox", name: str) -> list[Line]:
    """All that a row says, in the order of `seq`."""
    row, said = mailbox.threads[name], list[Line]()
    for source_name, to_seq in row.shared:
        source = mailbox.threads[source_name]
        said += source.history[len(said) - source.shared_to : to_seq - source.shared_to]
    return said + row.history


def in_view(mailbox: "Mailbox", name: str) -> list[tuple[int, Line]]:
    """What a row shows, each with its `seq`."""
    said = enumerate(lines(mailbox, name), start=1)
    return [(seq, line) for seq, line in said if not line.rolled_back]


def parts(mailbox: "Mailbox", name: str) -> list[tuple[str, int]]:
    """Where each line is stored: the name of a row, and its `seq`."""
    row, places = mailbox.threads[name], list[tuple[str, int]]()
    for source_name, to_seq in (*row.shared, (name, row.last_seq)):
        places += [(source_name, seq) for seq in range(len(places) + 1, to_seq + 1)]
    return places


def seq_of(mailbox: "Mailbox", name: str, message_id: str) -> int:
    for seq, line in in_view(mailbox, name):
        if line.message_id == message_id:
            return seq
    raise MessageNotFound


# Making them


def make(mailbox: "Mailbox", address: str, branch_id: str, at: int | str | None, title: str | None) -> None:
    """Make a branch, once."""
    first, source = first_row(mailbox, address), resolve(mailbox, address)
    place = seq_of(mailbox, source, at) if isinstance(at, str) else at
    name = f"{first}/{branch_id}"
    share(mailbox, source, name, place, root=first, origin="branch", title=title)


def fork(mailbox: "Mailbox", address: str, new_name: str, at: int | None) -> bool:
    return share(mailbox, resolve(mailbox, address), new_name, at)


def share(
    mailbox: "Mailbox",
    source_name: str,
    name: str,
    at: int | None,
    *,
    root: str | None = None,
    origin: str | None = None,
    title: str | None = None,
) -> bool:
    """Make a row that shares what another one says; False where there is one of that name."""
    source = mailbox.threads[source_name]
    end = source.last_seq if at is None else at
    if end > source.last_seq:
        raise InvalidInput("at", "is behind the end", "pass less")
    if name in mailbox.threads:
        return False
    shared, before = list[tuple[str, int]](), 0
    for part_name, to_seq in (*source.shared, (source_name, source.last_seq)):
        if min(to_seq, end) > before:
            shared.append((part_name, min(to_seq, end)))
            before = min(to_seq, end)
    mailbox.threads[name] = Thread(
        mailbox.new_number(), agent=source.agent, shared=tuple(shared), root=root, origin=origin, title=title,
        user=source.user,
    )  # fmt: skip
    return True


def again(
    mailbox: "Mailbox", ask: Ask, branch_id: str, position: int, *, message_id: str | None
) -> tuple[str, bool, str | None]:
    """Have the last question answered once more, or another one in the place of a message, on a branch that is chosen.

    Returns the turn, whether it is new, and the row that was chosen before.
    """
    first, source = first_row(mailbox, ask.thread), resolve(mailbox, ask.thread)
    name = f"{first}/{branch_id}"
    if name in mailbox.threads:
        earlier = [each for each in mailbox.asks.values() if (each.thread, each.key) == (name, ask.key)]
        agent = earlier[0].agent if earlier else ask.agent
        return (*mailbox.accept(replace(ask, thread=name, agent=agent), position), None)
    check_idle(mailbox, source)
    if message_id is None:
        at, agent = _question(mailbox, source)
        ask = replace(ask, agent=agent or ask.agent)
    else:
        at = seq_of(mailbox, source, message_id) - 1
        if lines(mailbox, source)[at].is_reply:
            raise InvalidInput("message_id", "is not a user's", "pass another")
    share(mailbox, source, name, at, root=first, origin="regenerate" if message_id is None else "edit")
    try:
        turn_id, is_new = mailbox.accept(replace(ask, thread=name), position)
    except Exception:
        del mailbox.threads[name]
        raise
    return turn_id, is_new, choose_row(mailbox, first, name)


def check_idle(mailbox: "Mailbox", name: str) -> None:
    if mailbox.unfinished(name):
        raise BranchInUse


def _question(mailbox: "Mailbox", name: str) -> tuple[int, str | None]:
    """The `seq` of the newest question, and the agent that answered it."""
    shown, row = in_view(mailbox, name), mailbox.threads[name]
    if shown:
        seq, newest = shown[-1]
        turn = mailbox.turns.get(newest.turn)
        if turn is not None and turn.thread in {*dict(row.shared), name} and turn.window and turn.window <= seq:
            before = [line for at, line in shown if at <= turn.window]
            # One that only took up a call asks nothing.
            if before and not before[-1].is_reply:
                return turn.window, turn.agent
    asked = [seq for seq, line in shown if not line.is_reply]
    if not asked:
        raise MessageNotFound
    return asked[-1], row.agent


# Choosing, naming, comparing


def choose(mailbox: "Mailbox", thread: str, branch: str) -> str | None:
    return choose_row(mailbox, first_row(mailbox, thread), resolve(mailbox, f"{thread}/{branch}"))


def choose_row(mailbox: "Mailbox", first_name: str, name: str) -> str | None:
    """Have a thread's id stand for a row; returns the name of the one before, None where it did already."""
    first, target = mailbox.threads[first_name], mailbox.threads[name]
    before = first.chosen or first_name
    if before == name:
        return None
    if mailbox.is_alive(target.owner):
        raise BranchInUse
    target.fence = max(mailbox.threads[before].fence, target.fence) + SWITCH_FENCES
    first.chosen = None if name == first_name else name
    return before


def rename(mailbox: "Mailbox", thread: str, branch: str, title: str | None) -> None:
    name = resolve(mailbox, f"{thread}/{branch}")
    mailbox.threads[name].title = title


def compare(mailbox: "Mailbox", thread: str, ours: str, theirs: str) -> tuple[int, tuple[str, ...], tuple[str, ...]]:
    """The last `seq` that both share, and what each shows behind it."""
    names = [resolve(mailbox, f"{thread}/{branch}") for branch in (ours, theirs)]
    one, other = (parts(mailbox, name) for name in names)
    same = [left == right for left, right in zip(one, other, strict=False)]
    end = same.index(False) if False in same else len(same)
    own, its = (tuple(line.text for seq, line in in_view(mailbox, name) if seq > end) for name in names)
    return end, own, its


def listed(mailbox: "Mailbox", thread: str) -> list[tuple[object, ...]]:
    """Each branch that is there: id, origin, name, whether it is chosen, parent, and what it has."""
    first = first_row(mailbox, thread)
    there = [name for name in rows_of(mailbox, first) if not mailbox.threads[name].is_deleted]
    ids = {name: name.partition("/")[2] or MAIN for name in there}
    chosen = mailbox.threads[first].chosen or first
    return [
        (
            ids[name], row.origin, row.title, name == chosen, ids.get(row.shared[-1][0]) if row.shared else None,
            row.shared_to, row.last_seq, len(mailbox.unfinished(name)),
        )
        for name in there
        for row in [mailbox.threads[name]]
    ]  # fmt: skip


# Reading what a turn came to


def answer_to(mailbox: "Mailbox", turn_id: str) -> tuple[str, tuple[str, ...]]:
    """The state of the turn that answers, and its replies."""
    turn: Turn = mailbox._turn(turn_id)
    if turn.merged_into is not None:
        turn = mailbox._turn(turn.merged_into)
    row = mailbox.threads[turn.thread]
    own = enumerate(row.history, start=row.shared_to + 1)
    # A window may be 0: the thread was empty, and so was what was sent.
    asked_to = math.inf if turn.window is None else turn.window
    replies = [
        line.text
        for seq, line in own
        if line.turn == turn.id and seq > asked_to and not (line.rolled_back or line.is_gone)
    ]
    return turn.state, () if row.is_deleted else tuple(replies)


def exported(mailbox: "Mailbox", address: str) -> dict[str, list[tuple[str, bool]]]:
    """All that each branch of a thread says, or one by its address, each line with whether it is out of view."""
    first, is_one = first_row(mailbox, address), "/" in address
    names = [resolve(mailbox, address)] if is_one else rows_of(mailbox, first)
    return {
        name.partition("/")[2] or MAIN: [(line.text, line.rolled_back) for line in lines(mailbox, name)]
        for name in names
        if not mailbox.threads[name].is_deleted
    }
