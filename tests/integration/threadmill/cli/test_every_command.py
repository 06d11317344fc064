"""Every command over a full and over an empty store: what it prints, for people and for programs."""

import base64
import json
import shutil
import sqlite3
import subprocess
import unicodedata
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from conversation.ids import new_id
from producers import Producer
from store.settings import load
from store.turns import workers
from tests.command import run_command
from tests.every_command import find_commands, find_json_commands

#: What a terminal would obey, or show as something else: ESC, OSC 52, CR, BS, DEL, C1, bidi, zero-width, NEL, LS, PS.
HOSTILE = "\x1b[31m\x1b]52;c;cm0=\x07\rok\x08\x7f\x9b\x85\u202e\u2066\u200b\u200d\ufeff\u2028\u2029\U000e0041"
#: The text columns that users, models, files and other programs write.
WRITTEN = {
    "threads": ["title", "agent"],
    "messages": ["content", "name"],
    "summaries": ["content", "model"],
    "turns": ["error_message", "agent"],
    "pending_calls": ["name", "arguments", "question"],
    "workers": ["host"],
    "schedule_runs": ["error"],
    "retention_policies": ["agent"],
    "api_keys": ["name"],
    "webhooks": ["name"],
    "attachments": ["filename"],
    "schedules": ["content", "name", "last_error"],
    "inbound_sources": ["name"],
}
#: Each list: its headers, and its sentence where it is empty.
LISTS = {
    ("threads", "list"): ("UPDATED THREAD TITLE", "no threads match"),
    ("threads", "branches"): ("BRANCH CHOSEN NAME ORIGIN PARENT SHARED_TO LAST_SEQ TURNS", None),
    ("threads", "archives"): ("NUMBER FIRST_AT LAST_AT MESSAGES", "nothing is archived of x"),
    ("threads", "summaries"): ("CREATED SUMMARY STATE FROM_SEQ TO_SEQ MODEL", "x has no summaries"),
    ("turns", "list"): ("TURN STATE AGE TOOK AGENT TRY THREAD TENANT NOTE", "no turns match"),
    ("turns", "pending"): ("ASKED KIND TURN CALL TOOL EXPIRES WHAT", "no turn waits for a decision"),
    ("retention", "list"): ("SCOPE TENANT AGENT THREAD POLICY", "no policies are set"),
    ("search",): ("THREAD SEQ ROLE MESSAGE", "no messages match"),
    ("keys", "list"): ("KEY STATE TENANT USER SCOPES CREATED EXPIRES USED NAME", "no keys are made"),
    ("webhooks", "list"): ("WEBHOOK STATE TENANT KINDS AGENTS FAILURES NEXT NAME URL", "no webhooks are made"),
    ("recurring", "list"): ("SCHEDULE STATE WHEN ZONE NEXT LAST THREAD AGENT USER NAME ERROR", "no schedules are made"),
    ("inbound", "list"): ("SOURCE STATE TENANT SCHEME AGENT CREATED NAME", "no inbound sources are made"),
    ("schedules",): ("STATE SCHEDULE STARTED OUTCOME", None),
    ("files", "report"): ("FILES BYTES STATE", None),
}
#: The commands, and groups of them, that are run on the full store.
TRIED = [
    "status",
    "search",
    "schedules",
    "doctor",
    "threads",
    "turns",
    "retention",
    "files",
    "keys",
    "recurring",
    "inbound",
    "webhooks",
]


class Store:
    """A folder with a database, in which commands are run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            "PATH": "/usr/bin:/bin",
            "THREADMILL_DATABASE_URL": f"sqlite:///{folder}/store.db",
            "THREADMILL_BROKER_URL": "redis://127.0.0.1:1/0",
            "THREADMILL_WEBHOOK_ENCRYPTION_KEYS": base64.urlsafe_b64encode(b"k" * 32).decode(),
        }

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return run_command(*arguments, folder=self.folder, environment=self.environment, stdin=stdin)


def make_store(folder: Path, migrated_file: Path) -> Store:
    """A store with one thread, `x`, in which nothing was said."""
    shutil.copy(migrated_file, folder / "store.db")
    store = Store(folder)
    assert store.run("chat", "x").returncode == 0
    return store


@pytest.fixture
def empty(migrated_file: Path, tmp_path: Path) -> Store:
    return make_store(tmp_path, migrated_file)


@pytest.fixture(scope="module")
def full(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with a row of everything, in which whoever writes text wrote the worst."""
    store = make_store(tmp_path_factory.mktemp("full"), migrated_file)
    (store.folder / "note.txt").write_text("The code word is heron.")
    lines = "".join(f"How is day {n}?\n" for n in range(6))
    for command, stdin in {
        ("chat", "x"): f"/attach note.txt\nPlease book 2 seats for x.\n{lines}",
        ("threads", "summarize", "x", "--keep", "8"): "",
        ("retention", "set", "--tenant", "default", "--agent", "support", "--idle-days", "9", "--allow-unknown"): "",
        ("retention", "set", "--tenant", "default", "--max-messages", "4", "--keep-summary", "--archive", "--yes"): "",
        ("retention", "run", "--yes"): "",
        ("keys", "create", "--name", "shop"): "",
        ("webhooks", "create", "https://example.org/hooks", "--name", "shop"): "",
        ("inbound", "create", "shop", "--thread", "t", "--text", "x", "--key", "{/id}"): "",
        ("recurring", "create", "hello", "--cron", "0 9 * * *", "--thread", "x", "--name", "daily"): "",
    }.items():
        done = store.run(*command, stdin=stdin)
        assert done.returncode == 0, done.stderr
    with closing(Producer(load(database_url=store.environment["THREADMILL_DATABASE_URL"]))) as producer:
        turn = producer.send("x", "hello", agent="gone", allow_unknown_agent=True)
        turn.cancel()
        entry = {"host": "", "pid": 1, "serves": {"assistant": "1"}, "lease_duration_seconds": 600}
        producer.database.run(workers.register, worker=new_id(), **entry)
    with closing(sqlite3.connect(store.folder / "store.db")) as database, database:
        database.execute("UPDATE turns SET error_kind = 'bug', error_message = '', error_fault = 'internal'")
        database.execute(
            "INSERT INTO schedule_runs (schedule, due_at, started_at, finished_at, error)"
            " VALUES ('retention.run', '2026-01-01 00:00:00', '2026-01-01 00:00:00', '2026-01-01 00:00:00', '')"
        )
        database.execute(
            "INSERT INTO pending_calls (turn_id, call_id, tenant, step_index, kind, name, arguments, arguments_digest,"
            " requested_at, expires_at) SELECT id, 'c', tenant, 1, 'approval', 'refund', '{}', '',"
            " '2026-01-01 00:00:00.000000', '2999-01-01 00:00:00.000000' FROM turns LIMIT 1"
        )
        for table, columns in WRITTEN.items():
            for column in columns:
                database.execute(f"UPDATE {table} SET {column} = coalesce({column}, '') || ?", (HOSTILE,))
    return store


def obeyed_characters(text: str) -> set[str]:
    controls = {char for char in text if unicodedata.category(char) in {"Cc", "Cf", "Zl", "Zp"}}
    return controls - {"\n"}


def test_every_list_has_its_headers_and_one_object_a_line(full: Store) -> None:
    for path, (headers, _) in LISTS.items():
        for_people = full.run(*find_commands()[path])
        for_programs = full.run(*find_json_commands()[path], "--json")

        assert for_people.stdout.splitlines()[0].split() == headers.split(), path
        assert len(for_people.stdout.splitlines()) > 1, path
        objects = [json.loads(line) for line in for_programs.stdout.splitlines()]
        assert objects, path
        assert all(isinstance(each, dict) for each in objects), path


def test_every_list_that_is_empty_says_so_and_prints_no_line_for_programs(empty: Store) -> None:
    for path, (_, sentence) in LISTS.items():
        if sentence is not None and path != ("threads", "list"):
            assert empty.run(*find_commands()[path]).stdout == f"{sentence}\n"
            assert empty.run(*find_json_commands()[path], "--json").stdout == ""
    assert empty.run("threads", "list", "--title", "nothing").stdout == "no threads match\n"
    assert empty.run("threads", "list", "--title", "nothing", "--json").stdout == ""


def test_no_command_hands_a_terminal_what_it_would_obey(full: Store) -> None:
    commands = {path: arguments for path, arguments in find_commands().items() if path[0] in TRIED}
    commands |= {("chat",): ["chat", "x"], ("export",): ["threads", "export", "x"]}
    # At last: nothing is left to show of a thread that is gone.
    commands[("threads", "delete")] = commands.pop(("threads", "delete"))

    printed = {}
    for path, arguments in commands.items():
        done = full.run(*arguments, stdin=f"/history\nand {HOSTILE}\n")
        printed[path] = done.stdout + done.stderr
        assert obeyed_characters(printed[path]) == set(), path

    # They are shown, where they were written: the test would say nothing if no command met them.
    for path in (
        ("threads", "show"),
        ("turns", "list"),
        ("threads", "list"),
        ("schedules",),
        ("retention", "list"),
        ("keys", "list"),
        ("webhooks", "list"),
        ("recurring", "list"),
        ("inbound", "list"),
        ("chat",),
    ):
        assert r"\x1b[31m" in printed[path], path


def test_what_programs_read_is_json_with_moments_in_utc_and_ids_as_strings(full: Store) -> None:
    for path, arguments in find_json_commands().items():
        if path[0] not in TRIED or path[1:] in (("delete",), ("restore-summary",)):
            continue
        done = full.run(*arguments, "--json")

        assert obeyed_characters(done.stdout) == set(), path
        for line in done.stdout.splitlines():
            check_values(path, json.loads(line))


def check_values(path: tuple[str, ...], value: object, name: str = "") -> None:
    if isinstance(value, dict):
        for key, each in value.items():
            check_values(path, each, key)
    elif isinstance(value, list):
        for each in value:
            check_values(path, each, name)
    elif name.endswith("_at") and value is not None:
        offset = datetime.fromisoformat(str(value)).utcoffset()
        assert offset is not None, (path, name, value)
        assert not offset, (path, name, value)
    elif path[-1] == "tail" and name == "id":
        # The id of an event is its number, that of a message a text.
        assert value is None or isinstance(value, int | str), (path, name, value)
    elif name == "id" or name.endswith("_id"):
        assert value is None or isinstance(value, str), (path, name, value)
