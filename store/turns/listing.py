"""Finding turns: a listing by cursor, and filters, of one tenant or of all.

What stays true: a listing loads no message. Turns that have not ended come first, the newest first; then those that
ended, the last first. Each state is read by itself, as the index has them, and only as far as a page needs it; a
filter that no index has reads the turns of the states and of the time that are asked for.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, false, literal, or_, select, true, tuple_, union_all

from conversation.arguments import check_whole_number
from conversation.cursor import read_cursor, write_cursor
from conversation.errors import InvalidInput
from conversation.ids import is_our_id
from conversation.quotation import quote
from conversation.turn import TurnRecord, TurnState
from conversation.validation import check_id, check_moment, check_tenant, check_text
from store.database.column_types import clock, moment_now
from store.database.statements import AnyRow
from store.tables import threads, turns
from store.threads.branch_rows import keys_of
from store.turns.bulk_requeue import is_of_kind
from store.turns.records import build_record, select_records
from store.turns.turn_user import turn_user

#: Turns of one page, at most.
PAGE_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFilter:
    """The conditions that the turns of a listing meet."""

    #: None is all tenants.
    tenant: str | None = None
    #: None of them is all states.
    states: Collection[TurnState] = ()
    agents: Collection[str] = ()
    #: Of the turn's own error, or of its model's: `deadline`, `unavailable`.
    error_kinds: Collection[str] = ()
    #: A thread of the tenant.
    thread_id: str | None = None
    user: str | None = None
    #: The worker that runs them.
    worker_id: str | None = None
    #: Of the turns that ended, those that did so then or later.
    since: datetime | None = None
    #: Turns that had ended before.
    until: datetime | None = None
    #: Sent at least so long ago.
    older_than: timedelta | None = None


@dataclass(frozen=True, slots=True)
class ListedTurn:
    """A turn of a listing."""

    record: TurnRecord
    #: The worker that holds its thread, while it runs.
    worker_id: str | None
    user: str | None
    #: The database's time when it was listed.
    listed_at: datetime

    @property
    def age_seconds(self) -> float:
        """Seconds since it was sent."""
        return (self.listed_at - self.record.created_at).total_seconds()

    @property
    def duration_seconds(self) -> float | None:
        """Seconds between its first claim and its end, or now; None before that claim."""
        if self.record.started_at is None:
            return None
        return ((self.record.finished_at or self.listed_at) - self.record.started_at).total_seconds()


class ListedTurnPage(list[ListedTurn]):
    """Turns of a listing; `next_cursor` is None on the last page."""

    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class _Position:
    """The turn behind which a page begins."""

    finished_at: datetime | None
    arrival_seq: int


def list_turns(connection: Connection, filters: TurnFilter, *, limit: int, cursor: str | None = None) -> ListedTurnPage:
    """List turns, one page. A turn that ends while you page may come twice."""
    limit = check_whole_number("limit", limit, minimum=1, maximum=PAGE_MAX)
    conditions = _conditions(filters)
    position = None if cursor is None else _read_cursor(cursor)
    # One more, to know whether another page follows.
    states = sorted(set(filters.states) or set(TurnState))
    listed = union_all(*(_select_of_state(state, filters, conditions, position, limit + 1) for state in states))
    order = turns.c.finished_at.desc().nulls_first(), turns.c.arrival_seq.desc()
    rows = connection.execute(select_listed().where(turns.c.id.in_(listed)).order_by(*order)).all()
    page = ListedTurnPage(listed_turn_of(row) for row in rows[:limit])
    if len(rows) > limit:
        page.next_cursor = write_cursor(rows[limit - 1].finished_at, rows[limit - 1].arrival_seq)
    return page


def select_listed() -> Select[Any]:
    """The statement for turns, as `listed_turn_of` reads them."""
    return select_records().add_columns(threads.c.lease_owner, clock().label("listed_at"), turns.c.arrival_seq)


def listed_turn_of(row: AnyRow) -> ListedTurn:
    """The turn of a listing that a row holds."""
    worker_id = row.lease_owner if row.state == TurnState.RUNNING else None
    return ListedTurn(build_record(row), worker_id, row.user, row.listed_at)


def _select_of_state(
    state: TurnState, filters: TurnFilter, conditions: list[ColumnElement[bool]], position: _Position | None, limit: int
) -> Select[Any]:
    found = select(turns.c.id).join(threads, turns.c.thread_key == threads.c.key)
    found = found.where(turns.c.state == state, *conditions, *_time_conditions(state, filters))
    if position is not None:
        found = found.where(_is_behind(state, position))
    # The subquery keeps ORDER BY and LIMIT on their own side of the UNION, on SQLite too.
    page = found.order_by(turns.c.finished_at.desc(), turns.c.arrival_seq.desc()).limit(limit).subquery()
    return select(page.c.id)


def _conditions(filters: TurnFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if filters.tenant is not None:
        conditions.append(turns.c.tenant == check_tenant(filters.tenant))
    if filters.thread_id is not None:
        if filters.tenant is None:
            raise InvalidInput("thread_id", "names a thread of no tenant", "pass the tenant, too")
        # On whichever of its branches.
        conditions.append(turns.c.thread_key.in_(keys_of(filters.tenant, check_id("thread_id", filters.thread_id))))
    if filters.agents:
        conditions.append(turns.c.agent.in_(sorted(check_id("agents", agent) for agent in filters.agents)))
    if filters.error_kinds:
        conditions.append(
            or_(*map(is_of_kind, sorted(check_text("error_kinds", kind) for kind in filters.error_kinds)))
        )
    if filters.user is not None:
        conditions.append(turn_user() == check_id("user", filters.user))
    if filters.worker_id is not None:
        if not is_our_id(filters.worker_id):
            raise InvalidInput("worker_id", f"is {quote(filters.worker_id)}", "see `threadmill workers list`")
        conditions += [threads.c.lease_owner == filters.worker_id, turns.c.state == TurnState.RUNNING]
    if filters.older_than is not None:
        seconds = filters.older_than.total_seconds()
        conditions.append(turns.c.created_at <= moment_now(plus_seconds=-seconds))
    return conditions


def _time_conditions(state: TurnState, filters: TurnFilter) -> list[ColumnElement[bool]]:
    if not state.is_final:
        return [] if filters.until is None else [false()]
    conditions = []
    if filters.since is not None:
        conditions.append(turns.c.finished_at >= check_moment("since", filters.since))
    if filters.until is not None:
        conditions.append(turns.c.finished_at < check_moment("until", filters.until))
    return conditions


def _is_behind(state: TurnState, position: _Position) -> ColumnElement[bool]:
    if position.finished_at is None:
        return true() if state.is_final else turns.c.arrival_seq < position.arrival_seq
    if not state.is_final:
        return false()
    values = literal(position.finished_at, turns.c.finished_at.type), literal(position.arrival_seq)
    return tuple_(turns.c.finished_at, turns.c.arrival_seq) < tuple_(*values)


def _read_cursor(cursor: object) -> _Position:
    fix = "pass next_cursor of the page before, and the same filters"
    finished_at, arrival_seq = read_cursor(cursor, [datetime, int], fix=fix)
    return _Position(finished_at, arrival_seq)  # type: ignore[arg-type]
