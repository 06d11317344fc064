"""Changes of a schedule that is stored: what changes, what stays, and what a user may not make of it."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select, update

from conversation.errors import InvalidInput, ScheduleNotFound
from conversation.schedule import ScheduleRecord, ScheduleState
from store import tables
from store.database.engine import Database
from store.schedules import repository
from store.schedules.changes import change_schedule
from store.threads.visible_threads import Viewer
from tests.integration.store.schedules.agenda import HOUR, Agenda

ANY = Viewer("default")
LATER = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def agenda(any_database: Database) -> Agenda:
    return Agenda(any_database)


def change(agenda: Agenda, schedule: ScheduleRecord, viewer: Viewer = ANY, **changes: Any) -> ScheduleRecord:
    return agenda.database.run(change_schedule, viewer, schedule.id, changes)


def row_of(agenda: Agenda, schedule: ScheduleRecord) -> Any:
    return agenda.database.run(
        lambda connection: connection.execute(
            select(tables.schedules).where(tables.schedules.c.id == schedule.id)
        ).one()
    )


def test_what_is_named_changes_and_the_rest_stays(agenda: Agenda) -> None:
    schedule = agenda.create(name="daily", user="ada", metadata={"a": 1}, priority=3)

    changed = change(agenda, schedule, content="how many?", agent="clerk", name=None, when_busy="merge", metadata=None)

    assert (changed.content, changed.agent, changed.name, changed.when_busy) == ("how many?", "clerk", None, "merge")
    assert (changed.metadata, changed.priority, changed.user) == ({}, 3, "ada")
    assert (changed.cron, changed.next_at, changed.thread_id) == (schedule.cron, schedule.next_at, schedule.thread_id)
    agenda.make_late(schedule.id, HOUR)
    agenda.tick()
    assert len(agenda.turns()) == 1


def test_another_time_is_the_next_one_and_what_was_missed_is_not_made_up_for(agenda: Agenda) -> None:
    schedule = agenda.create(catch_up="all", late=5 * HOUR)

    changed = change(agenda, schedule, at=LATER, thread_rule="r-{date}")

    assert (changed.cron, changed.at, changed.next_at) == (None, LATER, LATER)
    assert (changed.thread_id, changed.thread_rule) == (None, "r-{date}")
    assert agenda.tick().sent == 0
    again = change(agenda, schedule, cron="0 9 * * *", time_zone="Europe/Berlin", thread_id="t")
    assert (again.at, again.thread_rule, again.time_zone) == (None, None, "Europe/Berlin")
    assert again.next_at is not None
    assert again.next_at.astimezone(UTC).hour in (7, 8)


@pytest.mark.parametrize(
    ("state", "then"), [(ScheduleState.ENDED, ScheduleState.ACTIVE), (ScheduleState.PAUSED, ScheduleState.PAUSED)]
)
def test_another_time_starts_one_that_has_ended_and_none_that_is_paused(
    agenda: Agenda, state: ScheduleState, then: ScheduleState
) -> None:
    schedule = agenda.create(at=datetime(2020, 1, 1, tzinfo=UTC))
    ended = update(tables.schedules).values(state=state, next_at=None)
    agenda.database.run(lambda connection: connection.execute(ended))

    assert change(agenda, schedule, content="later").state is state
    changed = change(agenda, schedule, at=LATER)

    assert (changed.state, changed.next_at) == (then, LATER)


def test_a_change_that_changes_nothing_leaves_no_trace(agenda: Agenda) -> None:
    schedule = agenda.create()
    count = select(tables.audit.c.key)

    before = agenda.database.run(lambda connection: len(connection.execute(count).all()))
    changed = change(agenda, schedule, content=schedule.content, cron=schedule.cron, thread_id="t", name=None)

    assert changed == schedule
    assert agenda.database.run(lambda connection: len(connection.execute(count).all())) == before


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"content": " "}, "content"),
        ({"content": None}, "content"),
        ({"priority": None}, "priority"),
        ({"cron": "never"}, "cron"),
        ({"cron": None}, "cron"),
        ({"cron": "@daily", "at": LATER}, "cron"),
        ({"thread_id": None}, "thread_id"),
        ({"thread_id": "t", "thread_rule": "{date}"}, "thread_id"),
        ({"name": "taken"}, "name"),
        ({"state": "active"}, "changes"),
        ({"role": "system"}, "changes"),
    ],
)
def test_what_no_schedule_can_be_is_refused(agenda: Agenda, changes: dict[str, Any], field: str) -> None:
    schedule = agenda.create(name="mine")
    agenda.create(name="taken")

    with pytest.raises(InvalidInput) as refused:
        change(agenda, schedule, **changes)

    assert refused.value.field == field
    assert agenda.find(schedule) == schedule


def test_a_user_changes_their_own_alone_and_speaks_as_a_user_to_their_threads(agenda: Agenda) -> None:
    schedule = agenda.create(user="ada", role="system", thread_id="bobs")
    for viewer in (Viewer("default", "bob"), Viewer("acme")):
        with pytest.raises(ScheduleNotFound):
            change(agenda, schedule, viewer, content="mine now")

    change(agenda, schedule, Viewer("default", "ada"), content="I say")

    row = row_of(agenda, schedule)
    assert (row.role, row.owner_only, row.owner) == ("user", True, "ada")


def test_a_change_is_in_the_audit_by_the_names_of_its_fields(agenda: Agenda) -> None:
    schedule = agenda.create()
    change(agenda, schedule, content="a secret", cron="@daily")

    entries = agenda.database.run(
        lambda connection: connection.execute(select(tables.audit).order_by(tables.audit.c.key)).all()
    )
    (entry,) = [entry for entry in entries if entry.action == "schedule.changed"]
    assert (entry.details["schedule"], entry.details["fields"]) == (schedule.id, ["content", "cron"])
    assert "secret" not in str(entry.details)
    assert agenda.database.run(repository.find_schedule, ANY, schedule.id).content == "a secret"
