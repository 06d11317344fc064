"""Servers that forget, stop or die: what was accepted is completed, once."""

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
import redis

from conversation.turn import TurnState
from producers import Turn
from tests.acceptance.installation import Installation, assert_well_formed, eventually, worker
from threadmill.embedded.postgres import EmbeddedPostgres
from threadmill.embedded.valkey import EmbeddedValkey

pytestmark = pytest.mark.soak

#: A finished tool, then one that waits for the test.
HELD = 'call write with {"text": "first"}, then call hold_again with {"gate": "tool"}'


def all_answered_once(installation: Installation, turns: list[Turn], seconds: float = 60) -> None:
    results = installation.all_ended(turns, seconds)

    assert {result.state for result in results} == {TurnState.COMPLETED}
    history = installation.history()
    assert_well_formed(history)
    asked = [m["turn_id"] for m in history if m["role"] == "user"]
    answered = [m["turn_id"] for m in history if m["role"] == "assistant" and not m["tool_calls"]]
    assert sorted(asked) == sorted(answered)
    assert len(set(asked)) == len(turns)


def test_a_broker_that_forgets_everything_loses_no_turn(installation: Installation) -> None:
    """100 wake-ups are in it when it is flushed."""
    installation.start(*installation.upkeep())
    turns = [installation.send(f"thread-{n}", f"message {n}", allow_unknown_agent=True) for n in range(100)]
    with redis.Redis.from_url(installation.environment["THREADMILL_BROKER_URL"]) as client:
        assert sum(client.llen(key) for key in client.keys("turns*") if client.type(key) == b"list") >= 100
        client.flushall()

    installation.start(worker("one"))

    all_answered_once(installation, turns)


def test_a_broker_that_is_flushed_while_turns_run_loses_no_turn(running: Installation) -> None:
    turns = [running.send("held", HELD), *(running.send(f"thread-{n}", "hello") for n in range(5))]
    running.saw("hold_again begins")
    turns += [running.send("held", "behind"), *(running.send(f"thread-{n}", "again") for n in range(5))]
    with redis.Redis.from_url(running.environment["THREADMILL_BROKER_URL"]) as client:
        client.flushall()
    turns += [running.send(f"thread-{n}", "after") for n in range(5)]
    running.open_gate("tool")

    all_answered_once(running, turns)
    assert len(running.notes("write")) == 1


def test_workers_that_start_before_their_broker_consume_once_it_is_there(
    installation: Installation, valkey_server: EmbeddedValkey
) -> None:
    valkey_server.kill()
    try:
        installation.launch(worker("one"), *installation.upkeep())
        turns = [installation.send(f"thread-{n}", "hello", allow_unknown_agent=True) for n in range(5)]
        # Each has been refused a connection, and goes on trying.
        for process in installation.processes.values():
            eventually(lambda at=process: at.has_logged("Trying again"), told=process.log_tail)
    finally:
        valkey_server.start()

    all_answered_once(installation, turns, seconds=120)
    assert [name for name, process in installation.processes.items() if not process.is_running] == []


def test_a_broker_that_was_away_finds_its_workers_and_the_clock_again(
    running: Installation, valkey_server: EmbeddedValkey
) -> None:
    turns = [running.send("held", HELD), *(running.send(f"thread-{n}", "before") for n in range(5))]
    running.saw("hold_again begins")

    valkey_server.kill()
    try:
        started = time.monotonic()
        turns += [running.send(f"thread-{n}", "while it is away") for n in range(5)]
        assert time.monotonic() - started < 20, "a sender was held up by the broker"
        # What runs goes on: no broker is needed for it.
        running.open_gate("tool")
        running.all_ended(turns[:1], seconds=60)
        time.sleep(2)
    finally:
        valkey_server.start()
    turns += [running.send(f"thread-{n}", "it is back") for n in range(5)]

    all_answered_once(running, turns)
    assert [name for name, process in running.processes.items() if not process.is_running] == []


def test_a_wake_up_that_a_busy_worker_has_no_thread_for_is_left_to_others(installation: Installation) -> None:
    installation.start(worker("one", threads=2))
    turns = [installation.send(f"held-{n}", HELD) for n in range(3)]
    installation.saw("hold_again begins", count=2)

    installation.start(worker("two", threads=2))

    # Nobody sweeps here: a wake-up that waited in the first one's memory would reach nobody else.
    installation.saw("hold_again begins", count=3)
    installation.open_gate("tool")
    all_answered_once(installation, turns)


def test_a_busy_worker_with_a_wake_up_in_hand_outlives_its_broker(
    installation: Installation, valkey_server: EmbeddedValkey
) -> None:
    """Two turns run, a third one's wake-up waits in the process, and there is room for a fourth."""
    one = worker("one", threads=2)
    greedy = replace(one, argv=(*one.argv, "--", "worker.disable_prefetch=no"))
    installation.start(greedy, *installation.upkeep())
    turns = [installation.send(f"held-{n}", HELD, allow_unknown_agent=True) for n in range(3)]
    installation.saw("hold_again begins", count=2)
    with redis.Redis.from_url(installation.environment["THREADMILL_BROKER_URL"]) as client:
        eventually(lambda: not any(client.type(key) == b"list" for key in client.keys("turns*")))

    valkey_server.kill()
    try:
        time.sleep(2)
    finally:
        valkey_server.start()
    installation.open_gate("tool")

    all_answered_once(installation, turns)
    assert [name for name, process in installation.processes.items() if not process.is_running] == []


@pytest.mark.parametrize("how", [EmbeddedPostgres.stop, EmbeddedPostgres.kill], ids=["stop", "kill"])
def test_a_database_that_was_away_loses_no_turn_and_repeats_none(
    running: Installation, postgres_server: EmbeddedPostgres, how: Callable[[EmbeddedPostgres], None]
) -> None:
    turns = [running.send(f"held-{n}", HELD) for n in range(5)]
    turns += [running.send("slow", "think", agent="thinker"), running.send("slow", "think again")]
    running.saw("hold_again begins", count=5)
    running.saw("asked")

    how(postgres_server)
    running.open_gate("tool")
    running.open_gate("model")
    time.sleep(1)
    postgres_server.start()
    turns += [running.send(f"held-{n}", "behind") for n in range(5)]

    all_answered_once(running, turns)
    assert len(running.notes("write")) == 5
    assert [name for name, process in running.processes.items() if not process.is_running] == []
