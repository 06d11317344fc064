"""The rows of API keys: create, list, rotate and revoke them, and delete those of an erased user.

What stays true: a key is good by the database's clock, and by its row alone; a key that was revoked never is again;
each change leaves a row in the audit, which names the key by its id and nobody by theirs.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Select, delete, select, update

from conversation.arguments import check_items, check_one_of
from conversation.errors import InvalidInput
from conversation.scopes import SCOPES
from conversation.validation import check_id, check_moment, check_tenant_of_user, check_text
from store.audit import write_audit_row
from store.database.column_types import clock
from store.database.sqlite import read_only
from store.database.statements import AnyRow, insert_for
from store.keys.key_text import ApiKey
from store.tables import api_keys

KeyState = Literal["active", "expired", "revoked"]

#: Characters of a key's name, at most.
NAME_MAX_CHARS = 100
#: How long the secret before is good as well, after a rotation, where nothing else is said.
DEFAULT_GRACE = timedelta(days=1)
#: The longest time that a key or a grace is given as a length of time.
LENGTH_MAX = timedelta(days=36_500)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRequest:
    """A key that is asked for."""

    tenant: str
    #: What the operator calls it.
    name: str = ""
    scopes: Collection[str] = ("read", "write")
    #: The only user whose threads it may see; None for all of the tenant.
    user: str | None = None
    #: When it ends, or how long it is good; None for no end.
    expires: datetime | timedelta | None = None

    def check(self) -> None:
        """Refuse what no key can have. Raises `InvalidInput`."""
        check_tenant_of_user(self.tenant)
        check_text("name", self.name, max_chars=NAME_MAX_CHARS)
        if not check_items("scopes", self.scopes, str):
            raise InvalidInput("scopes", "are none", f"name some of {', '.join(SCOPES)}")
        for scope in self.scopes:
            check_one_of("scopes", scope, SCOPES)
        if self.user is not None:
            check_id("user", self.user)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """A key as it is stored, without the hashes of its secrets."""

    id: str
    tenant: str
    name: str
    scopes: tuple[str, ...]
    user: str | None
    state: KeyState
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    rotated_at: datetime | None
    #: Until when the secret before the last rotation is good as well.
    previous_expires_at: datetime | None
    last_used_at: datetime | None


def create_key(connection: Connection, request: KeyRequest, key: ApiKey) -> KeyRecord:
    """Create a key. Repeated with the same one, nothing changes. Raises `InvalidInput`."""
    request.check()
    now = _read_clock(connection)
    entry = insert_for(connection, api_keys).values(
        id=key.id,
        tenant=request.tenant,
        name=request.name,
        secret_sha256=key.sha256,
        scopes=[scope for scope in SCOPES if scope in request.scopes],
        owner=request.user,
        created_at=now,
        expires_at=_end_of(now, request.expires),
    )
    if connection.execute(entry.on_conflict_do_nothing().returning(api_keys.c.id)).first():
        _audit(connection, request.tenant, "created", key.id, scopes=sorted(request.scopes))
    return _record_of(_lock(connection, key.id))


@read_only
def list_keys(connection: Connection, *, tenant: str | None = None) -> list[KeyRecord]:
    """The keys of a tenant, or of all, the oldest first."""
    statement = _select().order_by(api_keys.c.tenant, api_keys.c.created_at, api_keys.c.id)
    if tenant is not None:
        statement = statement.where(api_keys.c.tenant == tenant)
    return [_record_of(row) for row in connection.execute(statement)]


def rotate_key(
    connection: Connection,
    key: ApiKey,
    *,
    grace: timedelta = DEFAULT_GRACE,
    expires: datetime | timedelta | None = None,
) -> KeyRecord:
    """Give a key a new secret; the one before is good as well for the grace, one before that no longer.

    Its end stays, where `expires` names no other. Repeated with the same secret, nothing changes. Raises
    `InvalidInput` for a key that is unknown, revoked or expired.
    """
    row = _lock(connection, key.id)
    _check_active(row)
    if row.secret_sha256 == key.sha256:
        return _record_of(row)
    if not timedelta() <= grace <= LENGTH_MAX:
        raise InvalidInput("grace", "is out of range", "pass none, or up to a hundred years")
    ends = [row.now + grace, *([row.expires_at] if row.expires_at is not None else [])]
    values = {
        "secret_sha256": key.sha256,
        "previous_sha256": row.secret_sha256 if grace else None,
        "previous_expires_at": min(ends) if grace else None,
        "rotated_at": row.now,
        "expires_at": row.expires_at if expires is None else _end_of(row.now, expires),
    }
    connection.execute(update(api_keys).where(api_keys.c.id == key.id).values(values))
    _audit(connection, row.tenant, "rotated", key.id)
    return _record_of(_lock(connection, key.id))


def revoke_key(connection: Connection, key_id: str) -> KeyRecord:
    """Revoke a key with all its secrets, for good. Raises `InvalidInput` for one that is unknown or revoked."""
    row = _lock(connection, key_id)
    _check_not_revoked(row)
    connection.execute(update(api_keys).where(api_keys.c.id == key_id).values(revoked_at=row.now))
    _audit(connection, row.tenant, "revoked", key_id)
    return _record_of(_lock(connection, key_id))


def delete_keys(connection: Connection, tenant: str, user: str | None) -> int:
    """Delete the keys of an erased user, or of a whole tenant; returns how many there were."""
    of_subject = api_keys.c.tenant == tenant
    if user is not None:
        of_subject &= api_keys.c.owner == user
    return connection.execute(delete(api_keys).where(of_subject)).rowcount


def _select() -> Select[Any]:
    return select(api_keys, clock().label("now"))


def _lock(connection: Connection, key_id: str) -> AnyRow:
    row = connection.execute(_select().where(api_keys.c.id == key_id).with_for_update(of=api_keys)).one_or_none()
    if row is None:
        raise InvalidInput("key_id", f"{key_id!r} is no key's id", "pass one that `threadmill keys list` shows")
    return row


def _check_active(row: AnyRow) -> None:
    _check_not_revoked(row)
    if _state_of(row) == "expired":
        raise InvalidInput("key_id", f"{row.id!r} expired at {row.expires_at:%Y-%m-%d %H:%M} UTC", "create another one")


def _check_not_revoked(row: AnyRow) -> None:
    if row.revoked_at is not None:
        raise InvalidInput(
            "key", f"{row.id!r} was revoked at {row.revoked_at:%Y-%m-%d %H:%M} UTC", "create another one"
        )


def _state_of(row: AnyRow) -> KeyState:
    if row.revoked_at is not None:
        return "revoked"
    return "expired" if row.expires_at is not None and row.expires_at <= row.now else "active"


def _record_of(row: AnyRow) -> KeyRecord:
    return KeyRecord(
        id=row.id,
        tenant=row.tenant,
        name=row.name,
        scopes=tuple(row.scopes),
        user=row.owner,
        state=_state_of(row),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        rotated_at=row.rotated_at,
        previous_expires_at=row.previous_expires_at,
        last_used_at=row.last_used_at,
    )


def _read_clock(connection: Connection) -> datetime:
    now: datetime = connection.execute(select(clock())).scalar_one()
    return now


def _end_of(now: datetime, expires: datetime | timedelta | None) -> datetime | None:
    """The moment when a key ends. Raises `InvalidInput` for one that is past."""
    if expires is None:
        return None
    if isinstance(expires, timedelta) and expires > LENGTH_MAX:
        raise InvalidInput("expires", "is out of range", "pass up to a hundred years")
    end = now + expires if isinstance(expires, timedelta) else check_moment("expires", expires)
    if end <= now:
        raise InvalidInput("expires", "is past", "pass a moment to come")
    return end


def _audit(connection: Connection, tenant: str, change: str, key_id: str, **details: Any) -> None:
    write_audit_row(connection, tenant, "", f"key.{change}", {"key": key_id, **details})
