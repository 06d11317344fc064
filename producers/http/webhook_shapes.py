"""The shapes of webhooks over HTTP: in requests and in answers."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from conversation.webhooks import URL_MAX_CHARS, WebhookKind
from producers.http.answer_shapes import TURN_ID, NextCursor, Written, write_moment
from producers.http.request_shapes import Id, Moment, RequestShape
from producers.webhooks import DeliveryPage
from producers.webhooks import NewSecret as StoredSecret
from producers.webhooks import Webhook as StoredWebhook
from producers.webhooks import WebhookDelivery as StoredDelivery
from store.webhooks.endpoints import AGENTS_MAX, GRACE_MAX, NAME_MAX_CHARS

#: Of examples.
WEBHOOK_ID, DELIVERY_ID = "01990f4e-8a00-7c11-9c1e-5d1f6a7b8c9d", "01990f4e-9b11-7d22-8d2f-6e2a7b8c9daf"
Kind = Literal["turn.completed", "turn.failed", "turn.cancelled", "turn.waiting", "thread.switched"]
_KINDS = list[Kind]
_ADDRESS: dict[str, Any] = {"maxLength": URL_MAX_CHARS}


class NewWebhook(RequestShape):
    """A webhook to be made."""

    url: str = Field(
        json_schema_extra=_ADDRESS, description="Where events are sent to.", examples=["https://example.org/hooks"]
    )
    kinds: _KINDS | None = Field(
        None, min_length=1, max_length=len(WebhookKind), description="All without it.", examples=[["turn.completed"]]
    )
    agents: list[Id] | None = Field(
        None, min_length=1, max_length=AGENTS_MAX, description="Of whose turns; all without it.", examples=[None]
    )
    link_template: str | None = Field(
        None,
        json_schema_extra=_ADDRESS,
        description="Where a person decides what a turn waits for.",
        examples=["https://example.org/decide/{turn_id}/{call_id}"],
    )
    name: str = Field("", max_length=NAME_MAX_CHARS, description="What you call it.", examples=["billing"])


class WebhookChanges(RequestShape):
    """Changes to be made to a webhook: of the fields that are there."""

    url: str | None = Field(None, json_schema_extra=_ADDRESS, examples=["https://example.org/new-hooks"])
    kinds: _KINDS | None = Field(
        None, min_length=1, max_length=len(WebhookKind), description="null is all.", examples=[None]
    )
    agents: list[Id] | None = Field(
        None, min_length=1, max_length=AGENTS_MAX, description="null is all.", examples=[None]
    )
    link_template: str | None = Field(None, json_schema_extra=_ADDRESS, description="null removes it.", examples=[None])
    name: str | None = Field(None, max_length=NAME_MAX_CHARS, examples=["billing"])
    enabled: bool | None = Field(None, description="Whether it is told of anything.", examples=[True])


class NewRotation(RequestShape):
    """How a webhook is given a new key."""

    grace_seconds: int = Field(
        86_400, ge=0, le=int(GRACE_MAX.total_seconds()), description="How long the key before signs as well."
    )


class NewReplay(RequestShape):
    """Which dead deliveries are sent again."""

    since: Moment | None = Field(None, description="Of events since then; all without it.", examples=[None])


class Webhook(BaseModel):
    """A webhook, without its keys."""

    id: str = Field(examples=[WEBHOOK_ID])
    name: str
    url: str
    kinds: _KINDS | None = Field(description="null is all.")
    agents: list[str] | None = Field(description="null is all.")
    link_template: str | None
    state: Literal["enabled", "disabled"]
    disabled_reason: Literal["asked", "gone"] | None = Field(description="`gone`: its server answered 410.")
    failures: int = Field(description="Attempts in a row that failed.")
    retry_at: Written | None = Field(description="Nothing is sent to it before.")
    signing_keys: int = Field(description="How many keys sign now.")
    previous_key_expires_at: Written | None = Field(description="Until when the key before signs as well.")
    created_at: Written
    updated_at: Written

    @classmethod
    def of(cls, webhook: StoredWebhook) -> "Webhook":
        """The shape of a webhook that is stored."""
        return cls.model_validate(
            {
                "id": webhook.id,
                "name": webhook.name,
                "url": webhook.url,
                "kinds": webhook.kinds,
                "agents": webhook.agents,
                "link_template": webhook.link_template,
                "state": webhook.state,
                "disabled_reason": webhook.disabled_reason,
                "failures": webhook.failures,
                "retry_at": _write(webhook.retry_at),
                "signing_keys": webhook.signing_keys,
                "previous_key_expires_at": _write(webhook.previous_key_expires_at),
                "created_at": write_moment(webhook.created_at),
                "updated_at": write_moment(webhook.updated_at),
            }
        )


class WebhookList(BaseModel):
    """The webhooks of a tenant."""

    webhooks: list[Webhook]


class WebhookSecret(BaseModel):
    """A webhook with a key that was made for it."""

    webhook: Webhook
    secret: str = Field(description="The key by which its receiver verifies. It is not shown again.")

    @classmethod
    def of(cls, made: StoredSecret) -> "WebhookSecret":
        """The shape of a key that was made."""
        return cls(webhook=Webhook.of(made.webhook), secret=made.secret)


class WebhookDelivery(BaseModel):
    """A delivery of an event."""

    id: str = Field(description="What the receiver knows it by: `webhook-id`.", examples=[DELIVERY_ID])
    kind: Kind
    thread_id: str
    turn_id: str | None = Field(examples=[TURN_ID])
    state: Literal["pending", "delivered", "dead"]
    attempts: int
    created_at: Written = Field(description="When it happened.")
    next_try_at: Written | None
    last_tried_at: Written | None
    last_status: int | None = Field(description="The HTTP status of the last attempt.")
    last_error: str | None = Field(description="Why the last attempt failed.")
    finished_at: Written | None

    @classmethod
    def of(cls, delivery: StoredDelivery) -> "WebhookDelivery":
        """The shape of a delivery that is stored."""
        return cls.model_validate(
            {
                "id": delivery.id,
                "kind": delivery.kind,
                "thread_id": delivery.thread_id,
                "turn_id": delivery.turn_id,
                "state": delivery.state,
                "attempts": delivery.attempts,
                "created_at": write_moment(delivery.created_at),
                "next_try_at": _write(delivery.next_try_at),
                "last_tried_at": _write(delivery.last_tried_at),
                "last_status": delivery.last_status,
                "last_error": delivery.last_error,
                "finished_at": _write(delivery.finished_at),
            }
        )


class WebhookDeliveryList(BaseModel):
    """A page of deliveries."""

    deliveries: list[WebhookDelivery]
    next_cursor: NextCursor

    @classmethod
    def of(cls, page: DeliveryPage) -> "WebhookDeliveryList":
        """The shape of a page."""
        return cls(deliveries=[WebhookDelivery.of(each) for each in page], next_cursor=page.next_cursor)


class ReplayedCount(BaseModel):
    """How many deliveries are sent again."""

    replayed: int


def _write(moment: datetime | None) -> str | None:
    return None if moment is None else write_moment(moment)
