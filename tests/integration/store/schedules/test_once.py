"""Each run is one turn: with two beats at once, with a death at any statement, with a pause in between."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, event

from conversation.schedule import ScheduleState
from store import tables
from store.database.engine import Database
from store.schedules import repository, runs
from store.schedules.runs import RunRules
from store.threads.visible_threads import Viewer
from tests.integration.store.schedules.agenda import HOUR, Agenda


@pytest.fixture
def agenda(any_database: Database) -> Agenda:
    return Agenda(any_database)


def test_many_beats_at_once_send_each_run_once(agenda: Agenda) -> None:
    schedules = [agenda.create(str(n), catch_up="all", thread_id=f"t{n}", late=2 * HOUR) for n in range(8)]

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda _: agenda.tick(), range(8)))

    turns = agenda.turns()
    assert sum(outcome.sent for outcome in outcomes) == len(turns) == 3 * len(schedules)
    assert sum(outcome.failed + outcome.refused for outcome in outcomes) == 0
    assert len({turn.idempotency_key for turn in turns}) == len(turns)
    assert len(agenda.published) == len({wake_up.turn_id for wake_up in agenda.published}) == len(schedules)


def test_a_beat_passes_over_what_another_one_has_in_hand(database: Database) -> None:
    agenda = Agenda(database)
    schedule = agenda.create(late=timedelta())

    for ends in ("rolled back", "committed"):
        with database.engine.connect() as connection:
            outcome = runs.run_due(connection, [schedule.id], rules=RunRules())
            assert outcome.sent == 1
            assert agenda.tick().sent == 0
            connection.commit() if ends == "committed" else connection.rollback()

    assert agenda.tick().sent == 0
    assert len(agenda.turns()) == 1


def test_a_pause_waits_for_a_run_and_holds_from_then_on(database: Database) -> None:
    agenda = Agenda(database)
    schedule = agenda.create(late=timedelta())

    with ThreadPoolExecutor(1) as pool, database.engine.connect() as connection:
        runs.run_due(connection, [schedule.id], rules=RunRules())
        pausing = pool.submit(database.run, repository.pause_schedule, Viewer("default"), schedule.id)
        connection.commit()
        assert pausing.result(10).state == ScheduleState.PAUSED

    agenda.make_late(schedule.id, timedelta())
    assert agenda.tick().sent == 0
    assert len(agenda.turns()) == 1


@pytest.mark.soak
@pytest.mark.timeout(120)
def test_a_death_at_any_statement_costs_no_run_and_makes_none_twice(agenda: Agenda) -> None:
    url = agenda.database.settings.database_url.get_secret_value()
    moment, is_dead = 0, True
    while is_dead:
        moment += 1
        agenda.database.run(lambda connection: connection.execute(delete(tables.threads)))
        agenda.database.run(lambda connection: connection.execute(delete(tables.schedules)))
        first = agenda.create("first", catch_up="all", thread_id="one", late=HOUR)
        second = agenda.create("second", thread_id="two", late=HOUR)

        is_dead = _tick_and_die(url, agenda.database.has_functions, moment)
        agenda.tick()
        agenda.tick()

        sent = sorted((turn.thread_id, turn.schedule_id) for turn in agenda.turns())
        assert sent == [("one", first.id), ("one", first.id), ("two", second.id)], moment

    assert moment > 10


def _tick_and_die(url: str, use_functions: bool, moment: int) -> bool:
    """Tick in a process that is killed at this statement; whether it was, or lived."""
    # Forked, and not started: the imports would cost more than all that it does.
    child = os.fork()
    if child == 0:
        try:
            _tick_until(url, use_functions, moment)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def _tick_until(url: str, use_functions: bool, moment: int) -> None:
    from store.settings import load

    database = Database(load(database_url=url), use_functions=use_functions)
    seen = 0

    def die(*_: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    # Between any two statements, and before each commit.
    for name in ("before_cursor_execute", "commit"):
        event.listen(database.engine, name, die)
    with closing(database):
        Agenda(database).tick()
