"""The threads that a viewer may see: those of a tenant, or of one of its users.

What stays true: a thread that a viewer may not see is not there, and nothing tells it from one that is not stored.
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Select, and_, select

from conversation.branch_address import check_address
from conversation.errors import BranchNotFound, ThreadNotFound
from conversation.validation import check_id, check_tenant
from store.database.sqlite import read_only
from store.database.statements import AnyRow
from store.history.row_ids import is_row_of
from store.tables import threads
from store.threads.branch_rows import not_found


@dataclass(frozen=True, slots=True)
class Viewer:
    """A caller, as far as it decides what is there for it."""

    tenant: str
    #: The only user whose threads it may see; None for those of all, and nobody's.
    user: str | None = None

    @property
    def sees(self) -> ColumnElement[bool]:
        """Whether the viewer may see a thread."""
        of_tenant = threads.c.tenant == check_tenant(self.tenant)
        return of_tenant if self.user is None else and_(of_tenant, threads.c.owner == check_id("user", self.user))


def is_seen(viewer: Viewer, thread_id: str) -> ColumnElement[bool]:
    """The condition that a row is this thread's chosen branch, or that of an address, and the viewer may see it."""
    return and_(viewer.sees, is_row_of(viewer.tenant, check_address("thread_id", thread_id)))


@read_only
def find_thread(connection: Connection, viewer: Viewer, thread_id: str) -> AnyRow:
    """The row of a thread. Raises `ThreadNotFound`."""
    return _one(connection, viewer, thread_id, select(threads).where(is_seen(viewer, thread_id)))


def lock_visible_thread(connection: Connection, viewer: Viewer, thread_id: str, *, to_delete: bool = False) -> AnyRow:
    """As `find_thread`, locked until the transaction ends, so that it stays the viewer's."""
    statement = select(threads).where(is_seen(viewer, thread_id)).with_for_update(key_share=not to_delete)
    return _one(connection, viewer, thread_id, statement)


def thread_not_found(viewer: Viewer, thread_id: str) -> ThreadNotFound | BranchNotFound:
    """The error for a thread, or for one of its branches, that is not there for a viewer."""
    return not_found(viewer.tenant, thread_id)


def _one(connection: Connection, viewer: Viewer, thread_id: str, statement: Select[tuple[object, ...]]) -> AnyRow:
    row: AnyRow | None = connection.execute(statement).one_or_none()
    if row is None:
        raise thread_not_found(viewer, thread_id)
    return row
