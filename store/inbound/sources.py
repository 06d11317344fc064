"""The rows of inbound sources: create, list, change and delete them, and give them new secrets.

What stays true: a secret is stored encrypted alone; each change leaves a row in the audit, which names the source by
its id. Finding one knows no tenant, since it is the source that says whose it is: on PostgreSQL it is a function, by
which a gateway whose role is bound to a tenant finds what a request names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Select, column, delete, func, select, update

from conversation.arguments import check_duration, check_flag, check_one_of, check_whole_number
from conversation.errors import InboundSourceNotFound, InvalidInput, LimitReached
from conversation.inbound_mapping import check_conditions, check_mapping
from conversation.inbound_signature import Scheme
from conversation.inbound_source import InboundSourceRecord, check_header, check_secret, is_source_id
from conversation.quotation import quote
from conversation.task_contract import PRIORITY_MAX
from conversation.validation import check_id, check_tenant, check_tenant_of_user, check_text
from conversation.when_busy import WhenBusy, check_when_busy
from store.audit import write_audit_row
from store.database.column_types import clock
from store.database.function_calls import has_functions
from store.database.sqlite import read_only
from store.database.statements import AnyRow, convert_row, insert_for
from store.tables import inbound_sources
from store.webhooks.sealed_secrets import SealedSecrets, SigningKey, good_at

#: Sources of one tenant, at most.
TENANT_MAX = 200
NAME_MAX_CHARS = 100
#: Bytes of a body that a source takes, where nothing else is said, and at most.
MAX_BYTES, MAX_BYTES_LIMIT = 256 * 1024, 4 * 1024 * 1024
#: Secrets of one source at once, at most.
SECRETS_MAX = 5
#: How long the secret before is good as well, after a rotation, where nothing else is said.
DEFAULT_GRACE, GRACE_MAX = timedelta(days=1), timedelta(days=365)


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundSourceRequest:
    """A source that is asked for; `values` checks it."""

    name: str
    #: Which parts of a body are the thread id, the text, the user and the key.
    mapping: Mapping[str, Any]
    scheme: Scheme | Literal["standard-webhooks", "hmac-sha256", "github", "stripe", "token"] = "standard-webhooks"
    header: str | None = None
    only: Mapping[str, Any] | None = None
    #: None: the installation's default, or the one that the thread was handed over to.
    agent: str | None = None
    when_busy: WhenBusy | str | None = None
    priority: int = 0
    max_bytes: int = MAX_BYTES
    tenant: str = "default"

    def values(self) -> dict[str, Any]:
        """The columns of the source's row, but for its secret. Raises `InvalidInput`."""
        scheme = Scheme(check_one_of("scheme", self.scheme, tuple(Scheme)))
        name = check_text("name", self.name, max_chars=NAME_MAX_CHARS)
        if not name.strip():
            raise InvalidInput("name", "is empty", "say what sends here")
        return {
            "tenant": check_tenant_of_user(self.tenant),
            "name": name,
            "scheme": scheme,
            "header": check_header(scheme, self.header),
            "mapping": check_mapping(self.mapping).to_json(),
            "only": check_conditions(self.only),
            "agent": None if self.agent is None else check_id("agent", self.agent),
            "when_busy": None if self.when_busy is None else check_when_busy("when_busy", self.when_busy),
            "priority": check_whole_number("priority", self.priority, maximum=PRIORITY_MAX),
            "max_bytes": check_whole_number("max_bytes", self.max_bytes, minimum=1, maximum=MAX_BYTES_LIMIT),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSource:
    """The source that a request names, with what it may be signed with."""

    record: InboundSourceRecord
    #: Encrypted.
    secrets: Sequence[str] = field(repr=False)


def create_source(
    connection: Connection, source_id: str, request: InboundSourceRequest, secret: str, sealed_secrets: SealedSecrets
) -> InboundSourceRecord:
    """Create a source under this id. Repeated with the same id, nothing changes.

    Raises `InvalidInput`, `LimitReached`, and `InvalidSettings` where no key is set that encrypts.
    """
    values = request.values()
    check_secret(Scheme(values["scheme"]), secret)
    of_tenant = select(func.count()).select_from(inbound_sources).where(inbound_sources.c.tenant == values["tenant"])
    if connection.execute(of_tenant).scalar_one() >= TENANT_MAX:
        raise LimitReached(
            f"tenant: {values['tenant']!r} has {TENANT_MAX} inbound sources; delete one that is not used"
        )
    key = SigningKey(sealed_secrets.seal(source_id, secret), None)
    now = connection.execute(select(clock())).scalar_one()
    values |= {"secrets": [key.to_json()], "created_at": now, "updated_at": now}
    entry = insert_for(connection, inbound_sources).values(id=source_id, **values)
    if connection.execute(entry.on_conflict_do_nothing().returning(inbound_sources.c.id)).first() is not None:
        _audit(connection, values["tenant"], "created", source_id)
    return read_source(connection, values["tenant"], source_id)


@read_only
def read_source(connection: Connection, tenant: str, source_id: str) -> InboundSourceRecord:
    """Read a source. Raises `InboundSourceNotFound`."""
    row = connection.execute(_select(tenant, source_id)).one_or_none()
    if row is None:
        raise _not_found(source_id)
    return record_of(row)


@read_only
def list_sources(connection: Connection, tenant: str | None) -> list[InboundSourceRecord]:
    """List the sources of a tenant, or of all, the oldest first."""
    order = inbound_sources.c.tenant, inbound_sources.c.created_at, inbound_sources.c.id
    statement = select(inbound_sources).order_by(*order)
    if tenant is not None:
        statement = statement.where(inbound_sources.c.tenant == check_tenant(tenant))
    return [record_of(row) for row in connection.execute(statement)]


def rotate_source(
    connection: Connection,
    tenant: str,
    source_id: str,
    secret: str,
    sealed_secrets: SealedSecrets,
    *,
    grace: timedelta = DEFAULT_GRACE,
) -> InboundSourceRecord:
    """Give a source a new secret; what was good before is good for the grace.

    Raises `InboundSourceNotFound`, `InvalidInput`, and `InvalidSettings`.
    """
    fix = f"pass at most {GRACE_MAX.days} days, as a timedelta"
    grace = check_duration("grace", grace, minimum=timedelta(), maximum=GRACE_MAX, fix=fix)
    row = _lock(connection, tenant, source_id)
    check_secret(Scheme(row.scheme), secret)
    end = row.now + grace
    keys = [SigningKey.from_json(value) for value in row.secrets]
    ended = [SigningKey(key.sealed, end if key.expires_at is None else min(key.expires_at, end)) for key in keys]
    still_good = [key for key in ended if key.expires_at is not None and key.expires_at > row.now][-SECRETS_MAX + 1 :]
    still_good.append(SigningKey(sealed_secrets.seal(source_id, secret), None))
    _change(connection, row, "rotated", secrets=[key.to_json() for key in still_good])
    return read_source(connection, tenant, source_id)


def enable_source(connection: Connection, tenant: str, source_id: str, *, enabled: bool) -> InboundSourceRecord:
    """Have a source take what comes, or refuse it. Raises `InboundSourceNotFound` and `InvalidInput`."""
    check_flag("enabled", enabled)
    row = _lock(connection, tenant, source_id)
    if (row.disabled_at is None) is not enabled:
        change = "enabled" if enabled else "disabled"
        _change(connection, row, change, disabled_at=None if enabled else clock())
    return read_source(connection, tenant, source_id)


def delete_source(connection: Connection, tenant: str, source_id: str) -> None:
    """Delete a source; the turns of what came stay. Raises `InboundSourceNotFound`."""
    row = _lock(connection, tenant, source_id)
    connection.execute(delete(inbound_sources).where(inbound_sources.c.id == row.id))
    _audit(connection, row.tenant, "deleted", row.id)


def delete_of_tenant(connection: Connection, tenant: str) -> int:
    """Delete all sources of an erased tenant; returns how many."""
    return connection.execute(delete(inbound_sources).where(inbound_sources.c.tenant == tenant)).rowcount


@read_only
def find_source(connection: Connection, source_id: str) -> FoundSource | None:
    """Find the source of a request, whatever its tenant; None where there is none, or it takes nothing."""
    if has_functions(connection):
        columns = [column(each.name, each.type) for each in inbound_sources.c]
        found = func.threadmill.find_inbound_source_v1(source_id).table_valued(*columns, name="found")
        statement = select(found, clock().label("now"))
    else:
        statement = select(inbound_sources, clock().label("now")).where(inbound_sources.c.id == source_id)
    row = connection.execute(statement).one_or_none()
    if row is None or row.disabled_at is not None:
        return None
    keys = good_at([SigningKey.from_json(value) for value in row.secrets], row.now)
    return FoundSource(record=record_of(row), secrets=tuple(key.sealed for key in keys))


def record_of(row: AnyRow) -> InboundSourceRecord:
    """The record of a row."""
    when_busy = None if row.when_busy is None else WhenBusy(row.when_busy)
    values = {"scheme": Scheme(row.scheme), "mapping": check_mapping(row.mapping), "when_busy": when_busy}
    return convert_row(row, InboundSourceRecord, **values)


def _select(tenant: str, source_id: str) -> Select[Any]:
    is_id = inbound_sources.c.id == source_id if is_source_id(source_id) else inbound_sources.c.id.is_(None)
    return select(inbound_sources, clock().label("now")).where(is_id, inbound_sources.c.tenant == check_tenant(tenant))


def _lock(connection: Connection, tenant: str, source_id: str) -> AnyRow:
    statement = _select(tenant, source_id).with_for_update(of=inbound_sources)
    row: AnyRow | None = connection.execute(statement).one_or_none()
    if row is None:
        raise _not_found(source_id)
    return row


def _not_found(source_id: object) -> InboundSourceNotFound:
    return InboundSourceNotFound(f"source_id: no inbound source {quote(source_id)} is stored")


def _change(connection: Connection, row: AnyRow, change: str, **values: Any) -> None:
    of_row = update(inbound_sources).where(inbound_sources.c.id == row.id)
    connection.execute(of_row.values(**values, updated_at=clock()))
    _audit(connection, row.tenant, change, row.id)


def _audit(connection: Connection, tenant: str, change: str, source_id: str) -> None:
    write_audit_row(connection, tenant, "", f"inbound_source.{change}", {"source": source_id})
