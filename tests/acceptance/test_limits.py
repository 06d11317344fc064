"""Limits that hold over all workers of an installation."""

from conversation.turn import TurnState
from tests.acceptance.installation import Installation, worker


def test_a_tenants_turns_take_its_places_one_after_the_other_without_the_sweep(installation: Installation) -> None:
    installation.start(worker("one"), worker("two"), THREADMILL_TENANT_MAX_RUNNING_TURNS="1")
    first = installation.send("a", 'call hold with {"gate": "a"}')
    installation.saw("hold begins")
    waiting = [installation.send(thread, f"hello {thread}") for thread in ("b", "c", "d")]
    other = installation.send("a", "somebody else's", tenant="other")

    (answered,) = installation.all_ended([other])

    assert answered.state is TurnState.COMPLETED
    assert [turn.state for turn in waiting] == [TurnState.QUEUED] * 3
    installation.open_gate("a")
    results = installation.all_ended([first, *waiting])
    assert [result.state for result in results] == [TurnState.COMPLETED] * 4
