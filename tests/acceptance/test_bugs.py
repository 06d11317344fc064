"""Agents and tools with mistakes in them: their turns end, and nobody's words stand in a log."""

import json
from collections import Counter

import pytest

from conversation.turn import TurnState
from producers import Turn
from tests.acceptance.agents_for_tests import write
from tests.acceptance.agents_that_babble import WAYS
from tests.acceptance.installation import Installation, assert_well_formed, eventually, worker
from tests.tries import check_tries

pytestmark = pytest.mark.soak

#: Stands for what users say and what must not be found in any log.
MARKER = "xylophone-4711"
#: Characters of a log, at most, though tools said a hundred times as much.
LOG_MAX_CHARS = 1_000_000


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


def test_nothing_that_was_said_stands_in_a_log_and_each_line_of_a_turn_has_its_ids(installation: Installation) -> None:
    """Whatever goes well or wrong with it: arguments, results, errors, refusals, addresses with their passwords."""
    names = ("agents_for_tests", "agents_that_tell", "agents_that_babble")
    modules = ",".join(f"tests.acceptance.{name}" for name in names)
    installation.start(worker("one"), THREADMILL_AGENT_MODULES=modules, THREADMILL_LOG_FORMAT="json")
    orders = (
        f'call write with {{"text": "{MARKER}"}} and call fail with {{"text": "{MARKER}"}}, '
        f'then call write with {{"wrong": "{MARKER}"}}, then call hold with {{"gate": "{MARKER}"}}'
    )
    fetch = f'call fetch_page with {{"url": "http://user:{MARKER}@127.0.0.1/{MARKER}?key={MARKER}"}}'
    turns = [
        installation.send("t", orders, metadata={"note": MARKER}),
        installation.send("limited", orders, agent="hasty"),
        installation.send("broken", MARKER, agent="broken"),
        installation.send("refused", MARKER, agent="refused"),
        installation.send("connected", fetch, agent="connected"),
    ]
    babble = f'call babble with {{"text": "{MARKER}"}} and call babble_on_loop with {{"text": "{MARKER}"}}'
    postponed = installation.send("postponed", MARKER, agent="away")
    # Before anything holds up the loop: one of them has a second, which on a slow machine is over before it holds.
    eventually(lambda: len(installation.notes("hold begins")) == 2 or turns[1].result)
    installation.all_ended([installation.send("babbling", f"{babble}, then call flood", agent="babbler")])
    installation.all_ended(turns[1:])
    turns[0].cancel()
    results = installation.all_ended(turns)
    eventually(lambda: installation.turn_row(postponed)["retry_at"])
    installation.stop("one")

    assert [r.state for r in results] == [TurnState.CANCELLED, *[TurnState.FAILED] * 3, TurnState.COMPLETED]
    assert [r.error and r.error.kind for r in results[1:4]] == ["time_limit", "agent_error", "model_error"]
    assert MARKER not in installation.turn_row(turns[3])["error_message"]
    assert_well_formed(installation.history())
    assert [entry["text"] for entry in installation.notes(write.name)] == [MARKER] * 2
    check_log(installation, [*turns, postponed])
    check_babble(installation)


def check_log(installation: Installation, turns: list[Turn]) -> None:
    log = installation.logs()
    assert MARKER not in log
    for url in ("THREADMILL_DATABASE_URL", "THREADMILL_BROKER_URL"):
        password = installation.environment[url].split("@")[0].rpartition(":")[2]
        assert len(password) > 10
        assert password not in log
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    # What is left behind in a thread, or at the end of the process, is nobody's turn.
    of_turns = [
        line for line in lines if not line["event"].startswith(("worker_", "error_left")) and "logger" not in line
    ]
    expected = {"turn_started", "turn_ended", "tool_raised", "agent_error", "mcp_server_away"}
    assert {line["event"] for line in of_turns} >= expected
    assert [line for line in of_turns if not line.keys() >= {"tenant", "thread", "turn", "agent"}] == []
    endings = {line["turn"]: line for line in of_turns if line["event"] == "turn_ended"}
    told = [
        [endings[turn.id].get(name) for name in ("level", "state", "kind", "model_kind", "fault")] for turn in turns
    ]
    assert told == [
        ["info", "cancelled", None, None, None],
        ["warning", "failed", "time_limit", None, "tool"],
        ["error", "failed", "agent_error", None, "internal"],
        ["error", "failed", "model_error", "unauthorized", "operator"],
        ["info", "completed", None, None, None],
        ["warning", "queued", "model_error", "unavailable", "provider"],
    ]


def check_babble(installation: Installation) -> None:
    """Whatever its tools said, the log is short, and what was left behind stands in it by its type alone."""
    assert [entry["way"] for entry in installation.notes("babbles")] == list(WAYS)
    assert installation.notes("core")[0]["limits"] == [1, 1]
    log = installation.processes["one"].log.read_text()
    assert len(log) < LOG_MAX_CHARS
    events = Counter(json.loads(line)["event"] for line in log.splitlines() if line.startswith("{"))
    expected = {"print_dropped": 1, "error_left_behind": 3, "code_warned": 2, "library_logged": 2}
    assert {name: events[name] for name in expected} == expected
    assert events["tool_left_error_behind"] == 2
    check_tries(
        "printing, logging, warning and raising a user's words in a worker's tool, or more than a disk holds",
        tries=len(WAYS) + 2,
        successes=log.count(MARKER) + (len(log) >= LOG_MAX_CHARS),
    )
