"""What Flower shows: each turn by its id and as it ended, to those who know the password, and nothing that was said."""

import base64
import html
import json
import runpy
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import redis

from conversation.task_contract import FILES_QUEUE, MAINTENANCE_QUEUE, QUARANTINE_QUEUE, TURNS_QUEUE
from producers import Turn
from store.live.broker_users import CONTROL_CHANNEL
from tasks.control.answers import VERBS
from tests.acceptance import agents_for_tests
from tests.acceptance.installation import ROOT, Installation, eventually
from tests.control_commands import HOSTILE_COMMANDS, compose
from threadmill.embedded import programs
from threadmill.embedded.home import Home
from threadmill.embedded.programs import FLOWER_USER
from threadmill.embedded.stack import Addresses

pytestmark = pytest.mark.soak

MARKER = "xylophone-4711"
#: By the thread of the turn: the state of its row, and words of its result or exception.
OUTCOMES = {
    "answered": ("SUCCESS", "completed; model calls: 1, tokens: "),
    "tools": ("SUCCESS", "completed; model calls: 2, tokens: "),
    "broken": ("FAILURE", "agent_error (fault: internal): code of an agent, a model or ours raised: builtins.Runtime"),
    "refused": ("FAILURE", "model_error unauthorized (fault: operator): the provider refused the key, or there is"),
    "limited": ("FAILURE", "time_limit (fault: tool): it took longer than an agent's turn may take"),
    "away": ("RETRY", "model_error unavailable (fault: provider): the provider cannot be reached, or is down; next"),
    "stopped": ("REVOKED", "cancelled; model calls: 1, tokens: "),
    "running": ("STARTED", None),
}


class Page:
    """Flower in its folder, as its API tells."""

    def __init__(self, folder: Path) -> None:
        home = Home(folder)
        self.address, self.password = f"http://127.0.0.1:{home.last_port()}", home.load_secret()

    def read(self, page: str) -> str:
        return ask(self.address + page, self.password)

    def rows(self) -> dict[str, dict[str, Any]]:
        rows: dict[str, dict[str, Any]] = json.loads(self.read("/api/tasks?limit=1000"))
        return rows

    def state(self, turn: Turn) -> str | None:
        row = self.rows().get(turn.id)
        return row["state"] if row else None


def test_each_turn_has_a_row_that_says_how_it_ended_and_no_word_of_it(answering: Installation) -> None:
    answering.start(programs.flower(answering.folder / "flower"))
    page = Page(answering.folder / "flower")
    await_first_row(answering, page)
    orders = f'call hold with {{"gate": "{MARKER}"}}'
    turns = {
        "answered": answering.send("answered", f"say {MARKER}"),
        "tools": answering.send("tools", f'call write with {{"text": "{MARKER}"}}'),
        "broken": answering.send("broken", MARKER, agent="broken"),
        "refused": answering.send("refused", MARKER, agent="refused"),
        "limited": answering.send("limited", orders, agent="hasty"),
        "away": answering.send("away", MARKER, agent="away"),
        "stopped": answering.send("stopped", orders),
        "running": answering.send("running", orders),
    }
    answering.saw("hold begins", count=3)
    turns["stopped"].cancel()

    eventually(lambda: {name: page.state(turn) for name, turn in turns.items()} == states(OUTCOMES))

    rows = page.rows()
    for name, turn in turns.items():
        row, (_, words) = rows[turn.id], OUTCOMES[name]
        assert row["name"] == "turns.run"
        assert f"'thread': '{name}'" in row["kwargs"]
        assert words is None or words in f"{row['result']} {row['exception']}"
        assert MARKER not in page.read(f"/task/{turn.id}") + page.read(f"/api/task/info/{turn.id}")
    # Nothing but turns: a wake-up is none.
    assert set(rows) <= {str(row["id"]) for row in answering.query("SELECT id FROM turns")}
    assert rows[turns["broken"].id]["traceback"].splitlines()[-2:] == [
        f'  File "{agents_for_tests.__file__}", line {line_of("cannot answer")}, in complete',
        "RuntimeError",
    ]
    assert rows[turns["away"].id]["eta"]
    check_the_page_of_a_worker_among_hostile_commands(answering, page)
    check_a_stop_and_a_restart(answering, turns["running"])


def test_a_browser_shows_each_turn_with_its_outcome_and_the_lines_of_a_bug(answering: Installation) -> None:
    """Its pages are made by scripts: what the API says is not yet what a person sees."""
    answering.start(programs.flower(answering.folder / "flower"))
    page = Page(answering.folder / "flower")
    await_first_row(answering, page)
    turns = {name: answering.send(name, MARKER, agent=name) for name in ("worker", "broken", "refused", "away")}
    eventually(lambda: [page.state(turn) for turn in turns.values()] == ["SUCCESS", "FAILURE", "FAILURE", "RETRY"])
    browser = runpy.run_path(str(ROOT / "docs" / "how-to" / "make_flower_screenshots.py"))
    addresses = Addresses("", "", "", f"{page.address}/", FLOWER_USER, page.password)

    tasks = browser["read"](addresses, "tasks")
    bug = html.unescape(browser["read"](addresses, f"task/{turns['broken'].id}"))

    for turn in turns.values():
        assert turn.id in tasks
    for words in (
        "model_error unauthorized (fault: operator)",
        "agent_error (fault: internal)",
        ">RETRY<",
        ">SUCCESS<",
    ):
        assert words in tasks
    assert f'File "{agents_for_tests.__file__}", line {line_of("cannot answer")}, in complete' in bug
    for button in ("Revoke", "Terminate"):
        assert button not in bug
    assert MARKER not in tasks + bug


def check_the_page_of_a_worker_among_hostile_commands(answering: Installation, page: Page) -> None:
    """Its views are whole, whatever others publish; and what Flower's own buttons would ask is not done."""
    before = answering.processes["one"].pid, answering.processes["flower"].pid
    with redis.Redis.from_url(answering.environment["THREADMILL_BROKER_URL"]) as enemy:
        for command in HOSTILE_COMMANDS:
            enemy.publish(CONTROL_CHANNEL, command)
        for event in (b"\xff", b"[" * 100_000, b"null", compose({"type": "task-received", "hostname": 5})):
            enemy.publish("/0.celeryev/task.received", event)
    workers = json.loads(page.read("/api/workers?refresh=1"))
    (name,) = workers
    shown = json.loads(page.read(f"/api/workers?refresh=1&workername={name}"))[name]

    assert shown.keys() >= VERBS
    assert shown["stats"]["pool"]["max-concurrency"] == 16
    assert [queue["name"] for queue in shown["active_queues"]] == [TURNS_QUEUE]
    assert [task["id"] for task in shown["active"]]
    for words in ("turns.run", "files.prepare", TURNS_QUEUE):
        assert words in page.read(f"/worker/{name}")
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(f"{page.address}/api/worker/shutdown/{name}", page.password, data=b"")
    refused.value.close()
    assert (answering.processes["one"].pid, answering.processes["flower"].pid) == before
    answering.all_ended([answering.send("behind", "say behind")])


def check_a_stop_and_a_restart(answering: Installation, running: Turn) -> None:
    """A turn that ends while its worker stops is told of; all of it outlives Flower, and a queue its workers."""
    answering.processes["one"].request_stop(signal.SIGTERM)
    # Celery's loop has ended when the turn does.
    eventually(lambda: answering.processes["one"].has_logged("worker_stopping"))
    time.sleep(1)
    answering.open_gate(MARKER)
    answering.processes["one"].join(60)
    page = Page(answering.folder / "flower")
    eventually(lambda: page.state(running) == "SUCCESS")
    before = {uuid: row["state"] for uuid, row in page.rows().items()}

    answering.stop("flower")
    answering.start(programs.flower(answering.folder / "flower"))

    page = Page(answering.folder / "flower")
    assert {uuid: row["state"] for uuid, row in page.rows().items()} == before
    queues = json.loads(page.read("/api/queues/length"))["active_queues"]
    assert [queue["name"] for queue in queues] == [TURNS_QUEUE, QUARANTINE_QUEUE, FILES_QUEUE, MAINTENANCE_QUEUE]
    assert MAINTENANCE_QUEUE in page.read("/broker")
    for each in ("/tasks", "/workers", "/broker", "/api/tasks?limit=1000", "/api/workers"):
        assert MARKER not in page.read(each)


def test_flower_answers_nobody_without_the_password(installation: Installation) -> None:
    installation.start(programs.flower(installation.folder / "flower"))
    address = f"http://127.0.0.1:{Home(installation.folder / 'flower').last_port()}"

    for page in ("/", "/api/tasks", "/tasks", "/api/workers", "/workers", "/broker"):
        for password in ("", "wrong"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                ask(address + page, password)
            assert refused.value.code == 401
            refused.value.close()


def await_first_row(answering: Installation, page: Page) -> None:
    """Send until Flower hears of it: it answers before it has subscribed to what workers tell."""

    def listens() -> bool:
        first = answering.send("first", "is anybody listening?")
        answering.all_ended([first])
        return bool(page.rows())

    eventually(listens)


def states(outcomes: dict[str, tuple[str, str | None]]) -> dict[str, str]:
    return {name: state for name, (state, _) in outcomes.items()}


def line_of(text: str) -> int:
    """The line of the tests' agents with this text."""
    lines = Path(agents_for_tests.__file__).read_text().splitlines()
    return next(number for number, line in enumerate(lines, start=1) if text in line)


def ask(url: str, password: str, data: bytes | None = None) -> str:
    request = urllib.request.Request(url, data)
    if password:
        pair = base64.b64encode(f"{FLOWER_USER}:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {pair}")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(answer.read().decode())
