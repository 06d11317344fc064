"""Webhooks over HTTP: make, list, change and delete them, see what was delivered, and send it again.

What stays true: a webhook is told of all that happens in a tenant: a credential of one user sees none. A key is shown
by the request that makes it; no answer with one is stored.
"""

import asyncio
from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from producers.http.dependencies import Gateway, GatewayOf, Operator, path_of
from producers.http.principal import Principal
from producers.http.problems import Problem
from producers.http.webhook_shapes import (
    NewReplay,
    NewRotation,
    NewWebhook,
    ReplayedCount,
    Webhook,
    WebhookChanges,
    WebhookDelivery,
    WebhookDeliveryList,
    WebhookList,
    WebhookSecret,
)

router = APIRouter(tags=["webhooks"])


@router.post("/webhooks", operation_id="create_webhook", status_code=201)
async def create(
    gateway: GatewayOf, principal: Operator, body: NewWebhook, request: Request, response: Response
) -> WebhookSecret:
    """Have a server told of the tenant's events from now on; the answer has the key by which it verifies them."""
    made = await _call(gateway, principal, "create", **body.model_dump())
    response.headers["Location"] = path_of(request, f"/v1/webhooks/{made.webhook.id}")
    response.headers["Cache-Control"] = "no-store"
    return WebhookSecret.of(made)


@router.get("/webhooks", operation_id="list_webhooks")
async def list_all(gateway: GatewayOf, principal: Operator) -> WebhookList:
    """List the webhooks of the tenant, the oldest first."""
    return WebhookList(webhooks=[Webhook.of(each) for each in await _call(gateway, principal, "list")])


@router.get("/webhooks/{webhook_id}", operation_id="read_webhook")
async def read(gateway: GatewayOf, principal: Operator, webhook_id: str) -> Webhook:
    """Read a webhook."""
    return Webhook.of(await _call(gateway, principal, "find", webhook_id))


@router.patch("/webhooks/{webhook_id}", operation_id="change_webhook")
async def change(gateway: GatewayOf, principal: Operator, webhook_id: str, body: WebhookChanges) -> Webhook:
    """Change where a webhook is, what it is told of, or whether."""
    changes = body.model_dump(exclude_unset=True)
    return Webhook.of(await _call(gateway, principal, "change", webhook_id, **changes))


@router.delete("/webhooks/{webhook_id}", operation_id="delete_webhook", status_code=204, response_class=Response)
async def delete(gateway: GatewayOf, principal: Operator, webhook_id: str) -> None:
    """Delete a webhook, with what was not delivered yet."""
    await _call(gateway, principal, "delete", webhook_id)


@router.post("/webhooks/{webhook_id}/rotate-secret", operation_id="rotate_webhook_secret")
async def rotate_secret(
    gateway: GatewayOf, principal: Operator, webhook_id: str, body: NewRotation, response: Response
) -> WebhookSecret:
    """Give a webhook a new key; the one before signs as well for a while."""
    grace = timedelta(seconds=body.grace_seconds)
    response.headers["Cache-Control"] = "no-store"
    return WebhookSecret.of(await _call(gateway, principal, "rotate_secret", webhook_id, grace=grace))


@router.get("/webhooks/{webhook_id}/deliveries", operation_id="list_webhook_deliveries")
async def list_deliveries(
    *,
    gateway: GatewayOf,
    principal: Operator,
    webhook_id: str,
    state: Annotated[
        Literal["pending", "delivered", "dead"] | None, Query(description="Those in this state; all without it.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="Deliveries of a page, at most.")] = 50,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
) -> WebhookDeliveryList:
    """List the deliveries to a webhook, the newest first."""
    options: dict[str, Any] = {"state": state, "limit": limit, "cursor": cursor}
    return WebhookDeliveryList.of(await _call(gateway, principal, "list_deliveries", webhook_id, **options))


@router.post(
    "/webhooks/{webhook_id}/deliveries/{delivery_id}/replay", operation_id="replay_webhook_delivery", status_code=202
)
async def replay(gateway: GatewayOf, principal: Operator, webhook_id: str, delivery_id: str) -> WebhookDelivery:
    """Send a delivery once more, under its id, whether it was made or is dead."""
    return WebhookDelivery.of(await _call(gateway, principal, "replay", webhook_id, delivery_id))


@router.post("/webhooks/{webhook_id}/replay-dead", operation_id="replay_dead_webhook_deliveries", status_code=202)
async def replay_dead(gateway: GatewayOf, principal: Operator, webhook_id: str, body: NewReplay) -> ReplayedCount:
    """Send all dead deliveries to a webhook once more, or those of events since then."""
    return ReplayedCount(replayed=await _call(gateway, principal, "replay_dead", webhook_id, since=body.since))


async def _call(gateway: Gateway, principal: Principal, verb: str, *args: Any, **options: Any) -> Any:
    """Call a verb of the producer's webhooks for the principal's tenant, off the loop."""
    if principal.user is not None:
        raise Problem(403, "Forbidden", "the credential is one user's; a webhook is told of all of a tenant")
    call = getattr(gateway.producer.webhooks, verb)
    return await asyncio.to_thread(call, *args, tenant=principal.tenant, **options)
