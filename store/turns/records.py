"""Reading turns: as a record of one, and as the result of one that ended, with its messages."""

from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, select

from conversation.branch_address import MAIN, split_address
from conversation.errors import Fault, TurnNotFound
from conversation.ids import is_our_id
from conversation.message import Message, Usage
from conversation.pending_call import PendingCall
from conversation.quotation import quote
from conversation.turn import TurnError, TurnRecord, TurnResult, TurnState
from conversation.when_busy import WhenBusy
from store.database.sqlite import read_only
from store.database.statements import AnyRow, convert_row
from store.history import message_rows
from store.lineage import row_lineage
from store.tables import messages, threads, turns
from store.turns import pending_calls
from store.turns.turn_user import turn_user


@read_only
def read(connection: Connection, turn_id: str, *, tenant: str | None = None) -> TurnRecord:
    """Read a turn's record, of this tenant where one is named. Raises `TurnNotFound`."""
    # What is no id of ours is none: it may be a text that PostgreSQL refuses.
    values = {"of_turn": turn_id if is_our_id(turn_id) else None}
    if tenant is not None:
        values["of_tenant"] = tenant
    row = connection.execute(_select_record(of_tenant=tenant is not None), values).one_or_none()
    if row is None:
        raise turn_not_found(turn_id, tenant)
    return build_record(row, pending_calls.load_open(connection, turn_id) if row.state == "waiting" else ())


@cache
def _select_record(*, of_tenant: bool) -> Select[Any]:
    # Made once, as the statement of replies.
    statement = select_records().where(turns.c.id == bindparam("of_turn"))
    return statement.where(turns.c.tenant == bindparam("of_tenant")) if of_tenant else statement


@read_only
def read_state(connection: Connection, turn_id: str, *, tenant: str | None = None) -> TurnState:
    """Read the state of a turn, or of the one that answers it with its own, as `read`. Raises `TurnNotFound`."""
    return _read_answering(connection, turn_id, tenant).state


@read_only
def read_records(connection: Connection, condition: ColumnElement[bool]) -> list[TurnRecord]:
    """Read the records of the turns that meet a condition, in the order of their arrival."""
    statement = select_records().where(condition).order_by(turns.c.arrival_seq)
    return [build_record(row) for row in connection.execute(statement)]


def select_records() -> Select[Any]:
    """The rows of turns' records, each with its thread's id."""
    return select(turns, turn_user().label("user"), threads.c.id.label("thread_id")).join(
        threads, turns.c.thread_key == threads.c.key
    )


def build_record(row: AnyRow, awaiting: tuple[PendingCall, ...] = ()) -> TurnRecord:
    """Build a turn's record from a row of `select_records`, with what it waits for."""
    usage = Usage(**row.usage) if row.usage else None
    # Of a turn that runs or has ended, nothing is left to wait for.
    next_try_at = row.retry_at if row.state == "queued" else None
    thread_id, branch = split_address(row.thread_id)
    return convert_row(
        row,
        TurnRecord,
        thread_id=thread_id,
        branch=branch or MAIN,
        state=TurnState(row.state),
        error=stored_error(row),
        next_try_at=next_try_at,
        usage=usage,
        when_busy=WhenBusy(row.when_busy or WhenBusy.ENQUEUE),
        awaiting=awaiting,
    )


@read_only
def read_result(connection: Connection, turn_id: str, *, tenant: str | None = None) -> TurnResult:
    """A turn's state and the messages that answer it, as `read`: those of the turn that answers it with its own.

    Raises `TurnNotFound`.
    """
    return _read_result_of(connection, _read_answering(connection, turn_id, tenant))


@read_only
def read_end(connection: Connection, turn_id: str, *, tenant: str | None = None) -> TurnResult | None:
    """As `read_result` once a turn has ended; None until then, without reading what it has said so far."""
    record = _read_answering(connection, turn_id, tenant)
    return _read_result_of(connection, record) if record.state.is_final else None


def _read_answering(connection: Connection, turn_id: str, tenant: str | None) -> TurnRecord:
    """The record of a turn, or of the one that answers it with its own."""
    record = read(connection, turn_id, tenant=tenant)
    return record if record.merged_into is None else read(connection, record.merged_into, tenant=tenant)


def _read_result_of(connection: Connection, record: TurnRecord) -> TurnResult:
    return TurnResult(
        state=record.state,
        messages=read_replies(connection, record.id),
        error=record.error,
        usage=record.usage,
        cost=record.cost,
        omitted=record.omitted,
    )


def read_replies(connection: Connection, turn_id: str) -> tuple[Message, ...]:
    """The messages that a turn added after the user's, in order."""
    rows = connection.execute(_select_replies(), {"of_turn": turn_id}).all()
    return message_rows.load(connection, row_lineage(rows[0].thread_key), rows) if rows else ()


@cache
def _select_replies() -> Select[Any]:
    # Made once: made anew, it took a fifth of the processor time of reading a result.
    return (
        select(*message_rows.stored_columns(), messages.c.thread_key)
        .join(turns, and_(messages.c.thread_key == turns.c.thread_key, messages.c.turn_id == turns.c.id))
        .join(threads, messages.c.thread_key == threads.c.key)
        .where(
            messages.c.turn_id == bindparam("of_turn"),
            messages.c.seq > turns.c.window_to_seq,
            messages.c.seq > threads.c.history_starts_after,
            messages.c.rolled_back.is_(False),
        )
        .order_by(messages.c.seq)
    )


@read_only
def find_by_key(connection: Connection, tenant: str, idempotency_key: str) -> str | None:
    """The id of the turn that has an idempotency key; None where it is not stored any more."""
    of_key = (turns.c.tenant == tenant) & (turns.c.idempotency_key == idempotency_key)
    return connection.execute(select(turns.c.id).where(of_key)).scalar_one_or_none()


def is_turn(turn_id: str, tenant: str | None = None) -> Any:
    """The condition that a row is this turn's, and this tenant's: never true for a text that is no id of ours."""
    is_id = turns.c.id == turn_id if is_our_id(turn_id) else turns.c.id.is_(None)
    return is_id if tenant is None else is_id & (turns.c.tenant == tenant)


def turn_not_found(turn_id: str, tenant: str | None = None) -> TurnNotFound:
    """The error for a turn that is not stored, or not for this tenant: the same words for both."""
    of_tenant = "" if tenant is None else f" for tenant {tenant!r}"
    return TurnNotFound(f"turn_id: no turn {quote(turn_id)} is stored{of_tenant}")


def stored_error(row: Any) -> TurnError | None:
    """The error in the columns of a turn's row, whatever holds them; None where it has none."""
    if row.error_kind is None:
        return None
    fault = Fault(row.error_fault) if row.error_fault else Fault.INTERNAL
    return TurnError(row.error_kind, row.error_message, bool(row.error_retryable), fault)
