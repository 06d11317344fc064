"""Retention meets turns: each is held up after each of its statements while the other one runs."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from sqlalchemy import Connection, event, select, text

from conversation.errors import LeaseLost, ThreadNotFound, ThreadUnderLegalHold
from conversation.history import check_next
from conversation.message import Message
from conversation.turn import ClaimedTurn, Lease
from store import tables
from store.database.engine import Database
from store.erasure import steps as erase
from store.erasure.subject import Subject
from store.erasure.workflow import run_erasure
from store.history import message_rows
from store.lineage import row_lineage
from store.retention import deletion, legal_holds, move_cut
from store.settings import load
from store.turns import claims, inbox
from store.turns.claims import ClaimRequest
from store.turns.send_request import SendRequest
from tests.conftest import LendDatabase
from tests.integration.store.conftest import scene_over
from tests.integration.store.scenes import TURN, Scene, record, settle

pytestmark = pytest.mark.soak

Operation = Callable[[Connection], Any]
EachMoment = Callable[[Operation], Iterator[tuple[Scene, int]]]
logger = logging.getLogger(__name__)
#: No operation has so many statements: what is held up after these stands before its commit.
BEFORE_COMMIT = 1000
#: Seconds after which something hangs.
HANGS = 30


def meet(database: Database, first: Operation, second: Operation, *, after: int) -> tuple[Any, Any]:
    """Hold `first` up after so many statements, at the latest before its commit; meanwhile `second` runs."""
    arrived, may_go = Event(), Event()
    left = after

    def count(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            arrived.set()
            assert may_go.wait(HANGS)

    def slowly() -> Any:
        with database.engine.connect() as connection:
            event.listen(connection, "after_cursor_execute", count)
            told = outcome(lambda: first(connection))
            arrived.set()
            assert may_go.wait(HANGS)
            connection.rollback() if isinstance(told, Exception) else connection.commit()
            return told

    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(slowly)
        assert arrived.wait(HANGS)
        quick = pool.submit(outcome, partial(database.run, second))
        wait_until_it_ended_or_waits(database, quick)
        may_go.set()
        return slow.result(HANGS), quick.result(HANGS)


def wait_until_it_ended_or_waits(database: Database, quick: Any) -> None:
    waits = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    while not quick.done() and not database.run(lambda c: c.execute(waits).scalar_one()):
        pass


def outcome(operation: Callable[[], Any]) -> Any:
    try:
        return operation()
    except (LeaseLost, ThreadUnderLegalHold, ThreadNotFound) as error:
        return error


def claim(scene: Scene) -> Operation:
    claimant = ClaimRequest(worker=scene.claimed("x", "other").lease.worker, agents={"a": "1"})
    return partial(claims.claim, tenant="default", thread_id="t", claimant=claimant)


def send(scene: Scene) -> Operation:
    message = Message(role="user", content="meanwhile")
    request = SendRequest(
        turn_id="b0000000-0000-0000-0000-000000000001", tenant="default", thread_id="t",
        message=message, agent="a", allow_unknown_agent=True,
    )  # fmt: skip
    return partial(inbox.accept, request=request)


def take(scene: Scene) -> Operation:
    return partial(move_cut.move_cutoff, key=scene.key())


def batch(scene: Scene) -> Operation:
    return partial(deletion.remove_next_batch, key=scene.key())


def row(scene: Scene) -> Operation:
    return partial(deletion.remove_thread, key=scene.key())


def hold(scene: Scene) -> Operation:
    return partial(legal_holds.hold, tenant="default", thread_id="t")


def history(scene: Scene) -> list[str]:
    """What a reader sees; each call has its result, and the first is a question."""
    seen: list[Message] = []
    for message in scene.thread().messages:
        check_next(seen, message)
        seen.append(message)
    assert not seen or seen[0].role == "user"
    return [message.content for message in seen]


def due(scene: Scene, *, pending: bool = False, idle: bool = False) -> None:
    scene.answered()
    if idle:
        scene.age(40)
    scene.policy(tenant="default", **({"idle_days": 1} if idle else {"max_messages": 2 * TURN}))
    if pending:
        scene.cut()


@pytest.fixture
def scene(postgres_scene: Scene) -> Scene:
    return postgres_scene


@pytest.fixture
def each_moment(scene: Scene, lend_database: LendDatabase, tmp_path: Path) -> EachMoment:
    """Copies of the scene, one for each moment at which an operation can be held up there."""

    def copies(first: Operation) -> Iterator[tuple[Scene, int]]:
        statements = count_statements(scene.database, first)
        scene.database.close()
        for after in (*range(1, statements), BEFORE_COMMIT):
            # Seen only where a test fails.
            logger.warning("held up after %s of %s statements", after, statements)
            with lend_database(str(scene.database.url.database)) as url:
                copy = scene_over(Database(load(database_url=url)), tmp_path)
                yield copy, after
                copy.database.close()

    return copies


def count_statements(database: Database, operation: Operation) -> int:
    """The statements of an operation, which is undone."""
    statements: list[str] = []
    with database.engine.connect() as connection:
        event.listen(
            connection, "after_cursor_execute", lambda _c, _cursor, statement, *_: statements.append(statement)
        )
        outcome(lambda: operation(connection))
        connection.rollback()
    return len(statements)


#: Who comes first; the other order is tried at full length only.
SWAPPED = [pytest.param(False, id=""), pytest.param(True, id="swapped", marks=pytest.mark.endurance)]


@pytest.mark.parametrize("step", [take, batch], ids=["cut", "batch"])
@pytest.mark.parametrize("other", [send, claim], ids=["send", "claim"])
@pytest.mark.parametrize("swapped", SWAPPED)
def test_what_is_said_while_retention_works_is_answered_with_what_the_policy_keeps(
    scene: Scene, step: Any, other: Any, swapped: bool, each_moment: EachMoment
) -> None:
    due(scene, pending=step is batch)
    if other is claim:
        scene.send("meanwhile")
    pair = step(scene), other(scene)

    first, second = reversed(pair) if swapped else pair
    for copy, after in each_moment(first):
        meet(copy.database, first, second, after=after)
        claimed = copy.claim() if copy.row().lease_owner is None else running(copy)
        copy.database.run(settle(claimed, 6))
        while copy.pending() or copy.cut() == "cut":
            copy.run()

        assert history(copy)[-TURN:][0] == "meanwhile"
        assert len(history(copy)) == 2 * TURN
        assert copy.count("messages") == len(history(copy)) + scene_other(copy)


def scene_other(scene: Scene) -> int:
    """The messages of the thread that a claimant was made with."""
    named = select(tables.threads.c.id).where(tables.threads.c.id == "other")
    there = scene.database.run(lambda c: c.execute(named).first())
    return 0 if there is None else len(scene.seqs("other"))


def running(scene: Scene) -> ClaimedTurn:
    """The turn that is at work, as its worker knows it."""
    row = scene.row()
    turn = scene.database.run(
        lambda c: c.execute(select(tables.turns).where(tables.turns.c.state == "running",
                                                       tables.turns.c.thread_key == row.key)).one()
    )  # fmt: skip
    window = message_rows.history_rows(row_lineage(row.key), after_seq=0, to_seq=turn.window_to_seq)
    said = scene.database.run(lambda c: message_rows.load(c, row_lineage(row.key), c.execute(window)))
    return ClaimedTurn(
        lease=Lease(thread_key=row.key, worker=row.lease_owner, fencing_token=row.fencing_token),
        id=turn.id, tenant="default", thread_id="t", agent="a", attempt=1, retries=0,
        remaining_seconds=None, window=said,
        steps={}, context=(), metadata={},
    )  # fmt: skip


@pytest.mark.parametrize("swapped", SWAPPED)
def test_a_turn_that_ends_while_retention_looks_loses_nothing(
    scene: Scene, swapped: bool, each_moment: EachMoment
) -> None:
    due(scene)
    claimed = scene.claimed("at work")
    pair: tuple[Operation, Operation] = take(scene), settle(claimed, 6)

    first, second = reversed(pair) if swapped else pair
    for copy, after in each_moment(first):
        meet(copy.database, first, second, after=after)
        copy.run()

        assert history(copy)[-TURN:] == ["at work", "", "seen 6", "answer 6"]
        assert len(history(copy)) == 2 * TURN


@pytest.mark.parametrize("step", [take, batch, row], ids=["cut", "batch", "row"])
@pytest.mark.parametrize("swapped", SWAPPED)
def test_a_hold_that_meets_retention_comes_before_or_after_it_never_between(
    scene: Scene, step: Any, swapped: bool, each_moment: EachMoment
) -> None:
    due(scene, pending=step is not take, idle=True)
    if step is row:
        scene.database.run(batch(scene))
    pair = step(scene), hold(scene)

    first, second = reversed(pair) if swapped else pair
    for copy, after in each_moment(first):
        meet(copy.database, first, second, after=after)
        left = copy.seqs() if copy.row() is not None else []
        copy.run()

        assert (copy.seqs() if copy.row() is not None else []) == left
        assert copy.row() is None or len(history(copy)) == len(left)


@pytest.mark.parametrize("swapped", SWAPPED)
def test_a_message_that_meets_the_end_of_its_thread_is_answered(
    scene: Scene, swapped: bool, each_moment: EachMoment
) -> None:
    due(scene, pending=True, idle=True)
    scene.database.run(batch(scene))
    pair = row(scene), send(scene)

    first, second = reversed(pair) if swapped else pair
    for copy, after in each_moment(first):
        meet(copy.database, first, second, after=after)

        claimed = copy.claim()
        copy.database.run(settle(claimed, 6))
        copy.run()
        assert history(copy) == ["meanwhile", "", "seen 6", "answer 6"]


def test_a_thread_at_work_is_passed_over_and_taken_later(scene: Scene) -> None:
    due(scene)
    claimed = scene.claimed("at work")

    done = scene.run()

    assert (done.busy, done.messages) == (1, 0)
    scene.database.run(settle(claimed, 6))
    assert scene.run().messages == 4 * TURN


@pytest.mark.parametrize("write", [settle, record], ids=["commit", "step"])
def test_a_worker_that_still_runs_writes_nothing_after_an_erasure(scene: Scene, write: Any) -> None:
    scene.answered()
    claimed = scene.claimed("at work")
    subject = Subject(tenant="default", thread_id="t")
    erasure = scene.database.run(erase.begin, subject=subject)
    scene.database.run(erase.lock_out_thread, erasure_id=erasure, subject=subject, key=scene.key())

    with pytest.raises(LeaseLost):
        scene.database.run(write(claimed))
    assert len(scene.seqs()) == 5 * TURN + 1
    run_erasure(scene.database, scene.files, subject)
    with pytest.raises(LeaseLost):
        scene.database.run(write(claimed))
    assert {scene.count(name) for name in ("messages", "turns", "steps", "threads")} == {0}


@pytest.mark.parametrize("write", [settle, record], ids=["commit", "step"])
@pytest.mark.parametrize("swapped", SWAPPED)
def test_an_erasure_that_meets_a_worker_leaves_nothing_of_what_it_wrote(
    scene: Scene, write: Any, swapped: bool, each_moment: EachMoment
) -> None:
    claimed = scene.claimed("at work")
    subject = Subject(tenant="default", thread_id="t")
    erasure = scene.database.run(erase.begin, subject=subject)
    fence = partial(erase.lock_out_thread, erasure_id=erasure, subject=subject, key=scene.key())
    pair = fence, write(claimed)

    first, second = reversed(pair) if swapped else pair
    for copy, after in each_moment(first):
        meet(copy.database, first, second, after=after)
        run_erasure(copy.database, copy.files, subject)

        assert {copy.count(name) for name in ("messages", "turns", "steps", "threads")} == {0}


def test_a_batch_waits_for_the_turn_that_came_after_the_cut(scene: Scene) -> None:
    due(scene, pending=True)
    claimed = scene.claimed("at work")

    assert scene.database.run(batch(scene)) is None

    assert len(scene.seqs()) == 5 * TURN + 1
    scene.database.run(settle(claimed, 6))
    removed = scene.database.run(batch(scene))
    assert removed.counts["messages"] == 3 * TURN


def test_a_batch_waits_for_a_message_that_waits_for_its_turn(scene: Scene) -> None:
    due(scene, pending=True)
    scene.send("not begun")

    assert scene.database.run(batch(scene)) is None
