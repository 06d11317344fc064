"""Verbs of webhooks: make and change them, see what was delivered, and send it again.

What stays true: they need the scope `operate`, and a key that is bound to no user. A key to verify by is shown once,
so a request that makes one is not repeated: the key of the first would be lost, and with it what is signed by it.
"""

from collections.abc import Sequence
from datetime import datetime

from threadmill_client.answers import delete, take
from threadmill_client.decoding import read_model, read_models
from threadmill_client.listings import Listing
from threadmill_client.unset import UNSET, Unset, drop_unset
from threadmill_client.webhook_models import Webhook, WebhookDelivery, WebhookSecret
from threadmill_client.wire import Plan, Request, drop_nones, idempotency, json_request, path, write_moment


def create_webhook(
    url: str,
    *,
    kinds: Sequence[str] | None = None,
    agents: Sequence[str] | None = None,
    link_template: str | None = None,
    name: str | None = None,
) -> Plan[WebhookSecret]:
    """Have a server told of events from now on, of all or of some `kinds` and `agents`: with the key to verify by.

    It is sent once, since its key is stored in no answer: after `ConnectionLost`, look whether it is in the list.
    """
    values = drop_nones(
        url=url, kinds=_list_names(kinds), agents=_list_names(agents), link_template=link_template, name=name
    )
    answer = yield json_request("POST", path("webhooks"), values, is_sent_once=True)
    return read_model(WebhookSecret, answer.json())


def list_webhooks() -> Plan[tuple[Webhook, ...]]:
    """Read all webhooks, the oldest first."""
    return read_models(Webhook, take((yield Request(method="GET", path=path("webhooks"))), "webhooks"))


def get_webhook(webhook_id: str) -> Plan[Webhook]:
    """Read a webhook. Raises `NotFound`."""
    return read_model(Webhook, (yield Request(method="GET", path=path("webhooks", webhook_id))).json())


def update_webhook(
    webhook_id: str,
    *,
    url: str | Unset = UNSET,
    kinds: Sequence[str] | Unset | None = UNSET,
    agents: Sequence[str] | Unset | None = UNSET,
    link_template: str | Unset | None = UNSET,
    name: str | Unset = UNSET,
    enabled: bool | Unset = UNSET,
) -> Plan[Webhook]:
    """Change where a webhook is, what it is told of (None is all), or whether."""
    given = drop_unset(url=url, kinds=kinds, agents=agents, link_template=link_template, name=name, enabled=enabled)
    values = {
        key: list(value) if key in ("kinds", "agents") and value is not None else value for key, value in given.items()
    }
    return read_model(Webhook, (yield json_request("PATCH", path("webhooks", webhook_id), values)).json())


def delete_webhook(webhook_id: str) -> Plan[None]:
    """Delete a webhook, with what was not delivered yet. Raises `NotFound`."""
    yield from delete(path("webhooks", webhook_id))


def rotate_webhook_secret(webhook_id: str, *, grace_seconds: int | None = None) -> Plan[WebhookSecret]:
    """Give a webhook a new key; the one before signs as well for `grace_seconds`, or a day. It is sent once."""
    where, values = path("webhooks", webhook_id, "rotate-secret"), drop_nones(grace_seconds=grace_seconds)
    answer = yield json_request("POST", where, values, is_sent_once=True)
    return read_model(WebhookSecret, answer.json())


def list_webhook_deliveries(
    webhook_id: str, *, state: str | None = None, page_size: int | None = None
) -> Listing[WebhookDelivery]:
    """List the deliveries to a webhook, the newest first: all, or those that are `pending`, `delivered` or `dead`."""
    where, query = path("webhooks", webhook_id, "deliveries"), drop_nones(state=state, limit=page_size)
    return Listing(where=where, name="deliveries", kind=WebhookDelivery, query=query)


def replay_webhook_delivery(webhook_id: str, delivery_id: str) -> Plan[WebhookDelivery]:
    """Send a delivery once more, under its id."""
    where = path("webhooks", webhook_id, "deliveries", delivery_id, "replay")
    answer = yield Request(method="POST", path=where, headers=idempotency())
    return read_model(WebhookDelivery, answer.json())


def replay_dead_webhook_deliveries(webhook_id: str, *, since: datetime | None = None) -> Plan[int]:
    """Send all dead deliveries once more, or those of events since then; returns how many there are."""
    where, values = path("webhooks", webhook_id, "replay-dead"), drop_nones(since=write_moment("since", since))
    replayed: int = take((yield json_request("POST", where, values, headers=idempotency())), "replayed")
    return replayed


def _list_names(names: Sequence[str] | None) -> list[str] | None:
    return None if names is None else list(names)
