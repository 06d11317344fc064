"""The messages that a process brings to their turns, and whose answers it brings back.

What stays true: whatever is due is taken up by some process that runs: at once where it came in, within seconds where
another one died; a process that ends gives back what it has. Only on one event loop.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress

import structlog

from conversation.errors import ThreadmillError
from producers.slack.delivery import Delivery
from producers.slack.desk import LEASE_SECONDS, Desk
from producers.slack.workspace import SlackWorkspace
from store import slack_messages
from store.slack_messages import SlackMessage

#: Seconds between two looks for messages of processes that died.
POLL_SECONDS = 5.0
#: Seconds between two extensions of the claims.
EXTEND_SECONDS = LEASE_SECONDS / 4
#: Answers that one process writes at once.
DELIVERIES_MAX = 500
#: Days after its answer in which a message is remembered, so that it is not taken for a new one.
REMEMBERED_DAYS = 7.0
#: Seconds between two times at which those before are forgotten.
FORGET_SECONDS = 3600.0

log = structlog.get_logger(__name__)


class Deliveries:
    """The deliveries of one process."""

    def __init__(self, desk: Desk, workspaces: Mapping[str, SlackWorkspace]) -> None:
        self._desk = desk
        self._workspaces = workspaces
        self._wanted = asyncio.Event()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._forget_at = float("-inf")

    def start(self) -> None:
        """Begin to look for messages that are due."""
        if not self._loops:
            self._loops = [
                asyncio.create_task(self._keep_claiming(), name="threadmill-slack-claims"),
                asyncio.create_task(self._keep_extending(), name="threadmill-slack-extensions"),
            ]

    def look(self) -> None:
        """Look for messages that are due now: one came in."""
        self._wanted.set()

    async def stop(self) -> None:
        """Break off, and give all messages back: another process takes them up at once."""
        tasks = [*self._loops, *self._tasks.values()]
        self._loops = []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for tenant in self._tenants():
            with suppress(ThreadmillError):
                await self._desk.run(tenant, slack_messages.release, tenant, self._desk.process_id)

    def _tenants(self) -> list[str]:
        return sorted({workspace.tenant for workspace in self._workspaces.values()})

    async def _keep_claiming(self) -> None:
        while True:
            self._wanted.clear()
            try:
                for tenant in self._tenants():
                    await self._claim(tenant)
                await self._forget()
            except ThreadmillError as error:
                log.warning("slack_messages_not_claimed", error=type(error).__name__)
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wanted.wait()

    async def _claim(self, tenant: str) -> None:
        free = DELIVERIES_MAX - len(self._tasks)
        if free <= 0:
            return
        began_at = time.monotonic()
        operation, process_id = slack_messages.claim_due, self._desk.process_id
        messages = await self._desk.run(tenant, operation, tenant, process_id, lease_seconds=LEASE_SECONDS, limit=free)
        if messages and not self._tasks:
            self._desk.note_claim(began_at)
        for message in messages:
            # One whose claim had run out, and which is still at work here, goes on.
            if message.key not in self._tasks:
                self._begin(message)

    def _begin(self, message: SlackMessage) -> None:
        task = asyncio.create_task(self._deliver(message), name="threadmill-slack-delivery")
        self._tasks[message.key] = task
        task.add_done_callback(lambda _: self._end(message.key))

    def _end(self, key: int) -> None:
        del self._tasks[key]
        # A message behind it in its thread may be due, or there was no place for another.
        self._wanted.set()

    async def _deliver(self, message: SlackMessage) -> None:
        workspace = self._workspaces.get(message.team_id)
        if workspace is None or workspace.tenant != message.tenant:
            operation = slack_messages.finish
            await self._desk.run(message.tenant, operation, message, self._desk.process_id, error="unknown_workspace")
            return
        try:
            await Delivery(self._desk, message, workspace, self.look).run()
        except ThreadmillError as error:
            # Its claim is not extended any more, and so it is taken up again.
            log.warning("slack_delivery_broken", error=type(error).__name__)

    async def _keep_extending(self) -> None:
        while True:
            await asyncio.sleep(EXTEND_SECONDS)
            began_at = time.monotonic()
            try:
                for tenant in self._tenants() if self._tasks else []:
                    operation, keys = slack_messages.extend_claim, list(self._tasks)
                    process_id = self._desk.process_id
                    await self._desk.run(tenant, operation, tenant, process_id, keys, lease_seconds=LEASE_SECONDS)
            except ThreadmillError as error:
                log.warning("slack_claims_not_extended", error=type(error).__name__)
            else:
                self._desk.note_claim(began_at)

    async def _forget(self) -> None:
        """Forget what was over long ago, now and then."""
        if time.monotonic() < self._forget_at:
            return
        for tenant in self._tenants():
            while await self._desk.run(tenant, slack_messages.forget_finished, tenant, days=REMEMBERED_DAYS):
                pass
        self._forget_at = time.monotonic() + FORGET_SECONDS
