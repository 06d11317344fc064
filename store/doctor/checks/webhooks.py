"""Checks of webhooks: what is not sent, who is gone, what was given up, and keys that cannot be read."""

from collections.abc import Callable, Iterator
from typing import Any

from conversation.errors import InvalidSettings
from store.doctor.finding import Check, Finding
from store.doctor.inspection import Inspection
from store.webhooks.health import WebhookHealth, examine_webhooks
from store.webhooks.sealed_secrets import SealedSecrets

#: Seconds for which a delivery may be due, though nothing holds it up: a sender that died holds its claim for one.
OVERDUE_SECONDS = 600.0


def _find(describe: Callable[[WebhookHealth, Inspection], str | None]) -> Callable[[Inspection], Iterator[Finding]]:
    """Make the search for webhooks of which there is something to say."""

    def find(inspection: Inspection) -> Iterator[Finding]:
        for webhook in inspection.run(examine_webhooks, inspection.scope.tenant):
            detail = describe(webhook, inspection)
            if detail is not None:
                ids: dict[str, Any] = {"tenant": webhook.tenant, "webhook": webhook.id}
                yield Finding(ids=ids, detail=detail, is_repairable=False)

    return find


def _describe_overdue(webhook: WebhookHealth, _: Inspection) -> str | None:
    if webhook.overdue_seconds <= OVERDUE_SECONDS:
        return None
    return f"a delivery has been due for {webhook.overdue_seconds:.0f} s, and nobody sends it"


def _describe_gone(webhook: WebhookHealth, _: Inspection) -> str | None:
    return f"{webhook.pending} deliveries wait for it" if webhook.is_gone else None


def _describe_dead(webhook: WebhookHealth, _: Inspection) -> str | None:
    return f"{webhook.dead} deliveries were given up" if webhook.dead else None


def _describe_unreadable(webhook: WebhookHealth, inspection: Inspection) -> str | None:
    sealed_secrets = SealedSecrets(inspection.database.settings)
    try:
        for key in webhook.keys:
            sealed_secrets.unseal(webhook.id, key.sealed)
    except InvalidSettings:
        return "none of THREADMILL_WEBHOOK_ENCRYPTION_KEYS decrypts its key"
    return None


CHECKS: tuple[Check, ...] = (
    Check(
        name="webhook-not-sent",
        means="a delivery to a webhook is due for ten minutes, and nobody sends it",
        advice="nothing: see that beat and a worker of maintenance run, or run `threadmill webhooks send`",
        find=_find(_describe_overdue),
    ),
    Check(
        name="webhook-gone",
        means="a webhook is disabled, for its server answered 410",
        advice="nothing: enable it once its server is there, or delete it",
        find=_find(_describe_gone),
    ),
    Check(
        name="webhook-given-up",
        means="deliveries to a webhook failed for days and are dead",
        advice="nothing: send them again with `threadmill webhooks replay`; they are deleted in their time",
        find=_find(_describe_dead),
    ),
    Check(
        name="webhook-key-unreadable",
        means="the key of a webhook cannot be decrypted here, so that nothing is sent to it",
        advice="nothing: give this process the key that encrypted it, or rotate the webhook's",
        find=_find(_describe_unreadable),
    ),
)
