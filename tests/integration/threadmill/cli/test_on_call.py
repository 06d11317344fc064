"""What an operator asks on the command line, over a SQLite file: turns, workers, costs, and what goes on."""

import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from conversation.ids import new_id
from producers import Producer
from store.settings import load
from store.turns import workers
from tests.integration.threadmill.cli.test_threads import Terminal, json_lines
from tests.tries import check_tries

#: What a terminal would obey.
EVIL = "\x1b]52;c;ZXZpbA==\x07\x1b[2J"


@dataclass
class Night:
    terminal: Terminal
    waiting: str
    cancelled: str
    worker: str


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """A turn that waits for an agent that is gone, one that was cancelled, an answered one, and a worker."""
    folder = tmp_path_factory.mktemp("night")
    terminal = Terminal(folder)
    terminal.run("init")
    terminal.run("chat", "answered", stdin="hello\n")
    worker = new_id()
    with closing(Producer(load(database_url=f"sqlite:///{folder}/threads.db"))) as producer:
        entry = {"host": "build-2", "pid": 7, "serves": {"assistant": "1"}, "lease_duration_seconds": 3600}
        producer.database.run(workers.register, worker=worker, **entry)
        waiting = producer.send("t1", f"hello {EVIL}", agent="gone", allow_unknown_agent=True)
        cancelled = producer.send("t2", "hello", agent="gone", allow_unknown_agent=True)
    terminal.run("turns", "cancel", cancelled.id, "--by", "ann")
    return Night(terminal, waiting.id, cancelled.id, worker)


def test_a_command_with_a_turns_id_finds_it_for_its_tenant_alone(night: Night) -> None:
    """Before any other test cancels what waits: a success would show it, or change it."""
    run = night.terminal.run
    verbs = ["show", "tail", "cancel", "requeue"]
    answers = [
        run("turns", verb, turn_id, "--tenant", "other", status=1)
        for verb in verbs
        for turn_id in (night.waiting, night.cancelled)
    ]
    successes = [each.stdout for each in answers if "is stored for tenant 'other'" not in each.stderr or each.stdout]

    assert successes == []
    check_tries("commands with another tenant's turns", tries=len(answers), successes=len(successes))
    state = json.loads(run("turns", "show", night.waiting, "--tenant", "default", "--json").stdout)["state"]
    assert state == "queued"


def test_a_command_without_a_tenant_says_whose_a_turn_is(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    terminal.run("init")
    with closing(Producer(load(database_url=f"sqlite:///{tmp_path}/threads.db"))) as producer:
        turn = producer.send("t", "hello", tenant="acme", allow_unknown_agent=True)

    assert terminal.run("turns", "cancel", turn.id).stdout.strip() == f"{turn.id} cancelled (tenant acme)"
    assert terminal.run("turns", "requeue", turn.id).stdout.strip() == f"{turn.id} goes on (tenant acme)"


def test_a_turn_is_shown_with_why_it_waits_and_who_cancelled_it(night: Night) -> None:
    waiting = night.terminal.run("turns", "show", night.waiting).stdout
    cancelled = json.loads(night.terminal.run("turns", "show", night.cancelled, "--json").stdout)

    assert "waits for agent gone, which no living worker serves" in waiting
    assert f"threadmill turns requeue {night.waiting} --by" in waiting
    assert "hello" not in waiting
    assert cancelled["is"] == "cancelled by ann"
    assert [entry["kind"] for entry in cancelled["entries"]] == ["sent", "waited", "cancel", "ended"]
    with_text = night.terminal.run("turns", "show", night.waiting, "--text").stdout
    assert r"hello \x1b]52;c;ZXZpbA==\x07\x1b[2J" in with_text
    assert "\x1b" not in with_text
    assert night.waiting in night.terminal.run("threads", "show", "t1").stdout
    assert "TURN_ID: no turn 'nothing' is stored" in night.terminal.run("turns", "show", "nothing", status=1).stderr


def test_turns_are_listed_by_what_is_asked_for_in_pages(night: Night) -> None:
    first = night.terminal.run("turns", "list", "--limit", "1", "--json")
    cursor = first.stderr.partition("--cursor ")[2].split()[0]
    others = json_lines(night.terminal.run("turns", "list", "--cursor", cursor, "--json"))
    shown = night.terminal.run("turns", "list", "--state", "cancelled", "--state", "queued")

    assert [turn["id"] for turn in json_lines(first)] == [night.waiting]
    assert (others[0]["id"], others[0]["is_unserved"]) == (night.cancelled, False)
    assert [turn["thread_id"] for turn in others] == ["t2", "answered"]
    assert shown.stdout.splitlines()[0].split() == [
        "TURN",
        "STATE",
        "AGE",
        "TOOK",
        "AGENT",
        "TRY",
        "THREAD",
        "TENANT",
        "NOTE",
    ]
    assert "waits: no living worker serves this agent" in shown.stdout
    assert "by ann" in shown.stdout
    assert "the last 24 hours" in shown.stderr
    for arguments in (["--agent", "other"], ["--older-than", "1h"], ["--until", "yesterday"], ["--user", "nobody"]):
        none = night.terminal.run("turns", "list", *arguments)
        assert none.stdout == "no turns match\n", arguments
    by_thread = night.terminal.run("turns", "list", "--thread", "t1", "--json")
    assert [turn["id"] for turn in json_lines(by_thread)] == [night.waiting]


@pytest.mark.parametrize(
    "arguments",
    [
        ["turns", "list", "--since", "soon"],
        ["turns", "list", "--older-than", "-5m"],
        ["turns", "list", "--since", "0001-01-01"],
        ["usage", "--by", "moon"],
        ["top", "--last", "later"],
        ["workers", "drain", "x", "--timeout", "long"],
    ],
    ids=" ".join,
)
def test_a_time_or_a_key_that_nobody_understands_is_wrong_usage(tmp_path: Path, arguments: list[str]) -> None:
    refused = Terminal(tmp_path).run(*arguments, status=2)

    assert arguments[-2] in refused.stderr
    assert "Traceback" not in refused.stderr


def test_what_goes_on_and_what_it_cost_is_shown(night: Night) -> None:
    top = night.terminal.run("top").stdout
    overview = json.loads(night.terminal.run("top", "--json", "--last", "1h").stdout)
    by_agent = json_lines(night.terminal.run("usage", "--by", "agent", "--by", "day", "--json"))
    whole = night.terminal.run("usage", "--since", "2020-01-01")

    assert "workers: 1" in top
    assert "no: no living worker serves it" in top
    assert overview["queues"][0]["agent"] == "gone"
    assert {row["agent"]: row["count"] for row in by_agent} == {"assistant": 1, "gone": 1}
    assert whole.stdout.splitlines()[0].split() == ["TURNS", "FAILED", "PROMPT", "CACHED", "REPLY", "COST", "MEAN"]
    assert night.terminal.run("usage", "--tenant", "other").stdout == "nothing ended in that time\n"


def test_workers_are_listed_shown_and_drained(night: Night) -> None:
    listed = json_lines(night.terminal.run("workers", "list", "--json"))
    shown = night.terminal.run("workers", "show", night.worker).stdout
    night.terminal.run("workers", "drain", "--host", "build-2")
    draining = night.terminal.run("workers", "list", "--host", "build-2").stdout
    late = night.terminal.run("workers", "drain", night.worker, "--wait", "--timeout", "0s", status=3)

    assert [(worker["id"], worker["state"], worker["host"]) for worker in listed] == [
        (night.worker, "alive", "build-2")
    ]
    assert "it runs no turn" in shown
    assert "draining" in draining
    assert "1 did not end in time" in late.stderr
    assert "WORKER_IDS: no worker" in night.terminal.run("workers", "drain", new_id(), status=1).stderr
    assert "is known" in night.terminal.run("workers", "show", "nobody", status=1).stderr
    for arguments in (["drain"], ["drain", night.worker, "--host", "build-2"], ["drain", new_id()]):
        night.terminal.run("workers", *arguments, status=1)
