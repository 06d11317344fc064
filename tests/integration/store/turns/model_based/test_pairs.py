"""Pairs that meet: each is held up after each of its statements while the other one runs.

What stays true: the one held up really stands between two of its statements, and the other has
ended, or is seen to wait for a lock, before it goes on.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.integration.store.turns.model_based import picture
from tests.integration.store.turns.model_based.branch_operations import Branch, Choose, DeleteBranch, DeleteThread, Fork
from tests.integration.store.turns.model_based.decision_operations import Decide
from tests.integration.store.turns.model_based.events import Race
from tests.integration.store.turns.model_based.operations import (
    Beat,
    Cancel,
    Claim,
    LetGo,
    Operation,
    Record,
    Register,
    Requeue,
    Send,
    Settle,
    Take,
    outcome,
)
from tests.integration.store.turns.model_based.orders import explain
from tests.integration.store.turns.model_based.reference import LEASE, Mailbox
from tests.integration.store.turns.model_based.stage import Stage
from tests.integration.store.turns.model_based.values import Ask, Child, Claimed, Decided, End, Process, Request

#: No operation has so many statements: what is held up after these stands before its commit.
BEFORE_COMMIT = 99

ONE = Process(id="a0000000-0000-0000-0000-000000000001")
TWO = Process(id="a0000000-0000-0000-0000-000000000002")
FIRST, SECOND, THIRD, AGAIN = (f"b0000000-0000-0000-0000-00000000000{number}" for number in range(1, 5))
ANSWERED = End(kind="completed", replies=("c1.a", "c1.b"), step=1)
FAILED = End(kind="failed", error="model_error")


@dataclass
class Scene:
    """What happened before, on the store and in the model."""

    stage: Stage
    model: Mailbox = field(default_factory=Mailbox)
    position: int = 0

    def do(self, operation: Operation) -> Any:
        self.position += 1
        told = self.stage.run(operation)
        assert told == outcome(lambda: operation.on_model(self.model, self.position))
        return told

    def pass_time(self, seconds: int) -> None:
        self.model.now += seconds
        self.stage.set_clock(self.model.now)

    def lapse(self) -> None:
        """The first worker stands still for longer than its lease."""
        self.pass_time(LEASE)
        self.do(Beat(TWO.id))

    def race(self, race: Race) -> int:
        """Returns how many statements the first of them had."""
        raced = self.stage.race(race.first, race.second, after=race.after, commits=race.commits)
        stored = self.stage.picture()
        found = explain(self.model, race, raced, stored, self.position + 1)
        assert found, f"no order explains {raced}, after {race.after} of {race}; stored is {stored}"
        picture.check_by_itself(stored)
        return raced.statements


@pytest.fixture
def scene(stage: Stage) -> Scene:
    """Two workers; two turns wait on one thread."""
    return opening(stage)


def opening(stage: Stage) -> Scene:
    stage.clear()
    scene = Scene(stage)
    for process in (ONE, TWO):
        scene.do(Register(process))
    scene.do(Send(ask(FIRST)))
    scene.do(Send(ask(SECOND)))
    return scene


def ask(turn: str, key: str | None = None, when_busy: str | None = None) -> Ask:
    return Ask(turn=turn, thread="x", content="hello", key=key, when_busy=when_busy)


def claimed(scene: Scene) -> Claimed:
    job = scene.do(Claim(ONE, "x"))
    assert isinstance(job, Claimed)
    job = replace(job, number=scene.model.threads["x"].number)
    scene.do(Record(job, ((0, "started"),)))
    return job


def two_claims(scene: Scene) -> tuple[Operation, Operation]:
    return Claim(ONE, "x"), Claim(TWO, "x")


def claim_and_stale_commit(scene: Scene) -> tuple[Operation, Operation]:
    job = claimed(scene)
    scene.lapse()
    return Claim(TWO, "x"), Settle(job, ANSWERED, release=False)


def claim_and_stale_step(scene: Scene) -> tuple[Operation, Operation]:
    job = claimed(scene)
    scene.lapse()
    return Claim(TWO, "x"), Record(job, ((0, "finished"), (1, "started")))


def claim_and_commit(scene: Scene) -> tuple[Operation, Operation]:
    return Claim(TWO, "x"), Settle(claimed(scene), ANSWERED, release=True)


def cancel_and_commit(scene: Scene) -> tuple[Operation, Operation]:
    return Cancel(FIRST), Settle(claimed(scene), ANSWERED, release=False)


def cancel_and_claim(scene: Scene) -> tuple[Operation, Operation]:
    return Cancel(FIRST), Claim(ONE, "x")


def send_and_claim(scene: Scene) -> tuple[Operation, Operation]:
    scene.do(Cancel(FIRST))
    scene.do(Cancel(SECOND))
    return Send(ask(THIRD)), Claim(ONE, "x")


def send_and_commit(scene: Scene) -> tuple[Operation, Operation]:
    scene.do(Cancel(SECOND))
    return Send(ask(THIRD)), Settle(claimed(scene), ANSWERED, release=False)


def two_sends_with_one_key(scene: Scene) -> tuple[Operation, Operation]:
    return Send(ask(THIRD, key="k")), Send(ask(AGAIN, key="k"))


def let_go_and_claim(scene: Scene) -> tuple[Operation, Operation]:
    job = claimed(scene)
    return LetGo(ONE.id, "x", job.fence, job.turn), Claim(TWO, "x")


def let_go_and_commit(scene: Scene) -> tuple[Operation, Operation]:
    job = claimed(scene)
    return LetGo(ONE.id, "x", job.fence, job.turn), Settle(job, ANSWERED, release=False)


def step_and_commit(scene: Scene) -> tuple[Operation, Operation]:
    job = claimed(scene)
    return Record(job, ((0, "finished"), (1, "started"))), Settle(job, FAILED, release=True)


def one_commit_twice(scene: Scene) -> tuple[Operation, Operation]:
    commit = Settle(claimed(scene), ANSWERED, release=True)
    return commit, commit


def one_commit_twice_that_goes_on(scene: Scene) -> tuple[Operation, Operation]:
    commit = Settle(claimed(scene), ANSWERED, release=False)
    return commit, commit


def going_on_and_claim(scene: Scene) -> tuple[Operation, Operation]:
    job = claimed(scene)
    scene.do(Settle(job, ANSWERED, release=False))
    scene.lapse()
    return Claim(ONE, "x", held=job.fence), Claim(TWO, "x")


def requeue_and_claim(scene: Scene) -> tuple[Operation, Operation]:
    scene.do(Settle(claimed(scene), FAILED, release=True))
    return Requeue(FIRST, AGAIN), Claim(TWO, "x")


def requeue_twice(scene: Scene) -> tuple[Operation, Operation]:
    scene.do(Cancel(SECOND))
    return Requeue(SECOND, AGAIN), Requeue(SECOND, AGAIN)


def interrupting_and_commit(scene: Scene) -> tuple[Operation, Operation]:
    return Send(ask(THIRD, when_busy="interrupt")), Settle(claimed(scene), ANSWERED, release=False)


def rolling_back_and_commit(scene: Scene) -> tuple[Operation, Operation]:
    return Send(ask(THIRD, when_busy="rollback")), Settle(claimed(scene), ANSWERED, release=False)


def rolling_back_and_claim(scene: Scene) -> tuple[Operation, Operation]:
    return Send(ask(THIRD, when_busy="rollback")), Claim(ONE, "x")


def merging_and_claim(scene: Scene) -> tuple[Operation, Operation]:
    scene.do(Cancel(FIRST))
    scene.do(Cancel(SECOND))
    scene.do(Send(ask(THIRD, when_busy="merge")))
    return Send(ask(AGAIN, when_busy="merge")), Claim(ONE, "x")


def two_that_bear_no_other(scene: Scene) -> tuple[Operation, Operation]:
    scene.do(Cancel(FIRST))
    scene.do(Cancel(SECOND))
    return Send(ask(THIRD, when_busy="reject")), Send(ask(AGAIN, when_busy="reject"))


def steered(scene: Scene) -> Claimed:
    job = claimed(scene)
    scene.do(Send(ask(THIRD, when_busy="steer")))
    return job


def reading_and_cancel(scene: Scene) -> tuple[Operation, Operation]:
    return Take(steered(scene), 1), Cancel(THIRD)


def reading_and_letting_go(scene: Scene) -> tuple[Operation, Operation]:
    job = steered(scene)
    return Take(job, 1), LetGo(ONE.id, "x", job.fence, job.turn)


def reading_and_rolling_back(scene: Scene) -> tuple[Operation, Operation]:
    return Take(steered(scene), 1), Send(ask(AGAIN, when_busy="rollback"))


def waiting(scene: Scene) -> None:
    asked = Request(call="call", kind="approval", seconds=LEASE, index=0)
    scene.do(Settle(claimed(scene), End(kind="wait", requests=(asked,)), release=False))


def two_decisions(scene: Scene) -> tuple[Operation, Operation]:
    waiting(scene)
    return Decide(FIRST, "call", Decided("approve")), Decide(FIRST, "call", Decided("deny"))


def decision_and_cancel(scene: Scene) -> tuple[Operation, Operation]:
    waiting(scene)
    return Decide(FIRST, "call", Decided("approve")), Cancel(FIRST)


def decision_and_interrupted_claim(scene: Scene) -> tuple[Operation, Operation]:
    waiting(scene)
    scene.do(Send(ask(THIRD, when_busy="interrupt")))
    return Decide(FIRST, "call", Decided("approve")), Claim(TWO, "x")


def deleting_and_cancel(scene: Scene) -> tuple[Operation, Operation]:
    claimed(scene)
    return DeleteThread("x"), Cancel(FIRST)


def deleting_and_requeue(scene: Scene) -> tuple[Operation, Operation]:
    scene.do(Cancel(FIRST))
    return DeleteThread("x"), Requeue(FIRST, AGAIN)


def deleting_and_commit_of_what_a_fork_shares(scene: Scene) -> tuple[Operation, Operation]:
    job = claimed(scene)
    scene.do(Fork("x", "f"))
    return DeleteThread("x"), Settle(job, ANSWERED, release=False)


def answered_and_branched(scene: Scene) -> None:
    scene.do(Settle(claimed(scene), ANSWERED, release=True))
    scene.do(Branch("x", "two", at=1))


def choosing_and_send(scene: Scene) -> tuple[Operation, Operation]:
    answered_and_branched(scene)
    return Choose("x", "two"), Send(ask(THIRD))


def deleting_a_branch_and_send(scene: Scene) -> tuple[Operation, Operation]:
    answered_and_branched(scene)
    return DeleteBranch("x", "two"), Send(replace(ask(THIRD), thread="x/two"))


def deleting_a_branch_and_branching_it(scene: Scene) -> tuple[Operation, Operation]:
    answered_and_branched(scene)
    scene.do(Send(replace(ask(THIRD), thread="x/two")))
    scene.do(Settle(scene.do(Claim(ONE, "x/two")), ANSWERED, release=True))
    return DeleteBranch("x", "two"), Branch("x/two", "three")


CHILD = Child(AGAIN, "of-it", "assistant")


def family(scene: Scene) -> Claimed:
    """The first turn waits for another one, which runs."""
    asked = Request(call="call", kind="child", seconds=LEASE, index=0, child=CHILD)
    scene.do(Settle(claimed(scene), End(kind="wait", requests=(asked,)), release=False))
    job = scene.do(Claim(TWO, CHILD.thread))
    assert isinstance(job, Claimed)
    return job


def end_of_a_child_and_its_parents_cancel(scene: Scene) -> tuple[Operation, Operation]:
    return Settle(family(scene), ANSWERED, release=True), Cancel(FIRST)


def end_of_a_child_and_its_own_cancel(scene: Scene) -> tuple[Operation, Operation]:
    return Settle(family(scene), ANSWERED, release=True), Cancel(CHILD.turn)


def end_of_a_child_and_the_end_of_its_parent(scene: Scene) -> tuple[Operation, Operation]:
    job = family(scene)
    scene.do(Cancel(FIRST))
    refused = scene.do(Claim(ONE, "x"))
    return Settle(job, ANSWERED, release=True), Settle(refused, End(kind="cancelled"), release=True)


def end_of_a_child_and_its_deletion(scene: Scene) -> tuple[Operation, Operation]:
    return Settle(family(scene), ANSWERED, release=True), DeleteThread(CHILD.thread)


def end_of_a_child_and_the_deletion_of_its_parent(scene: Scene) -> tuple[Operation, Operation]:
    return Settle(family(scene), ANSWERED, release=True), DeleteThread("x")


PAIRS = [
    two_claims, claim_and_stale_commit, claim_and_stale_step, claim_and_commit, cancel_and_commit,
    cancel_and_claim, send_and_claim, send_and_commit, two_sends_with_one_key, let_go_and_claim,
    let_go_and_commit, step_and_commit, one_commit_twice, one_commit_twice_that_goes_on, going_on_and_claim,
    requeue_and_claim, requeue_twice, interrupting_and_commit, rolling_back_and_commit, rolling_back_and_claim,
    merging_and_claim, two_that_bear_no_other, reading_and_cancel, reading_and_letting_go,
    reading_and_rolling_back, two_decisions, decision_and_cancel, decision_and_interrupted_claim,
    *(
        pytest.param(pair, marks=pytest.mark.soak)
        for pair in (
            deleting_and_cancel, deleting_and_requeue, deleting_and_commit_of_what_a_fork_shares, choosing_and_send,
            deleting_a_branch_and_send, deleting_a_branch_and_branching_it,
        )
    ),
    *(
        pytest.param(pair, marks=[pytest.mark.soak, pytest.mark.endurance])
        for pair in (
            end_of_a_child_and_its_parents_cancel, end_of_a_child_and_its_own_cancel,
            end_of_a_child_and_the_end_of_its_parent, end_of_a_child_and_its_deletion,
            end_of_a_child_and_the_deletion_of_its_parent,
        )
    ),
]  # fmt: skip


@pytest.mark.timeout(600)
@pytest.mark.parametrize("swapped", [False, True], ids=["", "swapped"])
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.__name__)
def test_two_at_once_come_to_what_one_after_the_other_would(stage: Stage, pair: Any, swapped: bool) -> None:
    """Wherever the first of them is held up, and also when it dies there."""

    def meet(after: int, *, commits: bool = True) -> int:
        scene = opening(stage)
        first, second = reversed(pair(scene)) if swapped else pair(scene)
        return scene.race(Race(first, second, after, commits))

    statements = meet(BEFORE_COMMIT)
    meet(BEFORE_COMMIT, commits=False)
    for after in range(1, statements):
        meet(after)


@pytest.mark.parametrize("pair", [deleting_and_cancel, deleting_and_requeue], ids=lambda pair: pair.__name__)
def test_who_waited_for_a_thread_that_is_deleted_is_told_that_its_turn_is_not_there(scene: Scene, pair: Any) -> None:
    deletion, verb = pair(scene)

    assert scene.stage.race(deletion, verb).second == "TurnNotFound"


def test_a_turn_that_runs_ends_with_its_thread_though_a_fork_shares_its_question(scene: Scene) -> None:
    deletion, commit = deleting_and_commit_of_what_a_fork_shares(scene)

    scene.do(deletion)

    assert scene.do(commit) == "LeaseLost"
    assert picture.of_model(scene.model) == scene.stage.picture()


def test_a_claim_waits_for_whoever_looks_at_the_thread(scene: Scene) -> None:
    """Its wake-up is the only one: were it to pass over a locked row, nobody would come back."""
    raced = scene.stage.race(Claim(ONE, "x"), Claim(TWO, "x"), commits=False)

    assert raced.waited
    assert isinstance(raced.second, Claimed)


def test_a_claim_that_waited_for_a_crash_sees_it(scene: Scene) -> None:
    """Its turn has stood in two crashes by then: it is for a worker that runs it alone."""
    claimed(scene)
    scene.pass_time(LEASE)

    raced = scene.stage.race(Claim(ONE, "x"), Claim(ONE, "x"))

    assert raced.waited
    assert raced.second == f"suspect {FIRST}"


def test_an_end_that_is_written_again_does_not_undo_a_requeue(scene: Scene) -> None:
    """Its answer was lost on the way, and meanwhile somebody asked for the turn again."""
    later = ask(THIRD)
    scene.do(Cancel(FIRST))
    scene.do(Cancel(SECOND))
    scene.do(Send(replace(later, not_before=LEASE // 2)))
    scene.do(Send(ask(AGAIN)))
    job = claimed(scene)
    scene.pass_time(LEASE - 1)
    end = Settle(job, FAILED, release=False)
    assert scene.do(end) == (THIRD, True)
    scene.do(Requeue(AGAIN, "b0000000-0000-0000-0000-000000000009"))

    told = scene.do(end)

    assert told == "LeaseLost"
    assert picture.of_model(scene.model) == scene.stage.picture()
