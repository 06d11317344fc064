"""Workers that are told to stop, and workers that must not start."""

import pytest

from conversation.turn import TurnState
from tests.acceptance.installation import Installation, assert_well_formed, eventually, worker
from threadmill.embedded.errors import ServerFailed

pytestmark = pytest.mark.soak

ORDERS = 'call write with {"text": "first"}, then call hold_again with {"gate": "tool"}'


def test_a_worker_that_is_told_to_stop_finishes_its_turns_and_takes_no_new_one(running: Installation) -> None:
    turn = running.send("t", ORDERS)
    running.saw("hold_again begins")
    behind = running.send("t", "behind")

    first = running.processes["one"]
    first.request_stop()
    eventually(lambda: first.has_logged("worker_stopping"))
    elsewhere = running.send("elsewhere", "hello")
    running.open_gate("tool")
    first.join(20)

    assert first.exit_code == 0
    assert running.result(turn).state is TurnState.COMPLETED
    assert behind.result is None
    assert elsewhere.result is None
    assert running.query("SELECT 1 FROM threads WHERE lease_owner IS NOT NULL") == []
    running.start(worker("two"))
    results = running.all_ended([behind, elsewhere])
    assert [result.state for result in results] == [TurnState.COMPLETED] * 2
    rows = [running.turn_row(t) for t in (turn, behind, elsewhere)]
    assert [(row["attempt"], row["crashes"]) for row in rows] == [(1, 0)] * 3
    assert_well_formed(running.history())


def test_a_turn_that_is_longer_than_the_grace_is_handed_back_and_resumed(installation: Installation) -> None:
    installation.start(worker("one"), *installation.upkeep(), THREADMILL_SHUTDOWN_GRACE_SECONDS="1")
    turn = installation.send("t", ORDERS)
    asking = installation.send("model", "think", agent="thinker")
    installation.saw("hold_again begins")
    installation.saw("asked")

    seconds = installation.stop("one")

    assert 1 <= seconds < 25
    assert installation.processes["one"].exit_code == 0
    rows = [installation.turn_row(t) for t in (turn, asking)]
    assert [(row["state"], row["crashes"]) for row in rows] == [("queued", 0)] * 2
    installation.open_gate("tool")
    installation.open_gate("model")
    installation.start(worker("two"))
    results = installation.all_ended([turn, asking])
    assert [result.state for result in results] == [TurnState.COMPLETED] * 2
    rows = [installation.turn_row(t) for t in (turn, asking)]
    assert [(row["attempt"], row["crashes"]) for row in rows] == [(2, 0)] * 2
    assert len(installation.notes("write")) == 1
    assert len({entry["call"] for entry in installation.notes("hold_again begins")}) == 1
    assert_well_formed(installation.history())


def test_without_any_grace_a_worker_hands_everything_back_at_once(installation: Installation) -> None:
    installation.start(worker("one"), *installation.upkeep(), THREADMILL_SHUTDOWN_GRACE_SECONDS="0")
    turns = [installation.send(f"thread-{n}", ORDERS) for n in range(5)]
    turns += [installation.send(f"thread-{n}", "behind") for n in range(5)]
    installation.saw("hold_again begins", count=5)

    seconds = installation.stop("one")

    assert seconds < 25
    assert installation.processes["one"].exit_code == 0
    installation.open_gate("tool")
    installation.start(worker("two"))
    results = installation.all_ended(turns)
    assert {result.state for result in results} == {TurnState.COMPLETED}
    assert {row["crashes"] for row in installation.query("SELECT crashes FROM turns")} == {0}
    assert len(installation.notes("write")) == 5


@pytest.mark.parametrize(
    ("module", "reason"), [("no.such.module", "no.such"), ("tests.acceptance.agents_that_break", "is registered twice")]
)
def test_a_worker_whose_agents_cannot_be_imported_does_not_start(
    installation: Installation, module: str, reason: str
) -> None:
    """Else it would hear wake-ups and answer none."""
    with pytest.raises(ServerFailed, match=reason):
        installation.start(worker("one"), THREADMILL_AGENT_MODULES=module)

    assert installation.processes["one"].exit_code == 1
