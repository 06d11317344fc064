"""Every verb of schedules, said twice: as the store's function on PostgreSQL, and as the model's."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, select

from store.schedules import repository, runs
from store.schedules.request import ScheduleRequest
from store.tables import threads, turns
from store.tables.turns import unfinished
from store.threads.visible_threads import Viewer
from store.turns import cancel
from store.turns.send_request import SendLimits
from tests.integration.store.schedules.model_based.reference import GRACE, Agenda, Schedule
from tests.integration.store.turns.model_based.conversions import moment

VIEWER = Viewer("default")
#: Seconds between two runs, as cron has them.
CRONS = {60: "* * * * *", 3600: "0 * * * *"}


def rules(limit: int) -> runs.RunRules:
    limits = SendLimits(tenant_max_unfinished_turns=limit)
    return runs.RunRules(limits=limits, grace=timedelta(seconds=GRACE))


@dataclass(frozen=True)
class Create:
    schedule: str
    thread: str
    catch_up: str
    #: None runs once, `at` this second.
    every: int | None
    at: int
    when_busy: str | None

    def on_store(self, connection: Connection) -> Any:
        timing: dict[str, Any] = {"at": moment(self.at)} if self.every is None else {"cron": CRONS[self.every]}
        options: dict[str, Any] = {"catch_up": self.catch_up, "when_busy": self.when_busy}
        request = ScheduleRequest(content="hello", thread_id=self.thread, **timing, **options)
        repository.create_schedule(connection, self.schedule, request)

    def on_model(self, agenda: Agenda, _: int) -> Any:
        its = Schedule(self.thread, self.catch_up, self.every, None, self.when_busy)
        its.next_at = its.at = self.at
        if self.every is not None:
            its.next_at, its.at = its.next_after(agenda.now), None
        agenda.create(self.schedule, its)


@dataclass(frozen=True)
class ListDue:
    def on_store(self, connection: Connection) -> Any:
        return sorted(runs.list_due(connection, limit=100))

    def on_model(self, agenda: Agenda, _: int) -> Any:
        return agenda.list_due()


@dataclass(frozen=True)
class Tick:
    """What one transaction of a beat runs."""

    schedules: tuple[str, ...]
    limit: int

    def on_store(self, connection: Connection) -> Any:
        outcome = runs.run_due(connection, self.schedules, rules=rules(self.limit))
        return outcome.sent, outcome.refused, outcome.moved

    def on_model(self, agenda: Agenda, _: int) -> Any:
        agenda.limit = self.limit
        return agenda.tick(self.schedules)


@dataclass(frozen=True)
class PutOff:
    schedule: str

    def on_store(self, connection: Connection) -> Any:
        runs.put_off(connection, self.schedule, "it broke")

    def on_model(self, agenda: Agenda, _: int) -> Any:
        return agenda.put_off(self.schedule)


@dataclass(frozen=True)
class RunNow:
    schedule: str
    run: str
    limit: int

    def on_store(self, connection: Connection) -> Any:
        return bool(runs.run_now(connection, VIEWER, self.schedule, run_id=self.run, rules=rules(self.limit)).sent)

    def on_model(self, agenda: Agenda, _: int) -> Any:
        agenda.limit = self.limit
        return agenda.run_now(self.schedule, self.run)


@dataclass(frozen=True)
class Pause:
    schedule: str

    def on_store(self, connection: Connection) -> Any:
        return repository.pause_schedule(connection, VIEWER, self.schedule).state.value

    def on_model(self, agenda: Agenda, _: int) -> Any:
        return agenda.pause(self.schedule)


@dataclass(frozen=True)
class Resume:
    schedule: str

    def on_store(self, connection: Connection) -> Any:
        return repository.resume_schedule(connection, VIEWER, self.schedule).state.value

    def on_model(self, agenda: Agenda, _: int) -> Any:
        return agenda.resume(self.schedule)


@dataclass(frozen=True)
class Delete:
    schedule: str

    def on_store(self, connection: Connection) -> Any:
        repository.delete_schedule(connection, VIEWER, self.schedule)

    def on_model(self, agenda: Agenda, _: int) -> Any:
        return agenda.delete(self.schedule)


@dataclass(frozen=True)
class EndTurns:
    """The turns of a thread come to their end."""

    thread: str

    def on_store(self, connection: Connection) -> Any:
        of_thread = select(turns.c.id).join(threads).where(threads.c.id == self.thread, unfinished)
        for turn_id in connection.execute(of_thread.order_by(turns.c.arrival_seq)).scalars().all():
            cancel.request_cancel(connection, turn_id)

    def on_model(self, agenda: Agenda, _: int) -> Any:
        return agenda.end(self.thread)
