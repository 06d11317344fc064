"""Two messages at once on real locks; `test_policy_interleavings.py` has the table of all that may meet.

What stays true: whichever comes first, no message is lost and none is answered twice; who sends waits for no worker,
and holds up none.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection

from conversation.errors import ThreadBusy
from conversation.turn import RefusedTurn, TurnState
from conversation.when_busy import WhenBusy
from store.database.engine import Database
from store.settings import load
from store.turns import cancel, claims, steering
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
