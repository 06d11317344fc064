"""Requeueing many turns that ended without an answer, as after an outage.

What stays true: each turn is a short transaction of its own, so that a run may break off anywhere; another run goes
on, since a turn that goes on, or was asked anew, is passed over. Turns come in the order in which they ended, and
none that ends after the run began. One that cannot be requeued is named, and the next one follows. Whoever claims
them is told by the sweep, which takes care that a backlog is not published at once.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, literal, not_, or_, select, tuple_, update

from conversation.arguments import INTEGER_MAX, check_flag, check_items, check_whole_number
from conversation.errors import DatabaseRefused, DatabaseUnavailable, InvalidInput, UserError
from conversation.ids import new_id
from conversation.quotation import quote
from conversation.turn import TurnState
from conversation.validation import ID_MAX_CHARS, check_id, check_moment, check_tenant, check_text
from store.database.column_types import clock
from store.database.engine import TransactionRunner
from store.database.statements import AnyRow
from store.tables import threads, turns
from store.turns.requeue import REQUEUEABLE_STATES, RequeueOutcome, check_agent, lock_turn, requeue

#: Kinds of errors that a run looks for, at most.
KINDS_MAX = 100
#: Turns that are read at once.
PAGE = 200
#: Turns in a row that fail for the database's sake before a run gives up.
DATABASE_FAILURES_MAX = 3
_ERROR_MODEL = "model_error"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequeueFilter:
    """The conditions that the turns of a run meet; an empty one holds for all."""

    #: `failed` or `cancelled`.
    state: str = TurnState.FAILED
    #: Kinds of errors: a turn's, as `deadline`, or a model's own, as `unavailable`.
    kinds: Collection[str] = ()
    agent: str | None = None
    tenant: str | None = None
    #: Those that ended then or later, and before.
    since: datetime | None = None
    until: datetime | None = None

    def check(self) -> None:
        """Raise `InvalidInput` for what no turn can meet."""
        if not isinstance(self.state, str) or self.state not in REQUEUEABLE_STATES:
            raise InvalidInput("state", f"is {quote(self.state)}", "pass failed or cancelled")
        for kind in check_items("kinds", self.kinds, str, name="texts"):
            check_text("kinds", kind, max_chars=ID_MAX_CHARS)
        if len(self.kinds) > KINDS_MAX:
            raise InvalidInput("kinds", f"are {len(self.kinds)}", f"at most {KINDS_MAX} fit")
        if self.agent is not None:
            check_id("agent", self.agent)
        if self.tenant is not None:
            check_tenant(self.tenant)
        for field, moment in (("since", self.since), ("until", self.until)):
            if moment is not None:
                check_moment(field, moment)


class RequeueResult(StrEnum):
    """The result of a run for one turn."""

    REQUEUED = "requeued"
    #: Of a dry run: it would be.
    WOULD_REQUEUE = "would_requeue"
    #: It was requeued before, or meanwhile.
    SKIPPED = "skipped"
    #: It cannot be requeued.
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkRequeuedTurn:
    """A turn that a run came to."""

    id: str
    tenant: str
    thread_id: str
    agent: str
    result: RequeueResult
    #: The turn that asks anew; the turn itself where it goes on; None where it is not requeued.
    requeued_as: str | None = None
    #: Why it was skipped, or failed.
    reason: str | None = None


class _RolledBack(Exception):
    """The outcome of a dry run, which ends its transaction without a commit."""

    def __init__(self, outcome: RequeueOutcome | None) -> None:
        self.outcome = outcome


def requeue_all(
    database: TransactionRunner,
    filters: RequeueFilter,
    *,
    agent: str | None = None,
    limit: int | None = None,
    is_dry_run: bool = False,
) -> Iterator[BulkRequeuedTurn]:
    """Requeue the turns that meet the conditions, for `agent` to answer where one is named; yields each of them.

    Raises `InvalidInput`, `UnknownAgent`, and `DatabaseUnavailable` where it is away for turns in a row.
    """
    filters.check()
    check_flag("dry_run", is_dry_run)
    if limit is not None:
        limit = check_whole_number("limit", limit, minimum=1, maximum=INTEGER_MAX, fix="pass 1 or more")
    before = database.run(_begin, agent=agent)
    remaining, failures_in_row = limit, 0
    for row in _list_rows(database, filters, before):
        if remaining == 0:
            return
        remaining = None if remaining is None else remaining - 1
        try:
            turn = _requeue_row(database, row, filters.state, agent, is_dry_run=is_dry_run)
            failures_in_row = 0
        except DatabaseUnavailable as error:
            failures_in_row += 1
            if failures_in_row == DATABASE_FAILURES_MAX:
                raise
            turn = _describe(row, RequeueResult.FAILED, reason=str(error))
        yield turn


def _begin(connection: Connection, agent: str | None) -> datetime:
    """Check the agent that shall answer, and read the database's time: turns that end later are not this run's."""
    if agent is not None:
        check_agent(connection, agent)
    now: datetime = connection.execute(select(clock())).scalar_one()
    return now


def _list_rows(database: TransactionRunner, filters: RequeueFilter, before: datetime) -> Iterator[AnyRow]:
    position: tuple[datetime, int] | None = None
    while rows := database.run(_read_page, filters=filters, before=before, position=position):
        yield from rows
        position = rows[-1].finished_at, rows[-1].arrival_seq


def _read_page(
    connection: Connection, filters: RequeueFilter, before: datetime, position: tuple[datetime, int] | None
) -> list[AnyRow]:
    statement: Select[Any] = (
        select(turns.c.id, turns.c.tenant, turns.c.agent, turns.c.finished_at, turns.c.arrival_seq)
        .add_columns(threads.c.id.label("thread_id"))
        .join(threads, turns.c.thread_key == threads.c.key)
        .where(*_conditions(filters), turns.c.finished_at < before, not_(_is_asked_anew()))
        .order_by(turns.c.finished_at, turns.c.arrival_seq)
        .limit(PAGE)
    )
    if position is not None:
        values = literal(position[0], turns.c.finished_at.type), literal(position[1])
        statement = statement.where(tuple_(turns.c.finished_at, turns.c.arrival_seq) > tuple_(*values))
    return list(connection.execute(statement))


def _conditions(filters: RequeueFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [turns.c.state == str(filters.state)]
    if filters.kinds:
        conditions.append(or_(*map(is_of_kind, sorted(filters.kinds))))
    if filters.agent is not None:
        conditions.append(turns.c.agent == filters.agent)
    if filters.tenant is not None:
        conditions.append(turns.c.tenant == filters.tenant)
    if filters.since is not None:
        conditions.append(turns.c.finished_at >= filters.since)
    if filters.until is not None:
        conditions.append(turns.c.finished_at < filters.until)
    return conditions


def is_of_kind(kind: str) -> ColumnElement[bool]:
    """Whether a turn's error, or the error of its model, is of this kind."""
    # The message of a model's error begins with its own kind.
    is_model_error = and_(
        turns.c.error_kind == _ERROR_MODEL, turns.c.error_message.startswith(f"{kind}: ", autoescape=True)
    )
    return or_(turns.c.error_kind == kind, is_model_error)


def _is_asked_anew() -> ColumnElement[bool]:
    """Whether another turn of the thread repeats the turn already."""
    others = turns.alias("others")
    repeats = others.c.thread_key == turns.c.thread_key, others.c.requeued_from == turns.c.id
    return select(others.c.id).where(*repeats, others.c.id != turns.c.id).exists()


def _requeue_row(
    database: TransactionRunner, row: AnyRow, state: str, agent: str | None, *, is_dry_run: bool
) -> BulkRequeuedTurn:
    # The ids are made before the transaction, so that it may run again without asking twice.
    ids = {"new_turn_id": new_id(), "new_message_id": new_id()}
    try:
        outcome = database.run(_requeue_once, row.id, state, agent, is_dry_run=is_dry_run, **ids)
    except _RolledBack as rolled_back:
        outcome = rolled_back.outcome
    except UserError as error:
        return _describe(row, RequeueResult.FAILED, reason=str(error))
    except DatabaseRefused:
        # Its text may quote a message.
        return _describe(row, RequeueResult.FAILED, reason="the database refused it")
    if outcome is None:
        return _describe(row, RequeueResult.SKIPPED, reason="it was requeued meanwhile")
    if is_dry_run:
        return _describe(row, RequeueResult.WOULD_REQUEUE)
    return _describe(row, RequeueResult.REQUEUED, requeued_as=outcome.turn_id)


def _requeue_once(
    connection: Connection,
    turn_id: str,
    state: str,
    agent: str | None,
    *,
    new_turn_id: str,
    new_message_id: str,
    is_dry_run: bool,
) -> RequeueOutcome | None:
    """Requeue a turn that is still in the state and that no other turn repeats; None for another one."""
    lock_turn(connection, turn_id)
    is_left = and_(turns.c.id == turn_id, turns.c.state == str(state), not_(_is_asked_anew()))
    is_own = turns.c.id == new_turn_id  # the commit of the run before went through
    outcome = None
    if connection.execute(select(turns.c.id).where(or_(is_left, is_own)).limit(1)).first() is not None:
        outcome = requeue(connection, turn_id, new_turn_id=new_turn_id, new_message_id=new_message_id, agent=agent)
        connection.execute(update(turns).where(turns.c.id == outcome.turn_id).values(notified_at=None))
    if is_dry_run:
        raise _RolledBack(outcome)
    return outcome


def _describe(row: AnyRow, result: RequeueResult, **details: str) -> BulkRequeuedTurn:
    return BulkRequeuedTurn(
        id=row.id, tenant=row.tenant, thread_id=row.thread_id, agent=row.agent, result=result, **details
    )
