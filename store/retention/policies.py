"""Policies as rows: set, list and remove them, and load those that apply to a thread.

What stays true: one row a scope. A change of a policy makes retention check the threads of its scope
again.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, delete, literal, select, true, tuple_, update

from store.audit import write_audit_row
from store.database.column_types import clock
from store.database.sqlite import read_only
from store.database.statements import insert_for
from store.retention.policy import STRICTEST, Policy, policy_from_settings
from store.settings import Settings
from store.tables import threads
from store.tables.retention import retention_policies, retention_rescans

#: Threads of one transaction that are marked to be checked again.
RESCAN_MAX_THREADS = 1_000

_SCOPE = ("tenant", "agent", "thread_id")


def put(connection: Connection, policy: Policy) -> None:
    """Make this the policy of its scope, in place of the one before. Raises `InvalidInput`."""
    policy.check()
    _write(connection, policy)
    write_audit_row(connection, policy.tenant, policy.thread_id, "retention.policy_set", _audit_details(policy))


def remove(connection: Connection, *, tenant: str = "", agent: str = "", thread_id: str = "") -> bool:
    """Remove the policy of a scope; False if there is none."""
    scope = Policy(tenant=tenant, agent=agent, thread_id=thread_id)
    is_removed = connection.execute(delete(retention_policies).where(*_has_scope(scope))).rowcount == 1
    if is_removed:
        _request_rescan(connection, scope)
        write_audit_row(connection, tenant, thread_id, "retention.policy_removed", _audit_details(scope))
    return is_removed


def mirror(connection: Connection, settings: Settings) -> None:
    """Enter what the settings say as the policy of the installation, if it changed."""
    policy = policy_from_settings(settings)
    stored_policies = _read(connection, _select().where(*_has_scope(Policy())))
    if (stored_policies or [Policy()]) != [policy]:
        _write(connection, policy)


@read_only
def list_policies(connection: Connection, *, tenant: str | None = None) -> list[Policy]:
    """The policies of a tenant, or of all, by scope."""
    statement = _select().order_by(*(retention_policies.c[name] for name in _SCOPE))
    if tenant is not None:
        statement = statement.where(retention_policies.c.tenant.in_(["", tenant]))
    return _read(connection, statement)


def load_policies_of_thread(connection: Connection, tenant: str, agent: str | None, thread_id: str) -> list[Policy]:
    """Load the policies that apply to one thread."""
    scope = {"tenant": tenant, "agent": agent or "", "thread_id": thread_id}
    statement = _select().where(*(retention_policies.c[name].in_(["", value]) for name, value in scope.items()))
    return _read(connection, statement)


def rescan_next_threads(connection: Connection, *, limit: int = RESCAN_MAX_THREADS) -> bool:
    """Mark the next threads of a changed policy to be checked again; False where none are left."""
    query = select(retention_rescans).order_by(retention_rescans.c.key).limit(1)
    rescan = connection.execute(query.with_for_update(skip_locked=True)).one_or_none()
    if rescan is None:
        return False
    position = threads.c.tenant, threads.c.id
    is_after = tuple_(*position) > tuple_(literal(rescan.after_tenant), literal(rescan.after_id))
    of_tenant = threads.c.tenant == rescan.tenant if rescan.tenant else true()
    page = select(threads.c.key, *position).where(is_after, of_tenant).order_by(*position).limit(limit)
    rows = connection.execute(page).all()
    _clear_check_times(connection, [row.key for row in rows], rescan.agent)
    of_rescan = retention_rescans.c.key == rescan.key
    if len(rows) < limit:
        connection.execute(delete(retention_rescans).where(of_rescan))
    else:
        new_position = {"after_tenant": rows[-1].tenant, "after_id": rows[-1].id}
        connection.execute(update(retention_rescans).where(of_rescan).values(new_position))
    return True


def has_pending_rescans(connection: Connection) -> bool:
    """Whether there are threads that `rescan_next_threads` has still to mark."""
    return connection.execute(select(retention_rescans.c.key).limit(1)).first() is not None


def _clear_check_times(connection: Connection, keys: Sequence[int], agent: str) -> None:
    is_checked = threads.c.key.in_(keys) & threads.c.retention_checked_at.is_not(None)
    if agent:
        is_checked &= threads.c.agent == agent
    # In the order in which every transaction locks several threads.
    lock_query = select(threads.c.key).where(is_checked).order_by(threads.c.key).with_for_update(key_share=True)
    locked_keys = connection.execute(lock_query).scalars().all()
    if locked_keys:
        statement = update(threads).where(threads.c.key.in_(locked_keys))
        connection.execute(statement.values(retention_checked_at=None))


def _write(connection: Connection, policy: Policy) -> None:
    values = {name: getattr(policy, name) for name in (*_SCOPE, *STRICTEST)}
    statement = insert_for(connection, retention_policies).values(**values, updated_at=clock())
    new_values = {name: statement.excluded[name] for name in (*STRICTEST, "updated_at")}
    connection.execute(statement.on_conflict_do_update(index_elements=list(_SCOPE), set_=new_values))
    _request_rescan(connection, policy)


def _request_rescan(connection: Connection, scope: Policy) -> None:
    """Request that threads of a scope are checked again: more may be due under the new policy."""
    if scope.thread_id:
        of_thread = (threads.c.tenant == scope.tenant) & (threads.c.id == scope.thread_id)
        connection.execute(update(threads).where(of_thread).values(retention_checked_at=None))
    else:
        connection.execute(retention_rescans.insert().values(tenant=scope.tenant, agent=scope.agent))


def _has_scope(scope: Policy) -> list[Any]:
    return [retention_policies.c[name] == getattr(scope, name) for name in _SCOPE]


def _select() -> Select[Any]:
    return select(*(retention_policies.c[name] for name in (*_SCOPE, *STRICTEST)))


def _read(connection: Connection, statement: Select[Any]) -> list[Policy]:
    return [Policy(**row) for row in connection.execute(statement).mappings()]


def _audit_details(policy: Policy) -> dict[str, Any]:
    """The audit's details of a policy, without the thread's id: the row has its hash already."""
    values = {name: value for name, value in policy.to_json().items() if name not in ("tenant", "thread_id")}
    return {"scope": policy.scope, **values}
