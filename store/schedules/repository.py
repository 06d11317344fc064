"""The rows of schedules: create, find, list, pause, resume and delete them.

What stays true: a schedule that a viewer may not see is not there; what changes one locks its row, as a run does, so
that a paused schedule sends nothing more once the pause is committed.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, select, update

from conversation.arguments import check_whole_number
from conversation.cursor import read_cursor, write_cursor
from conversation.errors import InvalidInput, ScheduleNotFound
from conversation.ids import is_our_id
from conversation.quotation import quote
from conversation.schedule import CatchUp, ScheduleRecord, ScheduleState, cron_of
from conversation.validation import check_id, check_tenant
from conversation.when_busy import WhenBusy
from store.audit import write_audit_row
from store.database.column_types import clock
from store.database.sqlite import read_only
from store.database.statements import AnyRow, convert_row, insert_for
from store.schedules.request import ScheduleRequest
from store.tables import schedules, turns
from store.threads.visible_threads import Viewer
from store.turns.records import build_record, select_records
from store.turns.thread_turns import PAGE_MAX, TurnPage

#: What two schedules of one name have to agree in, to be one.
_DEFINITION = (
    *("owner", "owner_only", "cron", "time_zone", "at", "catch_up", "thread_id", "thread_rule"),
    *("agent", "when_busy", "role", "content", "metadata", "priority"),
)


class SchedulePage(list[ScheduleRecord]):
    """Schedules, the oldest first; `next_cursor` is None on the last page."""

    next_cursor: str | None = None


def create_schedule(connection: Connection, schedule_id: str, request: ScheduleRequest) -> ScheduleRecord:
    """Create a schedule under this id. Repeated with the same id, or as it is under its name, nothing changes.

    Raises `InvalidInput`, also where its name is that of another one.
    """
    values = request.values()
    now = connection.execute(select(clock())).scalar_one()
    cron = cron_of(values["cron"], values["time_zone"])
    next_at = values["at"] if cron is None else cron.next_after(now)
    times = {"next_at": next_at, "created_at": now, "updated_at": now}
    entry = insert_for(connection, schedules).values(id=schedule_id, state=ScheduleState.ACTIVE, **values, **times)
    if connection.execute(entry.on_conflict_do_nothing().returning(schedules.c.id)).first() is not None:
        _audit(connection, request.tenant, "created", schedule_id)
    else:
        schedule_id = _find_same(connection, schedule_id, values)
    return find_schedule(connection, Viewer(request.tenant), schedule_id)


@read_only
def find_schedule(connection: Connection, viewer: Viewer, schedule_id: str) -> ScheduleRecord:
    """Find a schedule. Raises `ScheduleNotFound`."""
    row = connection.execute(select(schedules).where(is_seen_schedule(viewer, schedule_id))).one_or_none()
    if row is None:
        raise schedule_not_found(schedule_id)
    return record_of(row)


@read_only
def list_schedules(
    connection: Connection,
    viewer: Viewer,
    *,
    thread_id: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> SchedulePage:
    """List the schedules that a viewer may see, the oldest first; those of one thread, where it is named.

    Without a limit: all of them. Raises `InvalidInput`.
    """
    statement = select(schedules).where(_is_of(viewer)).order_by(schedules.c.key)
    if thread_id is not None:
        statement = statement.where(schedules.c.thread_id == check_id("thread_id", thread_id))
    if cursor is not None:
        (key,) = read_cursor(cursor, [int], fix="pass next_cursor of the page before")
        statement = statement.where(schedules.c.key > key)
    if limit is not None:
        # One more, to know whether another page follows.
        limit = check_whole_number("limit", limit, minimum=1, maximum=PAGE_MAX)
        statement = statement.limit(limit + 1)
    rows = connection.execute(statement).all()
    page = SchedulePage(record_of(row) for row in rows[:limit])
    if limit is not None and len(rows) > limit:
        page.next_cursor = write_cursor(rows[limit - 1].key)
    return page


def pause_schedule(connection: Connection, viewer: Viewer, schedule_id: str) -> ScheduleRecord:
    """Pause a schedule: it sends nothing until it is resumed. One that is paused stays so.

    Raises `ScheduleNotFound`, and `InvalidInput` for one that has ended.
    """
    row = lock_schedule(connection, viewer, schedule_id)
    _check_not_ended(row)
    if row.state == ScheduleState.ACTIVE:
        _change(connection, row, "paused", state=ScheduleState.PAUSED, retry_at=None)
    return find_schedule(connection, viewer, schedule_id)


def resume_schedule(connection: Connection, viewer: Viewer, schedule_id: str) -> ScheduleRecord:
    """Resume a schedule: what fell into the pause is not made up for, but for the only run of one that runs once.

    Raises `ScheduleNotFound`, and `InvalidInput` for one that has ended.
    """
    row = lock_schedule(connection, viewer, schedule_id)
    _check_not_ended(row)
    if row.state == ScheduleState.PAUSED:
        now = connection.execute(select(clock())).scalar_one()
        cron = cron_of(row.cron, row.time_zone)
        next_at = row.at if cron is None else cron.next_after(now)
        _change(connection, row, "resumed", state=ScheduleState.ACTIVE, next_at=next_at, failures=0)
    return find_schedule(connection, viewer, schedule_id)


def delete_schedule(connection: Connection, viewer: Viewer, schedule_id: str) -> None:
    """Delete a schedule; the turns of its runs stay. Raises `ScheduleNotFound`."""
    row = lock_schedule(connection, viewer, schedule_id)
    connection.execute(delete(schedules).where(schedules.c.id == row.id))
    _audit(connection, row.tenant, "deleted", row.id)


@read_only
def list_runs(
    connection: Connection, viewer: Viewer, schedule_id: str, *, limit: int = 50, cursor: str | None = None
) -> TurnPage:
    """List the turns of a schedule's runs, the newest first, as far as they are stored.

    Raises `ScheduleNotFound` and `InvalidInput`.
    """
    schedule = find_schedule(connection, viewer, schedule_id)
    limit = check_whole_number("limit", limit, minimum=1, maximum=PAGE_MAX)
    statement = select_records().where(turns.c.schedule_id == schedule.id, viewer.sees)
    if cursor is not None:
        (arrival_seq,) = read_cursor(cursor, [int], fix="pass next_cursor of the page before")
        statement = statement.where(turns.c.arrival_seq < arrival_seq)
    rows = connection.execute(statement.order_by(turns.c.arrival_seq.desc()).limit(limit + 1)).all()
    page = TurnPage(build_record(row) for row in rows[:limit])
    if len(rows) > limit:
        page.next_cursor = write_cursor(rows[limit - 1].arrival_seq)
    return page


def lock_schedule(connection: Connection, viewer: Viewer, schedule_id: str) -> AnyRow:
    """The row of a schedule, locked until the transaction ends. Raises `ScheduleNotFound`."""
    statement = select(schedules).where(is_seen_schedule(viewer, schedule_id)).with_for_update()
    row: AnyRow | None = connection.execute(statement).one_or_none()
    if row is None:
        raise schedule_not_found(schedule_id)
    return row


def is_seen_schedule(viewer: Viewer, schedule_id: str) -> ColumnElement[bool]:
    """The condition that a row is this schedule, and the viewer may see it."""
    is_id = schedules.c.id == schedule_id if is_our_id(schedule_id) else schedules.c.id.is_(None)
    return and_(is_id, _is_of(viewer))


def schedule_not_found(schedule_id: object) -> ScheduleNotFound:
    """The error for a schedule that is not there for a viewer."""
    return ScheduleNotFound(f"schedule_id: no schedule {quote(schedule_id)} is stored")


def record_of(row: AnyRow) -> ScheduleRecord:
    """The record of a row."""
    return convert_row(
        row,
        ScheduleRecord,
        user=row.owner,
        catch_up=CatchUp(row.catch_up),
        state=ScheduleState(row.state),
        when_busy=None if row.when_busy is None else WhenBusy(row.when_busy),
    )


def _is_of(viewer: Viewer) -> ColumnElement[bool]:
    of_tenant = schedules.c.tenant == check_tenant(viewer.tenant)
    return of_tenant if viewer.user is None else and_(of_tenant, schedules.c.owner == check_id("user", viewer.user))


def _find_same(connection: Connection, schedule_id: str, values: Mapping[str, Any]) -> str:
    """The schedule that is in the way, if it is the one that is asked for. Raises `InvalidInput`."""
    is_named = (schedules.c.name == values["name"]) & schedules.c.owner.is_not_distinct_from(values["owner"])
    condition = (schedules.c.tenant == values["tenant"]) & ((schedules.c.id == schedule_id) | is_named)
    row = connection.execute(select(schedules).where(condition).limit(1)).one_or_none()
    if row is None or any(row._mapping[name] != values[name] for name in _DEFINITION):  # noqa: SLF001 - public
        raise InvalidInput("name", "is that of another schedule", "choose another one, or delete that schedule first")
    return str(row.id)


def _check_not_ended(row: AnyRow) -> None:
    if row.state == ScheduleState.ENDED:
        raise InvalidInput("schedule_id", f"{row.id} has ended", "create another one")


def _change(connection: Connection, row: AnyRow, change: str, **values: Any) -> None:
    connection.execute(update(schedules).where(schedules.c.id == row.id).values(**values, updated_at=clock()))
    _audit(connection, row.tenant, change, row.id)


def _audit(connection: Connection, tenant: str, change: str, schedule_id: str) -> None:
    write_audit_row(connection, tenant, "", f"schedule.{change}", {"schedule": schedule_id})
