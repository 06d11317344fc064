"""Turns that somebody stops: soon, kept as far as they had come, and the thread goes on."""

from typing import Any

import pytest

from conversation.task_contract import CANCEL_CHANNEL
from conversation.turn import TurnState
from producers import Turn
from tests.acceptance.installation import Installation, assert_well_formed, eventually, worker

ORDERS = (
    'call write with {"text": "first"}, then call hold with {"gate": "never"} and call write with {"text": "second"}'
)


def seconds_to_cancel(installation: Installation, turn: Turn) -> float:
    turn.cancel()
    return eventually(lambda: turn.state is TurnState.CANCELLED, 60, lambda: installation.told([turn.id]))


@pytest.mark.parametrize("signal_arrives", [True, False], ids=["signal", "heartbeat"])
def test_a_running_turn_is_stopped_and_its_thread_goes_on(
    installation: Installation, signal_arrives: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A heartbeat so slow that only the signal can be what stopped it, or no signal at all.
    slow = {"THREADMILL_LEASE_DURATION_SECONDS": "60", "THREADMILL_HEARTBEAT_INTERVAL_SECONDS": "20"}
    installation.start(worker("one"), **(slow if signal_arrives else {}))
    if not signal_arrives:
        silence(installation, monkeypatch)
    turn = installation.send("t", ORDERS)
    installation.saw("hold begins")
    eventually(lambda: len(installation.notes("write")) == 2)
    behind = installation.send("t", "behind")

    seconds = seconds_to_cancel(installation, turn)

    # Long before the next beat, where that is 20 seconds away.
    assert seconds < 15
    (after,) = installation.all_ended([behind])
    assert after.state is TurnState.COMPLETED
    assert installation.notes("hold ends") == []
    history = installation.history("t")
    assert_well_formed(history)
    kept = [(m["role"], m["content"]) for m in history if m["turn_id"] and str(m["turn_id"]) == turn.id]
    assert [role for role, _ in kept] == ["user", "assistant", "tool", "assistant", "tool", "tool"]
    assert next(text for role, text in kept if role == "tool") == '"wrote first"'
    assert any("CutOff" in text for role, text in kept if role == "tool")
    assert installation.result(turn).error is None


def silence(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signals of cancel requests get lost; everything else goes on."""
    publish = installation.producer.connections.signals.publish

    def lossy(channel: str, *said: Any) -> None:
        if channel != CANCEL_CHANNEL:
            publish(channel, *said)

    monkeypatch.setattr(installation.producer.connections.signals, "publish", lossy)


def test_a_turn_that_waits_behind_another_is_cancelled_without_having_run(answering: Installation) -> None:
    first = answering.send("t", 'call hold with {"gate": "tool"}')
    answering.saw("hold begins")
    second = answering.send("t", "never mind")

    assert second.cancel() is TurnState.CANCELLED
    answering.open_gate("tool")
    (result,) = answering.all_ended([first])

    assert result.state is TurnState.COMPLETED
    assert answering.turn_row(second)["attempt"] == 0
    assert all("never mind" not in m["content"] for m in answering.history("t"))


def test_a_cancelled_turn_whose_worker_died_ends_without_running_on(running: Installation) -> None:
    turn = running.send("t", 'call write with {"text": "first"}, then call hold_again with {"gate": "never"}')
    running.saw("hold_again begins")

    running.processes["one"].kill()
    turn.cancel()
    running.start(worker("two"))
    (result,) = running.all_ended([turn])

    assert result.state is TurnState.CANCELLED
    assert len(running.notes("hold_again begins")) == 1
    history = running.history("t")
    assert_well_formed(history)
    assert [m["role"] for m in history] == ["user", "assistant", "tool", "assistant", "tool"]


def test_what_a_worker_had_received_of_a_reply_is_kept_as_partial(answering: Installation) -> None:
    turn = answering.send("t", "tell me of the lighthouse", agent="talker")
    answering.saw("talks")

    seconds_to_cancel(answering, turn)

    result = answering.result(turn)
    (kept,) = result.messages
    assert (kept.role, kept.state) == ("assistant", "partial")
    assert kept.content
    # Its provider never counted it: lengths tell what it may have cost, and say so.
    assert result.usage is not None
    assert result.usage.is_estimate
    assert result.usage.total_tokens > 0
    # The next turn of the thread is not disturbed by what was left unsaid.
    answering.open_gate("talker")
    (after,) = answering.all_ended([answering.send("t", "go on", agent="talker")])
    assert after.state is TurnState.COMPLETED
    assert_well_formed(answering.history("t"))
