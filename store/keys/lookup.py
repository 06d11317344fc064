"""Finding the row of a key that is shown, and noting that keys are used.

What stays true: a key is compared by the hash of its whole text, in constant time; what is found is good by the
database's clock. Neither statement knows a tenant, since it is the key that says whose it is: on PostgreSQL both are
functions, by which a gateway whose role is bound to a tenant, and may not read the table, finds the keys it is shown.
"""

import hmac
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ARRAY, Connection, Text, cast, column, func, or_, select, update

from store.database.column_types import clock
from store.database.function_calls import FunctionCall, call_within, has_functions
from store.database.sqlite import read_only
from store.database.statements import AnyRow
from store.keys.key_text import ApiKey
from store.tables import api_keys

#: Seconds within which a second use of a key is not noted.
USE_PERIOD_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret of a key, as its hash."""

    sha256: str
    #: How long it is good still; None for no end.
    seconds_left: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsableKey:
    """A key that is neither revoked nor expired."""

    id: str
    tenant: str
    user: str | None
    scopes: tuple[str, ...]
    secrets: tuple[Secret, ...]

    def match(self, key: ApiKey) -> Secret | None:
        """The secret that a key has; None for another one. All are compared, in constant time."""
        matches = [secret for secret in self.secrets if hmac.compare_digest(secret.sha256, key.sha256)]
        return matches[0] if matches else None


@read_only
def find_keys(connection: Connection, ids: Sequence[str]) -> dict[str, UsableKey]:
    """Find the usable keys among those with these ids, by id."""
    if has_functions(connection):
        columns = [column(each.name, each.type) for each in api_keys.c]
        found = func.threadmill.find_api_keys_v1(cast(ids, ARRAY(Text))).table_valued(*columns, name="found")
        query = select(found, clock().label("now"))
    else:
        query = select(api_keys, clock().label("now")).where(api_keys.c.id.in_(ids), api_keys.c.revoked_at.is_(None))
    rows = connection.execute(query)
    return {row.id: key for row in rows if (key := _usable_key(row)) is not None}


def note_uses(connection: Connection, ids: Collection[str]) -> None:
    """Note that keys are used now, those whose last use is a minute ago."""
    if has_functions(connection):
        call_within(connection, FunctionCall("note_key_uses_v1", {"ids": sorted(ids)}))
        return
    row = api_keys.alias()
    is_due = or_(row.c.last_used_at.is_(None), row.c.last_used_at < clock(plus_seconds=-USE_PERIOD_SECONDS))
    # A row that another gateway writes now is noted by it.
    due = select(row.c.id).where(row.c.id.in_(sorted(ids)), is_due).with_for_update(skip_locked=True)
    connection.execute(update(api_keys).where(api_keys.c.id.in_(due)).values(last_used_at=clock()))


def _usable_key(row: AnyRow) -> UsableKey | None:
    secrets = [(row.secret_sha256, row.expires_at)]
    if row.previous_sha256 is not None:
        ends = [end for end in (row.previous_expires_at, row.expires_at) if end is not None]
        secrets.append((row.previous_sha256, min(ends, default=row.now)))
    usable = tuple(Secret(sha256, _seconds_between(row.now, end)) for sha256, end in secrets if _is_good(row.now, end))
    if not usable:
        return None
    return UsableKey(id=row.id, tenant=row.tenant, user=row.owner, scopes=tuple(row.scopes), secrets=usable)


def _is_good(now: datetime, end: datetime | None) -> bool:
    return end is None or end > now


def _seconds_between(now: datetime, end: datetime | None) -> float | None:
    return None if end is None else (end - now).total_seconds()
