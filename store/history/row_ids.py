"""Ids of rows of `threads`: a thread's own, the address of a branch, or that of what a deleted one has left.

What stays true: no id of a caller's holds a slash, so that the text before the first one is the thread's id; a row that
is nobody's any more has none.
"""

from conversation.branch_address import address_of, split_address


def thread_id_of(row_id: str) -> str:
    """The id of the thread that a row of `threads` belongs to; empty for one that is nobody's."""
    return split_address(row_id)[0]


def nobodys_id(key: int) -> str:
    """The id of a row that stays for those that share its history alone: no caller's thread has it."""
    return address_of("", str(key))
