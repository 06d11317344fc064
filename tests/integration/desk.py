"""A desk over a database: conversations, and the verbs of the store, each in a transaction of its own."""

from functools import partial
from typing import Any

from sqlalchemy import select, update

from conversation.ids import new_id
from conversation.message import Message, ToolCall, Usage
from conversation.summary import Draft, NewSummary, Summary
from conversation.thread import Thread
from conversation.turn import ClaimedTurn, Completed, Ending
from conversation.water_marks import WaterMarks
from store import tables
from store.database.engine import Database
from store.lineage import Lineage
from store.summaries import repository as summaries
from store.threads import repository
from store.turns import claims, inbox, workers
from store.turns import settle as turns
from store.turns.claims import ClaimRequest
from store.turns.send_request import SendRequest


def marks(messages: int = 0, keep: int = 4, *, tokens: int = 0, keep_tokens: int = 0) -> WaterMarks:
    return WaterMarks(high_messages=messages, high_tokens=tokens, low_messages=keep, low_tokens=keep_tokens)


def chat(thread_id: str, count: int, *, with_tools: bool = False) -> Thread:
    thread = Thread(thread_id)
    for index in range(count):
        thread.add_message(Message(role="user", content=f"question {index}"))
        if with_tools:
            thread.add_message(Message(role="assistant", tool_calls=(ToolCall(f"c{index}", "look", "{}"),)))
            thread.add_message(Message(role="tool", tool_call_id=f"c{index}", content='"seen"'))
        thread.add_message(Message(role="assistant", content=f"answer {index}"))
    return thread


class Desk:
    """A database: the store's verbs, each in a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self.database = database
        worker = new_id()
        serves = {"a": "1", "b": "1"}
        self.database.run(workers.register, worker=worker, host="", pid=1, serves=serves, lease_duration_seconds=600)
        self.claimant = ClaimRequest(worker=worker, agents=serves)

    def save(self, thread: Thread) -> Thread:
        saved = self.database.run(repository.save, thread=thread, new=thread.new_messages)
        repository.apply(thread, saved)
        return thread

    def chat(self, thread_id: str, count: int, *, with_tools: bool = False) -> Thread:
        return self.save(chat(thread_id, count, with_tools=with_tools))

    def claim(self, thread: str = "t", content: str = "and now?", agent: str = "a") -> ClaimedTurn:
        request = SendRequest(
            turn_id=new_id(),
            tenant="default",
            thread_id=thread,
            message=Message(role="user", content=content),
            agent=agent,
        )
        self.database.run(inbox.accept, request=request)
        claim = partial(claims.claim, tenant="default", thread_id=thread, claimant=self.claimant)
        claimed = self.database.run(claim)
        assert isinstance(claimed, ClaimedTurn)
        return claimed

    def settle(self, claimed: ClaimedTurn, *replies: Message, ending: Ending | None = None) -> turns.SettleOutcome:
        said = replies or (Message(role="assistant", content="an answer"),)
        return self.database.run(
            turns.settle,
            lease=claimed.lease,
            turn_id=claimed.id,
            ending=ending or Completed(messages=said),
            release=True,
        )

    def draft(self, wanted: WaterMarks, thread: str = "t") -> Draft | None:
        return self.database.run(summaries.load_draft, tenant="default", thread_id=thread, marks=wanted)

    def put(self, draft: Draft | None, content: str = "they talked") -> Summary | None:
        assert draft is not None
        new = NewSummary(content=content, model="m", usage=Usage(7, 3), cost=0.5)
        return self.database.run(summaries.put, draft=draft, new=new)

    def restore(self, thread: str = "t") -> Summary | None:
        return self.database.run(summaries.restore, tenant="default", thread_id=thread)

    def listed(self, thread: str = "t") -> list[Summary]:
        return self.database.run(summaries.list_summaries, tenant="default", thread_id=thread)

    def row(self, thread: str = "t") -> Any:
        wanted = select(tables.threads).where(tables.threads.c.id == thread)
        return self.database.run(lambda c: c.execute(wanted).one())

    def change(self, thread: str = "t", **values: Any) -> None:
        changed = update(tables.threads).where(tables.threads.c.id == thread).values(values)
        self.database.run(lambda c: c.execute(changed) and None)

    def counted(self, thread: str = "t") -> tuple[int, int]:
        row = self.row(thread)
        return row.uncovered_messages, row.uncovered_tokens

    def behind(self, seq: int, thread: str = "t") -> tuple[int, int]:
        """What a thread shows behind a place, counted message by message."""
        tokens = select(tables.messages.c.tokens).where(Lineage.of(self.row(thread)).holds(after_seq=seq))
        found = self.database.run(lambda c: list(c.execute(tokens).scalars()))
        return len(found), sum(found)
