"""Policies as rows: set, list and remove them; which ones apply to a thread.

What stays true: one row a scope. Whoever changes a policy makes retention look again at the threads
that it is about.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, delete, literal, select, true, tuple_, update

from store.audit import note
from store.database.column_types import clock
from store.database.statements import insert_for
from store.retention.policy import STRICTEST, Policy, of_settings
from store.settings import Settings
from store.tables import threads
from store.tables.retention import retention_looks, retention_policies

#: Threads of one transaction that are to be looked at again.
LOOKED = 1_000

_SCOPE = ("tenant", "agent", "thread_id")


def put(connection: Connection, policy: Policy) -> None:
    """Make this the policy of its scope, in place of the one before. Raises `InvalidInput`."""
    policy.check()
    _write(connection, policy)
    note(connection, policy.tenant, policy.thread_id, "retention.policy_set", _said(policy))


def remove(connection: Connection, *, tenant: str = "", agent: str = "", thread_id: str = "") -> bool:
    """Let a scope say nothing any more; False if it did not."""
    scope = Policy(tenant=tenant, agent=agent, thread_id=thread_id)
    gone = connection.execute(delete(retention_policies).where(*_is(scope))).rowcount == 1
    if gone:
        _look_again(connection, scope)
        note(connection, tenant, thread_id, "retention.policy_removed", _said(scope))
    return gone


def mirror(connection: Connection, settings: Settings) -> None:
    """Enter what the settings say as the policy of the installation, if it changed."""
    policy = of_settings(settings)
    stored = _read(connection, _select().where(*_is(Policy())))
    if (stored or [Policy()]) != [policy]:
        _write(connection, policy)


def stored(connection: Connection, *, tenant: str | None = None) -> list[Policy]:
    """The policies of a tenant, or of all, by scope."""
    statement = _select().order_by(*(retention_policies.c[name] for name in _SCOPE))
    if tenant is not None:
        statement = statement.where(retention_policies.c.tenant.in_(["", tenant]))
    return _read(connection, statement)


def of_thread(connection: Connection, tenant: str, agent: str | None, thread_id: str) -> list[Policy]:
    """Those that apply to this thread."""
    named = {"tenant": tenant, "agent": agent or "", "thread_id": thread_id}
    statement = _select().where(*(retention_policies.c[name].in_(["", said]) for name, said in named.items()))
    return _read(connection, statement)


def look_again(connection: Connection, *, limit: int = LOOKED) -> bool:
    """Have the next threads of a changed policy looked at again; False where there are none left."""
    asked = select(retention_looks).order_by(retention_looks.c.key).limit(1)
    look = connection.execute(asked.with_for_update(skip_locked=True)).one_or_none()
    if look is None:
        return False
    place = threads.c.tenant, threads.c.id
    behind = tuple_(*place) > tuple_(literal(look.after_tenant), literal(look.after_id))
    of_tenant = threads.c.tenant == look.tenant if look.tenant else true()
    page = select(threads.c.key, *place).where(behind, of_tenant).order_by(*place).limit(limit)
    rows = connection.execute(page).all()
    _forget_seen(connection, [row.key for row in rows], look.agent)
    of_look = retention_looks.c.key == look.key
    if len(rows) < limit:
        connection.execute(delete(retention_looks).where(of_look))
    else:
        last = {"after_tenant": rows[-1].tenant, "after_id": rows[-1].id}
        connection.execute(update(retention_looks).where(of_look).values(last))
    return True


def is_changed(connection: Connection) -> bool:
    """Whether there are threads that `look_again` has not come to."""
    return connection.execute(select(retention_looks.c.key).limit(1)).first() is not None


def _forget_seen(connection: Connection, keys: Sequence[int], agent: str) -> None:
    seen = threads.c.key.in_(keys) & threads.c.retention_seen_at.is_not(None)
    if agent:
        seen &= threads.c.agent == agent
    # In the order in which everybody takes the locks of several threads.
    locked = select(threads.c.key).where(seen).order_by(threads.c.key).with_for_update(key_share=True)
    found = connection.execute(locked).scalars().all()
    if found:
        forgotten = update(threads).where(threads.c.key.in_(found))
        connection.execute(forgotten.values(retention_seen_at=None))


def _write(connection: Connection, policy: Policy) -> None:
    values = {name: getattr(policy, name) for name in (*_SCOPE, *STRICTEST)}
    statement = insert_for(connection, retention_policies).values(**values, updated_at=clock())
    changed = {name: statement.excluded[name] for name in (*STRICTEST, "updated_at")}
    connection.execute(statement.on_conflict_do_update(index_elements=list(_SCOPE), set_=changed))
    _look_again(connection, policy)


def _look_again(connection: Connection, scope: Policy) -> None:
    """Threads that had nothing more to give may have now: the next run forgets that it has seen them."""
    if scope.thread_id:
        of_thread = (threads.c.tenant == scope.tenant) & (threads.c.id == scope.thread_id)
        connection.execute(update(threads).where(of_thread).values(retention_seen_at=None))
    else:
        connection.execute(retention_looks.insert().values(tenant=scope.tenant, agent=scope.agent))


def _is(scope: Policy) -> list[Any]:
    return [retention_policies.c[name] == getattr(scope, name) for name in _SCOPE]


def _select() -> Select[Any]:
    return select(*(retention_policies.c[name] for name in (*_SCOPE, *STRICTEST)))


def _read(connection: Connection, statement: Select[Any]) -> list[Policy]:
    return [Policy(**row) for row in connection.execute(statement).mappings()]


def _said(policy: Policy) -> dict[str, Any]:
    """What the audit has of a policy: its thread's id stands there as its hash already."""
    said = {name: value for name, value in policy.to_json().items() if name not in ("tenant", "thread_id")}
    return {"scope": policy.scope, **said}
