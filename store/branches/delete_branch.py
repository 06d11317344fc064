"""Deleting one branch of a thread because its user or an operator asks for it.

What stays true: what other branches and forks share of it stays for them; a thread keeps the branch that is chosen.
"""

from sqlalchemy import Connection

from conversation.branch_address import MAIN, address_of
from conversation.errors import BranchInUse, InvalidInput, ThreadUnderLegalHold
from conversation.validation import check_id
from store.branches.branches import check_idle, lock_first
from store.retention.delete_thread import delete_rows
from store.threads.visible_threads import Viewer, lock_visible_thread


def delete_branch(connection: Connection, viewer: Viewer, thread_id: str, branch: str) -> None:
    """Delete a branch with its turns, but for what others share of it.

    Raises `ThreadNotFound`, `BranchNotFound`, `BranchInUse` for one that is chosen or has turns that are not over,
    `ThreadUnderLegalHold`, and `InvalidInput` for a thread's first one.
    """
    first = lock_first(connection, viewer, thread_id)
    if check_id("branch", branch) == MAIN:
        raise InvalidInput("branch", "is the thread's first one", "delete the thread, or choose another branch")
    row = lock_visible_thread(connection, viewer, address_of(thread_id, branch), to_delete=True)
    if first.chosen_key == row.key:
        raise BranchInUse(f"branch: {branch!r} is chosen; choose another one first")
    if row.legal_hold or first.legal_hold:
        raise ThreadUnderLegalHold([thread_id])
    check_idle(connection, row)
    delete_rows(connection, [row], with_thread=False)
