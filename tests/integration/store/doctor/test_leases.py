"""Leases that nobody holds, turns that nobody runs or claims; and workers that are left alone."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, text, update

from conversation.errors import LeaseLost
from conversation.ids import new_id
from conversation.pending_call import PendingKind, PendingRequest
from conversation.step import Step
from conversation.turn import ClaimedTurn, RetryLater, TurnError, Waiting
from store import tables
from store.doctor import Check, Finding, Outcome
from store.doctor.inspection import Inspection
from store.turns import cancel, claims, journal, workers
from store.turns.attempts import read_attempts
from tests.integration.store.doctor.conftest import LONG_AGO, Site, outcomes

pytestmark = pytest.mark.soak

AWAY = TurnError("model_error", "away", retryable=True)
HOUR = timedelta(hours=1)


def first_finding(site: Site, name: str) -> tuple[Check, Inspection, Finding]:
    """What the doctor sees before it begins to mend."""
    examination = site.examination(name)
    look, (check,) = examination.start_inspection(), examination.choose_checks()
    (finding,) = check.find(look)
    return check, look, finding


@pytest.mark.parametrize("row_is_there", [True, False])
def test_a_lease_of_a_dead_worker_without_a_turn_is_given_back(site: Site, row_is_there: bool) -> None:
    dead = site.worker()
    site.answered()
    site.change(lease_owner=dead.worker)
    site.age()
    site.kill(dead) if row_is_there else site.forget(dead)

    found = site.found("lease-held-by-nobody")
    mended = site.repaired("lease-held-by-nobody")

    (note,) = found["lease-held-by-nobody"]
    assert note.finding.ids == {"tenant": "default", "thread": "t", "worker": dead.worker}
    assert outcomes(mended) == {"lease-held-by-nobody": [Outcome.REPAIRED]}
    assert site.row().lease_owner is None
    assert site.found("lease-held-by-nobody", "lease-without-turn") == {}


def test_a_living_worker_that_runs_no_turn_of_its_thread_for_long_gives_it_back(site: Site) -> None:
    idle = site.worker()
    site.answered()
    site.change(lease_owner=idle.worker)
    site.age()

    mended = site.repaired("lease-held-by-nobody", "lease-without-turn")

    assert outcomes(mended) == {"lease-without-turn": [Outcome.REPAIRED]}
    assert site.row().lease_owner is None
    assert site.found("lease-held-by-nobody", "lease-without-turn") == {}


def test_a_holder_whose_idle_lease_was_given_back_can_still_go_on_with_its_thread(site: Site) -> None:
    slow = site.worker()
    site.send("one")
    second = site.send("two")
    first = site.claim(slow)
    site.settle(first)
    site.age()
    assert list(site.found()) == ["lease-without-turn"], "its next turn waits for its holder"
    assert outcomes(site.repaired("lease-without-turn")) == {"lease-without-turn": [Outcome.REPAIRED]}

    claimed = site.claim(slow, held=first.lease)

    assert claimed.id == second


@pytest.mark.parametrize("owner", ["nobody", "the dead", "the forgotten"])
def test_a_turn_that_runs_without_a_lease_is_queued_again_and_then_answered(site: Site, owner: str) -> None:
    stale, next_one = site.worker(), site.worker()
    site.send()
    lost = site.claim(stale)
    match owner:
        case "nobody":
            site.change(lease_owner=None)
        case "the dead":
            site.kill(stale)
        case "the forgotten":
            site.forget(stale)
    site.age()

    (note,) = site.found("turn-without-lease")["turn-without-lease"]
    mended = site.repaired("turn-without-lease")

    assert note.finding.ids["turn"] == lost.id
    assert outcomes(mended) == {"turn-without-lease": [Outcome.REPAIRED]}
    turn = site.turn(lost.id)
    assert (turn.state, turn.notified_at, site.row().lease_owner) == ("queued", None, None)
    # Whoever died under it counts, as when the next claim finds it.
    assert turn.crashes == (0 if owner == "nobody" else 1)
    (attempt,) = site.database.run(read_attempts, turn_id=lost.id)
    assert (attempt.number, attempt.outcome) == (1, "interrupted" if owner == "nobody" else "crashed")
    assert site.found() == {}
    with pytest.raises(LeaseLost):
        site.settle(lost)
    step = Step(index=0, kind="model", state="finished")
    with pytest.raises(LeaseLost):
        site.database.run(journal.record, lease=lost.lease, turn_id=lost.id, entries=[step])
    site.settle(site.claim(next_one), release=True)
    assert [role for _, role, _ in site.history()] == ["user", "assistant"]
    assert site.found() == {}


def test_what_a_worker_that_died_just_now_leaves_behind_is_left_to_the_sweep(site: Site) -> None:
    dead = site.worker()
    site.send(thread="runs")
    site.claim(dead, "runs")
    site.answered("idle")
    site.change("idle", lease_owner=dead.worker)
    site.database.run(workers.beat, worker=dead.worker, lease_duration_seconds=-1)

    assert site.repaired() == {}

    # Its threads are quiet for long; its death is still new.
    site.age("runs", "idle")
    assert site.repaired() == {}
    assert outcomes(site.found(older_than_seconds=0)) == {
        "lease-held-by-nobody": [Outcome.FOUND],
        "turn-without-lease": [Outcome.FOUND],
    }


def test_a_worker_that_claims_between_the_finding_and_the_repair_is_left_alone(site: Site) -> None:
    dead, quick = site.worker(), site.worker()
    site.send()
    site.claim(dead)
    site.kill(dead)
    site.age()
    check, look, finding = first_finding(site, "turn-without-lease")
    assert check.repair is not None

    claimed = site.claim(quick)
    done = check.repair(look, finding)

    assert done is None
    assert (site.row().lease_owner, site.turn(claimed.id).state) == (quick.worker, "running")
    site.settle(claimed)
    assert site.turn(claimed.id).state == "completed"


def test_a_repair_waits_for_a_claim_that_is_under_way_and_then_leaves_it_alone(postgres_site: Site) -> None:
    site = postgres_site
    dead, quick = site.worker(), site.worker()
    site.send()
    site.claim(dead)
    site.kill(dead)
    site.age()
    check, look, finding = first_finding(site, "turn-without-lease")
    assert check.repair is not None

    with ThreadPoolExecutor() as pool, site.database.engine.begin() as connection:
        claimed = claims.claim(connection, "default", "t", quick)
        repair = pool.submit(check.repair, look, finding)
        wait_until_blocked(site)
        connection.commit()

        assert repair.result() is None
    assert isinstance(claimed, ClaimedTurn)
    assert (site.row().lease_owner, site.turn(claimed.id).state) == (quick.worker, "running")


def wait_until_blocked(site: Site) -> None:
    """Until a transaction waits for a lock of another one."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    give_up_at = time.monotonic() + 60
    while not site.rows(waiting)[0][0]:
        assert time.monotonic() < give_up_at, "nobody waits for a lock"
        time.sleep(0.01)


def test_a_lease_that_was_taken_between_the_finding_and_the_repair_stays(site: Site) -> None:
    dead, quick = site.worker(), site.worker()
    site.answered()
    site.change(lease_owner=dead.worker)
    site.kill(dead)
    site.age()
    check, look, finding = first_finding(site, "lease-held-by-nobody")
    assert check.repair is not None

    site.send()
    site.claim(quick)

    assert check.repair(look, finding) is None
    assert site.row().lease_owner == quick.worker


def test_a_turn_whose_agent_nobody_serves_any_more_is_told_at_once(site: Site) -> None:
    site.send(thread="unserved", agent="refunds")
    assert site.found("turn-unserved") == {}, "while all workers are away, as in a deployment, none is missing"
    site.worker("assistant")
    site.send(thread="served")

    (note,) = site.found("turn-unserved")["turn-unserved"]

    assert (note.finding.ids["thread"], note.finding.ids["agent"]) == ("unserved", "refunds")
    assert note.finding.detail == "no living worker serves the agent 'refunds'"


def test_a_due_turn_that_nobody_claims_is_told_with_its_agent(site: Site) -> None:
    site.worker("assistant")
    site.send(thread="served")
    site.send(thread="unserved", agent="refunds")
    site.send(thread="suspected")
    site.write(update(tables.turns).where(tables.turns.c.thread_key == site.row("suspected").key).values(crashes=2))
    site.age("served", "unserved", "suspected")

    notes = site.repaired("turn-unclaimed")["turn-unclaimed"]

    told = {note.finding.ids["thread"]: (note.finding.ids["agent"], note.finding.detail) for note in notes}
    assert told["served"] == (
        "assistant",
        "workers serve the agent 'assistant', but none came for it: does the sweep run?",
    )
    assert told["unserved"] == ("refunds", "no living worker serves the agent 'refunds'")
    assert told["suspected"][1].startswith("it stood in 2 crashes")
    assert {note.outcome for note in notes} == {Outcome.LEFT}


def test_a_turn_that_waits_for_a_reason_is_no_finding(site: Site) -> None:
    claimant, later = site.worker(), datetime.now(UTC) + HOUR
    site.send(thread="later", not_before=later)
    site.send(thread="retrying")
    site.settle(site.claim(claimant, "retrying"), RetryLater(after=HOUR, error=AWAY))
    site.send(thread="held")
    site.claim(claimant, "held")
    site.send("and behind it", thread="held")
    site.age("later", "retrying", "held")
    site.send(thread="new")
    site.answered("quiet")
    site.age("quiet")
    site.send(thread="quiet")

    assert site.found() == {}


@pytest.mark.parametrize("due_since", ["not_before", "retry_at"])
def test_a_turn_that_is_due_for_moments_only_is_no_finding(site: Site, due_since: str) -> None:
    site.send()
    site.age()
    site.write(update(tables.turns).values({due_since: datetime.now(UTC) - timedelta(minutes=1)}))

    assert site.found() == {}

    assert list(site.found(unclaimed_seconds=30)) == ["turn-unclaimed"]


def test_a_turn_behind_one_that_waits_is_no_finding(site: Site) -> None:
    site.send()
    site.send("behind it")
    site.settle(site.claim(site.worker()), RetryLater(after=HOUR, error=AWAY))
    site.age()

    assert site.found() == {}


def test_a_turn_whose_tenant_runs_as_many_as_it_may_is_no_finding(site: Site) -> None:
    site.send(thread="runs")
    site.claim(site.worker(), "runs")
    site.send()
    site.age()

    assert list(site.found(tenant_max_running=2)) == ["turn-unclaimed"]
    assert site.found(tenant_max_running=1) == {}


def test_a_library_turn_whose_program_died_is_only_told_where_workers_should_have_ended_it(site: Site) -> None:
    program = site.worker()
    turn_id = site.send(local_process_id=program.worker)
    runs_its_own = claims.ClaimRequest(worker=program.worker, local_process_id=program.worker, agents=program.agents)
    site.claim(runs_its_own)
    site.kill(program)
    assert site.found() == {}

    site.age()

    found = site.repaired()
    if site.database.is_sqlite:
        assert found == {}
    else:
        (note,) = found["turn-unclaimed"]
        assert (note.finding.ids["turn"], note.outcome) == (turn_id, Outcome.LEFT)
        assert "the program that ran it" in note.finding.detail


def test_a_healthy_busy_installation_gives_no_finding(site: Site) -> None:
    claimant = site.worker()
    site.answered("answered")
    site.send(thread="queued")
    site.send(thread="running")
    site.claim(claimant, "running")
    site.send(thread="retrying")
    site.settle(site.claim(claimant, "retrying"), RetryLater(after=HOUR, error=AWAY))
    cancelled = site.send(thread="cancelled")
    site.database.run(cancel.request_cancel, turn_id=cancelled)
    site.send(thread="stopping")
    stopping = site.claim(claimant, "stopping")
    site.database.run(cancel.request_cancel, turn_id=stopping.id)
    abandoned = site.send(thread="abandoned", local_process_id=new_id())
    site.save_file(thread="with-a-file")
    for content in ("one", "two"):
        site.send(content, thread="between")
    site.settle(site.claim(claimant, "between"))
    assert site.row("between").lease_owner == claimant.worker
    site.answered("cut")
    site.answered("cut")
    site.write(
        delete(tables.messages).where(tables.messages.c.thread_key == site.row("cut").key, tables.messages.c.seq <= 2)
    )
    site.change("cut", history_starts_after=2)

    assert site.repaired() == {}

    assert site.turn(abandoned).state == "queued"
    assert site.turn(stopping.id).state == "running"


def test_a_running_turn_of_a_living_worker_is_left_alone_however_long_it_takes(site: Site) -> None:
    claimant = site.worker()
    site.send()
    claimed = site.claim(claimant)
    site.age()
    site.write(update(tables.turns).values(started_at=LONG_AGO))

    assert site.repaired(older_than_seconds=0, unclaimed_seconds=0) == {}

    site.settle(claimed)
    assert site.turn(claimed.id).state == "completed"


def test_a_turn_that_waits_for_nothing_is_queued_again(site: Site) -> None:
    worker = site.worker()
    site.send()
    waiting = site.claim(worker)
    request = PendingRequest(call_id="c", step_index=1, kind=PendingKind.APPROVAL, name="refund")
    site.settle(waiting, Waiting(pending=(request,)))
    site.age()
    assert site.found("turn-waiting-for-nothing") == {}
    site.write(tables.pending_calls.delete())

    mended = site.repaired("turn-waiting-for-nothing")

    assert outcomes(mended) == {"turn-waiting-for-nothing": [Outcome.REPAIRED]}
    assert site.turn(waiting.id).state == "queued"
