"""Threads to be retained or not: what was said, how long ago, and what is left of it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, func, select, update

from conversation.attachment import Attachment
from conversation.ids import new_id
from conversation.message import Message, ToolCall
from conversation.step import Step
from conversation.summary import Draft, NewSummary, Summary
from conversation.thread import Thread
from conversation.turn import ClaimedTurn, Completed
from conversation.water_marks import WaterMarks
from store import tables
from store.blobs import BlobStore
from store.database.engine import Database
from store.files.ingest import FileIngest
from store.retention import move_cut, policies
from store.retention.policy import Policy
from store.settings import Settings
from store.summaries import repository as summaries
from store.tables import retention as retention_tables
from store.threads import repository
from store.turns import claims, inbox, journal, workers
from store.turns import settle as turns
from store.turns.claims import ClaimRequest
from store.turns.send_request import SendRequest
from tasks.jobs.retention import RetentionOutcome, run_retention

#: Messages of one turn: a question, a call, its result, an answer.
TURN = 4


@dataclass
class Scene:
    """A store, and the verbs of these tests."""

    database: Database
    settings: Settings
    files: BlobStore

    def run(self, **settings: Any) -> RetentionOutcome:
        return run_retention(self.database, self.settings.model_copy(update=settings))

    def policy(self, **values: Any) -> None:
        self.database.run(policies.put, policy=Policy(**values))

    def answered(self, thread: str = "t", turns_: int = 5, *, tenant: str = "default", **options: Any) -> None:
        """So many turns that ran, each with a tool, a journal and what `options` ask for."""
        for number in range(1, turns_ + 1):
            claimed = self.claimed(f"question {number}", thread, tenant=tenant, **options)
            self.database.run(settle(claimed, number))

    def claimed(self, content: str = "and now?", thread: str = "t", **options: Any) -> ClaimedTurn:
        self.send(content, thread, **options)
        return self.claim(thread, options.get("tenant", "default"))

    def send(
        self, content: str, thread: str = "t", *, tenant: str = "default", file: bytes | None = None, **rest: Any
    ) -> str:
        attached = []
        if file is not None:
            attached = [Attachment(filename="note.txt", content=file, media_type="text/plain")]
            FileIngest(self.database, self.files).store(tenant, attached)
        message = Message(role="user", content=content, attachments=attached)
        request = SendRequest(
            turn_id=new_id(),
            tenant=tenant,
            thread_id=thread,
            message=message,
            agent="a",
            allow_unknown_agent=True,
            **rest,
        )
        return self.database.run(inbox.accept, request=request).turn_id

    def say_system(self, content: str, thread: str = "t", **values: Any) -> None:
        """A program writes a system message into the history."""
        self.say(Message(role="system", content=content, **values), thread)

    def say(self, message: Message, thread: str = "t") -> None:
        copy = self.thread(thread)
        copy.add_message(message)
        self.database.run(repository.save, thread=copy, new=copy.new_messages)

    def claim(self, thread: str = "t", tenant: str = "default") -> ClaimedTurn:
        worker = new_id()
        entry = {"host": "", "pid": 1, "serves": {"a": "1"}, "lease_duration_seconds": 600}
        self.database.run(workers.register, **entry, worker=worker)
        claimant = ClaimRequest(worker=worker, agents={"a": "1"})
        claimed = self.database.run(claims.claim, tenant=tenant, thread_id=thread, claimant=claimant)
        assert isinstance(claimed, ClaimedTurn)
        return claimed

    def age(
        self,
        days: float,
        thread: str = "t",
        *,
        after_seq: int = 0,
        to_seq: int | None = None,
        moves_thread: bool = True,
    ) -> None:
        """So long ago was it said, up to a seq; and so long has nobody changed the thread."""
        then = datetime.now(UTC) - timedelta(days=days)
        key = self.key(thread)
        said = update(tables.messages).where(tables.messages.c.thread_key == key)
        said = said.where(tables.messages.c.seq > after_seq)
        said = said.where(tables.messages.c.seq <= (2**60 if to_seq is None else to_seq))
        self.database.run(lambda c: c.execute(said.values(created_at=then)))
        values = {"created_at": then} | ({"updated_at": then} if moves_thread else {})
        changed = update(tables.threads).where(tables.threads.c.key == key).values(**values)
        self.database.run(lambda c: c.execute(changed))

    def change(self, thread: str = "t", **values: Any) -> None:
        changed = update(tables.threads).where(tables.threads.c.id == thread).values(**values)
        self.database.run(lambda c: c.execute(changed))

    def summary(self, thread: str = "t", *, keep: int) -> None:
        draft = self.draft(thread, keep=keep)
        assert draft is not None
        assert self.put(draft)

    def draft(self, thread: str = "t", *, keep: int) -> Draft | None:
        marks = WaterMarks(high_messages=0, high_tokens=0, low_messages=keep, low_tokens=0)
        return self.database.run(summaries.load_draft, tenant="default", thread_id=thread, marks=marks)

    def put(self, draft: Draft) -> Summary | None:
        new = NewSummary(content="they talked", model="m")
        return self.database.run(summaries.put, draft=draft, new=new)

    def cut(self, thread: str = "t") -> str:
        """Move the cut, and delete nothing."""
        return self.database.run(move_cut.move_cutoff, key=self.key(thread)).outcome

    def key(self, thread: str = "t", tenant: str = "default") -> int:
        named = (tables.threads.c.id == thread) & (tables.threads.c.tenant == tenant)
        return self.database.run(lambda c: int(c.execute(select(tables.threads.c.key).where(named)).scalar_one()))

    def thread(self, thread: str = "t") -> Thread:
        return self.database.run(repository.load, tenant="default", thread_id=thread)

    def contents(self, thread: str = "t") -> list[str]:
        return [message.content for message in self.thread(thread).messages]

    def seqs(self, thread: str = "t") -> list[int]:
        """Of the messages that are stored, read or not."""
        stored = select(tables.messages.c.seq).where(tables.messages.c.thread_key == self.key(thread))
        return self.database.run(lambda c: list(c.execute(stored.order_by(tables.messages.c.seq)).scalars()))

    def row(self, thread: str = "t") -> Any:
        named = select(tables.threads).where(tables.threads.c.id == thread)
        return self.database.run(lambda c: c.execute(named).one_or_none())

    def count(self, name: str) -> int:
        table = tables.metadata.tables[name]
        return self.database.run(lambda c: int(c.execute(select(func.count()).select_from(table)).scalar_one()))

    def counts(self) -> dict[str, int]:
        return {table.name: self.count(table.name) for table in tables.metadata.sorted_tables}

    def audited(self, action: str | None = None) -> list[Any]:
        rows = select(tables.audit).order_by(tables.audit.c.key)
        if action is not None:
            rows = rows.where(tables.audit.c.action == action)
        return self.database.run(lambda c: list(c.execute(rows)))

    def pending(self) -> list[Any]:
        return self.database.run(lambda c: list(c.execute(select(retention_tables.pending_deletions))))


def settle(claimed: ClaimedTurn, number: int = 1) -> Any:
    """A turn that called a tool, and answered."""
    call = ToolCall(f"c{number}", "look", "{}")
    replies = (
        Message(role="assistant", tool_calls=(call,)),
        Message(role="tool", tool_call_id=call.id, content=f"seen {number}"),
        Message(role="assistant", content=f"answer {number}"),
    )
    done = {"content": f"seen {number}"}
    entry = Step(index=0, kind="tool", call_id=call.id, name="look", state="finished", result=done)
    ending = Completed(messages=replies, steps=(entry,))

    def commit(connection: Connection) -> turns.SettleOutcome:
        return turns.settle(connection, claimed.lease, claimed.id, ending, release=True)

    return commit


def record(claimed: ClaimedTurn) -> Any:
    step = Step(index=0, kind="model", state="finished", result={"content": "said"})
    return partial(journal.record, lease=claimed.lease, turn_id=claimed.id, entries=[step])
