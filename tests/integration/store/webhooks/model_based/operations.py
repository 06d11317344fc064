"""Every verb of the outbox, said twice: as the store's function on PostgreSQL, and as the model's."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, select, update

from conversation.errors import WebhookNotFound
from conversation.message import Message
from store.settings import load
from store.tables import threads, turns
from store.tables import webhook_deliveries as deliveries
from store.turns import inbox
from store.turns.send_request import SendRequest
from store.webhooks import endpoints, listing, outbox, upkeep
from store.webhooks.sealed_secrets import SealedSecrets
from tests.integration.store.turns.model_based.conversions import moment
from tests.integration.store.webhooks.conftest import KEY
from tests.integration.store.webhooks.model_based.reference import GIVE_UP, TIMEOUT, Outbox, Sending

TENANT = "default"
SEALED_SECRETS = SealedSecrets(load(webhook_encryption_keys=KEY))


@dataclass(frozen=True)
class Create:
    webhook: str
    kinds: tuple[str, ...]
    key: str

    def on_store(self, connection: Connection) -> Any:
        request = endpoints.WebhookRequest(tenant=TENANT, url="https://a.example", kinds=self.kinds or None)
        endpoints.create_webhook(connection, request, self.webhook, self.key, SEALED_SECRETS)

    def on_model(self, outbox: Any, _: int) -> Any:
        outbox.create(self.webhook, self.kinds, self.key)


@dataclass(frozen=True)
class EndTurn:
    """Whoever changes a turn's state, under the lock of its thread, as all do."""

    thread: str
    turn: str
    kind: str
    #: The second at which it is.
    now: int

    def on_store(self, connection: Connection) -> Any:
        message = Message(role="user", content="hello")
        request = SendRequest(
            turn_id=self.turn,
            tenant=TENANT,
            thread_id=self.thread,
            message=message,
            agent="a",
            allow_unknown_agent=True,
        )
        inbox.accept(connection, request)
        connection.execute(select(threads.c.key).where(threads.c.id == self.thread).with_for_update(key_share=True))
        values = {"state": self.kind.removeprefix("turn."), "finished_at": moment(self.now)}
        connection.execute(update(turns).where(turns.c.id == self.turn).values(values))

    def on_model(self, outbox: Outbox, _: int) -> Any:
        outbox.end(self.thread, self.turn, self.kind)


@dataclass(frozen=True)
class ListDue:
    def on_store(self, connection: Connection) -> Any:
        return {one.id: one.failures for one in outbox.list_due(connection)}

    def on_model(self, outbox: Outbox, _: int) -> Any:
        return outbox.list_due()


@dataclass(frozen=True)
class Claim:
    webhook: str
    claim: str
    #: As its sender saw them.
    failures: int
    limit: int

    def on_store(self, connection: Connection) -> Any:
        seen = outbox.DueWebhook(
            id=self.webhook, tenant=TENANT, url="", link_template=None, failures=self.failures, keys=()
        )
        claimed = outbox.claim_due(connection, seen, self.claim, limit=self.limit, timeout_seconds=TIMEOUT)
        return tuple(
            Sending(self.webhook, _turn_of(connection, one.key), one.kind, one.attempt, self.claim) for one in claimed
        )

    def on_model(self, outbox: Outbox, _: int) -> Any:
        return outbox.claim(self.webhook, self.claim, self.failures, self.limit)


def _turn_of(connection: Connection, key: int) -> str:
    turn_id: str = connection.execute(select(deliveries.c.turn_id).where(deliveries.c.key == key)).scalar_one()
    return turn_id


@dataclass(frozen=True)
class Record:
    sending: Sending
    status: int | None
    #: Seconds that the server asks for.
    pause: int

    def on_store(self, connection: Connection) -> Any:
        row = _find(connection, self.sending)
        if row is None:
            return None
        sending = self.sending
        sent = outbox.ClaimedDelivery(
            key=row.key, id=row.id, claim=sending.claim, attempt=sending.attempt, kind=sending.kind, body=""
        )
        attempt = outbox.Attempt(status=self.status, retry_after_seconds=self.pause or None)
        return outbox.record_attempt(connection, sending.webhook, sent, attempt, max_seconds=GIVE_UP)

    def on_model(self, outbox: Outbox, _: int) -> Any:
        return outbox.record(self.sending, self.status, self.pause)


def _find(connection: Connection, sent: Sending) -> Any:
    is_it = (deliveries.c.webhook_id == sent.webhook) & (deliveries.c.turn_id == sent.turn)
    return connection.execute(select(deliveries.c.key, deliveries.c.id).where(is_it)).one_or_none()


@dataclass(frozen=True)
class Enable:
    webhook: str
    enabled: bool

    def on_store(self, connection: Connection) -> Any:
        return endpoints.change_webhook(connection, TENANT, self.webhook, {"enabled": self.enabled}).state

    def on_model(self, outbox: Outbox, _: int) -> Any:
        return outbox.enable(self.webhook, enabled=self.enabled)


@dataclass(frozen=True)
class Rotate:
    webhook: str
    key: str
    grace: int

    def on_store(self, connection: Connection) -> Any:
        grace = timedelta(seconds=self.grace)
        call = (connection, TENANT, self.webhook, self.key, SEALED_SECRETS)
        return endpoints.rotate_secret(*call, grace=grace).signing_keys

    def on_model(self, outbox: Outbox, _: int) -> Any:
        return outbox.rotate(self.webhook, self.key, self.grace)


@dataclass(frozen=True)
class Delete:
    webhook: str

    def on_store(self, connection: Connection) -> Any:
        endpoints.delete_webhook(connection, TENANT, self.webhook)

    def on_model(self, outbox: Outbox, _: int) -> Any:
        return outbox.delete(self.webhook)


@dataclass(frozen=True)
class DeleteUnwanted:
    def on_store(self, connection: Connection) -> Any:
        return upkeep.delete_unwanted(connection, retention_days=0)

    def on_model(self, outbox: Outbox, _: int) -> Any:
        return outbox.delete_unwanted()


@dataclass(frozen=True)
class Replay:
    sent: Sending

    def on_store(self, connection: Connection) -> Any:
        row = _find(connection, self.sent)
        if row is None:
            raise WebhookNotFound("it is gone")
        listing.replay(connection, TENANT, self.sent.webhook, row.id)

    def on_model(self, outbox: Outbox, _: int) -> Any:
        return outbox.replay(self.sent)
