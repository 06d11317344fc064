"""Ids of rows of `threads`, and rows by address: a thread's, a branch's, or that of what a deleted one has left.

What stays true: no id of a caller's holds a slash, so that the text before the first one is the thread's id; a row that
is nobody's any more has none.
"""

from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, func, select

from conversation.branch_address import MAIN, address_of, row_id_of, split_address
from store.tables import threads

_named = threads.alias("named")


def thread_id_of(row_id: str) -> str:
    """The id of the thread that a row of `threads` belongs to; empty for one that is nobody's."""
    return split_address(row_id)[0]


def exact_address(row_id: str) -> str:
    """The address of a row, whichever branch is chosen: a thread's id alone would stand for that one."""
    thread_id, branch = split_address(row_id)
    return address_of(thread_id, branch or MAIN)


def nobodys_id(key: int) -> str:
    """The id of a row that stays for those that share its history alone: no caller's thread has it."""
    return address_of("", str(key))


def key_of(tenant: str, address: str) -> ScalarSelect[Any]:
    """The key of the row that an address stands for: by a thread's id alone, of its chosen branch."""
    _, branch = split_address(address)
    key: ColumnElement[Any] = _named.c.key if branch else func.coalesce(_named.c.chosen_key, _named.c.key)
    is_named = (_named.c.tenant == tenant) & (_named.c.id == row_id_of(address))
    return select(key).where(is_named).scalar_subquery()


def is_row_of(tenant: str, address: str) -> ColumnElement[bool]:
    """Whether a row of `threads` is the one that an address stands for."""
    return (threads.c.key == key_of(tenant, address)) & threads.c.deleted_at.is_(None)
