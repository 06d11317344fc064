"""Messages out of Slack whose turns ended or waited: what becomes of the turn later brings them back, on each road."""

from typing import Any

import pytest
from sqlalchemy import insert, literal, select

from conversation.ids import new_id
from conversation.turn import ClaimedTurn, RefusedTurn
from store import slack_messages
from store.database.column_types import clock
from store.database.engine import Database
from store.tables import slack_messages as table
from store.tables import turns
from store.turns import cancel, requeue, taken_up_calls
from tests.integration.store.turns.test_waiting import claim, database, decide, send, wait  # noqa: F401


def enter(database: Database, turn_id: str, state: str = "waiting") -> None:  # noqa: F811
    """A message that the turn answers, or has answered."""
    names = {"tenant": "default", "team_id": "T01", "channel_id": "C01", "ts": "1.1", "event_id": "Ev01"}
    ours: dict[str, Any] = {"thread_id": "t", "reply_to": "1.1", "user_id": "U01", "turn_id": turn_id, "state": state}
    ours |= {"created_at": clock(), "due_at": clock(plus_seconds=3600), "attempts": 3}
    ours |= {"finished_at": clock(), "error": "token_revoked"} if state == "failed" else {}
    database.run(lambda c: c.execute(insert(table).values(names | ours)) and None)


def claim_messages(database: Database) -> list[Any]:  # noqa: F811
    operation, process = slack_messages.claim_due, new_id()
    return database.run(operation, tenant="default", claim=process, lease_seconds=60, limit=9)


@pytest.mark.parametrize("end", ["cancelled", "expired", "decided"])
def test_a_wait_that_is_over_brings_its_message_back(database: Database, end: str) -> None:  # noqa: F811
    turn = wait(database, expire_seconds=-1 if end == "expired" else 3600)
    enter(database, turn.id)
    assert claim_messages(database) == []

    if end == "decided":
        decide(database, turn.id)
    else:
        if end == "cancelled":
            database.run(cancel.request_cancel, turn_id=turn.id, by="ada")
        assert isinstance(claim(database), RefusedTurn)

    assert [message.turn_id for message in claim_messages(database)] == [turn.id]


def test_a_turn_that_takes_a_call_up_answers_where_the_one_before_did(database: Database) -> None:  # noqa: F811
    turn = wait(database, calls=1)
    enter(database, turn.id)
    decided = decide(database, turn.id).call

    taken_up = database.run(taken_up_calls.take_up, turn=with_thread(database, turn), call=decided)

    first, further = sorted(claim_messages(database), key=lambda message: message.key)
    assert (first.turn_id, first.follows) == (turn.id, None)
    assert (further.turn_id, further.follows, further.state) == (taken_up.turn_id, turn.id, "sent")
    assert (further.channel_id, further.ts, further.reply_to) == ("C01", "1.1", "1.1")
    assert (further.answer, further.content) == (None, None)


def test_a_message_whose_turn_is_queued_again_is_open_again(database: Database) -> None:  # noqa: F811
    turn_id = send(database)
    enter(database, turn_id, "failed")
    database.run(cancel.request_cancel, turn_id=turn_id)
    ids = {"new_turn_id": new_id(), "new_message_id": new_id()}

    database.run(requeue.requeue, turn_id=turn_id, **ids)

    (message,) = claim_messages(database)
    assert (message.state, message.attempts, message.follows) == ("sent", 1, None)
    assert database.run(lambda c: c.execute(select(table.c.error, table.c.finished_at)).one()) == (None, None)


def with_thread(database: Database, turn: ClaimedTurn) -> Any:  # noqa: F811
    """A turn's row as whoever decides reads it, with the id of its thread."""
    query = select(turns, literal("t").label("thread_id")).where(turns.c.id == turn.id)
    return database.run(lambda c: c.execute(query).one())
