"""The health of webhooks: how much waits, what is dead, and who is away.

What stays true: it reads the rows of webhooks, and by indexes those of deliveries that wait or are dead.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from store.database.column_types import clock, moment_now
from store.database.sqlite import read_only
from store.tables import webhook_deliveries as deliveries
from store.tables import webhooks
from store.webhooks.endpoints import GONE
from store.webhooks.outbox import AWAY_AFTER, is_first_of_thread
from store.webhooks.sealed_secrets import SigningKey, good_at

#: Deliveries that are counted of one webhook, at most.
COUNT_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookHealth:
    """The health of one webhook."""

    id: str
    tenant: str
    name: str
    state: str
    #: Its server answered 410.
    is_gone: bool
    #: So many attempts in a row failed that it counts as away.
    is_away: bool
    failures: int
    #: Counted up to `COUNT_MAX`.
    pending: int
    dead: int
    #: For how long the delivery has been due that is due for longest, though nothing holds it up; 0 where none is.
    overdue_seconds: float
    #: The keys that sign now, encrypted.
    keys: tuple[SigningKey, ...]


@read_only
def examine_webhooks(connection: Connection, tenant: str | None = None) -> list[WebhookHealth]:
    """Examine the webhooks of a tenant, or of all."""
    statement = select(webhooks, clock().label("now")).order_by(webhooks.c.tenant, webhooks.c.created_at, webhooks.c.id)
    if tenant is not None:
        statement = statement.where(webhooks.c.tenant == tenant)
    return [_examine(connection, row) for row in connection.execute(statement).all()]


def _examine(connection: Connection, row: Any) -> WebhookHealth:
    is_held_up = row.state != "enabled" or (row.retry_at is not None and row.retry_at > row.now)
    overdue_since = None if is_held_up else _find_overdue(connection, row.id)
    return WebhookHealth(
        id=row.id,
        tenant=row.tenant,
        name=row.name,
        state=row.state,
        is_gone=row.disabled_reason == GONE,
        is_away=row.failures >= AWAY_AFTER,
        failures=row.failures,
        pending=_count(connection, row.id, "pending"),
        dead=_count(connection, row.id, "dead"),
        overdue_seconds=0.0 if overdue_since is None else (row.now - overdue_since).total_seconds(),
        keys=tuple(good_at([SigningKey.from_json(value) for value in row.secrets], row.now)),
    )


def _count(connection: Connection, webhook_id: str, state: str) -> int:
    # The state stands in the statement, as the condition of the index has it.
    some = select(deliveries.c.key).where(deliveries.c.webhook_id == webhook_id, deliveries.c.state == state)
    return int(connection.execute(select(func.count()).select_from(some.limit(COUNT_MAX).subquery())).scalar_one())


def _find_overdue(connection: Connection, webhook_id: str) -> Any:
    """Since when the delivery is due that is due for longest and that stands behind none of its thread."""
    statement = (
        select(deliveries.c.next_try_at)
        .where(deliveries.c.webhook_id == webhook_id, deliveries.c.state == "pending")
        .where(deliveries.c.next_try_at <= moment_now(), is_first_of_thread())
        .order_by(deliveries.c.next_try_at)
        .limit(1)
    )
    return connection.execute(statement).scalar_one_or_none()
