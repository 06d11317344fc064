"""Runs of schedules: each is one turn, by its policy, whatever stands in its way."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, select, update

from conversation.errors import InvalidInput, ScheduleNotFound
from conversation.schedule import ScheduleState
from store import tables
from store.database.engine import Database
from store.schedules import repository, runs
from store.schedules.runs import RunRules
from store.threads.repository import ensure_thread
from store.threads.visible_threads import Viewer
from tests.integration.store.schedules.agenda import HOUR, Agenda


@pytest.fixture
def agenda(any_database: Database) -> Agenda:
    return Agenda(any_database)


def test_a_due_schedule_is_one_turn_with_its_id(agenda: Agenda) -> None:
    schedule = agenda.create("good morning", user="ada", late=timedelta())
    due_at = agenda.find(schedule).next_at
    assert due_at is not None

    outcomes = [agenda.tick() for _ in range(3)]

    (turn,) = agenda.turns()
    assert [outcome.sent for outcome in outcomes] == [1, 0, 0]
    assert (turn.schedule_id, turn.thread_id, turn.owner) == (schedule.id, "t", "ada")
    assert turn.idempotency_key == f"schedule:{schedule.id}:{due_at.isoformat()}"
    after = agenda.find(schedule)
    assert (after.last_due_at, after.last_turn_id, after.last_error) == (due_at, turn.id, None)
    assert after.next_at == due_at + HOUR
    assert [wake_up.turn_id for wake_up in agenda.published] == [turn.id]


def test_one_that_is_not_due_sends_nothing(agenda: Agenda) -> None:
    agenda.create()

    assert agenda.tick().sent == 0


@pytest.mark.parametrize(("catch_up", "count"), [("skip", 0), ("one", 1), ("all", 4)])
def test_missed_runs_by_policy(agenda: Agenda, catch_up: str, count: int) -> None:
    schedule = agenda.create(catch_up=catch_up, thread_rule="r-{date}-{time}", late=3 * HOUR)

    agenda.tick(schedule_grace_seconds=0)

    turns = agenda.turns()
    assert len(turns) == count
    assert len({turn.thread_id for turn in turns}) == count
    after = agenda.find(schedule)
    assert after.next_at is not None
    assert after.next_at > datetime.now(UTC)


def test_one_that_runs_once_ends_with_its_run(agenda: Agenda) -> None:
    schedule = agenda.create(at=datetime.now(UTC) + HOUR)
    assert schedule.next_at == schedule.at
    row = update(tables.schedules).values(next_at=datetime.now(UTC))
    agenda.database.run(lambda connection: connection.execute(row))

    agenda.tick()
    agenda.tick()

    after = agenda.find(schedule)
    assert (len(agenda.turns()), after.state, after.next_at) == (1, ScheduleState.ENDED, None)
    for change in (repository.pause_schedule, repository.resume_schedule):
        with pytest.raises(InvalidInput, match="has ended"):
            agenda.database.run(change, Viewer("default"), schedule.id)


def test_a_moment_that_is_past_runs_at_the_next_tick(agenda: Agenda) -> None:
    agenda.create(at=datetime(2020, 1, 1, tzinfo=UTC))

    assert agenda.tick().sent == 1


def test_a_paused_schedule_sends_nothing_and_makes_up_for_nothing(agenda: Agenda) -> None:
    schedule = agenda.create(catch_up="all", late=5 * HOUR)
    viewer = Viewer("default")

    for _ in range(2):
        assert agenda.database.run(repository.pause_schedule, viewer, schedule.id).state == ScheduleState.PAUSED
    agenda.tick()
    for _ in range(2):
        resumed = agenda.database.run(repository.resume_schedule, viewer, schedule.id)
    agenda.tick()

    assert agenda.turns() == []
    assert resumed.next_at is not None
    assert resumed.next_at > datetime.now(UTC)


def test_a_run_out_of_its_time_leaves_the_time_and_is_one_by_its_id(agenda: Agenda) -> None:
    schedule = agenda.create()
    viewer, rules = Viewer("default"), RunRules()
    agenda.database.run(repository.pause_schedule, viewer, schedule.id)

    outcomes = [
        agenda.database.run(runs.run_now, viewer, schedule.id, run_id=run_id, rules=rules) for run_id in ("a", "a", "b")
    ]

    assert [outcome.sent for outcome in outcomes] == [1, 0, 1]
    assert outcomes[0].turn_id == outcomes[1].turn_id != outcomes[2].turn_id
    assert agenda.find(schedule).next_at == schedule.next_at
    assert [turn.schedule_id for turn in agenda.turns()] == [schedule.id] * 2


def test_a_tenant_at_its_limit_is_tried_again_and_loses_no_run(agenda: Agenda) -> None:
    schedule = agenda.create(catch_up="all", late=3 * HOUR)

    outcome = agenda.tick(tenant_max_unfinished_turns=2)

    assert (outcome.sent, outcome.refused) == (2, 1)
    after = agenda.find(schedule)
    assert after.retry_at is not None
    assert "unfinished turns" in str(after.last_error)
    assert agenda.tick(tenant_max_unfinished_turns=2).refused == 0
    past = update(tables.schedules).values(retry_at=datetime.now(UTC))
    agenda.database.run(lambda connection: connection.execute(past))
    assert agenda.tick().sent == 2
    keys = [turn.idempotency_key for turn in agenda.turns()]
    assert len(set(keys)) == 4
    assert keys == sorted(keys)


def test_a_key_that_somebody_else_used_costs_one_run_and_says_so(agenda: Agenda) -> None:
    schedule = agenda.create(late=timedelta())
    agenda.tick()
    stolen = update(tables.turns).values(request_digest="another request's")
    agenda.database.run(lambda connection: connection.execute(stolen))
    agenda.make_late(schedule.id, timedelta())

    outcome = agenda.tick()

    after = agenda.find(schedule)
    assert (outcome.sent, outcome.refused, len(agenda.turns())) == (0, 1, 1)
    assert "was used with another request" in str(after.last_error)
    assert after.next_at is not None
    assert after.next_at > datetime.now(UTC)


def test_a_schedule_bound_to_its_user_never_writes_to_anothers_thread(agenda: Agenda) -> None:
    bound = agenda.create(user="ada", owner_only=True, late=timedelta())
    free = agenda.create(user="bob", thread_id="t", late=timedelta())
    agenda.database.run(lambda connection: ensure_thread(connection, "default", "t", owner="eve"))

    agenda.tick()

    assert [(turn.schedule_id, turn.sender) for turn in agenda.turns()] == [(free.id, "bob")]
    assert "no thread 't'" in str(agenda.find(bound).last_error)


def test_a_run_is_refused_while_its_thread_is_busy_where_its_schedule_says_so(agenda: Agenda) -> None:
    schedule = agenda.create(when_busy="reject", catch_up="all", late=2 * HOUR)

    outcome = agenda.tick()

    after = agenda.find(schedule)
    assert (outcome.sent, outcome.refused, len(agenda.turns())) == (1, 2, 1)
    assert (after.when_busy, after.retry_at) == ("reject", None)
    assert agenda.turns()[0].id in str(after.last_error)


def test_a_schedule_that_names_no_agent_has_the_default_of_its_run(agenda: Agenda) -> None:
    agenda.create(agent=None, late=timedelta())

    agenda.tick(default_agent="of-today")

    agents = agenda.database.run(lambda connection: connection.execute(select(tables.turns.c.agent)).scalars().all())
    assert agents == ["of-today"]


def test_one_that_breaks_is_put_off_and_holds_up_no_other(agenda: Agenda) -> None:
    broken = agenda.create("broken", late=2 * HOUR)
    agenda.create("sound", late=HOUR)
    row = update(tables.schedules).where(tables.schedules.c.id == broken.id)
    agenda.database.run(lambda connection: connection.execute(row.values(time_zone="No/Where", thread_rule=None)))

    outcome = agenda.tick()

    assert (outcome.sent, outcome.failed) == (1, 1)
    after = agenda.find(broken)
    assert after.retry_at is not None
    assert after.last_error == "InvalidInput"


def test_one_whose_thread_somebody_holds_is_put_off_and_holds_up_no_other(database: Database) -> None:
    agenda = Agenda(database)
    schedules = [agenda.create(thread_id=f"t{number}", late=HOUR) for number in range(9)]
    held = schedules[4]
    database.run(ensure_thread, "default", "t4")
    row = select(tables.threads.c.key).where(tables.threads.c.id == "t4").with_for_update()

    with database.engine.begin() as connection:
        connection.execute(row)
        outcome = agenda.tick()

    assert (outcome.sent, outcome.failed) == (8, 1)
    assert agenda.find(held).retry_at is not None
    agenda.make_late(held.id, HOUR)
    assert agenda.tick().sent == 1


def test_many_that_make_up_for_what_they_missed_share_no_transaction_for_long(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "SENT_MAX", 5)
    agenda = Agenda(database)
    for number in range(4):
        agenda.create(catch_up="all", thread_rule=f"t{number}-{{date}}-{{time}}", late=3 * HOUR)
    ids = database.run(runs.list_due, limit=10)

    outcome = database.run(runs.run_due, ids, rules=RunRules())

    assert (outcome.moved, outcome.sent) == (2, 8)
    assert agenda.tick().sent == 8
    assert len(agenda.turns()) == len({turn.idempotency_key for turn in agenda.turns()}) == 16


def test_a_run_is_one_statement_and_each_batch_some_more(database: Database) -> None:
    agenda = Agenda(database)
    for number in range(40):
        agenda.create(thread_id=f"t{number}", late=HOUR)
    statements: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))

    assert agenda.tick().sent == 40

    # To list twice, and in the one transaction: to limit its waits, find its rows, and move them on.
    assert len(statements) <= 40 + 3 * 3, statements[-12:]


def test_the_same_name_is_the_same_schedule_or_refused(agenda: Agenda) -> None:
    first = agenda.create(name="daily")

    assert agenda.create(name="daily").id == first.id
    assert agenda.create(name="daily", user="ada").id != first.id
    assert agenda.create(name="daily", tenant="acme").id != first.id
    with pytest.raises(InvalidInput, match=r"^name: is that of another schedule"):
        agenda.create("something else", name="daily")


def test_another_tenant_or_user_sees_nothing(agenda: Agenda) -> None:
    schedule = agenda.create(user="ada")

    for viewer in (Viewer("acme"), Viewer("default", "bob")):
        for verb in (
            repository.find_schedule, repository.pause_schedule, repository.resume_schedule, repository.delete_schedule,
            repository.list_runs,
        ):  # fmt: skip
            with pytest.raises(ScheduleNotFound):
                agenda.database.run(verb, viewer, schedule.id)
        assert agenda.database.run(repository.list_schedules, viewer) == []
    assert agenda.database.run(repository.list_schedules, Viewer("default", "ada")) == [schedule]


def test_pages_hold_each_schedule_once(agenda: Agenda) -> None:
    made = [agenda.create(str(number)).id for number in range(5)]

    seen, cursor = [], None
    for _ in range(3):
        page = agenda.database.run(repository.list_schedules, Viewer("default"), limit=2, cursor=cursor)
        seen += [schedule.id for schedule in page]
        cursor = page.next_cursor

    assert (seen, cursor) == (made, None)


def test_the_runs_of_a_schedule_are_listed_newest_first(agenda: Agenda) -> None:
    schedule = agenda.create(catch_up="all", thread_rule="r-{hour}", late=3 * HOUR)
    agenda.create("another", late=timedelta())
    agenda.tick()

    page = agenda.database.run(repository.list_runs, Viewer("default"), schedule.id, limit=3)
    rest = agenda.database.run(repository.list_runs, Viewer("default"), schedule.id, cursor=page.next_cursor)

    assert (len(page), len(rest), rest.next_cursor) == (3, 1, None)
    assert {record.schedule_id for record in (*page, *rest)} == {schedule.id}


def test_what_changes_a_schedule_is_in_the_audit_without_its_text(agenda: Agenda) -> None:
    schedule = agenda.create("secret text")
    viewer = Viewer("default")
    agenda.database.run(repository.pause_schedule, viewer, schedule.id)
    agenda.database.run(repository.resume_schedule, viewer, schedule.id)
    agenda.database.run(runs.run_now, viewer, schedule.id, run_id="x", rules=RunRules())
    agenda.database.run(repository.delete_schedule, viewer, schedule.id)

    audit = agenda.database.run(lambda connection: connection.execute(select(tables.audit)).all())

    changes = ["created", "paused", "resumed", "run", "deleted"]
    assert [row.action for row in audit] == [f"schedule.{change}" for change in changes]
    assert "secret" not in str(audit)
    with pytest.raises(ScheduleNotFound):
        agenda.find(schedule)
