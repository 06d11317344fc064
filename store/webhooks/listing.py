"""Deliveries to webhooks: list them, and send them again.

What stays true: a page costs the same wherever it begins; a delivery that is replayed keeps its id and its body, and
is sent before what is behind it in its thread.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from conversation.arguments import check_one_of, check_whole_number
from conversation.branch_address import split_address
from conversation.cursor import read_cursor, write_cursor
from conversation.errors import WebhookNotFound
from conversation.ids import is_our_id
from conversation.validation import check_moment
from store.database.column_types import clock
from store.database.statements import convert_row
from store.tables import threads
from store.tables import webhook_deliveries as deliveries
from store.webhooks.endpoints import find_row

#: Deliveries of one page, at most; and of one statement that replays.
PAGE_MAX, REPLAY_MAX = 1_000, 500
STATES = ("pending", "delivered", "dead")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookDelivery:
    """A delivery of an event to a webhook."""

    #: What its receiver knows it by: `webhook-id`.
    id: str
    webhook_id: str
    tenant: str
    thread_id: str
    turn_id: str | None
    kind: str
    #: `pending`, `delivered` or `dead`.
    state: str
    #: Since it happened, or was replayed.
    attempts: int
    #: When the event happened.
    created_at: datetime
    #: When it is tried next; null where it is not.
    next_try_at: datetime | None
    last_tried_at: datetime | None
    #: The HTTP status of the last attempt.
    last_status: int | None
    #: Why it failed, in a word of ours.
    last_error: str | None
    finished_at: datetime | None


class DeliveryPage(list[WebhookDelivery]):
    """Deliveries to a webhook, the newest first; `next_cursor` is None on the last page."""

    next_cursor: str | None = None


def list_deliveries(
    connection: Connection,
    tenant: str | None,
    webhook_id: str,
    *,
    state: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> DeliveryPage:
    """List the deliveries to a webhook. Raises `WebhookNotFound`, and `InvalidInput` for what cannot be listed by."""
    limit = check_whole_number("limit", limit, minimum=1, maximum=PAGE_MAX)
    find_row(connection, tenant, webhook_id)
    statement = _select().where(deliveries.c.webhook_id == webhook_id)
    if state is not None:
        statement = statement.where(deliveries.c.state == check_one_of("state", state, STATES))
    if cursor is not None:
        (key,) = read_cursor(cursor, [int], fix="pass next_cursor of the page before")
        statement = statement.where(deliveries.c.key < key)
    # One more, to know whether another page follows.
    rows = connection.execute(statement.order_by(deliveries.c.key.desc()).limit(limit + 1)).all()
    page = DeliveryPage(_record_of(row) for row in rows[:limit])
    if len(rows) > limit:
        page.next_cursor = write_cursor(rows[limit - 1].key)
    return page


def replay(connection: Connection, tenant: str | None, webhook_id: str, delivery_id: str) -> WebhookDelivery:
    """Send a delivery again, whether it was made or is dead. Raises `WebhookNotFound`."""
    find_row(connection, tenant, webhook_id)
    is_it = (deliveries.c.webhook_id == webhook_id) & (deliveries.c.id == delivery_id)
    row = connection.execute(_select().where(is_it)).one_or_none() if is_our_id(delivery_id) else None
    if row is None:
        raise WebhookNotFound("delivery_id: no such delivery to this webhook is stored")
    connection.execute(update(deliveries).where(is_it, deliveries.c.state != "pending").values(_again()))
    return _record_of(connection.execute(_select().where(is_it)).one())


def replay_dead(connection: Connection, tenant: str | None, webhook_id: str, *, since: datetime | None = None) -> int:
    """Send the next dead deliveries again, of events since then; returns how many, 0 at the end.

    Raises `WebhookNotFound` and `InvalidInput`.
    """
    find_row(connection, tenant, webhook_id)
    dead = deliveries.alias("dead_deliveries")
    keys = select(dead.c.key).where(dead.c.webhook_id == webhook_id, dead.c.state == "dead")
    if since is not None:
        keys = keys.where(dead.c.created_at >= check_moment("since", since))
    page = keys.order_by(dead.c.key).limit(REPLAY_MAX).scalar_subquery()
    statement = update(deliveries).where(deliveries.c.key.in_(page), deliveries.c.state == "dead")
    return connection.execute(statement.values(_again())).rowcount


def _again() -> dict[str, Any]:
    return {
        "state": "pending",
        "attempts": 0,
        "next_try_at": clock(),
        "replayed_at": clock(),
        "finished_at": None,
        "claim": None,
        "claimed_until": None,
    }


def _select() -> Any:
    of_thread = (threads.c.key == deliveries.c.thread_key) & (threads.c.tenant == deliveries.c.tenant)
    return select(deliveries, threads.c.id.label("thread_id")).join(threads, of_thread)


def _record_of(row: Any) -> WebhookDelivery:
    thread_id, _ = split_address(row.thread_id)
    return convert_row(
        row, WebhookDelivery, thread_id=thread_id, next_try_at=row.next_try_at if row.state == "pending" else None
    )
