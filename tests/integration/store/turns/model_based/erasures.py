"""Erasure in plain Python.

What stays true: all rows of the subject stop at once, before the first of them goes; what became free by that goes with
them.
"""

from typing import TYPE_CHECKING

from tests.integration.store.turns.model_based import branch_deletion as deletion
from tests.integration.store.turns.model_based import branches

if TYPE_CHECKING:
    from tests.integration.store.turns.model_based.reference import Mailbox


def rows_of_thread(mailbox: "Mailbox", thread: str) -> list[str]:
    """Those of a thread, and of the threads in which agents answered what was asked in it; the oldest first."""
    firsts = [name for name, row in mailbox.threads.items() if name == thread or row.begun_in == thread]
    return in_order(mailbox, [name for first in firsts for name in branches.rows_of(mailbox, first)])


def in_order(mailbox: "Mailbox", names: list[str]) -> list[str]:
    return sorted(set(names), key=lambda name: mailbox.threads[name].number)


def erase(mailbox: "Mailbox", names: list[str]) -> None:
    """Erase rows, the oldest first: a thread's with its branches."""
    waited = {row.number for row in mailbox.threads.values() if row.is_pending}
    for name in names:
        _lock_out(mailbox, name)
    for name in reversed(names):
        _lock_out(mailbox, name)
        deletion.remove(mailbox, name, with_thread=mailbox.threads[name].root is None)
    while freed := [name for name, row in mailbox.threads.items() if row.is_pending and row.number not in waited]:
        for name in freed:
            _lock_out(mailbox, name)
            deletion.remove(mailbox, name, with_thread=mailbox.threads[name].root is None)


def _lock_out(mailbox: "Mailbox", name: str) -> None:
    """End what works or waits in a row: nobody holds it any more."""
    deletion.end_turns(mailbox, name)
    row = mailbox.threads[name]
    row.owner, row.fence = None, row.fence + 1
