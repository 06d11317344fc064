"""An examination as a whole: its bounds, its report, its cost; and what is kept up beside conversations."""

import json
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert, select, update

from conversation.errors import InvalidInput
from conversation.ids import new_id
from store import tables
from store.database.column_types import clock
from store.doctor import CHECKS, Outcome
from store.turns import inbox, workers
from tests.integration.store.doctor.conftest import LONG_AGO, Site, outcomes

#: More than one page of threads.
MANY = 520


def miscount(site: Site, *names: str) -> None:
    for name in names:
        site.answered(name)
        site.change(name, uncovered_messages=9)


# Workers and schedules


def test_the_row_of_a_worker_that_died_hours_ago_is_deleted(site: Site) -> None:
    old, older, fresh = site.worker(), site.worker(), site.worker()
    for claimant in (old, older):
        site.database.run(workers.beat, worker=claimant.worker, lease_duration_seconds=-3 * workers.KEEP_DEAD_SECONDS)
    site.kill(fresh)

    found = site.repaired()

    assert [note.finding.ids["worker"] for note in found["worker-long-dead"]] == sorted([old.worker, older.worker])
    assert not any(note.outcome.is_open for note in found["worker-long-dead"])
    assert [row.id for row in site.rows(select(tables.workers))] == [fresh.worker]
    assert site.found() == {}


def test_a_run_of_a_schedule_that_never_finished_is_noted_so(site: Site) -> None:
    runs = insert(tables.schedule_runs)
    site.write(
        runs.values(schedule="stuck", due_at=LONG_AGO, started_at=LONG_AGO),
        runs.values(schedule="at work", due_at=LONG_AGO, started_at=clock()),
        runs.values(schedule="done", due_at=LONG_AGO, started_at=LONG_AGO, finished_at=LONG_AGO, outcome={}),
    )

    found = site.repaired()

    assert outcomes(found) == {"run-never-finished": [Outcome.REPAIRED]}
    assert found["run-never-finished"][0].finding.ids == {"schedule": "stuck", "due_at": LONG_AGO.isoformat()}
    ended = {row.schedule: (row.outcome, row.error) for row in site.rows(select(tables.schedule_runs))}
    # A run that did not end well: its schedule is as stale as before.
    assert ended == {"stuck": (None, "it never finished"), "at work": (None, None), "done": ({}, None)}
    assert site.found() == {}


# Bounds


def test_more_findings_than_are_told_at_once_are_repaired_all_the_same(site: Site) -> None:
    miscount(site, *(f"t{index}" for index in range(5)))

    (looked,) = site.examine("uncovered-count-wrong", findings=2)
    (mended,) = site.examine("uncovered-count-wrong", findings=2, repairs=True)

    assert (len(looked.notes), looked.bounds_reached) == (2, {"findings"})
    assert ([note.outcome for note in mended.notes], mended.bounds_reached) == ([Outcome.REPAIRED] * 5, set())
    assert site.found() == {}


def test_only_the_newest_threads_are_read_where_so_many_are_asked_for(site: Site) -> None:
    miscount(site, "old", "new")

    (result,) = site.examine("uncovered-count-wrong", threads=1)

    assert [note.finding.ids["thread"] for note in result.notes] == ["new"]
    assert result.bounds_reached == {"threads"}
    (whole,) = site.examine("uncovered-count-wrong", threads=2)
    assert (len(whole.notes), whole.bounds_reached) == (2, set())


def test_nothing_is_begun_after_the_time_is_over(site: Site) -> None:
    miscount(site, "t")

    results = site.examine(seconds=0)

    assert len(results) == len(CHECKS)
    assert {frozenset(result.bounds_reached) for result in results} == {frozenset({"seconds"})}
    assert [result.notes for result in results if result.notes] == []


def test_one_tenant_is_looked_at_alone(site: Site) -> None:
    # Between theirs, so that it is on the same page; and due for long, as one of theirs is.
    for thread, tenant in (("theirs", "acme"), ("t", "default"), ("theirs-too", "acme")):
        site.send(thread=thread, tenant=tenant)
        site.change(thread, uncovered_messages=9)
        site.age(thread)
    gone = site.worker()
    site.database.run(workers.beat, worker=gone.worker, lease_duration_seconds=-3 * workers.KEEP_DEAD_SECONDS)

    found = site.repaired(tenant="acme")

    assert list(found) == ["turn-unclaimed", "uncovered-count-wrong"]
    assert {note.finding.ids["tenant"] for notes in found.values() for note in notes} == {"acme"}
    assert [len(notes) for notes in found.values()] == [2, 2]
    assert site.row("t").uncovered_messages == 9


def test_checks_are_chosen_by_their_names(site: Site) -> None:
    examination = site.examination("last-seq-behind", "turn-unclaimed")
    assert [check.name for check in examination.choose_checks()] == ["turn-unclaimed", "last-seq-behind"]

    examination.skip = ["turn-unclaimed"]

    assert [result.check.name for result in examination.run()] == ["last-seq-behind"]
    with pytest.raises(InvalidInput, match="last-seq-behind"):
        site.examine("no-such-check")


def test_every_check_has_a_name_and_words_of_its_own() -> None:
    for texts in ([c.name for c in CHECKS], [c.means for c in CHECKS]):
        assert len(set(texts)) == len(CHECKS)
    assert [c.name for c in CHECKS if not (c.means and c.advice)] == []


# What is told and kept


def test_a_report_tells_ids_and_never_what_was_said(site: Site) -> None:
    site.send("my card number is 4711")
    site.claim(site.worker())
    site.answered("u")
    site.change("u", uncovered_messages=9, title="4711", metadata={"card": "4711"})
    site.write(update(tables.messages).values(seq=tables.messages.c.seq + 10))

    report = json.dumps([result.to_json() for result in site.examine(repairs=True)])

    assert "last-seq-behind" in report
    assert "question-missing" in report
    assert "4711" not in report


def test_every_repair_of_a_thread_leaves_a_row_in_the_audit(site: Site) -> None:
    miscount(site, "t")

    site.found()
    assert site.rows(select(tables.audit)) == []
    site.repaired()
    site.repaired()

    (row,) = site.rows(select(tables.audit))
    assert (row.tenant, row.thread_id, row.action) == ("default", "t", "doctor.uncovered-count-wrong")
    assert row.details["done"] == "uncovered_messages was set to 2"


# What it costs


@pytest.mark.soak
def test_a_look_takes_as_many_statements_for_many_threads_as_for_a_few(site: Site) -> None:
    site.answered("t0")
    few = statements_of_a_look(site)

    site.database.run(many_threads, count=MANY)

    # One page more: where it ends, and what is on it, for each check that reads histories.
    assert statements_of_a_look(site) <= few + 2 * len(CHECKS)


def many_threads(connection: Connection, *, count: int) -> None:
    for index in range(count):
        request = {"tenant": "default", "message": None, "agent": "assistant", "allow_unknown_agent": True}
        inbox.accept(connection, inbox.SendRequest(turn_id=new_id(), thread_id=f"many{index}", **request))  # type: ignore[arg-type]


def statements_of_a_look(site: Site) -> int:
    seen: list[str] = []

    def note(connection: Connection, cursor: object, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(site.database.engine, "before_cursor_execute", note)
    site.found()
    event.remove(site.database.engine, "before_cursor_execute", note)
    return sum(not statement.startswith("BEGIN") for statement in seen)


def test_a_second_doctor_at_the_same_time_finds_nothing_left_to_do(site: Site) -> None:
    miscount(site, "t")
    first, second = site.examination("uncovered-count-wrong"), site.examination("uncovered-count-wrong")
    (check,) = first.choose_checks()
    assert check.repair is not None
    (finding,), (same,) = check.find(first.start_inspection()), check.find(second.start_inspection())

    done = [check.repair(first.start_inspection(), finding), check.repair(second.start_inspection(), same)]

    assert done == ["uncovered_messages was set to 2", None]
    assert len(site.rows(select(tables.audit))) == 1
