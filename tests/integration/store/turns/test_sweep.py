"""The sweep beside a backlog: it looks at a window of it, and comes to each turn in time."""

from functools import partial

import pytest
from sqlalchemy import text

from conversation.ids import new_id
from conversation.message import Message
from conversation.turn import ClaimedTurn
from store.database.engine import Database
from store.turns import claims, inbox, sweep, workers
from store.turns.claims import ClaimRequest
from store.turns.inbox import SendRequest

LONG_AGO = text("UPDATE turns SET notified_at = clock_timestamp() - interval '1 hour' WHERE notified_at IS NOT NULL")


def send(database: Database, thread: str, *, mark_notified: bool = True) -> str:
    message = Message(role="user", content="Where is it?")
    ids = {"turn_id": new_id(), "tenant": "default", "thread_id": thread}
    request = SendRequest(**ids, message=message, agent="a", allow_unknown_agent=True)
    return database.run(inbox.accept, request, mark_notified=mark_notified).turn_id


def run_head(database: Database, thread: str) -> None:
    """Have a living worker run the first turn of a thread."""
    worker = new_id()
    register = partial(workers.register, worker=worker, host="", pid=1, serves={"a": "1"})
    database.run(register, lease_duration_seconds=600)
    claimant = ClaimRequest(worker=worker, agents={"a": "1"})
    claim = partial(claims.claim, tenant="default", thread_id=thread, claimant=claimant)
    assert isinstance(database.run(claim), ClaimedTurn)


def picked(database: Database, *, limit: int = 3) -> list[str]:
    return [wake_up.thread_id for wake_up in database.run(sweep.pick_wake_ups, grace_seconds=60, limit=limit)]


@pytest.fixture(autouse=True)
def small_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "WINDOW_MIN", 6)


@pytest.mark.parametrize("notified", [True, False])
def test_turns_that_cannot_start_hide_none_behind_them(database: Database, notified: bool) -> None:
    for _ in range(20):
        send(database, "busy", mark_notified=notified)
    run_head(database, "busy")
    send(database, "lost")
    database.run(lambda c: c.execute(LONG_AGO) and None)

    sweeps = [picked(database) for _ in range(5)]

    assert [thread for threads in sweeps for thread in threads] == ["lost"]


def test_each_head_of_a_long_backlog_is_notified_once_oldest_first(database: Database) -> None:
    for number in range(10):
        send(database, f"t{number}")
        send(database, f"t{number}")
    database.run(lambda c: c.execute(LONG_AGO) and None)

    sweeps = [picked(database) for _ in range(12)]

    assert [thread for threads in sweeps for thread in threads] == [f"t{number}" for number in range(10)]


def test_turns_that_wait_for_others_stay_in_their_place_while_the_window_has_room(database: Database) -> None:
    for _ in range(3):
        send(database, "t", mark_notified=False)
    run_head(database, "t")
    database.run(lambda c: c.execute(text("UPDATE turns SET notified_at = clock_timestamp() - interval '1 hour'")))

    assert picked(database) == []

    newest = text("SELECT max(notified_at) < clock_timestamp() - interval '50 min' FROM turns")
    assert database.run(lambda c: c.execute(newest).scalar_one())
