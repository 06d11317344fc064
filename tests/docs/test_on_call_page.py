"""The page for who is on call: each command of it runs, on a night with a real worker, and prints what the page shows.

`WRITE_PAGES=1` has the test write what was printed into the page. Ids, times and hosts are those of one night: they
are compared by their shape.
"""

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from conversation.ids import new_id
from conversation.turn import TurnState
from producers import Turn
from store.turns import workers
from tests.acceptance.installation import Installation, eventually, worker
from tests.command import run_command
from tests.conftest import LendDatabase
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "how-to" / "on-call.md"
#: What a user wrote, and a bug quotes.
SECRET = "Why so much?"
_SHOWN = re.compile(r"```sh\n(threadmill [^\n]*)\n```\n\n```text shown\n(.*?)```", re.DOTALL)
_AS_SHOWN = "```sh\n{command}\n```\n\n```text shown\n{printed}```"
_SHAPES = (
    (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "ID"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?", "TIME"),
    (r"next try \d\d:\d\d:\d\dZ", "next try TIME"),
    (r"\b(\d+\.\d\ds|\d+s|\d+m\d\ds|\d+h\d\dm)\b", "LENGTH"),
    (r"\b[0-9a-f]{12}\b", "VERSION"),
    (r"\d+\.\d/min", "RATE"),
    (r"(?m) +$", ""),
    (r" {2,}", "  "),
)


def shape_of(text: str) -> str:
    """What a command printed, without what is another one each night."""
    for pattern, word in _SHAPES:
        text = re.sub(pattern, word, text)
    return text


@pytest.fixture
def night(
    lend_database: LendDatabase, migrated_template: str, valkey_url: str, tmp_path: Path
) -> Iterator[Installation]:
    with lend_database(migrated_template) as url:
        opened = Installation(url, valkey_url, tmp_path)
        opened.environment["THREADMILL_AGENT_MODULES"] = "tests.acceptance.agents_on_call"
        opened.environment["THREADMILL_SHUTDOWN_GRACE_SECONDS"] = "0"
        try:
            opened.start(worker("one"))
            yield opened
        finally:
            opened.close()


#: Who asked for the turns that were answered.
WHO = (
    {"tenant": "acme", "metadata": {"user": "ann"}},
    {"tenant": "acme", "metadata": {"user": "bob"}},
    {"tenant": "acme", "metadata": {"user": "ann"}},
    {},
)


def spend(night: Installation) -> dict[str, str]:
    """Have everything happen that the page is about; returns what its variables hold."""
    lose_worker(night)
    answered = [night.send(f"order-{n}", "Where is it?", agent="support", **who) for n, who in enumerate(WHO)]
    failed = night.send("invoice-7", SECRET, agent="billing", tenant="acme", metadata={"user": "ann"})
    away = night.send("letter-3", "Translate this.", agent="translator")
    night.all_ended([*answered, failed])
    eventually(lambda: away.record.attempt > 0 and away.state is TurnState.QUEUED)
    running = night.send("order-9", 'call hold with {"gate": "tool"}', agent="support", tenant="acme")
    night.saw("hold begins")
    cancelled = night.send("order-9", "Never mind.", agent="support", tenant="acme")
    cancelled.cancel(by="ann@example.com")
    behind = night.send("order-9", "And when?", agent="support", tenant="acme")
    unserved = night.send("report-1", "Sum it up.", agent="analyst")
    for turn, minutes in ((unserved, 41), (running, 26), (behind, 25)):
        make_older(night, turn, minutes)
    # The names of one night's machine, and a next try that is not over while the commands run.
    night.query("UPDATE workers SET host = 'worker-1', pid = 4242 WHERE host <> 'worker-2'")
    night.query("UPDATE turns SET retry_at = now() + interval '5 minutes' WHERE id = %s", away.id)
    (row,) = night.query("SELECT id FROM workers WHERE host = 'worker-1'")
    return {
        "FAILED_TURN": failed.id,
        "CANCELLED_TURN": cancelled.id,
        "RUNNING_TURN": running.id,
        "WORKER": str(row["id"]),
    }


def lose_worker(night: Installation) -> None:
    """A worker that served an agent, and died."""
    entry = {"host": "worker-2", "pid": 7, "serves": {"analyst": "1"}, "lease_duration_seconds": -600}
    night.producer.database.run(workers.register, worker=new_id(), **entry)


def make_older(night: Installation, turn: Turn, minutes: int) -> None:
    for table, key, columns in (
        ("turns", "id", ("created_at", "started_at", "attempt_started_at")),
        ("steps", "turn_id", ("started_at", "finished_at")),
    ):
        changes = ", ".join(f"{column} = {column} - make_interval(mins => {minutes})" for column in columns)
        night.query(f"UPDATE {table} SET {changes} WHERE {key} = %s", turn.id)


@pytest.mark.soak
def test_each_question_is_answered_as_the_page_shows_and_a_worker_is_drained(night: Installation) -> None:
    variables = spend(night)
    page = PAGE.read_text()
    printed = {command: run(night, command, variables) for command, _ in _SHOWN.findall(page)}

    if os.environ.get("WRITE_PAGES"):
        page = _SHOWN.sub(lambda shown: _AS_SHOWN.format(command=shown[1], printed=printed[shown[1]]), page)
        PAGE.write_text(page)
    shown = {command: shape_of(text) for command, text in _SHOWN.findall(page)}
    assert {command: shape_of(text) for command, text in printed.items()} == shown
    assert len(shown) >= 10
    assert SECRET not in page
    assert_drained(night)


def run(night: Installation, command: str, variables: dict[str, str]) -> str:
    words = shlex.split(re.sub(r"\$(\w+)", lambda name: variables[name[1]], command))
    ended = run_command(*words[1:], folder=night.folder, environment=night.environment)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def assert_drained(night: Installation) -> None:
    """It claims nothing more, and ends after its turn: without any grace it would have handed that over."""
    process = night.processes["one"]
    eventually(lambda: process.has_logged("worker_draining"))
    (held,) = night.query("SELECT id FROM turns WHERE state = 'running'")
    later = night.send("elsewhere", "Hello?", agent="support")

    night.open_gate("tool")
    process.join(30)

    assert process.exit_code == 0
    (row,) = night.query("SELECT state, attempt FROM turns WHERE id = %s", held["id"])
    assert (row["state"], row["attempt"]) == ("completed", 1)
    assert later.state is TurnState.QUEUED
    assert night.query("SELECT 1 FROM workers WHERE host <> 'worker-2'") == []
