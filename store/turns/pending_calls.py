"""The rows of pending calls: what turns wait for, and what was decided.

What stays true: a call without a decision belongs to a turn in the state `waiting`, or to one that went on without
it; whoever takes a turn out of that state decides or closes its calls in the same transaction.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Update, exists, func, not_, select, update

from conversation.pending_call import Decision, DecisionKind, PendingCall, PendingKind, PendingRequest
from store.database.column_types import clock
from store.database.statements import AnyRow, convert_row, insert_for, with_rows
from store.tables import pending_calls, steps


def columns_of(request: PendingRequest) -> dict[str, Any]:
    """The columns of a request that a run makes, with the seconds until it expires."""
    return {
        "call_id": request.call_id,
        "step_index": request.step_index,
        "kind": request.kind.value,
        "name": request.name,
        "arguments": request.arguments,
        "arguments_digest": request.arguments_digest,
        "question": request.question,
        "choices": None if request.choices is None else list(request.choices),
        "schema": None if request.schema is None else dict(request.schema),
        "expire_seconds": request.expire_seconds,
    }


def insert_requests(connection: Connection, turn_id: str, tenant: str, requests: Sequence[PendingRequest]) -> Any:
    """The statement that stores what a turn waits for."""
    rows = []
    for request in requests:
        columns = columns_of(request)
        expires_at = clock(plus_seconds=columns.pop("expire_seconds"))
        of_turn = {"turn_id": turn_id, "tenant": tenant, "requested_at": clock(), "expires_at": expires_at}
        rows.append(columns | of_turn)
    return with_rows(insert_for(connection, pending_calls), pending_calls, rows)


def select_first_expiry(turn_id: str) -> Select[Any]:
    """Select when the first of the calls expires that a turn waits for; null where it waits for none."""
    is_open = (pending_calls.c.turn_id == turn_id) & pending_calls.c.decision.is_(None)
    return select(func.min(pending_calls.c.expires_at)).where(is_open, not_(is_left_open()))


def is_left_open() -> ColumnElement[bool]:
    """Whether the turn of a call, of `pending_calls`, went on without it: the journal has its result."""
    is_step = steps.c.turn_id == pending_calls.c.turn_id, steps.c["index"] == pending_calls.c.step_index
    return exists().where(*is_step, steps.c.state.in_(("finished", "failed", "unknown"))).correlate(pending_calls)


def close_open(turn_id: str) -> Update:
    """The statement that closes what nobody decided of a turn that ends."""
    is_open = (pending_calls.c.turn_id == turn_id) & pending_calls.c.decision.is_(None)
    return update(pending_calls).where(is_open).values(decision=DecisionKind.CLOSED.value, decided_at=clock())


def load(connection: Connection, turn_id: str) -> tuple[PendingCall, ...]:
    """All that a turn waited for or waits for, in the order of asking."""
    return tuple(build_call(row) for row in connection.execute(_select_calls(turn_id)))


def load_open(connection: Connection, turn_id: str) -> tuple[PendingCall, ...]:
    """The calls of a turn that nobody has decided, in the order of asking."""
    statement = _select_calls(turn_id).where(pending_calls.c.decision.is_(None))
    return tuple(build_call(row) for row in connection.execute(statement))


def _select_calls(turn_id: str) -> Select[Any]:
    order = pending_calls.c.requested_at, pending_calls.c.step_index, pending_calls.c.call_id
    return select(pending_calls).where(pending_calls.c.turn_id == turn_id).order_by(*order)


def build_call(row: AnyRow) -> PendingCall:
    """Build a pending call from its row."""
    value = None if row.value is None else row.value["value"]
    is_decided = row.decision is not None
    decision = Decision(kind=DecisionKind(row.decision), value=value, reason=row.reason) if is_decided else None
    return convert_row(row, PendingCall, kind=PendingKind(row.kind), decision=decision)
