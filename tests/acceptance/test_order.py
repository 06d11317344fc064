"""Order: every message is answered once, directly after itself, whoever sends and whoever works."""

import json
from collections import defaultdict
from itertools import pairwise

import psycopg
import pytest

from conversation.turn import TurnState
from tests.acceptance.installation import (
    Installation,
    assert_well_formed,
    beat,
    eventually,
    maintenance,
    run_python,
    worker,
)

pytestmark = pytest.mark.soak

#: Sends 50 messages over 20 threads in turn, and prints the ids of their turns.
SENDER = """
import json, sys
from producers import send_message
sender = int(sys.argv[1])
numbers = range(10 * sender, 10 * sender + 50)
sent = [send_message(f"thread-{n % 20}", f"message {n} of sender {sender}").id for n in numbers]
print(json.dumps(sent))
"""


def test_every_one_of_200_messages_is_answered_directly_after_itself(installation: Installation) -> None:
    """Given 4 senders and 2 workers at once on 20 threads."""
    # No lease may lapse on a machine that is busy with all of this: nothing dies here.
    patient = {"THREADMILL_LEASE_DURATION_SECONDS": "60"}
    installation.start(worker("one"), worker("two"), *installation.upkeep(), **patient)

    senders = [
        run_python(SENDER, str(n), environment=installation.environment, log=installation.folder / f"sender-{n}.out")
        for n in range(4)
    ]
    eventually(lambda: not any(sender.is_running for sender in senders), 60)
    assert [sender.exit_code for sender in senders] == [0] * 4, senders[0].log_tail()
    eventually(lambda: not installation.query("SELECT 1 FROM turns WHERE state <> 'completed'"), 60)

    sent = [turn for sender in senders for turn in json.loads(sender.log_tail(1))]
    assert {str(row["id"]) for row in installation.query("SELECT id FROM turns")} == set(sent)
    history = installation.history()
    assert len(history) == 400
    assert_well_formed(history)
    threads = defaultdict(list)
    for message in history:
        threads[message["thread"]].append(message)
    assert len(threads) == 20
    for messages in threads.values():
        assert [m["seq"] for m in messages] == list(range(1, 21))
        for asked, answer in zip(messages[::2], messages[1::2], strict=True):
            assert (asked["role"], answer["role"]) == ("user", "assistant")
            assert asked["turn_id"] == answer["turn_id"]
            assert f'You wrote: "{asked["content"]}"' in answer["content"]
    assert len({m["content"] for m in history if m["role"] == "user"}) == 200
    # Within a thread, each sender's messages stand in the order in which it sent them.
    for messages in threads.values():
        for sender in range(4):
            asked = [m["content"] for m in messages if m["content"].endswith(f"of sender {sender}")]
            numbers = [int(text.split()[1]) for text in asked]
            assert all(earlier < later for earlier, later in pairwise(numbers))
    assert {row["attempt"] for row in installation.query("SELECT attempt FROM turns")} == {1}


def test_a_caller_who_keeps_a_transaction_open_holds_up_nobody(running: Installation) -> None:
    """Its own message is answered once it commits, also without a ring."""
    running.all_ended([running.send("shared", "the first")])
    running.query("CREATE TABLE orders (id int)")

    with psycopg.connect(running.database_url) as connection:
        connection.execute("INSERT INTO orders VALUES (1)")
        waiting = running.send("shared", "from the long transaction", connection=connection)
        before = running.query("SELECT lease_expires_at FROM workers")[0]["lease_expires_at"]
        for n in range(3):
            on_it = running.send("shared", f"meanwhile {n}")
            elsewhere = running.send(f"other-{n}", f"elsewhere {n}")
            running.all_ended([on_it, elsewhere])
        # Two heartbeats and more, while the transaction is open.
        eventually(
            lambda: (
                (running.query("SELECT lease_expires_at FROM workers")[0]["lease_expires_at"] - before).total_seconds()
                > 1.2
            ),
            seconds=60,
        )
        assert running.query("SELECT 1 FROM turns WHERE id = %s", waiting.id) == []
        connection.commit()

    (result,) = running.all_ended([waiting])
    assert result.state is TurnState.COMPLETED
    asked = [m["content"] for m in running.history("shared") if m["role"] == "user"]
    assert asked == ["the first", "meanwhile 0", "meanwhile 1", "meanwhile 2", "from the long transaction"]
    assert running.query("SELECT count(*) AS n FROM orders") == [{"n": 1}]


def test_a_caller_who_rolls_back_has_sent_nothing(answering: Installation) -> None:
    with psycopg.connect(answering.database_url) as connection:
        answering.send("t", "never said", connection=connection)
        connection.rollback()

    (result,) = answering.all_ended([answering.send("t", "said")])

    assert result.state is TurnState.COMPLETED
    assert [m["content"] for m in answering.history("t") if m["role"] == "user"] == ["said"]


def test_two_clocks_and_two_sweeps_answer_nobody_twice(running: Installation) -> None:
    """Without a single ring of the senders'."""
    running.start(maintenance("upkeep"), beat(running.folder, "clock"))
    with psycopg.connect(running.database_url) as connection:
        turns = [running.send(f"thread-{n % 10}", f"message {n}", connection=connection) for n in range(30)]
        connection.commit()

    results = running.all_ended(turns)

    assert {result.state for result in results} == {TurnState.COMPLETED}
    assert_well_formed(running.history())
    assert [m["role"] for m in running.history()] == ["user", "assistant"] * 30
    assert {row["attempt"] for row in running.query("SELECT attempt FROM turns")} == {1}
    assert all(running.processes[name].is_running for name in ("beat", "clock"))
