"""Values of the model as those of the store, and back."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from conversation.message import Message
from conversation.pending_call import ChildTurn, PendingKind, PendingRequest
from conversation.step import Step
from conversation.turn import (
    Cancelled,
    ClaimedTurn,
    Completed,
    Ending,
    Failed,
    HandOver,
    Lease,
    RefusedTurn,
    RetryLater,
    TurnError,
    Waiting,
)
from store import tables as t
from tests.integration.store.turns.model_based.children import CONTENT
from tests.integration.store.turns.model_based.values import Child, Claimed, End, Request
from tests.integration.store.turns.model_based.waits import CHOICES

#: Second 0 of the clock.
ZERO = datetime(2030, 1, 1, tzinfo=UTC)
#: What every call is of.
TOOL, ARGUMENTS = "look_up", "{}"


def moment(second: int | None) -> datetime | None:
    return None if second is None else ZERO + timedelta(seconds=second)


def said(role: Any, message_id: str, content: str) -> Message:
    return Message(role=role, id=message_id, content=content, created_at=ZERO)


def step(index: int, state: Any) -> Step:
    return Step(index=index, kind="tool", call_id=f"call-{index}", name=TOOL, state=state)


def ending(end: End) -> Ending:
    error = TurnError(end.error or "", "it went wrong")
    read = [replace(said("user", f"{line.turn}.asked", line.text), turn_id=line.turn) for line in end.read]
    replies = (*read, *(said("assistant", text, text) for text in end.replies))
    match end.kind:
        case "completed":
            steps: Iterable[Step] = [] if end.step is None else [step(end.step, "finished")]
            return Completed(messages=replies, steps=tuple(steps))
        case "failed":
            return Failed(messages=replies, error=error)
        case "cancelled":
            return Cancelled(messages=replies)
        case "retry":
            return RetryLater(after=timedelta(seconds=end.after), error=error)
        case "wait":
            opened: Iterable[Step] = [] if end.step is None else [step(end.step, "waiting")]
            return Waiting(pending=tuple(map(asked, end.requests)), steps=tuple(opened))
    return HandOver()


def asked(request: Request) -> PendingRequest:
    return PendingRequest(
        call_id=request.call,
        step_index=request.index,
        kind=PendingKind(request.kind),
        name=TOOL,
        arguments=ARGUMENTS,
        choices=CHOICES if request.kind == "question" else None,
        expire_seconds=request.seconds,
        child=None if request.child is None else _child(request.child),
    )


def _child(child: Child) -> ChildTurn:
    return ChildTurn(
        turn_id=child.turn, thread_id=child.thread, agent=child.agent, content=CONTENT, depth=1, user=child.user
    )


def key_of(connection: Connection, row: str) -> int:
    """The key of a row; 0, which none has, where it is gone."""
    key: int | None = connection.execute(select(t.threads.c.key).where(t.threads.c.id == row)).scalar_one_or_none()
    return key or 0


def lease(job: Claimed) -> Lease:
    return Lease(thread_key=job.key, worker=job.worker, fencing_token=job.fence)


def told(found: ClaimedTurn) -> Claimed:
    return Claimed(
        thread=found.thread_id,
        turn=found.id,
        worker=found.lease.worker,
        fence=found.lease.fencing_token,
        attempt=found.attempt,
        retries=found.retries,
        cancel=False,
        refused=None,
        seconds_left=None if found.remaining_seconds is None else round(found.remaining_seconds),
        window=tuple(message.content for message in found.window),
        steps=tuple(sorted((index, entry.state) for index, entry in found.steps.items())),
        is_steered=found.is_steered,
        decided=tuple((one.call_id, one.decision.kind.value if one.decision else None) for one in found.pending),
        calls_told=sum(text.count("\n- ") for text in found.context),
        key=found.lease.thread_key,
        parent=found.parent_turn_id,
    )


def told_refused(found: RefusedTurn) -> Claimed:
    return Claimed(
        thread=found.thread_id,
        turn=found.id,
        worker=found.lease.worker,
        fence=found.lease.fencing_token,
        attempt=found.attempt,
        cancel=isinstance(found.ending, Cancelled),
        refused=found.ending.error.kind if isinstance(found.ending, Failed) else None,
        key=found.lease.thread_key,
        parent=found.parent_turn_id,
    )
