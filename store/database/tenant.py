"""The tenant whose rows a transaction may see, named to PostgreSQL in the transaction's first message.

Row-level security compares it with each row, for roles that it binds (`store.walls`). What stays true: the setting
is the transaction's own, so that it ends with it, behind a pooler too; a name goes into SQL only after it was checked.

An API key says whose it is, so its row is looked for before a tenant is known: by the key's id, which is named the
same way.
"""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from conversation.validation import check_tenant

#: The setting of PostgreSQL that holds the tenant's name.
SETTING = "threadmill.tenant"
#: The setting that holds the ids of API keys, with a comma between two.
KEYS_SETTING = "threadmill.keys"
_KEY_ID = re.compile(r"[A-Za-z0-9_-]+")

_current: ContextVar[str | None] = ContextVar("threadmill_tenant", default=None)
_keys: ContextVar[tuple[str, ...]] = ContextVar("threadmill_keys", default=())


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


@contextmanager
def look_for_keys(ids: Collection[str]) -> Iterator[None]:
    """Have the transactions that begin in this block see the API keys with these ids, whose ever they are."""
    token = _keys.set(tuple(each for each in ids if _KEY_ID.fullmatch(each)))
    try:
        yield
    finally:
        _keys.reset(token)


def tenant_statements() -> list[str]:
    """The statements that name the current tenant to PostgreSQL, at the beginning of a transaction."""
    tenant, keys = _current.get(), _keys.get()
    # A checked name holds no quote.
    statements = [] if tenant is None else [f"SET LOCAL {SETTING} = '{tenant}'"]
    return [*statements, f"SET LOCAL {KEYS_SETTING} = '{','.join(keys)}'"] if keys else statements
