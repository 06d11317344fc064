"""Changes of a schedule that is stored.

What stays true: the whole schedule is checked as a new one is, under the lock of its row, so that no tick sends half of
a change; what a credential of one user changes may do no more than a schedule that the same credential makes.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select, update
from sqlalchemy.exc import IntegrityError

from conversation.errors import InvalidInput
from conversation.schedule import ScheduleRecord, ScheduleState, cron_of
from store.audit import write_audit_row
from store.database.column_types import clock
from store.database.statements import AnyRow
from store.schedules.repository import find_schedule, lock_schedule
from store.schedules.request import ScheduleRequest
from store.tables import schedules
from store.threads.visible_threads import Viewer

#: What can be changed.
FIELDS = frozenset(
    (
        *("content", "cron", "at", "time_zone", "catch_up", "thread_id", "thread_rule"),
        *("name", "agent", "when_busy", "metadata", "priority"),
    )
)
#: Of which one is given: to give one takes the other away.
_EITHER = {"cron": "at", "at": "cron", "thread_id": "thread_rule", "thread_rule": "thread_id"}
_TIMES = frozenset(("cron", "at", "time_zone"))
#: What a schedule is never without.
_NEEDED = frozenset(("content", "time_zone", "catch_up", "priority"))


def change_schedule(
    connection: Connection, viewer: Viewer, schedule_id: str, changes: Mapping[str, Any]
) -> ScheduleRecord:
    """Change the named fields of a schedule; None takes away what it can be without. Repeated, nothing changes.

    With another time, it runs next when that comes, also one that has ended. Raises `ScheduleNotFound` and
    `InvalidInput`.
    """
    row = lock_schedule(connection, viewer, schedule_id)
    values = _check(row, changes, is_of_user=viewer.user is not None)
    differing = {name: value for name, value in values.items() if row._mapping[name] != value}  # noqa: SLF001 - public
    if not differing:
        return find_schedule(connection, viewer, schedule_id)
    if _TIMES & differing.keys():
        differing |= _times_of(connection, row, values)
    _write(connection, row, differing)
    details = {"schedule": row.id, "fields": sorted(changes)}
    write_audit_row(connection, row.tenant, "", "schedule.changed", details)
    return find_schedule(connection, viewer, schedule_id)


def _check(row: AnyRow, changes: Mapping[str, Any], *, is_of_user: bool) -> dict[str, Any]:
    """The columns of the row as they shall be. Raises `InvalidInput`."""
    for name in changes:
        if name not in FIELDS:
            raise InvalidInput("changes", "name a field that no schedule has", f"use {', '.join(sorted(FIELDS))}")
        if name in _NEEDED and changes[name] is None:
            raise InvalidInput(name, "is taken away", "pass another one, or leave it out")
    given = {name for name, value in changes.items() if value is not None}
    taken_away = {other for name, other in _EITHER.items() if name in given and other not in given}
    fields = {name: row._mapping[name] for name in FIELDS} | dict(changes) | dict.fromkeys(taken_away)  # noqa: SLF001
    request = ScheduleRequest(
        **fields,
        user=row.owner,
        tenant=row.tenant,
        # A user's words are never the system's, and go to no thread of another.
        role="user" if is_of_user else row.role,
        owner_only=is_of_user or row.owner_only,
    )
    return request.values() | {"owner": row.owner}


def _write(connection: Connection, row: AnyRow, values: Mapping[str, Any]) -> None:
    changed = update(schedules).where(schedules.c.id == row.id).values(**values, updated_at=clock())
    try:
        with connection.begin_nested():
            connection.execute(changed)
    except IntegrityError:
        # Everything else was checked; the index alone knows of two that are given one name at once.
        raise InvalidInput("name", "is that of another schedule", "choose another one") from None


def _times_of(connection: Connection, row: AnyRow, values: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of the next run, by another time."""
    now = connection.execute(select(clock())).scalar_one()
    cron = cron_of(values["cron"], values["time_zone"])
    state = ScheduleState.ACTIVE if row.state == ScheduleState.ENDED else row.state
    return {
        "next_at": values["at"] if cron is None else cron.next_after(now),
        "retry_at": None,
        "failures": 0,
        "state": state,
    }
