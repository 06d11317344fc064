"""Webhooks of a backend: who is told of a tenant's events, and what became of each delivery.

What stays true: the key that signs is returned by the call that makes it, and by no other; a webhook of another tenant
is not there.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Unpack

from conversation.ids import new_id
from conversation.webhooks import make_secret
from store.database.engine import Database, PatientRunner
from store.settings import Settings
from store.webhooks import endpoints, listing
from store.webhooks.endpoints import DEFAULT_GRACE, Webhook, WebhookChanges, WebhookRequest
from store.webhooks.listing import DeliveryPage, WebhookDelivery
from store.webhooks.sealed_secrets import SealedSecrets

__all__ = ["DeliveryPage", "NewSecret", "Webhook", "WebhookDelivery", "Webhooks"]


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A webhook with a key that was made for it."""

    webhook: Webhook
    #: `whsec_…`: hand it to the receiver, which verifies with it. It is not shown again.
    secret: str = field(repr=False)


class Webhooks:
    """The webhooks of one installation. All methods block."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._sealed_secrets = SealedSecrets(settings)

    def create(
        self,
        url: str,
        *,
        tenant: str = "default",
        kinds: Collection[str] | None = None,
        agents: Collection[str] | None = None,
        link_template: str | None = None,
        name: str = "",
        secret: str | None = None,
        webhook_id: str | None = None,
    ) -> NewSecret:
        """See `producers.create_webhook`. With a `webhook_id` of the caller's own making, it may be called again."""
        request = WebhookRequest(
            tenant=tenant, url=url, kinds=kinds, agents=agents, link_template=link_template, name=name
        )
        secret = make_secret() if secret is None else secret
        of_new: dict[str, Any] = {
            "webhook_id": webhook_id or new_id(),
            "secret": secret,
            "sealed_secrets": self._sealed_secrets,
        }
        return NewSecret(self._runner(tenant).run(endpoints.create_webhook, request, **of_new), secret)

    def list(self, *, tenant: str | None = "default") -> list[Webhook]:
        """See `producers.list_webhooks`."""
        return self._runner(tenant).run(endpoints.list_webhooks, tenant)

    def find(self, webhook_id: str, *, tenant: str | None = "default") -> Webhook:
        """See `producers.find_webhook`."""
        return self._runner(tenant).run(endpoints.read_webhook, tenant, webhook_id)

    def change(self, webhook_id: str, *, tenant: str | None = "default", **changes: Unpack[WebhookChanges]) -> Webhook:
        """See `producers.change_webhook`."""
        return self._runner(tenant).run(endpoints.change_webhook, tenant, webhook_id, changes)

    def delete(self, webhook_id: str, *, tenant: str | None = "default") -> None:
        """See `producers.delete_webhook`."""
        self._runner(tenant).run(endpoints.delete_webhook, tenant, webhook_id)

    def rotate_secret(
        self,
        webhook_id: str,
        *,
        secret: str | None = None,
        grace: timedelta = DEFAULT_GRACE,
        tenant: str | None = "default",
    ) -> NewSecret:
        """See `producers.rotate_webhook_secret`."""
        secret = make_secret() if secret is None else secret
        options: dict[str, Any] = {"secret": secret, "sealed_secrets": self._sealed_secrets, "grace": grace}
        return NewSecret(self._runner(tenant).run(endpoints.rotate_secret, tenant, webhook_id, **options), secret)

    def list_deliveries(
        self,
        webhook_id: str,
        *,
        state: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
        tenant: str | None = "default",
    ) -> DeliveryPage:
        """See `producers.list_webhook_deliveries`."""
        options: dict[str, Any] = {"state": state, "limit": limit, "cursor": cursor}
        return self._runner(tenant).run(listing.list_deliveries, tenant, webhook_id, **options)

    def replay(self, webhook_id: str, delivery_id: str, *, tenant: str | None = "default") -> WebhookDelivery:
        """See `producers.replay_webhook_delivery`."""
        return self._runner(tenant).run(listing.replay, tenant, webhook_id, delivery_id)

    def replay_dead(self, webhook_id: str, *, since: datetime | None = None, tenant: str | None = "default") -> int:
        """See `producers.replay_dead_webhook_deliveries`."""
        runner, total = self._runner(tenant), 0
        # In transactions that are over soon.
        while count := runner.run(listing.replay_dead, tenant, webhook_id, since=since):
            total += count
        return total

    def _runner(self, tenant: str | None) -> PatientRunner:
        return self._database.acting_for(tenant)
