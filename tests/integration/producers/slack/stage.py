"""The stage of stories in Slack: gateway processes, people who write, and a worker's place that answers by hand."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from sqlalchemy import func, select, update

from conversation.attachment import Attachment
from conversation.message import Message, ToolCall
from conversation.pending_call import PendingRequest
from conversation.replay import assistant_message, replay_transcript
from conversation.step import Step
from conversation.turn import ClaimedTurn, Completed, Ending, RefusedTurn, Waiting
from producers.producer import Producer
from producers.slack import SlackApp, SlackWorkspace
from store import tables
from store.database.column_types import clock
from store.database.engine import Database
from store.files.ingest import FileIngest
from store.settings import Settings
from store.turns import claims, journal, settle
from store.turns.claims import ClaimRequest
from tests.stub_slack import StubSlack, payloads
from tests.stub_slack.payloads import CHANNEL, SECRET, TEAM

TENANT, TOKEN = "acme", "xoxb-acme"
THREAD = f"slack-{TEAM}-{CHANNEL}-1700000000.000100"
#: Seconds after which a story hangs.
PATIENCE_SECONDS = 15.0


@dataclass(slots=True)
class Process:
    """A gateway process."""

    app: SlackApp
    producer: Producer
    client: httpx.AsyncClient

    async def deliver(self, event: Any, event_id: str = "Ev08MFMKH6", *, retry: int = 0) -> httpx.Response:
        """Slack delivers an event."""
        return await self.post("/slack/events", json.dumps(payloads.envelope(event, event_id)).encode(), retry=retry)

    async def press(self, action_id: str, value: str, **who: Any) -> httpx.Response:
        body = payloads.as_form(payloads.press(action_id, value, **who))
        return await self.post("/slack/interactivity", body, **{"Content-Type": "application/x-www-form-urlencoded"})

    async def post(self, path: str, body: bytes, *, retry: int = 0, **headers: str) -> httpx.Response:
        if retry:
            headers |= {"X-Slack-Retry-Num": str(retry), "X-Slack-Retry-Reason": "http_timeout"}
        return await self.client.post(path, content=body, headers=payloads.signed(body) | headers)

    async def die(self) -> None:
        """End as a killed process does: nothing is given back."""
        deliveries = self.app._deliveries
        assert deliveries is not None
        tasks = [*deliveries._loops, *deliveries._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(slots=True)
class Stage:
    """The stage of one story."""

    settings: Settings
    database: Database
    worker: str
    slack: StubSlack
    workspaces: dict[str, SlackWorkspace] = field(
        default_factory=lambda: {TEAM: SlackWorkspace(tenant=TENANT, bot_token=TOKEN)}
    )
    processes: list[Process] = field(default_factory=list)

    def process(self, **changed: Any) -> Process:
        """Begin a gateway process."""
        values = {"slack_api_url": self.slack.api_url, "slack_edit_interval_seconds": 0.01, **changed}
        producer = Producer(self.settings.model_copy(update=values))
        app = SlackApp(producer, SECRET, self.workspaces)
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")
        process = Process(app, producer, client)
        self.processes.append(process)
        return process

    def claim(self, thread_id: str = THREAD, *, tenant: str = TENANT) -> ClaimedTurn | None:
        """A worker takes the next turn of a thread up, if there is one."""
        claimant = ClaimRequest(worker=self.worker, agents={"assistant": "1"})
        claimed = self.database.run(claims.claim, tenant=tenant, thread_id=thread_id, claimant=claimant, held=None)
        return claimed if isinstance(claimed, ClaimedTurn) else None

    async def take(self, thread_id: str = THREAD, *, tenant: str = TENANT) -> ClaimedTurn:
        """A worker takes the next turn of a thread up, as soon as there is one."""
        claimed: list[ClaimedTurn] = []

        def try_to_claim() -> bool:
            turn = self.claim(thread_id, tenant=tenant)
            claimed.extend([turn] if turn else [])
            return turn is not None

        await self.until(try_to_claim)
        return claimed[0]

    def settle(self, claimed: ClaimedTurn, reply: str = "It is on its way.", ending: Ending | None = None) -> None:
        """A worker ends a turn."""
        ending = ending or Completed(messages=(Message(role="assistant", content=reply),))
        self.database.run(settle.settle, lease=claimed.lease, turn_id=claimed.id, ending=ending, release=True)

    def wait_for(self, claimed: ClaimedTurn, *requests: PendingRequest) -> None:
        """A worker has a turn wait for decisions."""
        calls = [ToolCall(each.call_id, each.name, each.arguments) for each in requests]
        asked = Step(index=0, kind="model", state="finished", result={"tool_calls": [c.to_json() for c in calls]})
        steps = [
            Step(index=each.step_index, kind="tool", call_id=each.call_id, name=each.name, state="waiting")
            for each in requests
        ]
        self.settle(claimed, ending=Waiting(pending=tuple(requests), steps=(asked, *steps)))

    def settle_with_files(self, claimed: ClaimedTurn, *files: Attachment, reply: str = "Here it is.") -> None:
        """A worker ends a turn whose tool made files."""
        FileIngest(self.database, self.processes[0].producer.blobs).store(TENANT, files)
        call = ToolCall("call-1", "draw", "{}")
        made = {"content": "drawn", "files": [file.to_json() for file in files]}
        steps = [
            Step(index=0, kind="model", state="finished", result={"tool_calls": [call.to_json()]}),
            Step(index=1, kind="tool", call_id=call.id, name=call.name, state="finished", result=made),
            Step(index=2, kind="model", state="finished", result={"content": reply}),
        ]
        self.database.run(journal.record, lease=claimed.lease, turn_id=claimed.id, entries=steps[:2])
        source = {"agent": "assistant", "version": "1"}
        transcript = replay_transcript(claimed.id, dict(enumerate(steps[:2])), source)
        messages = (*transcript.close(source=source), assistant_message(claimed.id, steps[2], source))
        self.settle(claimed, ending=Completed(messages=messages, steps=(steps[2],)))

    def leave_open(self, claimed: ClaimedTurn, request: PendingRequest, reply: str) -> None:
        """A worker has a turn go on without a decision, and answer."""
        call = ToolCall(request.call_id, request.name, request.arguments)
        steps = [
            Step(index=0, kind="model", state="finished", result={"tool_calls": [call.to_json()]}),
            Step(index=1, kind="tool", call_id=call.id, name=call.name, state="finished", result={"content": "later"}),
        ]
        record = journal.record
        self.database.run(record, lease=claimed.lease, turn_id=claimed.id, entries=steps, pending=[request])
        self.settle(claimed, reply)

    async def end_refused(self, thread_id: str = THREAD) -> None:
        """A worker ends the next turn of a thread that must not go on, as soon as there is one."""

        def try_to_end() -> bool:
            claimant = ClaimRequest(worker=self.worker, agents={"assistant": "1"})
            turn = self.database.run(claims.claim, tenant=TENANT, thread_id=thread_id, claimant=claimant, held=None)
            if isinstance(turn, RefusedTurn):
                self.database.run(settle.settle, lease=turn.lease, turn_id=turn.id, ending=turn.ending, release=True)
            return isinstance(turn, RefusedTurn)

        await self.until(try_to_end)

    async def answer(self, reply: str = "It is on its way.", thread_id: str = THREAD) -> ClaimedTurn:
        """A worker answers the next turn of a thread."""
        claimed = await self.take(thread_id)
        self.settle(claimed, reply)
        return claimed

    async def sees(self, *texts: str, channel: str = CHANNEL) -> None:
        """Wait until people see these messages of the agent's, and no others, and nothing is left to do."""
        await self.until(lambda: self.slack.texts(channel) == list(texts) and self.is_quiet())

    async def until(self, condition: Callable[[], bool]) -> None:
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while not await asyncio.to_thread(condition):
            assert time.monotonic() < give_up_at, (self.slack.channels, self.rows())
            await asyncio.sleep(0.01)

    async def let_claims_end(self) -> None:
        """Let the time pass in which the claims of processes that died hold."""
        ending = update(tables.slack_messages).values(due_at=clock(plus_seconds=-1))
        await asyncio.to_thread(self.database.run, lambda connection: connection.execute(ending) and None)

    def rows(self) -> list[Any]:
        query = select(tables.slack_messages).order_by(tables.slack_messages.c.key)
        return self.database.run(lambda c: list(c.execute(query).all()))

    def is_quiet(self) -> bool:
        return all(row.state in ("answered", "failed", "waiting") and row.claim is None for row in self.rows())

    def turns(self) -> int:
        return self.database.run(lambda c: c.execute(select(func.count()).select_from(tables.turns)).scalar_one())

    async def close(self) -> None:
        for process in self.processes:
            await process.app.close_async()
            await process.client.aclose()
            await process.producer.close_async()
