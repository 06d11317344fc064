"""The subject of an erasure or export: one thread, all threads of a user, or a whole tenant.

What stays true: a user's threads are those that they own, whoever else said something in them; an index finds them. A
thread is all its branches.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, or_, select, union_all

from conversation.arguments import check_flag
from conversation.errors import InvalidInput
from conversation.validation import check_id, check_tenant
from store.audit import hash_of
from store.database.sqlite import read_only
from store.tables import threads
from store.turns.children import is_begun_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One thread, or one user, of a tenant; or all that the tenant has."""

    tenant: str
    thread_id: str | None = None
    user: str | None = None
    #: All of the tenant, of every user.
    whole_tenant: bool = False

    def check(self) -> None:
        """Refuse a subject that names none or several of these. Raises `InvalidInput`."""
        check_tenant(self.tenant)
        # A word that says "no" is true to Python, and would take the whole tenant.
        check_flag("whole_tenant", self.whole_tenant)
        if [self.thread_id is not None, self.user is not None, self.whole_tenant].count(True) != 1:
            raise InvalidInput(
                "user", "thread_id and whole_tenant are given together, or none of them", "name one of them"
            )
        if self.thread_id is not None:
            check_id("thread_id", self.thread_id)
        if self.user is not None:
            check_id("user", self.user)

    @property
    def kind(self) -> str:
        if self.whole_tenant:
            return "tenant"
        return "user" if self.user is not None else "thread"

    @property
    def name(self) -> str:
        """The user's, or the thread's id; empty for a tenant."""
        return self.user if self.user is not None else self.thread_id or ""

    @property
    def sha256(self) -> str:
        """The hash that replaces the subject's name where it must not stand."""
        return hash_of(self.tenant, self.name)


@read_only
def load_thread_keys(
    connection: Connection, subject: Subject, *, after: int | None, limit: int, newest_first: bool = False
) -> list[int]:
    """Load a page of the keys of the subject's threads and branches, ascending or, `newest_first`, descending."""
    statement = select_thread_keys(subject)
    if after is not None:
        statement = statement.where(threads.c.key < after if newest_first else threads.c.key > after)
    order = threads.c.key.desc() if newest_first else threads.c.key
    return list(connection.execute(statement.order_by(order).limit(limit)).scalars())


@read_only
def load_branch_keys(connection: Connection, key: int) -> list[int]:
    """Load the keys of the branches of a thread, those that were made last first."""
    of_thread = (threads.c.root_key == key) & threads.c.deleted_at.is_(None)
    return list(connection.execute(select(threads.c.key).where(of_thread).order_by(threads.c.key.desc())).scalars())


def select_thread_keys(subject: Subject) -> Select[Any]:
    """The statement for the keys of the subject's threads."""
    of_tenant = threads.c.tenant == subject.tenant
    if subject.whole_tenant:
        return select(threads.c.key).where(of_tenant)
    if subject.thread_id is not None:
        first = threads.alias("first")
        # With those in which agents answered what was asked here.
        is_subject = (first.c.tenant == subject.tenant) & (first.c.id == subject.thread_id)
        keys = select(first.c.key).where(or_(is_subject, is_begun_in(first, subject.tenant, subject.thread_id)))
        branches = select(threads.c.key).where(threads.c.root_key.in_(keys))
        return select(threads.c.key).where(of_tenant, threads.c.key.in_(union_all(keys, branches)))
    return select(threads.c.key).where(of_tenant, threads.c.owner == subject.user)
