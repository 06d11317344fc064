"""Turns that others wait for: however one ends, who waits for it goes on. At length on each database and road."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from io import BytesIO
from pathlib import Path

import pytest

from conversation.errors import LeaseLost, ThreadUnderLegalHold
from conversation.turn import Completed
from conversation.when_busy import WhenBusy
from store.blobs.local import LocalBlobs
from store.database.engine import Database
from store.erasure.export import UserExport
from store.erasure.subject import Subject
from store.retention import legal_holds
from store.retention.delete_thread import delete_visible_thread
from store.settings import load
from store.threads.visible_threads import Viewer
from store.turns import cancel
from store.turns import settle as settling
from store.turns.children import Kin
from store.turns.visible_turns import cancel_turn
from store.walls.roles import GATEWAY
from tests.conftest import LendDatabase
from tests.integration.store.turns.family import REMOVALS, Family
from tests.integration.store.turns.test_interleavings import PATIENCE, Mailbox
from tests.integration.store.walls.one_of_each import as_role

VIEWER = Viewer("default")


@pytest.fixture(
    scope="module", params=["functions", *(pytest.param(road, marks=pytest.mark.soak) for road in ("plain", "sqlite"))]
)
def one_database(
    request: pytest.FixtureRequest,
    lend_database: LendDatabase,
    migrated_template: str,
    migrated_file: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Database]:
    """One of each kind and road for all tests: each has threads of its own."""
    with ExitStack() as opened:
        if request.param == "sqlite":
            url = f"sqlite:///{shutil.copy(migrated_file, tmp_path_factory.mktemp('children') / 'store.db')}"
        else:
            url = opened.enter_context(lend_database(migrated_template))
        database = Database(load(database_url=url), use_functions=request.param == "functions")
        yield database
        database.close()


@pytest.fixture
def parent(one_database: Database) -> Family:
    """A thread with a message that nobody has taken."""
    family = Family(one_database)
    family.send("go")
    return family


def test_who_waits_for_a_turn_that_is_cancelled_before_its_claim_is_woken_by_who_cancels(parent: Family) -> None:
    child = parent.ask()

    outcome = child.cancel()

    assert outcome.wake_up is not None
    assert (outcome.wake_up.thread_id, outcome.wake_up.turn_id) == (parent.thread, parent.turn.id)
    assert (child.turn.state, parent.turn.state, parent.told) == ("cancelled", "queued", ["cancelled"])
    # It is on its way.
    assert not parent.is_swept()


def test_a_cancel_whose_caller_publishes_nothing_leaves_the_wake_up_to_the_next_sweep(parent: Family) -> None:
    child = parent.ask()

    child.database.run(cancel.request_cancel, child.turn.id)

    assert parent.told == ["cancelled"]
    assert parent.is_swept()


@pytest.mark.parametrize("policy", [WhenBusy.ROLLBACK, WhenBusy.INTERRUPT])
def test_who_waits_for_a_turn_that_a_message_ends_before_its_claim_is_told(parent: Family, policy: WhenBusy) -> None:
    child = parent.ask()
    child.send("something else", policy)

    child.run_refused()

    assert (child.turn.state, child.turn.rolled_back) == ("cancelled", policy is WhenBusy.ROLLBACK)
    assert (parent.turn.state, parent.told) == ("queued", ["cancelled"])
    assert child.stored(in_view=False) == (["help"] if policy is WhenBusy.ROLLBACK else [])


@pytest.mark.parametrize("is_running", [False, True])
@pytest.mark.parametrize("verb", REMOVALS)
def test_who_waits_for_a_turn_whose_thread_goes_alone_is_told(
    parent: Family, tmp_path: Path, verb: str, is_running: bool
) -> None:
    child = parent.ask()
    if is_running:
        child.claim_turn()

    child.remove(verb, tmp_path)

    assert (parent.turn.state, parent.told) == ("queued", ["cancelled"])
    assert parent.is_swept()
    parent.run_all()
    assert parent.turn.state == "completed"


@pytest.mark.parametrize("verb", REMOVALS)
def test_a_thread_that_goes_takes_those_that_it_asked_with_it_and_no_others(
    parent: Family, tmp_path: Path, verb: str
) -> None:
    child, sibling = parent.ask_each("c", "d")
    grandchild = child.ask()
    below = grandchild.ask()
    nephew = sibling.ask()
    running = below.claim_turn()

    child.remove(verb, tmp_path)

    assert [each.is_there() for each in (child, grandchild, below)] == [False] * 3
    assert [each.is_there() for each in (parent, sibling, nephew)] == [True] * 3
    assert (parent.told, sibling.told, nephew.turn.cancel_requested_at) == (["cancelled", None], [None], None)
    # Whoever works on it has lost it.
    with pytest.raises(LeaseLost):
        below.settle(running, Completed(messages=()))


@pytest.mark.parametrize("verb", REMOVALS)
def test_a_thread_between_that_retention_deleted_hides_none_that_goes_with_the_others(
    parent: Family, tmp_path: Path, verb: str
) -> None:
    child = parent.ask()
    grandchild = child.ask()
    below = grandchild.ask()
    grandchild.remove("retention", tmp_path)

    child.remove(verb, tmp_path)

    assert [each.is_there() for each in (parent, child, below)] == [True, False, False]


@pytest.mark.parametrize("verb", REMOVALS)
def test_the_outermost_thread_takes_all_with_it(parent: Family, tmp_path: Path, verb: str) -> None:
    child = parent.ask()
    grandchild = child.ask()
    below = grandchild.ask()

    parent.remove(verb, tmp_path)

    assert [each.is_there() for each in (parent, child, grandchild, below)] == [False] * 4


@pytest.mark.parametrize("verb", REMOVALS)
def test_a_hold_on_one_that_was_asked_holds_who_asked(parent: Family, tmp_path: Path, verb: str) -> None:
    child = parent.ask()
    grandchild = child.ask()
    parent.database.run(legal_holds.hold, "default", grandchild.thread)

    with pytest.raises(ThreadUnderLegalHold):
        child.remove(verb, tmp_path)

    assert [each.is_there() for each in (child, grandchild)] == [True] * 2


def test_an_export_of_a_thread_has_those_that_it_asked(parent: Family, tmp_path: Path) -> None:
    child, _sibling = parent.ask_each("c", "d")
    child.ask()

    subjects = [Subject(tenant="default", thread_id=each.thread) for each in (parent, child)]
    exports = [UserExport(parent.database, LocalBlobs(tmp_path), subject).write(BytesIO()) for subject in subjects]

    assert [export.threads for export in exports] == [4, 2]


def test_who_waits_for_a_turn_that_the_sweep_ends_is_told(parent: Family) -> None:
    """It was asked to stop, and its worker died."""
    child = parent.ask()
    child.claim_turn()
    child.cancel()
    child.kill_worker()

    child.end_overdue()

    assert (child.turn.state, parent.turn.state, parent.told) == ("cancelled", "queued", ["cancelled"])
    assert parent.is_swept()


def test_those_that_a_turn_waits_for_are_asked_to_stop_when_the_sweep_ends_it(parent: Family) -> None:
    child = parent.ask()
    parent.cancel()

    parent.end_overdue()

    assert parent.turn.state == "cancelled"
    assert child.turn.cancel_requested_at is not None


def test_a_viewers_cancel_and_the_end_of_the_same_turn_lock_in_one_order(database: Database) -> None:
    """The end has locked the parent's thread, and is about to lock the child's."""
    parent = Family(database)
    parent.send("go")
    child = parent.ask()
    claimed = child.claim_turn()
    kin = Kin.of(claimed, Completed())
    assert kin is not None
    with database.engine.connect() as connection, ThreadPoolExecutor(1) as pool:
        settling.lock_parent(connection, "default", parent.turn.id)
        cancelling = pool.submit(database.run, partial(cancel_turn, viewer=VIEWER, turn_id=claimed.id, by="ada"))
        Mailbox(database).wait_until_blocked()

        settling.settle(connection, claimed.lease, claimed.id, Completed(), release=True, kin=kin)
        connection.commit()
        outcome, _ = cancelling.result(PATIENCE)

    assert outcome.state.value == "completed"
    assert parent.told == ["completed"]


def test_the_role_of_a_gateway_may_end_a_turn_that_another_one_waits_for(database_url: str, database: Database) -> None:
    parent = Family(database)
    parent.send("go")
    child = parent.ask()
    child.call_tool(child.claim_turn())

    with closing(Database(load(database_url=as_role(database_url, GATEWAY)))) as gateway:
        gateway.acting_for("default").run(delete_visible_thread, VIEWER, child.thread)

    assert (parent.turn.state, parent.told) == ("queued", ["cancelled"])
