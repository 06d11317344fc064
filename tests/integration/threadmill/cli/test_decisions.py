"""`threadmill turns pending`, `approve`, `deny` and `answer`: decided under a name, once, and of the tenant alone."""

import getpass
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from conversation.ids import new_id
from conversation.pending_call import PendingKind, PendingRequest
from conversation.turn import ClaimedTurn, Waiting
from producers import Producer
from store.settings import load
from store.turns import claims, workers
from store.turns import settle as settling
from store.turns.claims import ClaimRequest
from tests.integration.threadmill.cli.test_threads import Terminal, json_lines


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    terminal = Terminal(tmp_path_factory.mktemp("decisions"))
    terminal.run("init")
    return terminal


def make_waiting(terminal: Terminal, folder: Path) -> str:
    """A turn that waits for an approval, an answer, a result of its client's, and a denial."""
    with closing(Producer(load(database_url=f"sqlite:///{folder}/threads.db"))) as producer:
        run, worker = producer.database.run, new_id()
        entry: dict[str, Any] = {"host": "here", "pid": 1, "serves": {"assistant": "1"}, "lease_duration_seconds": 60}
        run(workers.register, worker=worker, **entry)
        turn = producer.send("t", "money back", user="ada")
        claimant = ClaimRequest(worker=worker, agents={"assistant": "1"})
        claimed = run(claims.claim, tenant="default", thread_id="t", claimant=claimant)
        assert isinstance(claimed, ClaimedTurn)
        kinds = (PendingKind.APPROVAL, PendingKind.QUESTION, PendingKind.CLIENT_TOOL, PendingKind.APPROVAL)
        requests = tuple(
            PendingRequest(call_id=f"c{index}", step_index=index, kind=kind, name="refund", arguments='{"amount": 20}')
            for index, kind in enumerate(kinds, start=1)
        )
        run(settling.settle, lease=claimed.lease, turn_id=turn.id, ending=Waiting(pending=requests), release=True)
    return turn.id


def test_each_call_is_decided_under_a_name_and_the_last_one_lets_the_turn_go_on(terminal: Terminal) -> None:
    turn = make_waiting(terminal, terminal.folder)
    listed = json_lines(terminal.run("turns", "pending", "--user", "ada", "--json"))
    assert [call["call_id"] for call in listed] == ["c1", "c2", "c3", "c4"]
    for verb in (("approve",), ("deny",), ("answer", "x")):
        refused = terminal.run("turns", verb[0], turn, "c1", *verb[1:], "--tenant", "other", status=1)
        assert "is stored for tenant 'other'" in refused.stderr

    edited = terminal.run("turns", "approve", turn, "c1", "--arguments", '{"amount": 5}', "--by", "ann", "--json")
    answered = terminal.run("turns", "answer", turn, "c2", "7", "--json-value", "--json")
    given = terminal.run("turns", "answer", turn, "c3", "done", "--result", "--by", "till", "--json")
    denied = terminal.run("turns", "deny", turn, "c4", "--reason", "too much", "--by", "ann")
    again = terminal.run("turns", "approve", turn, "c4", status=1)

    decided = [json.loads(each.stdout) for each in (edited, answered, given)]
    assert [(call["decision"], call["state"]) for call in decided] == [
        ("edit", "waiting"),
        ("answer", "waiting"),
        ("result", "waiting"),
    ]
    assert [call["decided_by"] for call in decided] == ["ann", getpass.getuser(), "till"]
    assert denied.stdout == 'c4 deny refund {"amount": 20}; the turn is queued\n'
    assert "decided before by 'ann': deny" in again.stderr
    shown = terminal.run("turns", "show", turn).stdout
    assert shown.count("by ann") == 2
    assert terminal.run("turns", "pending").stdout.strip() == "no turn waits for a decision"
