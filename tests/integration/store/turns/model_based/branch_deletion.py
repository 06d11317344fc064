"""Deleting branches and threads, in plain Python.

What stays true: what a row that is there reads stays, with the turns of it, in a row that nobody finds; and all of it
goes when the last one that reads it is gone.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from conversation.branch_address import MAIN
from conversation.errors import BranchInUse, InvalidInput
from tests.integration.store.turns.model_based import branches, children, waits

if TYPE_CHECKING:
    from tests.integration.store.turns.model_based.reference import Mailbox


def delete_branch(mailbox: "Mailbox", thread: str, branch: str) -> None:
    first = branches.first_row(mailbox, thread)
    if branch == MAIN:
        raise InvalidInput("branch", "is the first one", "delete the thread")
    name = branches.resolve(mailbox, f"{thread}/{branch}")
    if mailbox.threads[first].chosen == name:
        raise BranchInUse
    branches.check_idle(mailbox, name)
    _delete(mailbox, [name], with_thread=False)


def delete_thread(mailbox: "Mailbox", thread: str) -> bool:
    if thread not in mailbox.threads:
        return False
    # Those in which agents answered what was asked here, or in one of these.
    begun_here = [(row.number, name) for name, row in mailbox.threads.items() if thread in row.ancestors]
    _delete(mailbox, branches.rows_of(mailbox, thread), with_thread=True)
    for _, name in sorted(begun_here):
        delete_thread(mailbox, name)
    return True


def tidy(mailbox: "Mailbox") -> None:
    """Delete what became free, until there is nothing more."""
    while pending := [name for name, row in mailbox.threads.items() if row.is_pending]:
        for name in pending:
            remove(mailbox, name, with_thread=mailbox.threads[name].root is None)


def read_by_others(mailbox: "Mailbox", name: str) -> set[int]:
    """Each `seq` of a row's own that another one reads which is there."""
    others = [other for other, row in mailbox.threads.items() if other != name and not row.is_deleted]
    return {seq for other in others for source, seq in branches.parts(mailbox, other) if source == name}


def _delete(mailbox: "Mailbox", names: list[str], *, with_thread: bool) -> None:
    # Each after those that were made from it.
    for name in reversed(names):
        end_turns(mailbox, name)
        remove(mailbox, name, with_thread=with_thread)


def end_turns(mailbox: "Mailbox", name: str) -> None:
    """End what works or waits in a row, and tell whom it concerns."""
    its = [turn for turn in mailbox.turns.values() if turn.thread == name]
    for turn in its:
        waits.close(turn)
    ended = [turn for turn in its if not turn.is_final]
    for turn in ended:
        turn.state, turn.cancel_asked, turn.notified_at, turn.retry_at = "cancelled", True, None, None
        turn.close_started()
    for turn in ended:
        children.stop(mailbox, turn.id)
        children.tell(mailbox, turn, is_published=False)


def remove(mailbox: "Mailbox", name: str, *, with_thread: bool) -> set[int]:
    """Returns the numbers of the rows whose deletion goes on: they were left to this one, among others."""
    row = mailbox.threads[name]
    user = row.user
    readers = [other for other, its in mailbox.threads.items() if its.shared and its.shared[-1][0] == name]
    sources = [source for source, _ in row.shared]
    if row.root is not None:
        sources.append(row.root)
    if readers or (row.root is None and not with_thread):
        _leave(mailbox, name, with_thread=with_thread)
    else:
        _forget(mailbox, [turn for turn, its in mailbox.turns.items() if its.thread == name])
        del mailbox.threads[name]
    if row.root is None and with_thread:
        _part_from_thread(mailbox, name)
    opened = set()
    for source in sources:
        if source in mailbox.threads and mailbox.threads[source].is_deleted:
            freed = mailbox.threads[source]
            freed.is_pending, freed.user = True, freed.user or user
            opened.add(freed.number)
    return opened


def _part_from_thread(mailbox: "Mailbox", first: str) -> None:
    """Have branches that were left to others be no branches of a thread that goes."""
    for name in [name for name, row in mailbox.threads.items() if row.root == first and row.is_deleted]:
        _be_nobodys(mailbox, name)


def is_left(mailbox: "Mailbox", name: str) -> bool:
    """Whether it is left to others, and nothing more of it goes for now."""
    row = mailbox.threads[name]
    is_shared = any(its.shared and its.shared[-1][0] == name for its in mailbox.threads.values())
    return row.is_deleted and is_shared and not row.is_pending


def _leave(mailbox: "Mailbox", name: str, *, with_thread: bool) -> None:
    """Leave to others what they read, and nothing by which it is found."""
    row, kept = mailbox.threads[name], read_by_others(mailbox, name)
    own = list(enumerate(row.history, start=row.shared_to + 1))
    row.history = [line if seq in kept else replace(line, is_gone=True) for seq, line in own]
    turns = {line.turn for line in row.history if not line.is_gone}
    _forget(mailbox, [turn for turn, its in mailbox.turns.items() if its.thread == name and turn not in turns])
    row.is_deleted, row.is_pending, row.owner, row.fence = True, False, None, row.fence + 1
    for turn in mailbox.turns.values():
        if turn.thread == name:
            if turn.id in mailbox.asks:
                mailbox.asks[turn.id] = replace(mailbox.asks[turn.id], key=None)
            turn.events.clear()
    if with_thread:
        _be_nobodys(mailbox, name)


def _be_nobodys(mailbox: "Mailbox", name: str) -> None:
    row = mailbox.threads[name]
    row.root = row.title = row.chosen = row.begun_in = row.user = None
    row.ancestors = ()
    _rename(mailbox, name, f"/{row.number}")


def _forget(mailbox: "Mailbox", turns: list[str]) -> None:
    for turn in turns:
        del mailbox.turns[turn]
        mailbox.asks.pop(turn, None)


def _rename(mailbox: "Mailbox", name: str, new_name: str) -> None:
    mailbox.threads = {new_name if each == name else each: row for each, row in mailbox.threads.items()}
    for row in mailbox.threads.values():
        row.shared = tuple((new_name if source == name else source, to_seq) for source, to_seq in row.shared)
    for turn in mailbox.turns.values():
        if turn.thread == name:
            turn.thread = new_name
