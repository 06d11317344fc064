"""What is done by the clock: how a schedule stands, and what two beats, a death or an error make of it."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import typer
from sqlalchemy import text, update

from conversation.errors import FileStoreUnavailable
from conversation.ids import new_id
from conversation.task_contract import COLLECT_FILES, RUN_PURGE, RUN_RETENTION
from store import schedule_runs as schedule
from store import tables
from store.database.column_types import clock
from store.database.engine import Database
from store.settings import load
from store.tables import statistics
from store.turns import workers
from store.turns.worker_listing import list_workers
from tasks import maintenance
from tasks.schedules import LATE_SECONDS, SCHEDULES, ScheduleStatus, load_statuses
from threadmill.cli.schedules import schedules
from threadmill.cli.status import status

SETTINGS = load()
RETENTION = SETTINGS.retention_interval_seconds
PATIENCE = 2 * RETENTION + LATE_SECONDS


def of(database: Database, name: str = RUN_RETENTION) -> ScheduleStatus:
    found = load_statuses(database, SETTINGS)
    return next(each for each in found if each.name == name)


def ran(database: Database, seconds_ago: float, end: Callable[..., None] | None = None, **values: Any) -> None:
    """A run of retention that began so long ago."""
    run = schedule.ScheduleRun(schedule=RUN_RETENTION, due_at=database.run(_now) - timedelta(seconds=seconds_ago))
    then = clock(plus_seconds=-seconds_ago)
    row = {"schedule": run.schedule, "due_at": run.due_at, "started_at": then}
    database.run(lambda c: c.execute(tables.schedule_runs.insert().values(row)))
    if end is not None:
        database.run(end, **values, run=run)
        mine = tables.schedule_runs.c.due_at == run.due_at
        ended = update(tables.schedule_runs).where(mine).values(finished_at=then)
        database.run(lambda c: c.execute(ended))


def _now(connection: Any) -> Any:
    from sqlalchemy import select

    return connection.execute(select(clock())).scalar_one()


def worker_up(database: Database, seconds: float) -> None:
    database.run(workers.register, worker=new_id(), host="", pid=1, serves={}, lease_duration_seconds=60)
    began = update(tables.workers).values(started_at=clock(plus_seconds=-seconds))
    database.run(lambda c: c.execute(began))


def test_every_schedule_is_told(any_database: Database) -> None:
    found = load_statuses(any_database, SETTINGS)

    assert [each.name for each in found] == sorted(SCHEDULES)
    assert {each.state for each in found} == {"never"}


@pytest.mark.parametrize(("up", "state"), [(60.0, "never"), (PATIENCE + 1, "stale")])
def test_one_that_never_ran_is_stale_once_workers_are_there_for_long(
    any_database: Database, up: float, state: str
) -> None:
    worker_up(any_database, up)

    assert of(any_database).state == state


def test_the_dead_were_not_there_for_long(any_database: Database) -> None:
    """Beside one that lives: it says nothing of the others."""
    worker_up(any_database, PATIENCE + 1)
    expired = update(tables.workers).values(lease_expires_at=clock(plus_seconds=-1))
    any_database.run(lambda c: c.execute(expired))
    register = partial(workers.register, worker=new_id(), host="", pid=2, serves={}, lease_duration_seconds=60)
    any_database.run(register)

    assert [worker.state for worker in any_database.run(list_workers)].count("alive") == 1
    assert of(any_database).state == "never"


def test_one_that_ended_well_is_ok_for_two_periods(any_database: Database) -> None:
    ran(any_database, PATIENCE - 60, schedule.finish_run, outcome={"threads": 2})
    assert of(any_database).state == "ok"

    any_database.run(lambda c: c.execute(tables.schedule_runs.delete()))
    ran(any_database, PATIENCE + 60, schedule.finish_run, outcome={})
    assert of(any_database).state == "stale"


def test_one_that_fails_says_why_and_is_stale_after_two_periods(any_database: Database) -> None:
    ran(any_database, RETENTION, schedule.finish_run, outcome={})
    ran(any_database, 60, schedule.fail_run, error="the bucket is away")
    found = of(any_database)
    assert (found.state, found.last_run and found.last_run.error) == ("failed", "the bucket is away")

    any_database.run(
        lambda c: c.execute(tables.schedule_runs.delete().where(tables.schedule_runs.c.outcome.is_not(None)))
    )
    assert of(any_database).state == "stale"


def test_one_whose_process_died_is_running_and_then_stale(any_database: Database) -> None:
    ran(any_database, 60)
    assert of(any_database).state == "running"

    any_database.run(lambda c: c.execute(tables.schedule_runs.delete()))
    ran(any_database, PATIENCE + 60)
    assert of(any_database).state == "stale"


def test_an_error_stands_in_the_row_of_its_run(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> dict[str, Any]:
        raise FileStoreUnavailable("bucket 'b': no answer")

    monkeypatch.setattr(maintenance, "_database", lambda: database)
    monkeypatch.setattr(maintenance, "run_scheduled_collection", away)

    with pytest.raises(FileStoreUnavailable):
        maintenance.collect_files()

    last = of(database, COLLECT_FILES).last_run
    assert last is not None
    assert (last.error, last.outcome) == ("bucket 'b': no answer", None)
    assert last.finished_at is not None


def test_two_beats_at_once_are_one_run(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    monkeypatch.setattr(maintenance, "_database", lambda: database)
    monkeypatch.setattr(maintenance, "run_purge", lambda *_: runs.append(1) or 0)

    maintenance.purge_turns()
    maintenance.purge_turns()

    assert len(runs) == 1 or RETENTION < 60


def test_what_may_take_minutes_leaves_a_thread_for_the_sweep(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick that finds this process at something long gives its thread back, and claims no run."""
    monkeypatch.setattr(maintenance, "_database", lambda: database)
    ran = []

    def meanwhile(*_: object) -> int:
        maintenance.apply_retention()
        maintenance.collect_files()
        ran.extend(each.name for each in load_statuses(database, SETTINGS) if each.last_run is not None)
        return 0

    monkeypatch.setattr(maintenance, "run_purge", meanwhile)
    maintenance.purge_turns()

    assert ran == [RUN_PURGE]
    maintenance.collect_files()
    assert of(database, COLLECT_FILES).state == "ok"


def test_statistics_are_fresh_after_a_refresh(database: Database) -> None:
    insert = text(
        "INSERT INTO threads (tenant, id, metadata, created_at, updated_at) "
        "SELECT 'default', n, '{}', now(), now() FROM generate_series(1, 500) n"
    )
    database.run(lambda connection: connection.execute(insert))

    found = database.run(statistics.refresh)

    assert found["threads"]["rows"] == 500
    assert found["threads"]["bytes"] > 0
    assert found.keys() == {table.name for table in tables.metadata.sorted_tables}


def test_a_stale_schedule_is_status_1_of_both_commands_that_tell_it(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = database.settings.database_url.get_secret_value()
    monkeypatch.setenv("THREADMILL_DATABASE_URL", url)
    schedules(as_json=False)
    ran(database, PATIENCE + 60, schedule.finish_run, outcome={"threads": 2})

    for command in (partial(schedules, as_json=False), partial(status, tenant="default", as_json=False)):
        capsys.readouterr()
        with pytest.raises(typer.Exit) as left:
            command()
        assert left.value.exit_code == 1
        assert RUN_RETENTION in capsys.readouterr().out
