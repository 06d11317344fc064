"""Two messages at once on real locks: a worker's statements with a send between them, and the other way round.

What stays true: whichever comes first, no message is lost and none is answered twice; who sends waits for no worker,
and holds up none.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, event

from conversation.errors import ThreadBusy
from conversation.turn import ClaimedTurn, RefusedTurn, TurnState
from conversation.when_busy import WhenBusy
from store.database.engine import Database
from store.settings import load
from store.turns import cancel, claims, journal, steering
from store.turns import settle as settling
from tests.integration.store.turns.busy_scene import BusyScene
from tests.integration.store.turns.test_interleavings import PATIENCE, Mailbox

Operation = Callable[[Connection], Any]


@pytest.fixture
def scene(database_url: str) -> Iterator[BusyScene]:
    """A thread on PostgreSQL's functions."""
    database = Database(load(database_url=database_url, db_lock_timeout_seconds=3 * PATIENCE))
    yield BusyScene(database)
    database.close()


@pytest.fixture
def plain_database(database_url: str) -> Iterator[Database]:
    """PostgreSQL in plain statements, between which others commit."""
    database = Database(load(database_url=database_url), use_functions=False)
    yield database
    database.close()


@contextmanager
def soon(scene: BusyScene, operation: Operation) -> Iterator[Any]:
    """Another transaction, which is seen to wait for a lock, and what it comes to."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(scene.database.run, operation)
        Mailbox(scene.database).wait_until_blocked()
        yield future


def test_of_two_messages_at_once_that_bear_no_other_one_is_refused(scene: BusyScene) -> None:
    """The thread is free for both; the index lets one in."""
    scene.send("earlier")
    scene.run_all()
    with scene.database.engine.connect() as connection:
        first = scene.accept(connection, "one", when_busy=WhenBusy.REJECT)
        with soon(scene, partial(scene.accept, content="two", when_busy=WhenBusy.REJECT)) as second:
            connection.commit()
            with pytest.raises(ThreadBusy) as refused:
                second.result(PATIENCE)

    assert refused.value.turn_id == first


def test_of_two_messages_at_once_the_second_is_taken_where_the_firsts_transaction_is_rolled_back(
    scene: BusyScene,
) -> None:
    scene.send("earlier")
    scene.run_all()
    with scene.database.engine.connect() as connection:
        scene.accept(connection, "one", when_busy=WhenBusy.REJECT)
        with soon(scene, partial(scene.accept, content="two", when_busy=WhenBusy.REJECT)) as second:
            connection.rollback()
            assert scene.read(second.result(PATIENCE)).state is TurnState.QUEUED


@pytest.mark.parametrize("policy", [WhenBusy.INTERRUPT, WhenBusy.ROLLBACK, WhenBusy.MERGE, WhenBusy.STEER])
def test_a_message_of_an_open_transaction_holds_up_no_turn(scene: BusyScene, policy: WhenBusy) -> None:
    first = scene.send("one")
    claimed = scene.claim_turn()
    with scene.database.engine.connect() as connection:
        second = scene.accept(connection, "two", when_busy=policy)
        scene.call_tool(claimed)
        scene.end_tool(claimed)
        assert not scene.is_asked_to_stop(first)
        scene.end(claimed)
        connection.commit()

    scene.run_all()
    assert [scene.read(each).state for each in (first, second)] == [TurnState.COMPLETED] * 2


def test_a_cancel_that_waits_for_a_message_to_be_taken_cancels_the_turn_that_took_it(scene: BusyScene) -> None:
    first = scene.send("one")
    claimed = scene.claim_turn()
    second = scene.send("two", WhenBusy.STEER)
    with scene.database.engine.connect() as connection:
        (step,) = steering.take(connection, claimed.lease, claimed.id, 0, limit=20)
        with soon(scene, partial(cancel.cancel_answering, turn_id=second)) as cancelling:
            connection.commit()
            assert cancelling.result(PATIENCE).turn_id == first

    scene.end(claimed)
    assert step.name == second
    assert scene.result(second).state is TurnState.CANCELLED


def test_a_message_that_is_cancelled_before_it_is_taken_is_not_read(scene: BusyScene) -> None:
    scene.send("one")
    claimed = scene.claim_turn()
    second = scene.send("two", WhenBusy.STEER)
    with scene.database.engine.connect() as connection:
        cancel.request_cancel(connection, second)
        taking = partial(steering.take, lease=claimed.lease, turn_id=claimed.id, index=0, limit=20)
        with soon(scene, taking) as taken:
            connection.commit()
            assert taken.result(PATIENCE) == []


def test_a_claim_that_waits_for_an_end_sees_what_was_sent_to_interrupt_meanwhile(scene: BusyScene) -> None:
    first, waiting = scene.send("one"), scene.send("two")
    claimed = scene.claim_turn()
    claiming = partial(
        claims.claim, tenant="default", thread_id=scene.thread, claimant=BusyScene(scene.database).claimant
    )
    with scene.database.engine.connect() as connection:
        settling.settle(connection, claimed.lease, first, scene.ending(claimed), release=True)
        with soon(scene, claiming) as found:
            asking = scene.send("three", WhenBusy.INTERRUPT)
            connection.commit()
            refused = found.result(PATIENCE)

    assert isinstance(refused, RefusedTurn)
    assert refused.id == waiting
    assert scene.read(waiting).interrupted_by == asking


# A send between the statements of a worker, and a worker between those of a send


class Between:
    """Runs something after so many statements of an operation, in a transaction of its own, and only once."""

    def __init__(self, database: Database, after: int, action: Callable[[], object]) -> None:
        self.database, self.after, self.action = database, after, action
        self.count, self.is_acting, self.has_acted = 0, False, False

    def run(self, operation: Operation) -> Any:
        if not self.after:
            return self.database.run(operation)
        event.listen(self.database.engine, "after_cursor_execute", self._count)
        try:
            result = self.database.run(operation)
        finally:
            event.remove(self.database.engine, "after_cursor_execute", self._count)
        if not self.has_acted:
            self.action()
        return result

    def _count(self, *_: object) -> None:
        if self.is_acting:
            return
        self.count += 1
        if self.count == self.after:
            self.is_acting = self.has_acted = True
            self.action()
            self.is_acting = False


def check_whole(scene: BusyScene, sent: list[str], refused: int) -> None:
    """Nothing waits, nothing is lost or doubled, and each turn resolves to an end."""
    scene.run_all()
    assert scene.inbox_count() == 0
    stored = scene.stored()
    assert sorted(set(stored)) == sorted(stored), "something stands there twice"
    assert len(sent) + refused == 2
    for turn_id, text in zip(sent, ("one", "two"), strict=False):
        record, result = scene.read(turn_id), scene.result(turn_id)
        assert result.state.is_final
        assert result.state is not TurnState.MERGED
        if record.attempt or record.merged_into:
            assert stored.count(text) == 1
        if record.merged_into:
            assert text in scene.result(turn_id).content or result.state is TurnState.CANCELLED


def hold_worker(scene: BusyScene, kind: str, act: Callable[[], object], after: int) -> int:
    """Run one operation of a worker, with something else after so many of its statements; how many it had."""
    between = Between(scene.database, after, act)
    if kind == "claim":
        between.run(partial(claims.claim, tenant="default", thread_id=scene.thread, claimant=scene.claimant))
        _take_over(scene)
        return between.count
    claimed = scene.claim_turn()
    if kind == "cancel":
        between.run(partial(cancel.request_cancel, turn_id=claimed.id))
        scene.end(claimed)
    elif kind == "step":
        scene.call_tool(claimed)
        _, step = sorted(scene.database.run(journal.load, claimed.id).items())[1]
        between.run(partial(journal.record, lease=claimed.lease, turn_id=claimed.id, entries=[step]))
        scene.take(claimed, 2)
        scene.end(claimed)
    elif kind == "take":
        between.run(partial(steering.take, lease=claimed.lease, turn_id=claimed.id, index=0, limit=20))
        scene.end(claimed)
    elif kind == "commit":
        ending = scene.ending(claimed)
        between.run(partial(settling.settle, lease=claimed.lease, turn_id=claimed.id, ending=ending, release=True))
    else:
        _take_over(scene, between)
    return between.count


def _take_over(scene: BusyScene, between: "Between | None" = None) -> None:
    """The worker dies, and another one takes its thread over."""
    with scene.database.engine.begin() as connection:
        connection.exec_driver_sql(f"DELETE FROM workers WHERE id = '{scene.worker}'")
    scene.worker = BusyScene(scene.database).worker
    claiming = partial(claims.claim, tenant="default", thread_id=scene.thread, claimant=scene.claimant)
    turn = between.run(claiming) if between is not None else scene.claim()
    if isinstance(turn, RefusedTurn):
        scene.settle(turn, turn.ending)
    elif isinstance(turn, ClaimedTurn):
        scene.end(turn)


KINDS = ("claim", "step", "take", "commit", "cancel", "crash")


def sweep(database: Database, policy: WhenBusy, kind: str) -> None:
    """Send after each statement of a worker's operation."""
    after, count = 1, 1
    while after <= count:
        scene = BusyScene(database)
        sent = [scene.send("one", policy)]
        refusals: list[ThreadBusy] = []

        def send_second(scene: BusyScene = scene, sent: list[str] = sent, refusals: list[Any] = refusals) -> None:
            try:
                sent.append(scene.send("two", policy))
            except ThreadBusy as refusal:
                refusals.append(refusal)

        count = hold_worker(scene, kind, send_second, after)
        check_whole(scene, sent, len(refusals))
        after += 1


@pytest.mark.parametrize("kind", ["claim", "commit"])
def test_a_message_between_the_statements_of_a_claim_or_a_commit_is_answered_once(
    plain_database: Database, kind: str
) -> None:
    sweep(plain_database, WhenBusy.MERGE, kind)


@pytest.mark.soak
def test_a_message_between_any_two_statements_of_a_worker_is_answered_once(plain_database: Database) -> None:
    for policy in (WhenBusy.STEER, WhenBusy.ROLLBACK):
        for kind in KINDS:
            sweep(plain_database, policy, kind)


@pytest.mark.soak
@pytest.mark.endurance
@pytest.mark.parametrize("policy", list(WhenBusy))
def test_a_message_of_each_policy_between_any_two_statements_of_a_worker_is_answered_once(
    plain_database: Database, policy: WhenBusy
) -> None:
    for kind in KINDS:
        sweep(plain_database, policy, kind)


@pytest.mark.soak
@pytest.mark.endurance
@pytest.mark.parametrize("policy", list(WhenBusy))
def test_a_worker_between_any_two_statements_of_a_send_leaves_no_message(
    plain_database: Database, policy: WhenBusy
) -> None:
    for kind in KINDS:
        _sweep_send(plain_database, policy, kind)


def _sweep_send(database: Database, policy: WhenBusy, kind: str) -> None:
    after, count = 1, 1
    while after <= count:
        scene = BusyScene(database)
        sent = [scene.send("one", policy)]
        refused = 0
        between = Between(database, after, partial(hold_worker, scene, kind, lambda: None, 0))
        try:
            sent.append(between.run(partial(scene.accept, content="two", when_busy=policy)))
        except ThreadBusy:
            refused = 1
        count = between.count
        check_whole(scene, sent, refused)
        after += 1
