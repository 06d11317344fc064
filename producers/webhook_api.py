"""The functions of this package that are about webhooks, on the producer of this process."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Unpack

from producers.api import default_producer, move_to_thread

if TYPE_CHECKING:
    from producers.webhooks import DeliveryPage, NewSecret, Webhook, WebhookDelivery
    from store.webhooks.endpoints import WebhookChanges


def create_webhook(
    url: str,
    *,
    tenant: str = "default",
    kinds: Collection[str] | None = None,
    agents: Collection[str] | None = None,
    link_template: str | None = None,
    name: str = "",
    secret: str | None = None,
) -> "NewSecret":
    """Have a server told of a tenant's events from now on; returns the webhook, and the key by which it verifies them.

    `kinds` are those of the events (`turn.completed`, `turn.failed`, `turn.cancelled`, `turn.waiting`,
    `thread.switched`), `agents` the names of agents; None means all. `link_template` is the address at which a person
    decides what a turn waits for, with `{tenant}`, `{thread_id}`, `{turn_id}` and `{call_id}` in it. `secret` is a key
    of your own, as Standard Webhooks writes it; one is made without it. A tenant has 50 webhooks at most. Whether an
    address is public is judged each time that something is sent there, not here.

    Raises `InvalidInput`, `LimitReached`, `DatabaseUnavailable`, and `InvalidSettings` where
    `THREADMILL_WEBHOOK_ENCRYPTION_KEYS` is empty.
    """
    return default_producer().webhooks.create(
        url, tenant=tenant, kinds=kinds, agents=agents, link_template=link_template, name=name, secret=secret
    )


create_webhook_async = move_to_thread(create_webhook)


def list_webhooks(*, tenant: str | None = "default") -> "list[Webhook]":
    """The webhooks of a tenant, or of all with None, the oldest first. Raises `DatabaseUnavailable`."""
    return default_producer().webhooks.list(tenant=tenant)


list_webhooks_async = move_to_thread(list_webhooks)


def find_webhook(webhook_id: str, *, tenant: str | None = "default") -> "Webhook":
    """A webhook of a tenant, or of whichever with None. Raises `WebhookNotFound` and `DatabaseUnavailable`."""
    return default_producer().webhooks.find(webhook_id, tenant=tenant)


find_webhook_async = move_to_thread(find_webhook)


def change_webhook(
    webhook_id: str, *, tenant: str | None = "default", **changes: "Unpack[WebhookChanges]"
) -> "Webhook":
    """Change a webhook: its `url`, `kinds`, `agents`, `link_template` or `name`, or whether it is `enabled`.

    One that is disabled is told of nothing that happens meanwhile; what waited for it is sent once it is enabled.
    Raises `WebhookNotFound`, `InvalidInput` and `DatabaseUnavailable`.
    """
    return default_producer().webhooks.change(webhook_id, tenant=tenant, **changes)


change_webhook_async = move_to_thread(change_webhook)


def delete_webhook(webhook_id: str, *, tenant: str | None = "default") -> None:
    """Delete a webhook, with what was not delivered yet. Raises `WebhookNotFound` and `DatabaseUnavailable`."""
    default_producer().webhooks.delete(webhook_id, tenant=tenant)


delete_webhook_async = move_to_thread(delete_webhook)


def rotate_webhook_secret(
    webhook_id: str, *, secret: str | None = None, grace: timedelta = timedelta(days=1), tenant: str | None = "default"
) -> "NewSecret":
    """Give a webhook a new key; the one before signs as well for the grace, so that receivers can change over.

    Raises `WebhookNotFound`, `InvalidInput`, `InvalidSettings` and `DatabaseUnavailable`.
    """
    return default_producer().webhooks.rotate_secret(webhook_id, secret=secret, grace=grace, tenant=tenant)


rotate_webhook_secret_async = move_to_thread(rotate_webhook_secret)


def list_webhook_deliveries(
    webhook_id: str,
    *,
    state: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
    tenant: str | None = "default",
) -> "DeliveryPage":
    """The deliveries to a webhook, the newest first: those in a `state` (`pending`, `delivered`, `dead`), or all.

    A page of at most `limit`, and `next_cursor` for the next one. Raises `WebhookNotFound`, `InvalidInput` and
    `DatabaseUnavailable`.
    """
    options: dict[str, Any] = {"state": state, "limit": limit, "cursor": cursor, "tenant": tenant}
    return default_producer().webhooks.list_deliveries(webhook_id, **options)


list_webhook_deliveries_async = move_to_thread(list_webhook_deliveries)


def replay_webhook_delivery(webhook_id: str, delivery_id: str, *, tenant: str | None = "default") -> "WebhookDelivery":
    """Send a delivery once more, under its id, whether it was made or is dead.

    Raises `WebhookNotFound` and `DatabaseUnavailable`.
    """
    return default_producer().webhooks.replay(webhook_id, delivery_id, tenant=tenant)


replay_webhook_delivery_async = move_to_thread(replay_webhook_delivery)


def replay_dead_webhook_deliveries(
    webhook_id: str, *, since: datetime | None = None, tenant: str | None = "default"
) -> int:
    """Send all dead deliveries once more, or those of events since then; returns how many.

    Raises `WebhookNotFound`, `InvalidInput` and `DatabaseUnavailable`.
    """
    return default_producer().webhooks.replay_dead(webhook_id, since=since, tenant=tenant)


replay_dead_webhook_deliveries_async = move_to_thread(replay_dead_webhook_deliveries)
