"""Decisions on what turns wait for: each counts once, and the last one of a turn queues it again.

What stays true: the thread's row is locked first, as by a claim, so of two decisions at once the second one sees the
first. A decision is refused once the turn was asked to stop, waited too long, or ended with its wait: then nothing is
written. The same decision again changes nothing. Who decided, and when, stands in the call's row and in the audit.
A call that its turn left open when it went on is taken up by a new turn, which begins with that very call.
"""

import re
from dataclasses import dataclass

from sqlalchemy import Connection, false, func, literal, or_, select, update

from conversation.decisions import check_fits
from conversation.errors import AlreadyDecided, DigestMismatch, PendingCallNotFound
from conversation.pending_call import Decision, DecisionKind, PendingCall
from conversation.quotation import quote
from conversation.task_contract import WakeUp
from conversation.turn import TurnState
from conversation.validation import check_sha256, check_text
from store import slack_messages
from store.audit import hash_of, write_audit_row
from store.database.column_types import clock
from store.database.statements import AnyRow
from store.history.row_ids import thread_id_of
from store.tables import pending_calls, threads, turns
from store.turns.pending_calls import build_call, is_left_open, select_first_expiry
from store.turns.records import is_turn, turn_not_found
from store.turns.requester import check_requester
from store.turns.taken_up_calls import take_up

#: The ids that a run gives to calls.
_CALL_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class DecisionOutcome:
    """The outcome of a decision."""

    call: PendingCall
    #: False where the same decision was made before.
    is_new: bool
    #: To be published after the commit: the turn goes on. None where it waits for more.
    wake_up: WakeUp | None = None


def decide(
    connection: Connection,
    turn_id: str,
    call_id: str,
    decision: Decision,
    *,
    by: str | None,
    digest: str | None = None,
    tenant: str | None = None,
    mark_notified: bool = True,
) -> DecisionOutcome:
    """Decide a pending call, of this tenant where one is named; the last open one queues its turn again.

    With a digest, only if it is that of the stored arguments. `mark_notified` says that the caller publishes the
    wake-up; else the sweep does, at its next tick. Raises `PendingCallNotFound`, `AlreadyDecided`,
    `DigestMismatch` and `InvalidInput`.
    """
    requester = check_requester(by)
    if digest is not None:
        check_sha256("digest", digest)
    if not _CALL_ID.fullmatch(check_text("call_id", call_id)):
        # No call has another one.
        raise _not_found(turn_id, call_id)
    turn = _lock_turn(connection, turn_id, call_id, tenant)
    call = _load_call(connection, turn_id, call_id)
    if digest is not None and digest != call.arguments_digest:
        raise DigestMismatch(f"digest: is not that of call {quote(call_id)}: read the call again, its arguments differ")
    check_fits(call, decision)
    if call.decision is not None:
        if call.decision == decision and call.decided_by == requester:
            return DecisionOutcome(call, is_new=False)
        raise _already_decided(call)
    has_ended = TurnState(turn.state).is_final
    if turn.state == "cancelled":
        # Whoever asked for the call took that back.
        raise AlreadyDecided(f"call_id: it is too late for a decision on {quote(call_id)}: its turn was cancelled")
    if call.expires_at <= turn.now or (turn.must_end and not has_ended):
        raise AlreadyDecided(f"call_id: it is too late for a decision on {quote(call_id)}: its turn waits no longer")
    call = _store(connection, turn, call, decision, requester)
    slack_messages.wake(connection, turn.tenant, turn.id)
    if turn.state == "waiting" and not _is_left_open(connection, call):
        return DecisionOutcome(call, is_new=True, wake_up=_go_on(connection, turn, mark_notified=mark_notified))
    # Its turn went on without it, and may be at work, or wait for another one.
    return DecisionOutcome(call, is_new=True, wake_up=take_up(connection, turn, call))


def adopt(connection: Connection, turn_id: str, tenant: str, process_id: str) -> bool:
    """Make a turn whose wait is over a library process's own, before a worker takes it. Returns whether it is.

    Raises `TurnNotFound`.
    """
    may_adopt = turns.c.local_process_id.is_(None) & (turns.c.state == "queued") & (turns.c.attempt > 0)
    statement = update(turns).where(is_turn(turn_id, tenant), may_adopt).values(local_process_id=process_id)
    if connection.execute(statement).rowcount:
        return True
    if connection.execute(select(turns.c.id).where(is_turn(turn_id, tenant))).first() is None:
        raise turn_not_found(turn_id, tenant)
    return False


def _lock_turn(connection: Connection, turn_id: str, call_id: str, tenant: str | None) -> AnyRow:
    is_over = or_(turns.c.deadline <= clock(), turns.c.wait_expires_at <= clock())
    must_end = turns.c.cancel_requested_at.is_not(None) | func.coalesce(is_over, false())
    key = connection.execute(select(turns.c.thread_key).where(is_turn(turn_id, tenant))).scalar_one_or_none()
    # As a write: whoever follows the thread sees by its row that there is something new.
    touch = update(threads).where(threads.c.key == key).values(updated_at=clock()).returning(threads.c.id)
    thread_id = None if key is None else connection.execute(touch).scalar_one_or_none()
    statement = select(turns, must_end.label("must_end"), clock().label("now"), literal(thread_id).label("thread_id"))
    row: AnyRow | None = connection.execute(statement.where(is_turn(turn_id, tenant))).one_or_none()
    if row is None or thread_id is None:
        raise _not_found(turn_id, call_id)
    return row


def _load_call(connection: Connection, turn_id: str, call_id: str) -> PendingCall:
    # In a later statement than the lock: it sees what a decision that was waited for has written.
    of_call = (pending_calls.c.turn_id == turn_id) & (pending_calls.c.call_id == call_id)
    row = connection.execute(select(pending_calls).where(of_call)).one_or_none()
    if row is None:
        raise _not_found(turn_id, call_id)
    return build_call(row)


def _is_left_open(connection: Connection, call: PendingCall) -> bool:
    of_call = (pending_calls.c.turn_id == call.turn_id) & (pending_calls.c.call_id == call.call_id)
    return connection.execute(select(pending_calls.c.call_id).where(of_call, is_left_open())).first() is not None


def _store(connection: Connection, turn: AnyRow, call: PendingCall, decision: Decision, by: str | None) -> PendingCall:
    of_call = (pending_calls.c.turn_id == call.turn_id) & (pending_calls.c.call_id == call.call_id)
    values = {
        "decision": decision.kind.value,
        "decided_by": by,
        "decided_at": clock(),
        "value": {"value": decision.value},
        "reason": decision.reason,
    }
    statement = update(pending_calls).where(of_call).values(values).returning(pending_calls)
    decided = build_call(connection.execute(statement).one())
    details = {
        "turn": call.turn_id,
        "call": call.call_id,
        "kind": call.kind.value,
        "decision": decision.kind.value,
        "by": None if by is None else hash_of(turn.tenant, by),
        "digest": call.arguments_digest,
    }
    write_audit_row(connection, turn.tenant, thread_id_of(turn.thread_id), "turn.decided", details)
    return decided


def _go_on(connection: Connection, turn: AnyRow, *, mark_notified: bool) -> WakeUp | None:
    """Queue the turn again if nothing is left to decide; else it waits until the next of its calls expires."""
    expires_at = connection.execute(select_first_expiry(turn.id)).scalar_one()
    of_turn = update(turns).where(turns.c.id == turn.id)
    if expires_at is not None:
        over_at = expires_at if turn.deadline is None else min(expires_at, turn.deadline)
        connection.execute(of_turn.values(wait_expires_at=over_at))
        return None
    notified_at = clock() if mark_notified else None
    connection.execute(of_turn.values(state="queued", wait_expires_at=None, notified_at=notified_at))
    return WakeUp(tenant=turn.tenant, thread_id=turn.thread_id, turn_id=turn.id, priority=turn.priority)


def _already_decided(call: PendingCall) -> AlreadyDecided:
    assert call.decision is not None
    if call.decision.kind is DecisionKind.CLOSED:
        return AlreadyDecided(f"call_id: it is too late for a decision on {quote(call.call_id)}: its turn has ended")
    by = "" if call.decided_by is None else f" by {quote(call.decided_by)}"
    return AlreadyDecided(f"call_id: {quote(call.call_id)} was decided before{by}: {call.decision.kind}")


def _not_found(turn_id: str, call_id: str) -> PendingCallNotFound:
    return PendingCallNotFound(f"call_id: turn {quote(turn_id)} has no pending call {quote(call_id)}")
