"""Agents and tools with mistakes in them: their turns end, and nobody's words stand in a log."""

import pytest

from conversation.turn import TurnState
from tests.acceptance.agents_for_tests import write
from tests.acceptance.installation import Installation, assert_well_formed

#: Stands for what users say and what must not be found in any log.
MARKER = "xylophone-4711"


@pytest.mark.parametrize("agent", ["broken", "unstorable", "self_cancelling"])
def test_a_turn_that_its_model_breaks_fails_once_and_the_thread_goes_on(answering: Installation, agent: str) -> None:
    turn = answering.send("t", f"say {MARKER}", agent=agent)
    (result,) = answering.all_ended([turn])
    (after,) = answering.all_ended([answering.send("t", "hello")])

    assert result.state is TurnState.FAILED
    assert result.error is not None
    assert result.error.kind == "agent_error"
    assert MARKER not in result.error.message
    assert answering.turn_row(turn)["attempt"] == 1
    assert after.state is TurnState.COMPLETED
    history = answering.history("t")
    assert [m["role"] for m in history] == ["user", "user", "assistant"]
    log = answering.processes["one"].log.read_text()
    assert "agent_error" in log
    assert MARKER not in answering.logs()


def test_nothing_that_was_said_stands_in_a_log(answering: Installation) -> None:
    """Whatever goes well or wrong with it: arguments, results, errors, addresses with their passwords."""
    orders = (
        f'call write with {{"text": "{MARKER}"}} and call fail with {{"text": "{MARKER}"}}, '
        f'then call write with {{"wrong": "{MARKER}"}}, then call hold with {{"gate": "{MARKER}"}}'
    )
    turns = [
        answering.send("t", orders, metadata={"note": MARKER}),
        answering.send("limited", orders, agent="hasty"),
        answering.send("broken", MARKER, agent="broken"),
    ]
    answering.saw("hold begins", count=2)
    answering.all_ended(turns[1:])
    turns[0].cancel()
    results = answering.all_ended(turns)
    answering.stop("one")

    assert [r.state for r in results] == [TurnState.CANCELLED, TurnState.FAILED, TurnState.FAILED]
    assert results[1].error is not None
    assert results[1].error.kind == "time_limit"
    assert_well_formed(answering.history())
    assert [entry["text"] for entry in answering.notes(write.name)] == [MARKER] * 2
    log = answering.logs()
    assert "tool_raised" in log
    assert "turn_ended" in log
    assert MARKER not in log
    for url in ("THREADMILL_DATABASE_URL", "THREADMILL_BROKER_URL"):
        password = answering.environment[url].split("@")[0].rpartition(":")[2]
        assert len(password) > 10
        assert password not in log
