"""Reading turns: as a record of one, and as the result of one that ended, with its messages."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Select, func, select, union_all

from conversation.errors import Fault, TurnNotFound
from conversation.ids import is_our_id
from conversation.message import Message, Usage
from conversation.turn import TurnError, TurnRecord, TurnResult, TurnState
from store.database.statements import AnyRow, convert_row
from store.history import message_rows
from store.tables import messages, threads, turns


def read(connection: Connection, turn_id: str) -> TurnRecord:
    """Read a turn's record. Raises `TurnNotFound`."""
    row = connection.execute(_select_records().where(is_turn(turn_id))).one_or_none()
    if row is None:
        raise TurnNotFound(f"turn_id: no turn {turn_id!r} is stored")
    return _record(row)


def list_latest(connection: Connection, tenant: str, *, states: Collection[TurnState], limit: int) -> list[TurnRecord]:
    """A tenant's newest turns in these states, the newest first."""
    # Each state by itself, as the index has them: no turn is read that is in another, or too old.
    newest = union_all(*(_newest_in(tenant, state, limit) for state in sorted(set(states))))
    statement = _select_records().where(turns.c.arrival_seq.in_(newest))
    return [_record(row) for row in connection.execute(statement.order_by(turns.c.arrival_seq.desc()).limit(limit))]


def _newest_in(tenant: str, state: TurnState, limit: int) -> Select[Any]:
    of_state = select(turns.c.arrival_seq).where(turns.c.tenant == tenant, turns.c.state == state)
    # The subquery keeps ORDER BY and LIMIT on their own side of the UNION, on SQLite too.
    newest = of_state.order_by(turns.c.arrival_seq.desc()).limit(limit).subquery()
    return select(newest.c.arrival_seq)


def _select_records() -> Select[Any]:
    user = func.coalesce(turns.c.sender, threads.c.owner).label("user")
    return select(turns, user, threads.c.id.label("thread_id")).join(threads, turns.c.thread_key == threads.c.key)


def _record(row: AnyRow) -> TurnRecord:
    usage = Usage(**row.usage) if row.usage else None
    return convert_row(row, TurnRecord, state=TurnState(row.state), error=_stored_error(row), usage=usage)


def read_result(connection: Connection, turn_id: str) -> TurnResult:
    """A turn's state and the messages that answer it. Raises `TurnNotFound`."""
    record = read(connection, turn_id)
    return TurnResult(
        state=record.state,
        messages=read_replies(connection, turn_id),
        error=record.error,
        usage=record.usage,
        cost=record.cost,
        omitted=record.omitted,
    )


def read_replies(connection: Connection, turn_id: str) -> tuple[Message, ...]:
    """The messages that a turn added after the user's, in order."""
    statement: Select[Any] = (
        select(*message_rows.stored_columns(), messages.c.thread_key)
        .join(turns, messages.c.turn_id == turns.c.id)
        .join(threads, messages.c.thread_key == threads.c.key)
        .where(
            messages.c.turn_id == turn_id,
            messages.c.seq > turns.c.window_to_seq,
            messages.c.seq > threads.c.history_starts_after,
        )
        .order_by(messages.c.seq)
    )
    rows = connection.execute(statement).all()
    return message_rows.load(connection, rows[0].thread_key, rows) if rows else ()


def is_turn(turn_id: str) -> Any:
    """The condition that a row is this turn's: never true for a text that is no id of ours."""
    return turns.c.id == turn_id if is_our_id(turn_id) else turns.c.id.is_(None)


def _stored_error(row: AnyRow) -> TurnError | None:
    if row.error_kind is None or row.state not in ("failed", "queued"):
        return None
    fault = Fault(row.error_fault) if row.error_fault else Fault.INTERNAL
    return TurnError(row.error_kind, row.error_message, bool(row.error_retryable), fault)
