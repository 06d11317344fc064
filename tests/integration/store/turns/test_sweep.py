"""The sweep beside a backlog: it looks at a window of it, and comes to each turn in time."""

from functools import partial

import pytest
from sqlalchemy import func, select, update

from conversation.ids import new_id
from conversation.message import Message
from conversation.task_contract import QUARANTINE_QUEUE
from conversation.turn import ClaimedTurn
from store import tables
from store.database.column_types import clock
from store.database.engine import Database
from store.tables import turns
from store.turns import claims, inbox, sweep, workers
from store.turns.claims import SHARED_CRASHES, ClaimRequest
from store.turns.inbox import SendRequest

HOUR = 3600
#: Later than a grace of 60, and sooner than the bound.
AGES = (250, 200, 150)


@pytest.fixture
def database(any_database: Database) -> Database:
    return any_database


def move_notifications(database: Database, *, all_turns: bool = False) -> None:
    """Have the turns that were notified have been so an hour ago, or all of them."""
    moved = update(turns) if all_turns else update(turns).where(turns.c.notified_at.is_not(None))
    database.run(lambda c: c.execute(moved.values(notified_at=clock(plus_seconds=-HOUR))) and None)


def notified_ago(database: Database, turn_id: str, seconds: float) -> None:
    moved = update(turns).where(turns.c.id == turn_id).values(notified_at=clock(plus_seconds=-seconds))
    database.run(lambda c: c.execute(moved) and None)


def send(database: Database, thread: str, *, mark_notified: bool = True, tenant: str = "default") -> str:
    message = Message(role="user", content="Where is it?")
    ids = {"turn_id": new_id(), "tenant": tenant, "thread_id": thread}
    request = SendRequest(**ids, message=message, agent="a", allow_unknown_agent=True)
    return database.run(inbox.accept, request, mark_notified=mark_notified).turn_id


def start_worker(database: Database) -> str:
    worker = new_id()
    register = partial(workers.register, worker=worker, host="", pid=1, serves={"a": "1"})
    database.run(register, lease_duration_seconds=600)
    return worker


def run_head(database: Database, thread: str) -> None:
    """Have a living worker run the first turn of a thread."""
    worker = start_worker(database)
    claimant = ClaimRequest(worker=worker, agents={"a": "1"})
    claim = partial(claims.claim, tenant="default", thread_id=thread, claimant=claimant)
    assert isinstance(database.run(claim), ClaimedTurn)


def picked(database: Database, *, limit: int = 3, **in_broker: int) -> list[str]:
    wake_ups = database.run(sweep.pick_wake_ups, grace_seconds=60, limit=limit, in_broker=in_broker)
    return [wake_up.thread_id for wake_up in wake_ups]


@pytest.fixture(autouse=True)
def small_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "WINDOW_MIN", 6)


@pytest.mark.parametrize("notified", [True, False])
def test_turns_that_cannot_start_hide_none_behind_them(database: Database, notified: bool) -> None:
    for _ in range(20):
        send(database, "busy", mark_notified=False)
    run_head(database, "busy")
    send(database, "lost", mark_notified=False)
    if notified:
        move_notifications(database, all_turns=True)

    sweeps = [picked(database) for _ in range(5)]

    assert [thread for threads in sweeps for thread in threads] == ["lost"]


def test_each_head_of_a_long_backlog_is_notified_once_oldest_first(database: Database) -> None:
    for number in range(10):
        send(database, f"t{number}")
        send(database, f"t{number}")
    move_notifications(database)

    sweeps = [picked(database) for _ in range(12)]

    assert [thread for threads in sweeps for thread in threads] == [f"t{number}" for number in range(10)]


def test_turns_that_wait_for_others_stay_in_their_place_while_the_window_has_room(database: Database) -> None:
    for _ in range(3):
        send(database, "t", mark_notified=False)
    run_head(database, "t")
    move_notifications(database, all_turns=True)

    assert picked(database) == []

    newest = select(func.max(turns.c.notified_at) < clock(plus_seconds=-HOUR / 2))
    assert database.run(lambda c: c.execute(newest).scalar_one())


def test_as_many_are_notified_again_as_the_broker_lacks_wake_ups_longest_ago_first(database: Database) -> None:
    for seconds in AGES:
        notified_ago(database, send(database, f"{seconds}"), seconds)

    assert picked(database, turns=3) == []
    assert picked(database, turns=2) == ["250"]
    # That one was notified anew, and the broker has no other.
    assert picked(database, turns=1) == ["200", "150"]


def test_a_turn_that_runs_for_nobody_may_have_a_wake_up_too(database: Database) -> None:
    lost = send(database, "lost")
    run_head(database, "lost")
    database.run(lambda c: c.execute(update(tables.workers).values(lease_expires_at=clock(plus_seconds=-1))) and None)
    for turn_id, seconds in zip((lost, send(database, "newer")), AGES, strict=False):
        notified_ago(database, turn_id, seconds)

    assert picked(database, turns=2) == []
    assert picked(database, turns=1) == ["lost"]


def test_the_wake_up_of_a_turn_that_runs_alone_is_in_a_queue_of_its_own(database: Database) -> None:
    turn_id = send(database, "t")
    notified_ago(database, turn_id, AGES[0])
    database.run(lambda c: c.execute(update(turns).values(crashes=SHARED_CRASHES)) and None)

    assert picked(database, quarantine=1) == []
    (wake_up,) = database.run(sweep.pick_wake_ups, grace_seconds=60, limit=1, in_broker={"turns": 9})
    assert (wake_up.thread_id, wake_up.queue) == ("t", QUARANTINE_QUEUE)


def test_what_the_broker_may_still_hold_is_notified_again_after_a_bound_while_a_worker_lives(
    database: Database,
) -> None:
    notified_ago(database, send(database, "t"), sweep.STUCK_SECONDS + 1)

    assert picked(database, turns=9) == []
    start_worker(database)
    assert picked(database, turns=9) == ["t"]


def test_of_threads_that_are_asked_for_the_heads_are_notified_once_and_of_no_other(database: Database) -> None:
    turn_ids = [send(database, thread, mark_notified=False) for thread in ("t", "t", "busy", "busy", "other")]
    run_head(database, "busy")
    keys = select(turns.c.thread_key).where(turns.c.id.in_(turn_ids[:4])).distinct()
    thread_keys = database.run(lambda c: c.execute(keys).scalars().all())
    pick = partial(sweep.pick_wake_ups, grace_seconds=None, limit=5, thread_keys=thread_keys)

    assert [wake_up.turn_id for wake_up in database.run(pick)] == turn_ids[:1]
    assert database.run(pick) == []


def test_of_a_tenant_that_is_asked_for_no_other_tenants_turn_is_notified(database: Database) -> None:
    send(database, "t")
    mine = send(database, "t", tenant="mine")

    wake_ups = database.run(sweep.pick_wake_ups, grace_seconds=0, limit=5, tenant="mine")

    assert [wake_up.turn_id for wake_up in wake_ups] == [mine]
