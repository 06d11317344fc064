"""Workers that are killed: their turns are completed, once, by whoever is there next."""

import json
import os
import signal
import time
from typing import Any

import pytest

from conversation.turn import TurnState
from tests.acceptance.installation import Installation, assert_well_formed, eventually, quarantine, worker

#: One tool that finished, then one of each kind that is at work when the process dies.
ORDERS = (
    'call write with {"text": "first"}, then call hold with {"gate": "tool"} '
    'and call hold_again with {"gate": "tool"}, then call write with {"text": "last"}'
)
DEFAULT_TIMES = {
    "THREADMILL_LEASE_DURATION_SECONDS": "15",
    "THREADMILL_HEARTBEAT_INTERVAL_SECONDS": "2",
    "THREADMILL_SWEEP_INTERVAL_SECONDS": "2",
    "THREADMILL_SWEEP_GRACE_SECONDS": "10",
}


def contents(history: list[dict[str, Any]], tool: str) -> list[str]:
    return [m["content"] for m in history if m["role"] == "tool" and m["name"] == tool]


@pytest.mark.parametrize(
    "times",
    [pytest.param({}, id="short lease"), pytest.param(DEFAULT_TIMES, id="default lease", marks=pytest.mark.endurance)],
)
def test_a_turn_whose_worker_is_killed_while_tools_run_is_completed_by_the_next(
    installation: Installation, times: dict[str, str]
) -> None:
    installation.start(worker("one"), *installation.upkeep(), **times)
    turn = installation.send("t", ORDERS)
    installation.saw("hold begins")
    installation.saw("hold_again begins")

    installation.processes["one"].kill()
    killed = time.monotonic()
    installation.open_gate("tool")
    installation.start(worker("two"), **times)
    (result,) = installation.all_ended([turn], seconds=60)

    assert time.monotonic() - killed < 60
    assert result.state is TurnState.COMPLETED
    row = installation.turn_row(turn)
    assert (row["attempt"], row["crashes"]) == (2, 1)
    # What had finished was not done again; what is idempotent was, as the same call.
    assert [entry["text"] for entry in installation.notes("write")] == ["first", "last"]
    assert len(installation.notes("hold begins")) == 1
    again = installation.notes("hold_again begins")
    assert [entry["attempt"] for entry in again] == [1, 2]
    assert again[0]["call"] == again[1]["call"]
    # What had begun and is not idempotent is told to the model as it is: unknown.
    history = installation.history("t")
    assert_well_formed(history)
    assert [m["role"] for m in history].count("user") == 1
    assert contents(history, "write") == ['"wrote first"', '"wrote last"']
    assert contents(history, "hold_again") == ['"held again"']
    (unknown,) = contents(history, "hold")
    assert json.loads(unknown)["error"]["type"] == "Unknown"
    assert history[-1]["role"] == "assistant"
    assert ORDERS in history[-1]["content"]


def test_a_turn_whose_worker_is_killed_while_the_model_is_asked_is_answered_once(running: Installation) -> None:
    turn = running.send("t", "what now?", agent="thinker")
    behind = running.send("t", "and then?", agent="thinker")
    running.saw("asked")

    running.processes["one"].kill()
    running.open_gate("model")
    running.start(worker("two"))
    results = running.all_ended([turn, behind], seconds=60)

    assert [result.state for result in results] == [TurnState.COMPLETED] * 2
    history = running.history("t")
    assert [m["role"] for m in history] == ["user", "assistant", "user", "assistant"]
    assert "what now?" in history[1]["content"]
    assert "and then?" in history[3]["content"]


def test_a_worker_that_was_frozen_and_lost_its_lease_commits_nothing(running: Installation) -> None:
    turn = running.send("t", 'call write with {"text": "first"}, then call hold_again with {"gate": "tool"}')
    running.saw("hold_again begins")
    running.start(worker("two"))

    first = running.processes["one"]
    assert first.pid is not None
    os.kill(first.pid, signal.SIGSTOP)
    running.saw("hold_again begins", count=2)
    running.open_gate("tool")
    os.kill(first.pid, signal.SIGCONT)
    (result,) = running.all_ended([turn])
    eventually(lambda: first.has_logged("turn_lost"), told=first.log_tail)

    assert result.state is TurnState.COMPLETED
    assert running.turn_row(turn)["attempt"] == 2
    assert [entry["text"] for entry in running.notes("write")] == ["first"]
    history = running.history("t")
    assert_well_formed(history)
    assert [m["role"] for m in history] == ["user", "assistant", "tool", "assistant", "tool", "assistant"]
    # It goes on with other threads.
    assert running.all_ended([running.send("other", "hello")])[0].state is TurnState.COMPLETED


def test_a_worker_that_was_only_stopped_convicts_nobody(running: Installation) -> None:
    turn = running.send("t", 'call hold_again with {"gate": "tool"}')
    running.saw("hold_again begins")
    running.start(worker("two"))
    first = running.processes["one"]
    assert first.pid is not None

    os.kill(first.pid, signal.SIGSTOP)
    eventually(lambda: running.turn_row(turn)["crashes"] == 1, told=lambda: running.told([turn.id]))
    os.kill(first.pid, signal.SIGCONT)
    eventually(lambda: running.turn_row(turn)["crashes"] == 0, told=lambda: running.told([turn.id]))

    running.open_gate("tool")
    (result,) = running.all_ended([turn])
    assert result.state is TurnState.COMPLETED


def test_a_turn_that_kills_its_process_is_found_guilty_alone_and_others_go_free(running: Installation) -> None:
    """Two crashes of a shared process are suspicion; the third, alone, is the verdict."""
    running.start(quarantine())
    innocent = running.send("innocent", 'call hold_again with {"gate": "innocent"}')
    running.saw("hold_again begins")
    poison = running.send("poisoned", 'call write with {"text": "before"}, then call die')
    behind = running.send("poisoned", "what was said after it")

    def died(name: str) -> bool:
        return not running.processes[name].is_running

    for _ in range(2):
        eventually(lambda: died("one"), told=lambda: running.told([poison.id]))
        running.start(worker("one"))
    running.open_gate("innocent")
    eventually(lambda: died("quarantine"), told=lambda: running.told([poison.id]))
    running.start(quarantine())
    results = running.all_ended([poison, behind, innocent])

    assert [r.state for r in results] == [TurnState.FAILED, TurnState.COMPLETED, TurnState.COMPLETED]
    assert results[0].error is not None
    assert results[0].error.kind == "poison"
    assert len(running.notes("die")) == 3
    assert len(running.notes("write")) == 1
    # Its neighbour shared one crash at least; the second may come before it was claimed again.
    assert running.turn_row(innocent)["crashes"] in {1, 2}
    assert_well_formed(running.history())
