"""Whose a thread is and who asks in it: on each database and on both roads, from the send to the claim."""

import threading
from functools import partial
from typing import Any

import pytest
from sqlalchemy import event, select, update

from conversation.ids import new_id
from conversation.turn import TurnState
from store import tables
from store.turns import records
from store.turns.requeue import requeue
from tests.integration.store.scenes import Scene


def whose(scene: Scene, turn_id: str) -> tuple[str | None, str | None]:
    """The owner of a turn's thread, and the sender that is stored with the turn."""
    statement = select(tables.threads.c.owner, tables.turns.c.sender).join_from(tables.turns, tables.threads)
    row = scene.database.run(lambda c: c.execute(statement.where(tables.turns.c.id == turn_id)).one())
    return row.owner, row.sender


#: The owner of a stored thread and whom a message names; whose the thread is then, and who asks.
NAMED = [
    (None, "ann", "ann", "ann"),
    (None, None, None, None),
    ("ann", "ann", "ann", "ann"),
    ("ann", "bob", "ann", "bob"),
    # Nobody is named: the owner asks.
    ("ann", None, "ann", "ann"),
]


def test_a_message_makes_a_thread_its_senders_if_it_is_nobodys_and_a_turn_keeps_who_else_asks(scene: Scene) -> None:
    for number, (stored_owner, user, owner, asks) in enumerate(NAMED):
        scene.answered(f"stored-{number}", 1)
        scene.change(f"stored-{number}", owner=stored_owner)
        for thread in [f"stored-{number}", f"new-{number}"] if stored_owner is None else [f"stored-{number}"]:
            turn_id = scene.send("hello", thread, user=user)

            assert whose(scene, turn_id)[0] == owner
            assert scene.database.run(records.read, turn_id=turn_id).user == asks
            claimed = scene.claim(thread)
            assert (claimed.user, claimed.thread_owner) == (asks, owner)
            assert whose(scene, turn_id)[0] == owner


def test_only_who_is_not_the_owner_stands_with_the_turn(scene: Scene) -> None:
    senders = [whose(scene, scene.send("hello", "t", user=user))[1] for user in ("ann", "ann", None, "bob")]

    assert senders == [None, None, None, "bob"]


def test_to_name_a_user_costs_no_statement(scene: Scene) -> None:
    scene.answered("t", 1, user="ann")
    counts = []
    for thread, user in (("t", None), ("t", "ann"), ("t", "bob"), ("new", "ann"), ("newer", None)):
        statements: list[str] = []
        note = partial(lambda into, *event: into.append(event[2]), statements)
        event.listen(scene.database.engine, "before_cursor_execute", note)
        scene.send("hello", thread, user=user)
        event.remove(scene.database.engine, "before_cursor_execute", note)
        counts.append(len(statements))

    assert len(set(counts)) == 1, counts


def test_a_question_that_is_asked_anew_is_asked_by_the_same_user(scene: Scene) -> None:
    scene.answered("t", 1, user="ann")
    asked = scene.send("and me?", "t", user="bob")
    scene.send("later", "t")
    finished = update(tables.turns).where(tables.turns.c.id == asked).values(state=TurnState.FAILED)
    scene.database.run(lambda c: c.execute(finished) and None)

    outcome = scene.database.run(requeue, asked, new_turn_id=new_id(), new_message_id=new_id())

    assert outcome.is_new
    assert scene.database.run(records.read, turn_id=outcome.turn_id).user == "bob"


@pytest.mark.parametrize("any_database", ["postgresql", "postgresql-plain"], indirect=True)
def test_who_sends_while_a_worker_has_the_thread_does_not_wait_and_it_is_theirs_with_the_claim(scene: Scene) -> None:
    scene.answered("t", 1)
    sent: list[str] = []
    with scene.database.engine.begin() as holder:
        holder.execute(select(tables.threads.c.key).with_for_update(key_share=True))
        sender = threading.Thread(target=lambda: sent.append(scene.send("hello", "t", user="ann")))
        sender.start()
        sender.join(10)
        assert sent != [], "it waits for the worker"
    assert whose(scene, sent[0]) == (None, "ann")

    claimed = scene.claim("t")

    assert (claimed.user, claimed.thread_owner) == ("ann", "ann")
    assert whose(scene, sent[0])[0] == "ann"


def test_the_database_itself_bounds_an_owner(scene: Scene) -> None:
    scene.answered("t", 1)
    problems: list[Any] = []
    for owner in ("", "x" * 256):
        try:
            scene.change("t", owner=owner)
        except Exception as error:  # noqa: BLE001 - which one is the database's affair
            problems.append(error)

    assert len(problems) == 2
