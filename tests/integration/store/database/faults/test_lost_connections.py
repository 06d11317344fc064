"""The connection is lost at each statement in turn, before it arrives or before its answer does.

COMMIT is one of them: then nobody knows what came of it. Whatever the verb, the caller has its answer or
`DatabaseUnavailable`, and once the processes have gone on there is one turn, said once, and no lease.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from conversation.errors import DatabaseUnavailable, LeaseLost
from conversation.turn import ClaimedTurn, HandOver, RetryLater, TurnError
from store.database.retry_policy import MAX_RUNS
from store.settings import load
from store.turns import records, sweep
from store.turns.claims import NothingDue
from store.turns.settle import SettleOutcome
from tasks.active_runs import ActiveRuns
from tasks.heartbeat import Heartbeat
from tests.integration.store.database.faults.breaking_wire import BreakingWire, Moment
from tests.integration.store.database.faults.stage import Stage, answer
from tests.integration.store.database.faults.verbs import ENDS, GIVEN_UP, VERBS, tried

pytestmark = pytest.mark.soak


async def statements_of(stage: Stage, wire: BreakingWire, name: str) -> int:
    """How many statements the verb takes where nothing breaks."""
    act = VERBS[name](stage, "unbroken")
    unbroken = wire.breaks()
    assert not isinstance(await tried(act), DatabaseUnavailable)
    stage.go_on()
    # A function is called alone, between its limits and the end of its message.
    assert unbroken.statements[0].startswith(("BEGIN", "SET LOCAL"))
    assert unbroken.statements[-1].startswith(("COMMIT", "SET LOCAL"))
    return len(unbroken.statements)


@pytest.fixture(params=[True, pytest.param(False, marks=pytest.mark.endurance)], ids=["functions", "plain"])
async def either_stage(request: pytest.FixtureRequest, database_url: str, wire: BreakingWire) -> AsyncIterator[Stage]:
    """A stage over the functions of PostgreSQL, and at full length over plain statements, too."""
    opened = Stage(database_url, wire.url, use_functions=request.param)
    await opened.open()
    yield opened
    await opened.close()


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("name", VERBS)
async def test_a_connection_that_is_lost_once_goes_unnoticed(
    either_stage: Stage, wire: BreakingWire, name: str, moment: Moment
) -> None:
    stage = either_stage
    for at in range(1, await statements_of(stage, wire, name) + 1):
        thread = f"{moment}-{at}"
        act = VERBS[name](stage, thread)
        cut = wire.breaks(at, moment)

        outcome = await tried(act)

        told = f"{name}: cut {moment} statement {at}: {outcome!r}\n{cut.statements}"
        assert cut.broken == 1, told
        assert not isinstance(outcome, DatabaseUnavailable), told
        stage.go_on()
        (turn_id,) = stage.turn_ids(thread)
        stage.assert_whole(thread, turn_ids=[turn_id], state=ENDS.get(name, "completed"), told=told)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("name", VERBS)
async def test_a_connection_that_is_lost_each_time_is_told_and_does_no_harm(
    either_stage: Stage, wire: BreakingWire, name: str, moment: Moment
) -> None:
    stage = either_stage
    for at in range(1, await statements_of(stage, wire, name) + 1):
        thread = f"{moment}-{at}"
        act = VERBS[name](stage, thread)
        cut = wire.breaks(at, moment, times=MAX_RUNS)

        outcome = await tried(act)

        told = f"{name}: cut {moment} statement {at}: {outcome!r}\n{cut.statements}"
        wire.breaks()
        assert cut.broken == MAX_RUNS or not isinstance(outcome, DatabaseUnavailable), told
        if isinstance(outcome, DatabaseUnavailable) and name not in GIVEN_UP:
            await act()
        stage.go_on()
        (turn_id,) = stage.turn_ids(thread)
        stage.assert_whole(thread, turn_ids=[turn_id], state=ENDS.get(name, "completed"), told=told)


async def test_a_claim_that_nobody_heard_the_answer_of_goes_on_with_the_next_heartbeat(
    stage: Stage, wire: BreakingWire
) -> None:
    """Its lease stands, and is nobody's: it was written for a task that was told that there is nothing."""
    running = ActiveRuns()
    heart = Heartbeat(stage.worker, load(database_url=wire.url), {}, running, asyncio.get_running_loop())
    turn_id = stage.sent("t")
    cut = wire.breaks(1, "after")

    with running.enter(("default", "t")):
        assert await stage.ledger.claim("default", "t", stage.claimant) == NothingDue()
        heart._beat()
        assert stage.steady.run(records.read, turn_id=turn_id).state == "running"
    heart._beat()

    heart._database.close()
    assert cut.broken == 1
    assert "claim_turn" in cut.statements[0]
    # Notified for at once: no grace of an earlier wake-up holds it back.
    (wake_up,) = stage.steady.run(sweep.pick_wake_ups, grace_seconds=600, limit=10)
    assert wake_up.turn_id == turn_id
    found = await stage.ledger.claim("default", "t", stage.claimant)
    assert isinstance(found, ClaimedTurn)
    record = stage.steady.run(records.read, turn_id=turn_id)
    assert (found.attempt, found.retries, record.crashes) == (2, 0, 0)


async def test_a_claim_that_goes_on_and_heard_no_answer_leaves_the_next_turn_to_the_next_heartbeat(
    stage: Stage, wire: BreakingWire
) -> None:
    first = stage.claimed("t")
    second = stage.sent("t")
    assert stage.settled(first) == SettleOutcome(second, keeps_lease=True)
    wire.breaks(1, "after")

    found = await stage.ledger.claim("default", "t", stage.claimant, held=first.lease)

    assert found == NothingDue()
    stage.go_on()
    stage.assert_whole("t", turn_ids=[first.id, second], state="completed", told="")


async def test_a_commit_that_was_heard_of_only_when_it_was_run_again_keeps_its_place_in_the_thread(
    stage: Stage, wire: BreakingWire
) -> None:
    """The second run finds the turn over, and the lease still held for the message that waits behind it."""
    first = stage.claimed("t")
    second = stage.sent("t")
    wire.breaks(1, "after")

    settled = await stage.ledger.settle(first, answer(), release=False)

    assert settled.keeps_lease
    found = await stage.ledger.claim("default", "t", stage.claimant, held=first.lease)
    assert isinstance(found, ClaimedTurn)
    assert found.id == second


@pytest.mark.parametrize("ending", [HandOver(), RetryLater(after=timedelta(0), error=TurnError("model_error", "away"))])
async def test_a_turn_that_was_put_back_without_an_answer_is_queued_once(
    stage: Stage, wire: BreakingWire, ending: HandOver | RetryLater
) -> None:
    """The second run finds a free thread: it is not told apart from a lost lease, and does no harm."""
    claimed = stage.claimed("t")
    wire.breaks(1, "after")

    with contextlib.suppress(LeaseLost):
        await stage.ledger.settle(claimed, ending, release=True)

    record = stage.steady.run(records.read, turn_id=claimed.id)
    assert (record.state, record.retries) == ("queued", int(isinstance(ending, RetryLater)))
    stage.go_on()
    stage.assert_whole("t", turn_ids=[claimed.id], state="completed", told="")
