"""A store with webhooks: turns that end, a receiver that answers as it is told, and time that passes at once."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from agent.web import NotReached, WebLimits
from agent.web.answer import PostAnswer
from conversation.branch_address import address_of
from conversation.ids import new_id
from conversation.message import Message
from conversation.turn import Cancelled, ClaimedTurn, Completed, Ending, Failed, TurnError
from conversation.webhooks import make_secret
from store import tables
from store.database.engine import Database
from store.settings import Settings
from store.turns import claims, inbox, settle, workers
from store.turns.claims import ClaimRequest
from store.turns.send_request import SendRequest
from store.webhooks import endpoints, listing
from store.webhooks.endpoints import Webhook, WebhookRequest
from store.webhooks.sealed_secrets import SealedSecrets
from tasks.jobs.send_webhooks import send_webhooks

#: Columns that hold moments, by table.
MOMENTS = {
    tables.webhook_deliveries: ("created_at", "next_try_at", "claimed_until", "finished_at", "replayed_at"),
    tables.webhooks: ("retry_at",),
}
URL = "https://example.org/hooks"


@dataclass(frozen=True)
class Received:
    """A request as the receiver got it."""

    url: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.body)
        return event

    @property
    def thread(self) -> str:
        return str(self.event["data"]["thread_id"])


@dataclass
class Receiver:
    """A server of webhooks: `answer` says with what it answers; None means that it is away."""

    answer: Callable[[Received], int | tuple[int, float] | None] = lambda _: 200
    received: list[Received] = field(default_factory=list)

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, limits: WebLimits, shown_url: str
    ) -> PostAnswer:
        request = Received(url, headers, body)
        answer = self.answer(request)
        if answer is None:
            raise NotReached(f"{shown_url} could not be reached: the connection broke")
        self.received.append(request)
        status, pause = answer if isinstance(answer, tuple) else (answer, None)
        return PostAnswer(status=status, retry_after_seconds=pause)


@dataclass
class WebhookScene:
    """The store, the receiver, and the verbs of these tests."""

    database: Database
    settings: Settings
    receiver: Receiver
    worker: ClaimRequest

    @classmethod
    @contextmanager
    def open(cls, database: Database, settings: Settings) -> Iterator["WebhookScene"]:
        worker = new_id()
        entry = {"host": "here", "pid": 1, "serves": {"a": "1", "b": "1"}, "lease_duration_seconds": 600}
        database.run(workers.register, worker=worker, **entry)
        yield cls(database, settings, Receiver(), ClaimRequest(worker=worker, agents={"a": "1", "b": "1"}))

    @property
    def sealed_secrets(self) -> SealedSecrets:
        return SealedSecrets(self.settings)

    def webhook(self, secret: str | None = None, **options: Any) -> Webhook:
        request = WebhookRequest(**{"tenant": "default", "url": URL, **options})
        return self.database.run(
            endpoints.create_webhook, request, new_id(), secret or make_secret(), self.sealed_secrets
        )

    def claim(
        self, thread: str = "t", *, agent: str = "a", tenant: str = "default", branch: str | None = None
    ) -> ClaimedTurn:
        """A turn of a thread that begins; `branch` is the chosen one, where that is not the first."""
        request = SendRequest(
            turn_id=new_id(),
            tenant=tenant,
            thread_id=thread,
            message=Message(role="user", content="a secret question"),
            agent=agent,
            allow_unknown_agent=True,
        )
        self.database.run(inbox.accept, request=request)
        address = address_of(thread, branch)
        claimed = self.database.run(claims.claim, tenant=tenant, thread_id=address, claimant=self.worker)
        assert isinstance(claimed, ClaimedTurn)
        return claimed

    def settle(self, turn: ClaimedTurn, ending: Ending | None = None) -> None:
        ending = ending or Completed(messages=(Message(role="assistant", content="a secret answer"),))
        self.database.run(partial(settle.settle, lease=turn.lease, turn_id=turn.id, ending=ending, release=True))

    def turn(self, thread: str = "t", ending: Ending | None = None, **options: Any) -> str:
        """Run a turn to its end; returns its id."""
        claimed = self.claim(thread, **options)
        self.settle(claimed, ending)
        return claimed.id

    def send(self, **changes: Any) -> dict[str, int]:
        return send_webhooks(self.database, self.settings.model_copy(update=changes), client=self.receiver)

    def deliveries(self, webhook: Webhook, **options: Any) -> listing.DeliveryPage:
        return self.database.run(listing.list_deliveries, webhook.tenant, webhook.id, **options)

    def reread(self, webhook: Webhook) -> Webhook:
        return self.database.run(endpoints.read_webhook, webhook.tenant, webhook.id)

    def wait(self, seconds: float) -> None:
        """Let time pass: each moment that the outbox goes by lies so much longer ago."""
        self.database.run(_move, by=timedelta(seconds=seconds))

    def wait_and_send(self, seconds: float, *, step: float = 60) -> None:
        """Let time pass in steps, with senders at work."""
        for _ in range(int(seconds / step)):
            self.wait(step)
            self.send()


def failed(kind: str = "deadline") -> Failed:
    return Failed(error=TurnError(kind, "words that quote a user"))


def cancelled() -> Cancelled:
    return Cancelled()


def _move(connection: Connection, by: timedelta) -> None:
    for table, names in MOMENTS.items():
        (key,) = (column for column in table.primary_key)
        rows = connection.execute(select(key.label("row_key"), *(table.c[name] for name in names))).all()
        # All of a row, so that they go together.
        moved = [
            {"row_key": row.row_key}
            | {f"new_{name}": None if (value := getattr(row, name)) is None else value - by for name in names}
            for row in rows
        ]
        if moved:
            values = {name: bindparam(f"new_{name}") for name in names}
            connection.execute(update(table).where(key == bindparam("row_key")).values(values), moved)
