"""Messages that come while a thread is busy, where there is nothing to read, to tell or to do yet."""

from functools import partial
from typing import Any

import pytest
from sqlalchemy import select

from conversation.errors import LeaseLost
from conversation.message import Message
from conversation.step import Step
from conversation.turn import Completed, TurnState
from conversation.when_busy import WhenBusy
from store.database.engine import Database
from store.tables import turns
from store.turns import claims, settle, workers
from store.turns.claims import ClaimRequest, NothingDue
from tests.integration.store.turns.busy_scene import BusyScene

OTHER = "a0000000-0000-0000-0000-0000000000ff"


@pytest.fixture
def scene(any_database: Database) -> BusyScene:
    return BusyScene(any_database)


def row(scene: BusyScene, turn_id: str) -> Any:
    return scene.database.run(lambda c: c.execute(select(turns).where(turns.c.id == turn_id)).one())


def test_what_asks_nothing_is_not_read_by_the_turn_that_it_steers(scene: BusyScene) -> None:
    """It asks for an answer to the history as it stands: a turn of its own gives that."""
    scene.send("one")
    claimed = scene.claim_turn()
    asks_nothing = scene.send("", WhenBusy.STEER, message=None)
    two = scene.send("two", WhenBusy.STEER)

    taken = scene.take(claimed, 0)

    assert [step.name for step in taken] == [two]
    assert scene.read(asks_nothing).state is TurnState.QUEUED


def test_a_turn_that_has_ended_takes_no_message_though_its_worker_holds_the_thread(scene: BusyScene) -> None:
    """Nobody would read it there, and it would be answered by nobody."""
    scene.send("one")
    claimed = scene.claim_turn()
    two = scene.send("two", WhenBusy.STEER)
    ending = Completed(messages=(Message(role="assistant", content="done"),))
    settled = scene.database.run(settle.settle, lease=claimed.lease, turn_id=claimed.id, ending=ending, release=False)
    assert settled.keeps_lease

    with pytest.raises(LeaseLost):
        scene.take(claimed, 0)

    assert scene.read(two).state is TurnState.QUEUED


def test_a_call_that_nobody_approved_is_not_told_as_one_that_was_made(scene: BusyScene) -> None:
    scene.send("one")
    claimed = scene.claim_turn()
    scene.record(claimed, Step(index=0, kind="tool", call_id="c", name="pay", state="waiting"))
    scene.send("two", WhenBusy.ROLLBACK)
    scene.end(claimed)

    assert scene.claim_turn().context == ()


def test_a_claim_that_finds_the_thread_held_does_nothing_of_what_messages_ask(scene: BusyScene) -> None:
    """Its holder does, and hears of it with its heartbeat."""
    one = scene.send("one")
    scene.claim_turn()
    scene.send("two", WhenBusy.INTERRUPT)
    register = partial(workers.register, host="here", pid=2, serves={"assistant": "1"}, lease_duration_seconds=60)
    scene.database.run(register, worker=OTHER)
    claimant = ClaimRequest(worker=OTHER, agents={"assistant": "1"})

    found = scene.database.run(claims.claim, tenant="default", thread_id=scene.thread, claimant=claimant)

    assert isinstance(found, NothingDue)
    assert row(scene, one).cancel_requested_at is None
    assert scene.is_asked_to_stop(one)
