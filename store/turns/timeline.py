"""The timeline of a turn: what happened to it when, how long that took and what it cost, in the order of time.

What stays true: it is three statements for a turn that runs or has ended, however long it is, and one more where it
waited for decisions. No text of a message, of a tool's arguments or of its result is read unless it is asked for, nor
what retention has hidden.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, select, union_all

from conversation.errors import Fault
from conversation.message import Usage
from conversation.transcript import reply_id
from conversation.turn import TurnError, TurnState
from store.database.statements import AnyRow
from store.tables import inbox_messages, messages, steps, threads, workers
from store.turns import pending_calls
from store.turns.attempts import AttemptOutcome, TurnAttempt, read_attempts
from store.turns.listing import ListedTurn, listed_turn_of, select_listed
from store.turns.records import is_turn, turn_not_found
from store.turns.waits import Wait, explain_wait


class EntryKind(StrEnum):
    """The subject of an entry of a timeline."""

    SENT = "sent"
    #: It waited: for its first claim, or for its next try.
    WAITED = "waited"
    ATTEMPT = "attempt"
    MODEL = "model"
    TOOL = "tool"
    #: It was left to somebody to decide, and somebody did.
    ASKED = "asked"
    DECIDED = "decided"
    CANCEL = "cancel"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """One thing that happened to a turn."""

    at: datetime
    kind: EntryKind
    #: Of a model or tool call, its model or tool; of an attempt its number; of a cancel who asked for it; of what was
    #: asked the kind and the call; of a decision who made it.
    name: str = ""
    #: Of an attempt, a call or the end, its outcome; `running` while there is none.
    outcome: str = ""
    #: How long it took, or has taken; None of what is a moment, or of which that is not known.
    seconds: float | None = None
    #: The worker of an attempt: its host and process, while its row is kept, else its id.
    worker: str | None = None
    error: TurnError | None = None
    usage: Usage | None = None
    #: In US dollars; None where no price is known.
    cost: float | None = None
    #: Of a call of an agent that another one called as a tool: that agent.
    agent: str | None = None
    #: What was said, where it was asked for.
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """A turn, why it waits, and what happened to it."""

    turn: ListedTurn
    #: The worker that runs it: its host and process.
    worker: str | None
    not_before: datetime | None
    deadline: datetime | None
    wait: Wait | None
    entries: tuple[TimelineEntry, ...]


def read_timeline(
    connection: Connection,
    turn_id: str,
    *,
    tenant: str | None = None,
    with_text: bool = False,
    tenant_max_running: int = 0,
) -> Timeline:
    """Read the timeline of a turn, of this tenant where one is named. Raises `TurnNotFound`."""
    held_by = workers.c.id == threads.c.lease_owner
    worker_columns = workers.c.host.label("worker_host"), workers.c.pid.label("worker_pid")
    statement = select_listed().add_columns(threads.c.history_starts_after, *worker_columns)
    row = connection.execute(statement.outerjoin(workers, held_by).where(is_turn(turn_id, tenant))).one_or_none()
    if row is None:
        raise turn_not_found(turn_id, tenant)
    attempts = read_attempts(connection, turn_id)
    is_hidden = 0 < (row.window_to_seq or 0) <= row.history_starts_after
    entries = [
        _sent_entry(row, _read_inputs(connection, row) if with_text and not is_hidden else None),
        *_attempt_entries(row, attempts),
        *_decision_entries(connection, row, attempts),
        *_step_entries(connection, row, with_text=with_text and not is_hidden),
        *_last_entries(row, listed_turn_of(row).record.error),
    ]
    return Timeline(
        turn=listed_turn_of(row),
        worker=_worker_name(row.lease_owner, row) if row.state == TurnState.RUNNING else None,
        not_before=row.not_before,
        deadline=row.deadline,
        wait=explain_wait(connection, row, tenant_max_running=tenant_max_running),
        entries=tuple(sorted(entries, key=lambda entry: entry.at)),
    )


def _worker_name(worker_id: str | None, row: AnyRow | TurnAttempt) -> str | None:
    """A worker as people know it; its id where its row is gone."""
    return worker_id if row.worker_host is None else f"{row.worker_host}:{row.worker_pid}"


def _read_inputs(connection: Connection, row: AnyRow) -> str:
    """The text of a turn's messages, whether they are in the history yet or not."""
    waiting = select(inbox_messages.c.index, inbox_messages.c.content).where(inbox_messages.c.turn_id == row.id)
    stored = select(messages.c.seq, messages.c.content).where(
        messages.c.thread_key == row.thread_key,
        messages.c.turn_id == row.id,
        messages.c.seq <= (row.window_to_seq or 0),
    )
    inputs = sorted(connection.execute(union_all(waiting, stored)), key=lambda each: each[0])
    return "\n".join(content for _, content in inputs)


def _sent_entry(row: AnyRow, text: str | None) -> TimelineEntry:
    return TimelineEntry(at=row.created_at, kind=EntryKind.SENT, name=row.user or "", text=text)


def _attempt_entries(row: AnyRow, attempts: Sequence[TurnAttempt]) -> Iterator[TimelineEntry]:
    """The attempts at a turn, and the waits before each of them."""
    waits_from = max(row.created_at, row.not_before or row.created_at)
    for attempt in attempts:
        begun_at = attempt.started_at or attempt.ended_at
        yield _wait_entry(waits_from, begun_at)
        error = None
        if attempt.error_kind is not None:
            error = TurnError(
                attempt.error_kind, attempt.error_message or "", fault=attempt.error_fault or Fault.INTERNAL
            )
        yield TimelineEntry(
            at=begun_at,
            kind=EntryKind.ATTEMPT,
            name=str(attempt.number),
            outcome=attempt.outcome,
            seconds=(attempt.ended_at - begun_at).total_seconds(),
            worker=_worker_name(attempt.worker_id, attempt),
            error=error,
        )
        waits_from = attempt.ended_at
        if attempt.outcome in (AttemptOutcome.FAILED, AttemptOutcome.CANCELLED) and row.notified_at is not None:
            # The turn was over: nobody waited until it was requeued.
            waits_from = max(waits_from, row.notified_at)
    yield from _newest_attempt_entries(row, attempts, waits_from)


def _newest_attempt_entries(
    row: AnyRow, attempts: Sequence[TurnAttempt], waits_from: datetime
) -> Iterator[TimelineEntry]:
    """The attempt that runs, or that ended the turn; else the wait for the next one."""
    ended_at = row.finished_at or row.listed_at
    is_recorded = bool(attempts) and attempts[-1].number == row.attempt
    if row.attempt == 0 or is_recorded:
        if ended_at > waits_from:
            yield _wait_entry(waits_from, ended_at)
        return
    begun_at = row.attempt_started_at or row.started_at or waits_from
    yield _wait_entry(waits_from, begun_at)
    yield TimelineEntry(
        at=begun_at,
        kind=EntryKind.ATTEMPT,
        name=str(row.attempt),
        outcome=row.state,
        seconds=(ended_at - begun_at).total_seconds(),
        worker=_worker_name(row.lease_owner, row) if row.state == TurnState.RUNNING else None,
    )


def _wait_entry(begun_at: datetime, ended_at: datetime) -> TimelineEntry:
    seconds = max(0.0, (ended_at - begun_at).total_seconds())
    return TimelineEntry(at=min(begun_at, ended_at), kind=EntryKind.WAITED, seconds=seconds)


def _step_entries(connection: Connection, row: AnyRow, *, with_text: bool) -> Iterator[TimelineEntry]:
    columns = [column for column in steps.c if with_text or column.name != "result"]
    journal = select(*columns).where(steps.c.turn_id == row.id).order_by(steps.c.index)
    journalled: Sequence[Any] = connection.execute(journal).all()
    answers = _read_answers(connection, row, journalled) if with_text else {}
    for step in journalled:
        is_open = step.finished_at is None
        runs = is_open and row.state == TurnState.RUNNING and step.kind == "tool"
        ended_at = row.listed_at if runs else step.finished_at
        yield TimelineEntry(
            at=step.started_at,
            kind=EntryKind(step.kind),
            name=step.name,
            outcome="running" if runs else "unanswered" if is_open and step.kind == "model" else step.state,
            seconds=None if ended_at is None else (ended_at - step.started_at).total_seconds(),
            usage=Usage(**step.usage) if step.usage else None,
            cost=step.cost,
            agent=step.agent,
            text=_text_of(step.result) or answers.get(step.index) if with_text else None,
        )


def _read_answers(connection: Connection, row: AnyRow, journalled: Sequence[Any]) -> dict[int, str]:
    """The replies that stand in their messages alone, by the index of their step."""
    unsaid = (step.index for step in journalled if step.kind == "model" and _text_of(step.result) == "")
    ids = {reply_id(row.id, index): index for index in unsaid}
    if not ids:
        return {}
    said = select(messages.c.id, messages.c.content)
    rows = connection.execute(said.where(messages.c.thread_key == row.thread_key, messages.c.id.in_(ids)))
    return {ids[message.id]: message.content for message in rows}


def _decision_entries(connection: Connection, row: AnyRow, attempts: Sequence[TurnAttempt]) -> Iterator[TimelineEntry]:
    """The calls that the turn left to be decided, and the decisions; most turns left none, and are not asked."""
    has_waited = row.requeued_from is not None or any(each.outcome is AttemptOutcome.WAITED for each in attempts)
    for call in pending_calls.load(connection, row.id) if has_waited else ():
        name = f"{call.kind.value} {call.call_id} ({call.name})"
        yield TimelineEntry(at=call.requested_at, kind=EntryKind.ASKED, name=name)
        if call.decided_at is not None and call.decision is not None:
            outcome = f"{call.decision.kind.value} {call.call_id}"
            yield TimelineEntry(at=call.decided_at, kind=EntryKind.DECIDED, name=call.decided_by or "", outcome=outcome)


def _text_of(result: Mapping[str, Any] | None) -> str | None:
    """The words of a model or a tool: its text, and the calls that a reply asks for."""
    if result is None:
        return None
    calls = [f"{call['name']}({call['arguments']})" for call in result.get("tool_calls") or ()]
    return "\n".join(filter(None, [str(result.get("content") or ""), *calls]))


def _last_entries(row: AnyRow, error: TurnError | None) -> Iterator[TimelineEntry]:
    if row.cancel_requested_at is not None:
        name = row.cancel_requested_by or ""
        yield TimelineEntry(at=row.cancel_requested_at, kind=EntryKind.CANCEL, name=name)
    if row.finished_at is not None:
        yield TimelineEntry(
            at=row.finished_at,
            kind=EntryKind.ENDED,
            outcome=row.state,
            error=error,
            usage=Usage(**row.usage) if row.usage else None,
            cost=row.cost,
        )
