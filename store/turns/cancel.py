"""Asking a turn to stop.

What stays true: the thread's row is locked first, as by a claim; a turn that runs is stopped by its
worker, which hears of it with its next heartbeat at the latest. Who asked first stays written down.
"""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, case, func, literal, or_, select, update

from conversation.task_contract import WakeUp
from conversation.turn import FINAL_STATES, TurnState
from store.database.column_types import clock
from store.database.statements import AnyRow
from store.tables import threads, turns
from store.turns.children import lock_parent, tell_parent
from store.turns.interrupts import interrupt_turns, is_interrupted
from store.turns.records import is_turn, turn_not_found
from store.turns.requester import check_requester


def list_requested(connection: Connection, turn_ids: Collection[str]) -> list[str]:
    """List those of these turns that run, and that somebody has asked to stop, or sent a message to."""
    requested = or_(turns.c.cancel_requested_at.is_not(None), is_interrupted())
    running = turns.c.id.in_(turn_ids), turns.c.state == "running"
    return list(connection.execute(select(turns.c.id).where(*running, requested)).scalars())


@dataclass(frozen=True, slots=True)
class CancelOutcome:
    """The outcome of asking a turn to stop."""

    #: The turn that was asked: the one that answers the message.
    turn_id: str
    #: Its state now.
    state: TurnState
    #: Of the turn that waited for it, to be published after the commit.
    wake_up: WakeUp | None = None


def cancel_answering(
    connection: Connection, turn_id: str, *, by: str | None = None, tenant: str | None = None
) -> CancelOutcome:
    """As `request_cancel`, of the turn that answers this one's message. Raises `TurnNotFound`."""
    requester = check_requester(by)
    # A turn is merged once, and by whoever holds the thread's lock: asked again, it is known.
    for _ in range(2):
        turn = _find(connection, turn_id, tenant)
        if turn.merged_into is not None:
            turn = _find(connection, turn.merged_into, tenant)
        outcome = _request_cancel(connection, turn, requester, mark_notified=True)
        if outcome.state is not TurnState.MERGED:
            break
    return outcome


def request_cancel(
    connection: Connection, turn_id: str, *, by: str | None = None, tenant: str | None = None
) -> TurnState:
    """Ask a turn to stop, of this tenant where one is named; returns its state now.

    A turn that has not begun is cancelled at once. The sweep publishes what waited for it.

    Raises `TurnNotFound`.
    """
    requester = check_requester(by)
    return _request_cancel(connection, _find(connection, turn_id, tenant), requester, mark_notified=False).state


def _find(connection: Connection, turn_id: str, tenant: str | None) -> AnyRow:
    names = turns.c.id, turns.c.thread_key, turns.c.tenant, turns.c.parent_turn_id, turns.c.merged_into
    row = connection.execute(select(*names).where(is_turn(turn_id, tenant))).one_or_none()
    if row is None:
        raise turn_not_found(turn_id, tenant)
    return row


def _request_cancel(
    connection: Connection, turn: AnyRow, requester: str | None, *, mark_notified: bool
) -> CancelOutcome:
    if turn.parent_turn_id is not None:
        lock_parent(connection, turn.tenant, turn.parent_turn_id)
    connection.execute(select(threads.c.key).where(threads.c.key == turn.thread_key).with_for_update(key_share=True))
    # What it was sent to end ends, though it is cancelled itself now.
    interrupt_turns(connection, turn.thread_key)
    has_not_begun = (turns.c.state == "queued") & (turns.c.attempt == 0)
    connection.execute(
        update(turns)
        .where(turns.c.id == turn.id, turns.c.state.not_in(FINAL_STATES))
        .values(
            cancel_requested_at=func.coalesce(turns.c.cancel_requested_at, clock()),
            cancel_requested_by=case(
                (turns.c.cancel_requested_at.is_(None), literal(requester, turns.c.cancel_requested_by.type)),
                else_=turns.c.cancel_requested_by,
            ),
            # A turn that waits for its model is due now, so that its holder can end it.
            retry_at=None,
            state=case((has_not_begun, "cancelled"), else_=turns.c.state),
            finished_at=case((has_not_begun, clock()), else_=None),
        )
    )
    row = connection.execute(select(turns.c.state).where(turns.c.id == turn.id)).one_or_none()
    if row is None:
        # Its thread was deleted while this waited for the lock.
        raise turn_not_found(turn.id)
    state, wake_ups = TurnState(row.state), []
    if turn.parent_turn_id is not None and state.is_final:
        wake_ups = tell_parent(connection, turn.id, mark_notified=mark_notified)
    return CancelOutcome(turn.id, state, next(iter(wake_ups), None))
