"""Sending of deliveries to webhooks, as plain functions that a task, a command or a test can call.

What stays true: a sender holds a claim for each delivery that it sends, and no transaction meanwhile; each webhook has
a lane of its own, so that a slow server delays nobody else; one that dies loses nothing. No URL, key or body is logged.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import structlog

from agent.web import WebClient, WebError, WebLimits
from agent.web.answer import PostAnswer
from agent.web.client import WEB_PORTS
from conversation.errors import InvalidSettings
from conversation.ids import new_id
from conversation.webhooks import sign
from store.database.engine import Database
from store.settings import Settings
from store.webhooks import outbox, upkeep
from store.webhooks.outbox import Attempt, ClaimedDelivery, DueWebhook
from store.webhooks.sealed_secrets import SealedSecrets

#: Seconds after which a run takes up nothing more, and leaves the rest to the next tick.
RUN_SECONDS = 60.0
#: Seconds between two looks for webhooks that are due, while others are being sent to, and nobody says that there are.
LOOK_SECONDS = 1.0
#: Seconds after which a run notices that somebody says so.
NOTICE_SECONDS = 0.05
#: Webhooks that one run sends to at once.
LANES_MAX = 32
#: Seconds for which a webhook is left alone whose keys cannot be read here.
UNREADABLE_SECONDS = 300.0
USER_AGENT = "Threadmill-Webhooks/1"

_log = structlog.get_logger(__name__)


class Poster(Protocol):
    """A client that can POST, as `WebClient` can."""

    async def post(self, url: str, *, headers: Any, body: bytes, limits: WebLimits, shown_url: str) -> PostAnswer:
        """POST a body. Raises `WebError`."""
        ...


def send_webhooks(
    database: Database,
    settings: Settings,
    *,
    client: Poster | None = None,
    seconds: float = RUN_SECONDS,
    has_news: Callable[[], bool] = lambda: False,
) -> dict[str, int]:
    """Send all deliveries that are due; returns how many came to which state.

    `has_news` says, once each time, that others have become due meanwhile.
    """
    due = database.run(outbox.list_due)
    if not due:
        return {}
    run = _Run(database, settings, client or make_client(settings), time.monotonic() + seconds, has_news)
    asyncio.run(run.send(due))
    return dict(run.counts)


def make_client(settings: Settings) -> WebClient:
    """Make the client that reaches webhooks: public addresses on ports of the web, and the networks of the settings."""
    networks = settings.webhook_allow_networks
    return WebClient(allow_networks=networks, allow_ports=range(1, 65_536) if networks else WEB_PORTS)


def prune_deliveries(database: Database, settings: Settings) -> int:
    """Delete deliveries that are old enough, or that nobody gets any more; returns how many."""
    total, until = 0, time.monotonic() + RUN_SECONDS
    for delete_some in (upkeep.delete_old, upkeep.delete_unwanted):
        while count := database.run(delete_some, retention_days=settings.webhook_retention_days):
            total += count
            if time.monotonic() >= until:
                return total
    return total


@dataclass(slots=True)
class _Run:
    """A run under way."""

    database: Database
    settings: Settings
    client: Poster
    #: By the clock of `time.monotonic`.
    until: float
    has_news: Callable[[], bool]
    counts: Counter[str] = field(default_factory=Counter)
    #: The lanes under way, by their webhooks.
    lanes: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)

    async def send(self, due: list[DueWebhook]) -> None:
        """Send to these webhooks, and to those that become due while there are any."""
        while due or self.lanes:
            for webhook in due[: LANES_MAX - len(self.lanes)]:
                self.lanes[webhook.id] = asyncio.create_task(self._send_lane(webhook))
            await self._wait_for_news()
            for webhook_id in [webhook_id for webhook_id, lane in self.lanes.items() if lane.done()]:
                # An error of one ends the run: it is of the database, or of our own.
                await self.lanes.pop(webhook_id)
            due = [] if self._is_over() else await self._run(outbox.list_due, without=list(self.lanes))

    async def _wait_for_news(self) -> None:
        """Wait until a lane is over, something else is due, or it is time to look."""
        for _ in range(round(LOOK_SECONDS / NOTICE_SECONDS)):
            lanes = self.lanes.values()
            over, _ = await asyncio.wait(lanes, timeout=NOTICE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if over or self.has_news():
                return

    async def _send_lane(self, webhook: DueWebhook) -> None:
        """Send what is due to one webhook, until nothing is."""
        try:
            sealed_secrets = SealedSecrets(self.settings)
            keys = [sealed_secrets.unseal(webhook.id, key.sealed) for key in webhook.keys]
        except InvalidSettings as error:
            _log.error("webhook_keys_unreadable", tenant=webhook.tenant, webhook=webhook.id, reason=str(error))
            await self._run(outbox.pause_webhook, webhook.id, seconds=UNREADABLE_SECONDS)
            return
        claim = partial(
            outbox.claim_due,
            limit=self.settings.webhook_concurrency,
            timeout_seconds=self.settings.webhook_timeout_seconds,
        )
        while not self._is_over():
            claimed = await self._run(claim, webhook, new_id())
            if not claimed:
                return
            async with asyncio.TaskGroup() as group:
                states = [group.create_task(self._deliver(webhook, keys, delivery)) for delivery in claimed]
            self.counts.update(state for task in states if (state := task.result()) is not None)
            if any(task.result() != "delivered" for task in states):
                # Whether the webhook is away, or gone, stands in its row now.
                return

    async def _deliver(self, webhook: DueWebhook, keys: list[str], delivery: ClaimedDelivery) -> str | None:
        """Make one attempt, and record what came of it; returns the delivery's state."""
        attempt = await self._post(webhook, keys, delivery)
        state: str | None = await self._run(
            outbox.record_attempt, webhook.id, delivery, attempt, max_seconds=self.settings.webhook_retry_max_seconds
        )
        if state != "delivered":
            _log.warning(
                "webhook_not_delivered",
                tenant=webhook.tenant,
                webhook=webhook.id,
                delivery=delivery.id,
                attempt=delivery.attempt,
                status=attempt.status,
                reason=attempt.error,
                state=state,
            )
        return state

    async def _post(self, webhook: DueWebhook, keys: list[str], delivery: ClaimedDelivery) -> Attempt:
        body, seconds = delivery.body.encode(), int(time.time())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "webhook-id": delivery.id,
            "webhook-timestamp": str(seconds),
            "webhook-signature": sign(keys, delivery.id, seconds, body),
        }
        timeout = self.settings.webhook_timeout_seconds
        limits = WebLimits(connect_seconds=timeout, read_seconds=timeout, total_seconds=timeout)
        try:
            answer = await self.client.post(
                webhook.url, headers=headers, body=body, limits=limits, shown_url="the webhook"
            )
        except WebError as error:
            return Attempt(error=str(error))
        is_good = 200 <= answer.status < 300
        return Attempt(
            status=answer.status,
            error=None if is_good else f"the webhook answered {answer.status}",
            retry_after_seconds=answer.retry_after_seconds,
        )

    async def _run(self, operation: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run an operation off the loop."""
        if self.database.is_sqlite:
            return await self.database.run_async(operation, *args, **kwargs)
        # The connections of an event loop would be opened anew for each run.
        return await asyncio.to_thread(self.database.run, operation, *args, **kwargs)

    def _is_over(self) -> bool:
        return time.monotonic() >= self.until
