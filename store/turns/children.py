"""Turns that others wait for: a call of their agent's began them, in a thread of their own.

What stays true: a child is stored in the transaction that has its parent wait, and its end decides the parent's call in
the transaction that stores that end, whichever that is: its worker's, a cancel, the deletion of its thread. Rows are
locked from the parent to the child: who ends a child has locked its parent's thread before the child's. A message that
rolls a child back cannot: the child is queued until a claim ends it.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, ScalarSelect, Select, Update, func, select, update

from conversation.errors import AlreadyDecided, PendingCallNotFound
from conversation.message import Message
from conversation.pending_call import Decision, DecisionKind, PendingRequest
from conversation.task_contract import WakeUp
from conversation.turn import ClaimedTurn, Ending, FinalEnding, RefusedTurn, Waiting
from store.database.column_types import clock
from store.tables import pending_calls, steps, threads, turns
from store.tables.turns import is_unfinished, unfinished
from store.turns import send_statements
from store.turns.decisions import decide
from store.turns.send_request import UNLIMITED, ParentCall, SendRequest


@dataclass(frozen=True, slots=True)
class Kin:
    """The turns that the end of a turn concerns."""

    tenant: str
    #: The turn that waits for it.
    parent_turn_id: str | None
    #: It may have ended while others that it began go on.
    has_children: bool

    @classmethod
    def of(cls, claimed: ClaimedTurn | RefusedTurn, ending: Ending) -> "Kin | None":
        """The kin of a claimed turn, as far as this ending concerns them; None where there are none: of most turns."""
        is_final = isinstance(ending, FinalEnding)
        parent_turn_id = claimed.parent_turn_id if is_final else None
        # One that runs waits for nobody. One that must not run may have waited.
        has_children = is_final and isinstance(claimed, RefusedTurn) and claimed.attempt > 1
        begins_some = isinstance(ending, Waiting) and any(request.child is not None for request in ending.pending)
        if parent_turn_id is None and not (has_children or begins_some):
            return None
        return cls(claimed.tenant, parent_turn_id, has_children)


#: Who asks a child to stop whose parent has ended.
REQUESTER = "the turn that waited for it"


def start_children(
    connection: Connection, tenant: str, turn_id: str, requests: Sequence[PendingRequest]
) -> list[WakeUp]:
    """Send the turns that a waiting turn's calls begin. Returns what is to be published after the commit."""
    wake_ups = []
    for request in requests:
        child = request.child
        if child is None:
            continue
        send_request = SendRequest(
            turn_id=child.turn_id,
            tenant=tenant,
            thread_id=child.thread_id,
            message=Message(role="user", content=child.content),
            agent=child.agent,
            allow_unknown_agent=True,
            metadata=dict(child.metadata),
            user=child.user,
            parent=ParentCall(turn_id, request.call_id, child.depth),
        )
        accepted = send_statements.accept(connection, send_request, UNLIMITED, mark_notified=True)
        connection.execute(_name_beginning(tenant, turn_id, child.thread_id))
        if accepted.needs_wake_up:
            wake_ups.append(WakeUp(tenant=tenant, thread_id=child.thread_id, turn_id=child.turn_id))
    return wake_ups


def _name_beginning(tenant: str, turn_id: str, thread_id: str) -> Update:
    """The statement that has a child's thread say in which ones it was begun: the outermost, and all on the way."""
    parent, first = threads.alias("parent_thread"), threads.alias("first")

    def read(value: ColumnElement[str]) -> ScalarSelect[str]:
        of_turn = select(value).join(parent, first.c.key == func.coalesce(parent.c.root_key, parent.c.key))
        of_turn = of_turn.join(turns, turns.c.thread_key == parent.c.key)
        return of_turn.where(turns.c.id == turn_id, parent.c.tenant == tenant).scalar_subquery()

    outermost = func.coalesce(first.c.begun_in, first.c.id)
    ancestors = func.coalesce(first.c.ancestors, "/") + first.c.id + "/"
    of_child = (threads.c.tenant == tenant) & (threads.c.id == thread_id)
    return update(threads).where(of_child).values(begun_in=read(outermost), ancestors=read(ancestors))


def is_begun_in(thread: FromClause, tenant: str, thread_id: str) -> ColumnElement[bool]:
    """The condition for threads in which agents answered what was asked in this one, however deep they are.

    Of one that was begun in another itself, as long as its row is there: who deletes both has it go last.
    """
    asking = threads.alias("asking")
    is_asking = (asking.c.tenant == tenant) & (asking.c.id == thread_id)
    outermost = select(asking.c.begun_in).where(is_asking).scalar_subquery()
    # No id has a slash. `LIKE` would take `a` for `A` on SQLite.
    has_ancestor = func.replace(thread.c.ancestors, f"/{thread_id}/", "") != thread.c.ancestors
    is_below = (thread.c.begun_in == thread_id) | ((thread.c.begun_in == outermost) & has_ancestor)
    return (thread.c.tenant == tenant) & is_below


def lock_parent(connection: Connection, tenant: str, parent_turn_id: str) -> None:
    """Lock the thread of the turn that waits, before the rows of the child that ends."""
    of_parent = select(threads.c.key).join(turns, turns.c.thread_key == threads.c.key)
    is_parent = (turns.c.id == parent_turn_id) & (turns.c.tenant == tenant)
    connection.execute(of_parent.where(is_parent).with_for_update(key_share=True, of=threads))


def lock_parents(connection: Connection, child_ids: Select[Any]) -> None:
    """As `lock_parent`, of the parents of these turns, as far as they have any."""
    child, parent = turns.alias("child"), turns.alias("parent")
    is_parent = (child.c.parent_turn_id == parent.c.id) & (child.c.tenant == parent.c.tenant)
    parent_keys = select(parent.c.thread_key).join(child, is_parent).where(child.c.id.in_(child_ids))
    statement = select(threads.c.key).where(threads.c.key.in_(parent_keys)).order_by(threads.c.key)
    connection.execute(statement.with_for_update(key_share=True))


def end_turns(connection: Connection, thread_key: int) -> None:
    """End the turns of a row that is about to be deleted: who waits for them is told, whom they wait for is stopped.

    The caller has locked the threads of their parents, and then this one. The sweep publishes what goes on.
    """
    of_row, ending = turns.c.thread_key == thread_key, turns.alias("ending")
    open_calls = pending_calls.c.turn_id.in_(select(turns.c.id).where(of_row)) & pending_calls.c.decision.is_(None)
    connection.execute(update(pending_calls).where(open_calls).values(decision="closed", decided_at=clock()))
    is_child = turns.c.parent_turn_id.is_not(None)
    child_ids = connection.execute(select(turns.c.id).where(of_row, unfinished, is_child)).scalars().all()
    ending_ids = select(ending.c.id).where(ending.c.thread_key == thread_key, is_unfinished("ending"))
    begun_calls = steps.c.turn_id.in_(ending_ids) & (steps.c.kind == "tool") & (steps.c.state == "started")
    connection.execute(update(steps).where(begun_calls).values(state="unknown", finished_at=clock()))
    _cancel(connection, turns.c.parent_turn_id.in_(ending_ids))
    ended: dict[str, Any] = {"state": "cancelled", "finished_at": clock(), "notified_at": None, "retry_at": None}
    ended["cancel_requested_at"] = func.coalesce(turns.c.cancel_requested_at, clock())
    connection.execute(update(turns).where(of_row, unfinished).values(ended))
    for child_id in child_ids:
        tell_parent(connection, child_id, mark_notified=False)


def tell_parent(
    connection: Connection, turn_id: str, messages: Sequence[Message] = (), *, mark_notified: bool = True
) -> list[WakeUp]:
    """Decide the call that waits for a turn, which has just ended. Returns what is to be published after the commit.

    A parent that has ended, or is not stored any more, is told nothing. Without `mark_notified`, the caller publishes
    nothing, and the sweep does, at its next tick.
    """
    columns = [turns.c[name] for name in ("state", "tenant", "parent_turn_id", "parent_call_id")]
    errors = [turns.c[name] for name in ("error_kind", "error_message")]
    row = connection.execute(select(*columns, *errors).where(turns.c.id == turn_id)).one()
    if row.parent_turn_id is None:
        return []
    value: dict[str, Any] = {"turn_id": turn_id, "state": row.state, "content": _find_answer(messages)}
    if row.error_kind is not None:
        value["error"] = {"kind": row.error_kind, "message": row.error_message}
    decision = Decision(kind=DecisionKind.RESULT, value=value)
    with suppress(AlreadyDecided, PendingCallNotFound):
        by, call = f"turn {turn_id}", (row.parent_turn_id, row.parent_call_id)
        outcome = decide(connection, *call, decision, by=by, tenant=row.tenant, mark_notified=mark_notified)
        return [] if outcome.wake_up is None else [outcome.wake_up]
    return []


def cancel_children(connection: Connection, tenant: str, turn_id: str) -> None:
    """Ask the turns to stop that a turn waited for which has ended: none of them has anybody left to answer."""
    _cancel(connection, (turns.c.parent_turn_id == turn_id) & (turns.c.tenant == tenant))


def _cancel(connection: Connection, are_children: ColumnElement[bool]) -> None:
    are_asked = are_children & unfinished & turns.c.cancel_requested_at.is_(None)
    values = {"cancel_requested_at": clock(), "cancel_requested_by": REQUESTER, "retry_at": None}
    connection.execute(update(turns).where(are_asked).values(values))


def _find_answer(messages: Sequence[Message]) -> str:
    return next((message.content for message in reversed(messages) if message.role == "assistant"), "")
