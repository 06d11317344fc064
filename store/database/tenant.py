"""The tenant whose rows a transaction may see, named to PostgreSQL in the transaction's first message.

Row-level security compares it with each row, for roles that it binds (`store.walls`). What stays true: the setting
is the transaction's own, so that it ends with it, behind a pooler too; a name goes into SQL only after it was checked.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from conversation.validation import check_tenant

#: The setting of PostgreSQL that holds the tenant's name.
SETTING = "threadmill.tenant"

_current: ContextVar[str | None] = ContextVar("threadmill_tenant", default=None)


def current_tenant() -> str | None:
    """The tenant that transactions of this context act for; None where none was named."""
    return _current.get()


@contextmanager
def act_for(tenant: str | None) -> Iterator[None]:
    """Have the transactions that begin in this block act for a tenant; None leaves whoever was named before.

    Raises `InvalidInput` for what is no tenant's name.
    """
    if tenant is None:
        yield
        return
    token = _current.set(check_tenant(tenant))
    try:
        yield
    finally:
        _current.reset(token)


def name_tenant(tenant: str | None) -> None:
    """Have the transactions of this context act for a tenant from now on, or for none: of a task for one request."""
    _current.set(None if tenant is None else check_tenant(tenant))


def tenant_statements() -> list[str]:
    """The statements that name the current tenant to PostgreSQL, at the beginning of a transaction."""
    tenant = _current.get()
    # A checked name holds no quote.
    return [] if tenant is None else [f"SET LOCAL {SETTING} = '{tenant}'"]
