"""Webhooks, as the gateway tells of them."""

from dataclasses import dataclass, field
from datetime import datetime

from threadmill_client.decoding import Model


@dataclass(frozen=True, kw_only=True)
class Webhook(Model):
    """A server that is told of a tenant's events, without its keys."""

    id: str
    name: str = ""
    url: str = ""
    #: Of what it is told; None is all.
    kinds: tuple[str, ...] | None = None
    #: Of whose turns; None is all.
    agents: tuple[str, ...] | None = None
    #: Where a person decides what a turn waits for.
    link_template: str | None = None
    #: `enabled` or `disabled`.
    state: str = "enabled"
    #: `asked`, or `gone` where its server answered 410.
    disabled_reason: str | None = None
    #: Attempts in a row that failed.
    failures: int = 0
    #: Nothing is sent to it before.
    retry_at: datetime | None = None
    #: How many keys sign now, and until when the one before does.
    signing_keys: int = 0
    previous_key_expires_at: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class WebhookSecret(Model):
    """A webhook with a key that was made for it."""

    webhook: Webhook
    #: By which its receiver verifies. It is not shown again.
    secret: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class WebhookDelivery(Model):
    """One event, on its way to a webhook."""

    #: What the receiver knows it by: `webhook-id`.
    id: str
    kind: str = ""
    thread_id: str = ""
    turn_id: str | None = None
    #: `pending`, `delivered` or `dead`.
    state: str = ""
    attempts: int = 0
    #: When it happened.
    created_at: datetime | None = None
    next_try_at: datetime | None = None
    last_tried_at: datetime | None = None
    #: The HTTP status of the last attempt, and why it failed.
    last_status: int | None = None
    last_error: str | None = None
    finished_at: datetime | None = None
