"""Requeueing many turns at once: which are chosen, and what becomes of each, on each road."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from conversation.errors import DatabaseUnavailable, InvalidInput, UnknownAgent
from conversation.turn import Cancelled, Failed, RefusedTurn, TurnError, TurnState
from store import tables
from store.database.engine import Database
from store.turns import bulk_requeue, records
from store.turns.bulk_requeue import BulkRequeuedTurn, RequeueFilter, requeue_all
from tests.integration.store.turns.test_lifecycle import Store, answer

pytestmark = pytest.mark.soak

UNAVAILABLE = TurnError("model_error", "unavailable: 503", retryable=True)
REFUSED = TurnError("model_error", "refused: no such model")
DEADLINE = TurnError("deadline", "the turn's deadline is over")


@pytest.fixture
def store(any_database: Database) -> Store:
    store = Store(any_database)
    store.worker()  # its agent may be asked for
    return store


def fail(store: Store, thread: str, error: TurnError = UNAVAILABLE, *, days_ago: float = 0, **options: Any) -> str:
    sent = store.send("hello", thread, **options)
    store.settle(store.claim_turn(store.worker(), thread), Failed(error=error), release=True)
    if days_ago:
        write(store, sent.turn_id, finished_at=datetime.now(UTC) - timedelta(days=days_ago))
    return sent.turn_id


def write(store: Store, turn_id: str, **values: Any) -> None:
    statement = update(tables.turns).where(tables.turns.c.id == turn_id).values(values)
    store.database.run(lambda connection: connection.execute(statement))


def run(store: Store, filters: RequeueFilter | None = None, **options: Any) -> list[BulkRequeuedTurn]:
    return list(requeue_all(store.database, filters or RequeueFilter(), **options))


def results(turns: list[BulkRequeuedTurn]) -> list[tuple[str, str]]:
    return [(turn.thread_id, turn.result.value) for turn in turns]


DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("filters", "chosen"),
    [
        (lambda now: RequeueFilter(), "abcde"),
        (lambda now: RequeueFilter(state="cancelled"), "f"),
        (lambda now: RequeueFilter(kinds=["model_error"]), "abce"),
        (lambda now: RequeueFilter(kinds=["unavailable"]), "abe"),
        (lambda now: RequeueFilter(kinds=["refused", "deadline"]), "cd"),
        (lambda now: RequeueFilter(kinds=["una"]), ""),
        (lambda now: RequeueFilter(since=now - 3.5 * DAY), "cde"),
        (lambda now: RequeueFilter(until=now - 3.5 * DAY), "ab"),
        (lambda now: RequeueFilter(since=now - 4.5 * DAY, until=now - 2.5 * DAY, kinds=["unavailable"]), "b"),
        (lambda now: RequeueFilter(agent="assistant"), "abcd"),
        (lambda now: RequeueFilter(agent="other"), "e"),
        (lambda now: RequeueFilter(tenant="default"), "abcde"),
        (lambda now: RequeueFilter(tenant="acme"), ""),
    ],
)
def test_the_turns_that_meet_every_condition_are_requeued_in_the_order_of_their_end(
    store: Store, filters: Callable[[datetime], RequeueFilter], chosen: str
) -> None:
    # Sent in another order than they ended in.
    for thread, error, days in [("d", DEADLINE, 2), ("b", UNAVAILABLE, 4), ("a", UNAVAILABLE, 5), ("c", REFUSED, 3)]:
        fail(store, thread, error, days_ago=days)
    write(store, fail(store, "e", days_ago=1), agent="other")
    store.send("hello", "f")
    store.settle(store.claim_turn(store.worker(), "f"), Cancelled())
    fine = store.send("hello", "g")
    store.settle(store.claim_turn(store.worker(), "g"), answer("hi"))

    requeued = run(store, filters(datetime.now(UTC)))

    assert results(requeued) == [(thread, "requeued") for thread in chosen]
    assert all(store.state(turn.id) is TurnState.QUEUED for turn in requeued)
    assert store.state(fine.turn_id) is TurnState.COMPLETED


def test_a_run_after_another_finds_nothing_left(store: Store) -> None:
    goes_on = fail(store, "a")
    asked_anew = fail(store, "b")
    store.send("and this?", "b")

    first, second = run(store), run(store)

    assert [turn.requeued_as == turn.id for turn in first] == [True, False]
    assert second == []
    (_, anew) = first
    assert anew.requeued_as is not None
    assert store.database.run(records.read, turn_id=anew.requeued_as).requeued_from == asked_anew
    assert store.state(goes_on) is TurnState.QUEUED


def test_a_turn_that_fails_again_is_not_come_to_twice(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_requeue, "PAGE", 1)
    for thread in "ab":
        fail(store, thread)

    come_to = []
    for turn in requeue_all(store.database, RequeueFilter()):
        come_to.append(turn.thread_id)
        store.settle(store.claim_turn(store.worker(), turn.thread_id), Failed(error=UNAVAILABLE), release=True)

    assert come_to == ["a", "b"]


def test_a_run_that_broke_off_is_gone_on_with(store: Store) -> None:
    for thread in "abc":
        fail(store, thread)
    broken = requeue_all(store.database, RequeueFilter())
    next(broken)
    broken.close()

    assert results(run(store)) == [("b", "requeued"), ("c", "requeued")]


def test_one_that_cannot_be_requeued_stops_no_other(store: Store) -> None:
    for thread in "abc":
        fail(store, thread)
    of_b = update(tables.threads).where(tables.threads.c.id == "b").values(history_starts_after=1)
    store.database.run(lambda connection: connection.execute(of_b))

    requeued = run(store)

    assert results(requeued) == [("a", "requeued"), ("b", "failed"), ("c", "requeued")]
    assert "past its retention" in (requeued[1].reason or "")


def test_one_that_another_requeued_meanwhile_is_passed_over(store: Store) -> None:
    turn_ids = [fail(store, thread) for thread in "abc"]
    store.send("and this?", "c")  # the question is asked anew there
    under_way = requeue_all(store.database, RequeueFilter())
    done = [next(under_way)]
    run(store)
    done += under_way

    assert [turn.id for turn in done] == turn_ids
    assert [turn.result.value for turn in done] == ["requeued", "skipped", "skipped"]


def test_a_dry_run_says_the_same_and_changes_nothing(store: Store) -> None:
    turn_ids = [fail(store, "a"), fail(store, "b")]
    store.send("and this?", "b")
    rows = select(tables.turns).order_by(tables.turns.c.arrival_seq)
    before = store.database.run(lambda connection: connection.execute(rows).all())

    tried = run(store, is_dry_run=True)

    assert results(tried) == [("a", "would_requeue"), ("b", "would_requeue")]
    assert [turn.requeued_as for turn in tried] == [None, None]
    assert store.database.run(lambda connection: connection.execute(rows).all()) == before
    assert [store.state(turn_id) for turn_id in turn_ids] == [TurnState.FAILED] * 2


def test_a_limit_takes_those_that_ended_first(store: Store) -> None:
    for thread, days in (("a", 1), ("b", 2), ("c", 3)):
        fail(store, thread, days_ago=days)

    assert results(run(store, limit=2)) == [("c", "requeued"), ("b", "requeued")]


def test_another_agent_answers_where_one_is_named(store: Store) -> None:
    turn_id = fail(store, "a")
    write(store, turn_id, agent="gone")

    run(store, RequeueFilter(agent="gone"), agent="assistant")

    assert not isinstance(store.claim(store.worker(), "a"), RefusedTurn)
    assert store.database.run(records.read, turn_id=turn_id).agent == "assistant"
    with pytest.raises(UnknownAgent):
        run(store, agent="nobody")


def test_the_sweep_notifies_of_what_was_requeued(store: Store) -> None:
    turn_id = fail(store, "a")

    run(store)

    row = select(tables.turns.c.notified_at).where(tables.turns.c.id == turn_id)
    assert store.database.run(lambda connection: connection.execute(row).scalar_one()) is None


@pytest.mark.parametrize(
    ("filters", "limit", "field"),
    [
        (RequeueFilter(state="completed"), None, "state"),
        (RequeueFilter(state="x"), None, "state"),
        (RequeueFilter(kinds="deadline"), None, "kinds"),
        (RequeueFilter(tenant=""), None, "tenant"),
        (RequeueFilter(since=datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)), None, "since"),
        (RequeueFilter(), 0, "limit"),
    ],
)
def test_a_condition_that_no_turn_meets_is_refused(
    sqlite_url: str, filters: RequeueFilter, limit: int | None, field: str
) -> None:
    class NoDatabase:
        def run(self, *_: Any, **__: Any) -> Any:
            raise AssertionError("it is refused before")

    with pytest.raises(InvalidInput) as refused:
        next(requeue_all(NoDatabase(), filters, limit=limit))

    assert refused.value.field == field


@pytest.mark.parametrize(("failures", "is_over"), [(2, False), (3, True)])
def test_a_database_that_is_away_for_some_turns_in_a_row_ends_the_run(
    store: Store, monkeypatch: pytest.MonkeyPatch, failures: int, is_over: bool
) -> None:
    for thread in "abcd":
        fail(store, thread)
    left, lock = [failures], bulk_requeue.lock_turn

    def lock_sometimes(*args: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise DatabaseUnavailable("another transaction held on to a row for too long")
        return lock(*args)

    monkeypatch.setattr(bulk_requeue, "lock_turn", lock_sometimes)

    if is_over:
        with pytest.raises(DatabaseUnavailable):
            run(store)
    else:
        assert [result for _, result in results(run(store))] == ["failed", "failed", "requeued", "requeued"]
