"""Schedules of a test, with their times moved into the past."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select, update

from conversation.ids import new_id
from conversation.schedule import ScheduleRecord
from conversation.task_contract import WakeUp
from store import tables
from store.database.engine import Database
from store.schedules import repository
from store.schedules.request import ScheduleRequest
from store.settings import Settings
from store.threads.visible_threads import Viewer
from tasks.jobs.schedules import ScheduleOutcome, run_schedules

HOUR = timedelta(hours=1)


class Agenda:
    """The schedules of one database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.published: list[WakeUp] = []

    def create(self, content: str = "report", *, late: timedelta | None = None, **options: Any) -> ScheduleRecord:
        """A schedule; with `late`, its next run was due so long ago."""
        timing = {} if "at" in options else {"cron": "0 * * * *"}
        place = {} if "thread_rule" in options else {"thread_id": "t"}
        request = ScheduleRequest(content=content, **{"agent": "assistant", **timing, **place, **options})
        schedule = self.database.run(repository.create_schedule, new_id(), request)
        if late is not None:
            self.make_late(schedule.id, late)
        return schedule

    def make_late(self, schedule_id: str, late: timedelta) -> datetime:
        """The due time that the schedule has now: the full hour before that, of one that comes by the hour."""
        due_at = (datetime.now(UTC) - late).replace(minute=0, second=0, microsecond=0)
        row = update(tables.schedules).where(tables.schedules.c.id == schedule_id)
        self.database.run(lambda connection: connection.execute(row.values(next_at=due_at, retry_at=None)))
        return due_at

    def tick(self, **changes: Any) -> ScheduleOutcome:
        settings: Settings = self.database.settings.model_copy(update=changes)
        return run_schedules(self.database, settings, self.published.append)

    def find(self, schedule: ScheduleRecord) -> ScheduleRecord:
        return self.database.run(repository.find_schedule, Viewer(schedule.tenant), schedule.id)

    def turns(self) -> list[Any]:
        columns = tables.turns.c.id, tables.turns.c.schedule_id, tables.turns.c.idempotency_key, tables.turns.c.sender
        statement = select(*columns, tables.threads.c.id.label("thread_id"), tables.threads.c.owner)
        statement = statement.join_from(tables.turns, tables.threads).order_by(tables.turns.c.arrival_seq)
        return self.database.run(lambda connection: list(connection.execute(statement)))
