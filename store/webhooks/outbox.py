"""The outbox of deliveries: what is due is claimed, and what became of it is recorded.

What stays true: a delivery is claimed by one sender for a while, the oldest of its thread before the others; a sender
that dies leaves its claim to lapse, and the delivery is sent again, in the same bytes and under the same id. What a
sender records counts only while it has the claim.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    case,
    exists,
    false,
    or_,
    select,
    text,
    true,
    update,
)

from conversation.backoff import backoff_seconds
from store.database.column_types import clock, moment_now
from store.database.statements import AnyRow
from store.tables import threads, webhooks
from store.tables import webhook_deliveries as deliveries
from store.tables.webhooks import PENDING
from store.webhooks.bodies import compose_body
from store.webhooks.endpoints import GONE
from store.webhooks.sealed_secrets import SigningKey, good_at

#: Webhooks that one look finds due, at most.
WEBHOOKS_MAX = 200
#: Seconds beyond an attempt's own that a claim holds: to record it, also while the database is slow.
CLAIM_MARGIN_SECONDS = 45.0
#: Pauses between attempts at one delivery, in seconds; the last one repeats.
PAUSES = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 3 * 3600.0, 6 * 3600.0)
#: Failures in a row after which a webhook counts as away: then it gets one attempt at a time, after pauses that grow.
AWAY_AFTER = 5
AWAY_FIRST_SECONDS, AWAY_MAX_SECONDS = 5.0, 300.0
#: The longest pause that a server may ask for.
RETRY_AFTER_MAX_SECONDS = 86_400.0
#: Statuses with which a server asks for a pause of everything, if it says how long.
BUSY_STATUSES = (429, 503)
GONE_STATUS = 410
#: Characters of an error that are kept.
ERROR_MAX_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class DueWebhook:
    """A webhook with deliveries that are due."""

    id: str
    tenant: str
    url: str = field(repr=False)
    link_template: str | None
    failures: int
    #: The keys that sign now, encrypted, the newest first.
    keys: tuple[SigningKey, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedDelivery:
    """A delivery that its caller is to send."""

    key: int
    id: str
    claim: str
    attempt: int
    kind: str
    body: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The outcome of an attempt."""

    #: The HTTP status; None where there was no answer.
    status: int | None = None
    #: Why it failed, in a word of ours.
    error: str | None = None
    #: The pause that the server asked for.
    retry_after_seconds: float | None = None

    @property
    def is_delivered(self) -> bool:
        """Whether the server took it."""
        return self.status is not None and 200 <= self.status < 300


def list_due(connection: Connection, *, without: Sequence[str] = ()) -> list[DueWebhook]:
    """List webhooks with deliveries that are due, but these ones."""
    statement = _select_due()
    if without:
        statement = statement.where(webhooks.c.id.not_in(without))
    return [_due_webhook(row) for row in connection.execute(statement)]


@cache
def _select_due() -> Select[Any]:
    has_due = exists().where(deliveries.c.webhook_id == webhooks.c.id, *_is_due(), is_first_of_thread())
    return (
        select(webhooks, clock().label("now"))
        .where(webhooks.c.state == "enabled", _is_not_past(webhooks.c.retry_at), has_due)
        .order_by(webhooks.c.retry_at, webhooks.c.id)
        .limit(WEBHOOKS_MAX)
    )


def _due_webhook(row: AnyRow) -> DueWebhook:
    return DueWebhook(
        id=row.id,
        tenant=row.tenant,
        url=row.url,
        link_template=row.link_template,
        failures=row.failures,
        keys=tuple(good_at([SigningKey.from_json(value) for value in row.secrets], row.now)),
    )


def claim_due(
    connection: Connection, webhook: DueWebhook, claim: str, *, limit: int, timeout_seconds: float
) -> list[ClaimedDelivery]:
    """Claim deliveries to a webhook that are due, each the oldest of its thread; one, where the webhook is away."""
    if not _is_open(connection, webhook.id):
        return []
    due_keys = (
        select(deliveries.c.key)
        .where(deliveries.c.webhook_id == webhook.id, *_is_due(), is_first_of_thread())
        .order_by(deliveries.c.next_try_at, deliveries.c.key)
        .limit(1 if webhook.failures >= AWAY_AFTER else limit)
        .with_for_update(skip_locked=True, of=deliveries)
    )
    keys = connection.execute(due_keys).scalars().all()
    if not keys:
        return []
    claiming = (
        update(deliveries)
        .where(deliveries.c.key.in_(keys))
        .values(
            claim=claim,
            claimed_until=clock(plus_seconds=timeout_seconds + CLAIM_MARGIN_SECONDS),
            attempts=deliveries.c.attempts + 1,
            last_tried_at=clock(),
        )
    )
    connection.execute(claiming)
    return _load_claimed(connection, webhook, claim, keys)


def _is_open(connection: Connection, webhook_id: str) -> bool:
    """Whether a webhook may be sent to now: it may have been deleted, disabled or found away since it was listed."""
    is_open = and_(webhooks.c.id == webhook_id, webhooks.c.state == "enabled", _is_not_past(webhooks.c.retry_at))
    return connection.execute(select(webhooks.c.id).where(is_open)).first() is not None


def _load_claimed(
    connection: Connection, webhook: DueWebhook, claim: str, keys: Sequence[int]
) -> list[ClaimedDelivery]:
    of_thread = and_(threads.c.key == deliveries.c.thread_key, threads.c.tenant == deliveries.c.tenant)
    statement = select(deliveries, threads.c.id.label("thread_id")).join(threads, of_thread)
    rows = connection.execute(statement.where(deliveries.c.key.in_(keys)).order_by(deliveries.c.key)).all()
    bodies = {row.key: row.body or compose_body(connection, row, webhook.link_template) for row in rows}
    # The bytes that are signed: those of the first attempt, whatever becomes of the turn.
    new_bodies = [{"row_key": row.key, "new_body": bodies[row.key]} for row in rows if row.body is None]
    if new_bodies:
        of_row = update(deliveries).where(deliveries.c.key == bindparam("row_key"))
        connection.execute(of_row.values(body=bindparam("new_body")), new_bodies)
    return [
        ClaimedDelivery(key=row.key, id=row.id, claim=claim, attempt=row.attempts, kind=row.kind, body=bodies[row.key])
        for row in rows
    ]


def record_attempt(
    connection: Connection, webhook_id: str, delivery: ClaimedDelivery, attempt: Attempt, *, max_seconds: float
) -> str | None:
    """Record what came of an attempt; returns the delivery's state, None where its claim has lapsed.

    What failed is tried again after a pause, until it is `max_seconds` old: then it is dead, and what is behind it in
    its thread is sent. A webhook whose server answered 410 is disabled, and the delivery waits for it.
    """
    is_mine = and_(deliveries.c.key == delivery.key, deliveries.c.claim == delivery.claim)
    age_from = select(deliveries.c.created_at, deliveries.c.replayed_at, clock().label("now"))
    row = connection.execute(age_from.where(is_mine).with_for_update(of=deliveries)).one_or_none()
    if row is None:
        return None
    is_over = (row.now - (row.replayed_at or row.created_at)).total_seconds() >= max_seconds
    state = _state_after(attempt, is_over=is_over)
    values: dict[str, Any] = {
        "state": state,
        "claim": None,
        "claimed_until": None,
        "last_status": attempt.status,
        "last_error": None if attempt.error is None else attempt.error[:ERROR_MAX_CHARS],
    }
    if state == "pending":
        values["next_try_at"] = clock(plus_seconds=_pause_after(delivery.attempt, attempt))
    else:
        values["finished_at"] = clock()
    connection.execute(update(deliveries).where(deliveries.c.key == delivery.key).values(values))
    _note_health(connection, webhook_id, attempt)
    return state


def _state_after(attempt: Attempt, *, is_over: bool) -> str:
    if attempt.is_delivered:
        return "delivered"
    return "dead" if is_over and attempt.status != GONE_STATUS else "pending"


def _pause_after(attempts: int, attempt: Attempt) -> float:
    pause = PAUSES[min(attempts, len(PAUSES)) - 1]
    return max(pause, min(attempt.retry_after_seconds or 0.0, RETRY_AFTER_MAX_SECONDS))


def _note_health(connection: Connection, webhook_id: str, attempt: Attempt) -> None:
    """Note what an attempt says of the webhook as a whole."""
    of_webhook = webhooks.c.id == webhook_id
    if attempt.is_delivered:
        # A row that is as it should be is not written: all attempts would wait for it.
        is_unwell = and_(of_webhook, or_(webhooks.c.failures > 0, webhooks.c.retry_at.is_not(None)))
        failures = connection.execute(select(webhooks.c.failures).where(is_unwell)).scalar_one_or_none()
        if failures is None:
            return
        connection.execute(update(webhooks).where(of_webhook).values(failures=0, retry_at=None))
        if failures >= AWAY_AFTER:
            _hasten(connection, webhook_id)
        return
    if attempt.status == GONE_STATUS:
        values: dict[str, Any] = {"state": "disabled", "disabled_reason": GONE, "updated_at": clock()}
        connection.execute(update(webhooks).where(of_webhook, webhooks.c.state == "enabled").values(values))
        return
    # Of attempts that were made at once, those that fail after the webhook was found away say nothing new.
    is_new = or_(webhooks.c.failures < AWAY_AFTER, _is_not_past(webhooks.c.retry_at))
    statement = update(webhooks).where(of_webhook, is_new).values(failures=webhooks.c.failures + 1)
    failures = connection.execute(statement.returning(webhooks.c.failures)).scalar_one_or_none()
    pause = _away_seconds(failures or 0, attempt)
    if pause:
        connection.execute(update(webhooks).where(of_webhook).values(retry_at=clock(plus_seconds=pause)))


def _away_seconds(failures: int, attempt: Attempt) -> float:
    """Seconds for which nothing is sent to a webhook."""
    pause = 0.0
    if failures >= AWAY_AFTER:
        pause = backoff_seconds(failures - AWAY_AFTER, first=AWAY_FIRST_SECONDS, maximum=AWAY_MAX_SECONDS)
    if attempt.status in BUSY_STATUSES:
        pause = max(pause, min(attempt.retry_after_seconds or 0.0, RETRY_AFTER_MAX_SECONDS))
    return pause


def _hasten(connection: Connection, webhook_id: str) -> None:
    """Make all that waits for a webhook due, now that it is back: what was tried while it was away has a long pause."""
    is_waiting = and_(deliveries.c.webhook_id == webhook_id, deliveries.c.state == "pending")
    is_later = deliveries.c.next_try_at > clock()
    connection.execute(update(deliveries).where(is_waiting, is_later).values(next_try_at=clock()))


def pause_webhook(connection: Connection, webhook_id: str, *, seconds: float) -> None:
    """Send nothing to a webhook for a while: what signs cannot be read here."""
    values = {"retry_at": clock(plus_seconds=seconds)}
    connection.execute(update(webhooks).where(webhooks.c.id == webhook_id).values(values))


#: Word for word as the partial indexes have it: a parameter in its place would keep a plan from using them.
_is_pending: ColumnElement[bool] = text(f"webhook_deliveries.{PENDING}")  # type: ignore[assignment]


def _is_due() -> tuple[ColumnElement[bool], ...]:
    return (_is_pending, deliveries.c.next_try_at <= moment_now(), _is_not_past(deliveries.c.claimed_until))


def is_first_of_thread() -> ColumnElement[bool]:
    """Whether no earlier event of its thread is still to be delivered to the same webhook.

    As a value of its own, not as a condition: a planner would sort or join all that is pending to find the few.
    """
    earlier = deliveries.alias("earlier_deliveries")
    first_key = (
        select(earlier.c.key)
        .where(
            earlier.c.webhook_id == deliveries.c.webhook_id,
            earlier.c.thread_key == deliveries.c.thread_key,
            text("earlier_deliveries." + PENDING),
        )
        .order_by(earlier.c.key)
        .limit(1)
        .correlate(deliveries)
    )
    return case((deliveries.c.key == first_key.scalar_subquery(), true()), else_=false())


def _is_not_past(column: ColumnElement[datetime | None]) -> ColumnElement[bool]:
    return or_(column.is_(None), column <= moment_now())
