"""A small database with every kind of row in it, made by the store's own verbs as far as they reach."""

import base64
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, insert, select, update

from conversation.attachment import Attachment
from conversation.ids import new_id
from conversation.inbound_source import make_source_id
from conversation.message import Message, ToolCall, Usage
from conversation.parts import FilePart, ImagePart, TextPart
from conversation.pending_call import PendingKind, PendingRequest
from conversation.step import Step
from conversation.summary import NewSummary
from conversation.thread import Thread
from conversation.turn import Cancelled, ClaimedTurn, Completed, Failed, RetryLater, TurnError, Waiting
from conversation.water_marks import WaterMarks
from store import idempotent_answers, schedule_runs, slack_messages, tables
from store.database.column_types import clock
from store.erasure import steps as erase
from store.erasure.subject import Subject
from store.files import uploads
from store.files.blob_rows import confirm, reserve
from store.inbound.sources import InboundSourceRequest, create_source
from store.keys import key_rows
from store.keys.key_text import make_key
from store.retention import archive, move_cut, policies
from store.retention.policy import Policy
from store.schedules import repository as repository_of_schedules
from store.schedules.request import ScheduleRequest
from store.schedules.runs import RunRules, run_now
from store.settings import load
from store.summaries import repository as summaries
from store.tables.retention import dropped_files, erasure_items
from store.threads import repository
from store.threads.visible_threads import Viewer
from store.turns import claims, inbox, journal, records, workers
from store.turns import settle as turns
from store.turns.claims import ClaimRequest
from store.turns.send_request import SendRequest
from store.webhooks.sealed_secrets import SealedSecrets

#: The tenant of the second thread.
OTHER_TENANT = "acme"


@dataclass(frozen=True)
class Told:
    """Where to look for what happened."""

    completed_turn: str
    failed_turn: str
    running_turn: str
    queued_turn: str


def tell(connection: Connection) -> Told:
    """Fill a database that is empty."""
    _webhook(connection)
    told = _Story(connection).tell()
    _other_tenant(connection)
    _installation(connection)
    return told


def expected(connection: Connection, told: Told) -> dict[str, Any]:
    """What a reader of any later release must find, as JSON."""
    stories = {
        tenant: [repository.load(connection, tenant, id_).to_json() for id_ in ids]
        for tenant, ids in {"default": ("story", "waits", "asks"), OTHER_TENANT: ("story", "daily")}.items()
    }
    read = partial(records.read_result, connection)
    results = {
        id_: [message.to_json() for message in read(id_).messages] for id_ in (told.completed_turn, told.failed_turn)
    }
    return {"threads": stories, "told": asdict(told), "replies": results}


class _Story:
    """One thread in which everything happens once."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.worker = new_id()
        self.claimant = ClaimRequest(worker=self.worker, agents={"assistant": "1"})

    def tell(self) -> Told:
        workers.register(
            self.connection, self.worker, host="here", pid=1, serves={"assistant": "1"}, lease_duration_seconds=60
        )
        self._library()
        completed = self._completed()
        self._summary()
        failed = self._ended(Failed(error=TurnError("step_limit", "it went on and on"), usage=Usage(1, 1), cost=0.5))
        self._ended(Cancelled(messages=(Message(role="assistant", content="I was ab", state="partial"),)))
        running = self._send("are you there?", idempotency_key="once")
        self._claim(running)
        queued = self._send("and then?", priority=3, metadata={"channel": "mail"})
        self._waits()
        self._asks()
        return Told(completed, failed, running, queued)

    def _library(self) -> None:
        """What library code saved: a title, metadata, context, parts, a file."""
        picture = Attachment(filename="plan.png", sha256="1" * 64, size=70, media_type="image/png")
        look = Message(
            role="user",
            parts=(TextPart("Look at"), FilePart("plan.png"), ImagePart("https://a.example/b.png"), TextPart("— 见")),
            attachments=[picture],
            name="ann",
            metadata={"née": [1, 2.5, None, True]},
        )
        thread = Thread("story", title="A story: 100% of it", metadata={"user": "ann", "deep": {"x": [1]}})
        thread.add_message(look)
        thread.set_context("tone", "Be kind.")
        small = Attachment(filename="small.png", sha256="3" * 64, size=20, media_type="image/png")
        announced = reserve(self.connection, "default", [picture, small])
        confirm(self.connection, "default", announced)
        made = {"tenant": "default", "sha256": picture.sha256, "kind": "thumbnail", "rendition_sha256": small.sha256}
        self.connection.execute(tables.renditions.insert().values(made))
        uploads.create(self.connection, new_id(), "default", picture, expires_seconds=900)
        repository.save(self.connection, thread, new=thread.new_messages)

    def _send(self, content: str, thread: str = "story", **options: Any) -> str:
        request = SendRequest(
            turn_id=new_id(),
            tenant="default",
            thread_id=thread,
            message=Message(role="user", content=content),
            agent="assistant",
            **options,
        )
        return inbox.accept(self.connection, request).turn_id

    def _claim(self, turn_id: str, thread: str = "story") -> ClaimedTurn:
        claimed = claims.claim(self.connection, "default", thread, self.claimant)
        assert isinstance(claimed, ClaimedTurn)
        assert claimed.id == turn_id
        return claimed

    def _completed(self) -> str:
        """A turn with a tool, its journal, and an answer."""
        claimed = self._claim(self._send("What is 1 + 2?", deadline=None))
        call = ToolCall("call_1", "add", '{"a": 1, "b": 2}')
        entry = partial(Step, kind="tool", call_id="call_1", name="add")
        journal.record(self.connection, claimed.lease, claimed.id, [entry(index=1, state="started")])
        result = {"content": "3"}
        journal.record(self.connection, claimed.lease, claimed.id, [entry(index=1, state="finished", result=result)])
        source = {"agent": "assistant", "model": "offline/recall"}
        asks = Message(role="assistant", tool_calls=(call,), reasoning="a sum", usage=Usage(9, 3, 1))
        answers = Message(role="assistant", content="It is 3; isn't it?", source=source, usage=Usage(12, 5))
        ending = Completed(
            messages=(asks, Message(role="tool", tool_call_id="call_1", name="add", content="3"), answers),
            steps=(Step(index=0, kind="model", name="offline/recall", state="finished", result={"content": ""}),),
            usage=Usage(21, 8, 1),
            cost=0.000125,
        )
        turns.settle(self.connection, claimed.lease, claimed.id, ending, release=True)
        return claimed.id

    def _summary(self) -> None:
        marks = WaterMarks(high_messages=0, high_tokens=0, low_messages=4, low_tokens=0)
        draft = summaries.load_draft(self.connection, "default", "story", marks=marks)
        assert draft is not None
        new = NewSummary(
            content="Facts:\n- Ann showed a plan.",
            sections={"facts": ["Ann showed a plan."]},
            model="m",
            prompt_version="0123456789ab",
            usage=Usage(5, 5),
            cost=0.000125,
            report={"counts": {"carried": 0}},
        )
        assert summaries.put(self.connection, draft, new)

    def _ended(self, ending: Failed | Cancelled) -> str:
        claimed = self._claim(self._send("Go on."))
        turns.settle(self.connection, claimed.lease, claimed.id, ending, release=True)
        return claimed.id

    def _waits(self) -> None:
        """A thread whose turn is to be tried again, with one turn queued behind it."""
        claimed = self._claim(self._send("later", "waits"), "waits")
        put_off = RetryLater(after=timedelta(hours=1), error=TurnError("model_error", "away", retryable=True))
        turns.settle(self.connection, claimed.lease, claimed.id, put_off, release=True)
        self._send("is it allowed?", "waits")

    def _asks(self) -> None:
        """A thread whose turn waits for the approval of a call."""
        claimed = self._claim(self._send("money back", "asks"), "asks")
        request = PendingRequest(
            call_id="call_1", step_index=1, kind=PendingKind.APPROVAL, name="refund", arguments='{"amount": 5}'
        )
        turns.settle(self.connection, claimed.lease, claimed.id, Waiting(pending=(request,)), release=True)


def _webhook(connection: Connection) -> None:
    """A webhook that is told of each end that follows, by a trigger; nothing is sent."""
    values = {"id": new_id(), "tenant": "default", "name": "billing", "url": "https://example.org/hooks"}
    key = {"sealed": "encrypted", "expires_at": None}
    now = {"created_at": clock(), "updated_at": clock()}
    connection.execute(insert(tables.webhooks).values(**values, **now, secrets=[key], state="enabled"))


def _other_tenant(connection: Connection) -> None:
    """The same id, in another tenant, under legal hold."""
    thread = Thread("story", tenant=OTHER_TENANT, messages=[Message(role="user", content="Also a story.")])
    repository.save(connection, thread, new=thread.new_messages)
    held = (tables.threads.c.tenant == OTHER_TENANT) & (tables.threads.c.id == "story")
    connection.execute(update(tables.threads).where(held).values(legal_hold=True))


def _answered_request(connection: Connection) -> None:
    """A request to the gateway whose answer is kept for its key."""
    request = idempotent_answers.OnceRequest(
        tenant="default", id="k" * 64, digest="d" * 64, claim=new_id(), made_id=new_id()
    )
    idempotent_answers.claim(connection, request, lease_seconds=60, keep_seconds=86_400)
    answer = idempotent_answers.StoredAnswer(status=201, headers={"Location": "/v1/threads/story"}, body="{}")
    idempotent_answers.store(connection, request, answer)


def _slack_message(connection: Connection) -> None:
    """A message out of Slack that no turn has yet."""
    message = slack_messages.NewSlackMessage(
        tenant="default",
        team_id="T01",
        channel_id="C01",
        ts="1700000000.000100",
        event_id="Ev01",
        thread_id="slack-T01-C01-1700000000.000100",
        reply_to="1700000000.000100",
        user_id="U01",
        content="Look at this.",
        files=[{"id": "F01", "name": "plan.png"}],
    )
    slack_messages.enter(connection, message)


def _installation(connection: Connection) -> None:
    """What belongs to no thread."""
    _slack_message(connection)
    run = schedule_runs.claim_run(connection, "retention", every_seconds=60)
    assert run is not None
    schedule_runs.finish_run(connection, run, {"deleted": 0})
    connection.execute(
        insert(tables.audit).values(
            tenant="default", thread_id="gone", action="deleted", details={"by": "test"}, created_at=clock()
        )
    )
    _answered_request(connection)
    _schedules(connection)
    key_rows.create_key(connection, key_rows.KeyRequest(tenant="default", user="ann"), make_key())
    _kept_no_longer(connection)
    connection.execute(
        insert(tables.blobs).values(
            tenant="default", sha256="2" * 64, size=5, media_type="text/plain", extracted_text="words",
            created_at=clock(), unreferenced_since=clock(),
        )
    )  # fmt: skip
    connection.execute(
        insert(dropped_files).values(
            tenant="default", sha256="2" * 64, thread_key=999, thread_sha256="4" * 64, user_sha256="5" * 64
        )
    )


def _schedules(connection: Connection) -> None:
    """A schedule that has run, and one that is paused; a source of webhooks."""
    place = {"thread_id": "daily", "agent": "assistant", "tenant": OTHER_TENANT, "user": "ann"}
    for name in ("runs", "rests"):
        request = ScheduleRequest(content="How are you?", cron="0 9 * * mon-fri", name=name, **place)
        schedule = repository_of_schedules.create_schedule(connection, new_id(), request)
    mapping = {"thread_id": "shop-{/order}", "text": "{/event}", "idempotency_key": "{/id}"}
    source = InboundSourceRequest(name="shop", mapping=mapping, agent="assistant", tenant=OTHER_TENANT)
    keys = SealedSecrets(load(webhook_encryption_keys=base64.urlsafe_b64encode(b"k" * 32).decode()))
    create_source(connection, make_source_id(), source, "a secret that is long enough", keys)
    viewer = Viewer(OTHER_TENANT)
    run_now(connection, viewer, schedule.id, run_id="first", rules=RunRules())
    repository_of_schedules.pause_schedule(connection, viewer, schedule.id)


def _kept_no_longer(connection: Connection) -> None:
    """A policy, a thread that is being deleted, an archive, and an erasure that broke off."""
    policies.put(connection, Policy(tenant="default", idle_days=30, keep_last=10, archive=True))
    old = Thread("old", tenant="third", messages=[Message(role="user", content="Long ago.")])
    repository.save(connection, old, new=old.new_messages)
    key = connection.execute(select(tables.threads.c.key).where(tables.threads.c.id == "old")).scalar_one()
    policies.put(connection, Policy(tenant="third", thread_id="old", max_messages=0))
    assert move_cut.move_cutoff(connection, key).outcome == "cut"
    part = archive.draft(connection, key)
    assert part is not None
    subject = Subject(tenant=OTHER_TENANT, user="ann")
    erasure = erase.begin(connection, subject)
    connection.execute(insert(erasure_items).values(erasure_id=erasure, kind="blob", sha256="3" * 64, done=True))
