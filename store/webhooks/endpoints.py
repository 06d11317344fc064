"""The rows of webhooks: create, read, list, change and delete them, and rotate their keys.

What stays true: each change leaves a row in the audit, which names the webhook by its id, and neither its address nor
its keys; a change of keys leaves one that signs, and the one before it signs as well for its grace.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict

from sqlalchemy import Connection, delete, func, select, update

from conversation.arguments import check_duration, check_flag, check_one_of, take_items
from conversation.errors import InvalidInput, LimitReached, WebhookNotFound
from conversation.ids import is_our_id
from conversation.quotation import quote
from conversation.validation import check_id, check_tenant, check_tenant_of_user, check_text
from conversation.webhooks import WebhookKind, check_link_template, check_secret, check_webhook_url
from store.audit import write_audit_row
from store.database.column_types import clock
from store.database.sqlite import read_only
from store.database.statements import AnyRow, insert_for, serialize_transactions
from store.tables import webhook_deliveries, webhooks
from store.webhooks.sealed_secrets import SealedSecrets, SigningKey, good_at

State = Literal["enabled", "disabled"]

#: Webhooks of one tenant, at most: each end of a turn looks at all of them.
TENANT_MAX = 50
#: Names of agents that one webhook lists, at most; and characters of a webhook's name.
AGENTS_MAX, NAME_MAX_CHARS = 100, 100
#: Keys that one webhook signs with at once, at most: a receiver may refuse a long header.
SECRETS_MAX = 5
#: How long the key before signs as well, after a rotation, where nothing else is said.
DEFAULT_GRACE = timedelta(days=1)
GRACE_MAX = timedelta(days=365)
#: Why a webhook is disabled.
ASKED, GONE = "asked", "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRequest:
    """A webhook that is asked for."""

    tenant: str
    url: str
    name: str = ""
    #: None for all.
    kinds: Collection[str] | None = None
    agents: Collection[str] | None = None
    link_template: str | None = None

    def columns(self) -> dict[str, Any]:
        """The columns of its row, checked. Raises `InvalidInput`."""
        check_tenant_of_user(self.tenant)
        return check_columns(
            {name: getattr(self, name) for name in ("url", "name", "kinds", "agents", "link_template")}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A webhook as it is stored, without its keys."""

    id: str
    tenant: str
    name: str
    #: May hold a secret in its path.
    url: str = field(repr=False)
    #: None for all.
    kinds: tuple[str, ...] | None
    agents: tuple[str, ...] | None
    link_template: str | None
    state: State
    #: `asked` by its owner; `gone`: its server answered 410.
    disabled_reason: str | None
    #: Attempts in a row that failed.
    failures: int
    #: Nothing is sent to it before.
    retry_at: datetime | None
    #: How many keys sign now, and when the oldest of them ends; None for a single one.
    signing_keys: int
    previous_key_expires_at: datetime | None
    created_at: datetime
    updated_at: datetime


class WebhookChanges(TypedDict, total=False):
    """The changes of a webhook: of the fields that are there."""

    url: str
    name: str
    kinds: Collection[str] | None
    agents: Collection[str] | None
    link_template: str | None
    #: Whether it is told of anything.
    enabled: bool


def check_columns(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Check the columns that a caller may write. Raises `InvalidInput`."""
    checks: dict[str, Callable[[str, Any], Any]] = {
        "url": check_webhook_url,
        "name": lambda name, value: check_text(name, value, max_chars=NAME_MAX_CHARS),
        "kinds": _check_kinds,
        "agents": _check_agents,
        "link_template": lambda name, value: None if value is None else check_link_template(name, value),
    }
    for name in changes:
        if name not in checks:
            fields = ", ".join([*checks, "enabled"])
            raise InvalidInput(quote(name), "is no field of a webhook that can be changed", f"name one of {fields}")
    return {name: checks[name](name, value) for name, value in changes.items()}


def _check_kinds(name: str, kinds: Any) -> list[str] | None:
    if kinds is None:
        return None
    words = {check_one_of(name, kind, list(WebhookKind)) for kind in take_items(name, kinds, len(WebhookKind))}
    if not words:
        raise InvalidInput(name, "are none", "leave them out for all, or disable the webhook")
    return [kind for kind in WebhookKind if kind in words]


def _check_agents(name: str, agents: Any) -> list[str] | None:
    if agents is None:
        return None
    names = sorted({check_id(name, agent) for agent in take_items(name, agents, AGENTS_MAX)})
    if not names:
        raise InvalidInput(name, "are none", "leave them out for all, or disable the webhook")
    return names


def create_webhook(
    connection: Connection, request: WebhookRequest, webhook_id: str, secret: str, sealed_secrets: SealedSecrets
) -> Webhook:
    """Create a webhook with its key. Repeated with the same id, nothing changes.

    Raises `InvalidInput`, `LimitReached`, and `InvalidSettings` where no key is set that encrypts.
    """
    columns = request.columns()
    sealed = sealed_secrets.seal(webhook_id, check_secret("secret", secret))
    serialize_transactions(connection, f"webhooks of {request.tenant}")
    count = connection.execute(
        select(func.count()).where(webhooks.c.tenant == request.tenant, webhooks.c.id != webhook_id)
    ).scalar_one()
    if count >= TENANT_MAX:
        raise LimitReached(f"tenant {request.tenant!r} has {count} webhooks; delete one that is not needed any more")
    entry = insert_for(connection, webhooks).values(
        id=webhook_id,
        tenant=request.tenant,
        secrets=[SigningKey(sealed, None).to_json()],
        state="enabled",
        created_at=clock(),
        updated_at=clock(),
        **columns,
    )
    if connection.execute(entry.on_conflict_do_nothing().returning(webhooks.c.id)).first():
        _audit(connection, request.tenant, "created", webhook_id)
    return read_webhook(connection, request.tenant, webhook_id)


@read_only
def list_webhooks(connection: Connection, tenant: str | None) -> list[Webhook]:
    """List the webhooks of a tenant, or of all, the oldest first."""
    statement = _select().order_by(webhooks.c.tenant, webhooks.c.created_at, webhooks.c.id)
    if tenant is not None:
        statement = statement.where(webhooks.c.tenant == check_tenant(tenant))
    return [_record_of(row) for row in connection.execute(statement)]


def read_webhook(connection: Connection, tenant: str | None, webhook_id: str) -> Webhook:
    """Read a webhook of this tenant, or of whichever. Raises `WebhookNotFound`."""
    return _record_of(find_row(connection, tenant, webhook_id))


def change_webhook(connection: Connection, tenant: str | None, webhook_id: str, changes: Mapping[str, Any]) -> Webhook:
    """Change what a webhook is told of, where, or whether: `enabled` is true or false.

    Enabled again, it is sent what waits for it. Raises `WebhookNotFound` and `InvalidInput`.
    """
    row = find_row(connection, tenant, webhook_id, locks=True)
    columns = check_columns({name: value for name, value in changes.items() if name != "enabled"})
    if "enabled" in changes:
        is_enabled = check_flag("enabled", changes["enabled"])
        columns |= {"state": "enabled" if is_enabled else "disabled", "failures": 0, "retry_at": None}
        columns["disabled_reason"] = None if is_enabled else ASKED
    if columns:
        connection.execute(_update(webhook_id).values(**columns, updated_at=clock()))
        _audit(connection, row.tenant, "changed", webhook_id, fields=sorted(changes))
    return read_webhook(connection, tenant, webhook_id)


def rotate_secret(
    connection: Connection,
    tenant: str | None,
    webhook_id: str,
    secret: str,
    sealed_secrets: SealedSecrets,
    *,
    grace: timedelta = DEFAULT_GRACE,
) -> Webhook:
    """Give a webhook a new key; the one before signs as well for the grace. Repeated with it, nothing changes.

    Raises `WebhookNotFound`, `InvalidInput`, and `InvalidSettings` where no key is set that encrypts.
    """
    check_secret("secret", secret)
    fix = f"pass at most {GRACE_MAX.days} days, as a timedelta"
    check_duration("grace", grace, minimum=timedelta(), maximum=GRACE_MAX, fix=fix)
    row = find_row(connection, tenant, webhook_id, locks=True)
    keys = [SigningKey.from_json(value) for value in row.secrets]
    if sealed_secrets.unseal(webhook_id, keys[-1].sealed) == secret:
        return _record_of(row)
    good_keys = good_at(keys[:-1], row.now)[::-1][-SECRETS_MAX + 2 :]
    if grace:
        good_keys.append(SigningKey(keys[-1].sealed, row.now + grace))
    new_keys = [*good_keys, SigningKey(sealed_secrets.seal(webhook_id, secret), None)]
    values = {"secrets": [key.to_json() for key in new_keys], "updated_at": clock()}
    connection.execute(_update(webhook_id).values(values))
    _audit(connection, row.tenant, "rotated", webhook_id)
    return read_webhook(connection, tenant, webhook_id)


def delete_webhook(connection: Connection, tenant: str | None, webhook_id: str) -> None:
    """Delete a webhook; what was not delivered is not any more, and is deleted later. Raises `WebhookNotFound`."""
    row = find_row(connection, tenant, webhook_id, locks=True)
    connection.execute(delete(webhooks).where(webhooks.c.id == webhook_id))
    _audit(connection, row.tenant, "deleted", webhook_id)


def delete_webhooks(connection: Connection, tenant: str) -> int:
    """Delete all webhooks of an erased tenant, with their deliveries; returns how many there were."""
    connection.execute(delete(webhook_deliveries).where(webhook_deliveries.c.tenant == tenant))
    return connection.execute(delete(webhooks).where(webhooks.c.tenant == tenant)).rowcount


def find_row(connection: Connection, tenant: str | None, webhook_id: object, *, locks: bool = False) -> AnyRow:
    """Find the row of a webhook. Raises `WebhookNotFound`."""
    row: AnyRow | None = None
    if is_our_id(webhook_id):
        statement = _select().where(webhooks.c.id == webhook_id)
        if tenant is not None:
            statement = statement.where(webhooks.c.tenant == check_tenant(tenant))
        statement = statement.with_for_update(of=webhooks, key_share=True) if locks else statement
        row = connection.execute(statement).one_or_none()
    if row is None:
        raise WebhookNotFound("webhook_id: no such webhook is stored")
    return row


def _select() -> Any:
    return select(webhooks, clock().label("now"))


def _update(webhook_id: str) -> Any:
    return update(webhooks).where(webhooks.c.id == webhook_id)


def _record_of(row: AnyRow) -> Webhook:
    keys: Sequence[SigningKey] = good_at([SigningKey.from_json(value) for value in row.secrets], row.now)
    ends = [key.expires_at for key in keys if key.expires_at is not None]
    return Webhook(
        id=row.id,
        tenant=row.tenant,
        name=row.name,
        url=row.url,
        kinds=None if row.kinds is None else tuple(row.kinds),
        agents=None if row.agents is None else tuple(row.agents),
        link_template=row.link_template,
        state=row.state,
        disabled_reason=row.disabled_reason,
        failures=row.failures,
        retry_at=row.retry_at,
        signing_keys=len(keys),
        previous_key_expires_at=max(ends, default=None),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _audit(connection: Connection, tenant: str, change: str, webhook_id: str, **details: Any) -> None:
    write_audit_row(connection, tenant, "", f"webhook.{change}", {"webhook": webhook_id, **details})
