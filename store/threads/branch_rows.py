"""The rows of a thread's branches: found by an address, and by each other.

What stays true: a thread's id alone stands for its chosen branch; title, metadata and owner are the same in all rows
of a thread, since whoever writes them writes all.
"""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, case, func, or_, select, update

from conversation.branch_address import MAIN, split_address
from conversation.errors import BranchNotFound, ThreadNotFound
from store.database.statements import AnyRow
from store.tables import threads

_named = threads.alias("named")
_first = threads.alias("first")


def keys_of(tenant: str, thread_id: str) -> Select[Any]:
    """The keys of all rows of a thread: its first, and its branches."""
    is_named = (_first.c.tenant == tenant) & (_first.c.id == thread_id)
    is_of_first = or_(_named.c.key == _first.c.key, _named.c.root_key == _first.c.key)
    return select(_named.c.key).join_from(_first, _named, is_of_first).where(is_named)


def is_first() -> ColumnElement[bool]:
    """Whether a row is the first one of a thread: each has one, also where its first branch was deleted."""
    return threads.c.root_key.is_(None) & or_(threads.c.deleted_at.is_(None), threads.c.chosen_key.is_not(None))


def is_chosen() -> ColumnElement[bool]:
    """Whether a thread's id stands for this row."""
    chosen_key = select(func.coalesce(_first.c.chosen_key, _first.c.key)).where(_first.c.key == threads.c.root_key)
    of_branch = threads.c.key == chosen_key.correlate(threads).scalar_subquery()
    return threads.c.deleted_at.is_(None) & case(
        (threads.c.root_key.is_(None), threads.c.chosen_key.is_(None)), else_=of_branch
    )


def root_key_of(row: AnyRow) -> int:
    """The key of a thread's first row."""
    key: int = row.root_key or row.key
    return key


def is_of_thread(root_key: int) -> ColumnElement[bool]:
    """Whether a row is one of a thread's: its first, or a branch."""
    return or_(threads.c.key == root_key, threads.c.root_key == root_key)


def write_all(connection: Connection, row: AnyRow, **values: object) -> None:
    """Write what all branches of a thread have in common into its other rows."""
    of_others = is_of_thread(root_key_of(row)) & (threads.c.key != row.key)
    connection.execute(update(threads).where(of_others).values(**values))


def not_found(tenant: str, address: str) -> ThreadNotFound | BranchNotFound:
    """The error for an address of which there is no row."""
    _, branch = split_address(address)
    return thread_not_found(tenant, address) if branch in (None, MAIN) else branch_not_found(tenant, address)


def thread_not_found(tenant: str, address: str) -> ThreadNotFound:
    """The error for a thread that is not stored."""
    thread_id, _ = split_address(address)
    return ThreadNotFound(f"no thread {thread_id!r} is stored for tenant {tenant!r}")


def branch_not_found(tenant: str, address: str) -> BranchNotFound:
    """The error for a branch that a thread has not."""
    thread_id, branch = split_address(address)
    return BranchNotFound(f"branch: thread {thread_id!r} of tenant {tenant!r} has no branch {branch!r}")
