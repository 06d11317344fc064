"""The commands that look at threads, over a SQLite file, as a person and as a program run them."""

import json
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from conversation.ids import new_id
from producers import Producer
from store.settings import load
from store.tables.retention import ARCHIVES
from store.turns import workers
from tests.command import run_command
from threadmill.cli import docker

pytestmark = pytest.mark.soak


def json_lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


class Terminal:
    """Runs the command in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: str, stdin: str = "", status: int = 0) -> subprocess.CompletedProcess[str]:
        done = run_command(
            *arguments,
            folder=self.folder,
            stdin=stdin,
            environment={
                "PATH": "/usr/bin:/bin",
                "THREADMILL_DATABASE_URL": f"sqlite:///{self.folder}/threads.db",
                "THREADMILL_BROKER_URL": "redis://127.0.0.1:1/0",
            },
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path)


def test_a_chat_is_stored_and_resumes(terminal: Terminal) -> None:
    first = terminal.run("chat", "t1", stdin="my order is FH-1\n/quit\n")
    assert 'You wrote: "my order is FH-1"' in first.stdout

    second = terminal.run("chat", "t1", stdin="What is my order?\n/history\n")

    assert "2 messages" in second.stderr
    assert second.stdout.count("my order is FH-1") >= 2


def test_a_chat_takes_files_and_tells_what_it_does_not_understand(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("The code word is heron.")

    done = terminal.run("chat", "t1", stdin="/attach note.txt\nWhat is the code word?\n/nothing\n/attach gone\n")

    assert "heron" in done.stdout
    assert "command: is '/nothing'" in done.stderr
    assert "gone" in done.stderr


def test_threads_are_listed_shown_searched_and_deleted(terminal: Terminal) -> None:
    terminal.run("chat", "t1", stdin="a heron stood there\n")
    terminal.run("chat", "t2", stdin="and a crow\n")

    (newest,) = json_lines(terminal.run("threads", "list", "--limit", "1", "--json"))
    (oldest,) = json_lines(terminal.run("threads", "list", "--json", "--cursor", newest["next_cursor"]))
    assert [(thread["id"], thread["next_cursor"] is None) for thread in (newest, oldest)] == [
        ("t2", False),
        ("t1", True),
    ]
    shown = json.loads(terminal.run("threads", "show", "t1", "--json").stdout)
    assert [message["role"] for message in shown["messages"]] == ["user", "assistant"]
    hits = json_lines(terminal.run("search", "heron", "--json"))
    assert {hit["thread"] for hit in hits} == {"t1"}

    terminal.run("threads", "delete", "t1", stdin="n\n", status=1)
    terminal.run("threads", "delete", "t1", "--yes")
    gone = terminal.run("threads", "show", "t1", status=1)
    assert gone.stderr == "threadmill: no thread 't1' is stored for tenant 'default'\n"


def test_threads_are_listed_by_their_last_use_or_by_when_they_were_made(terminal: Terminal) -> None:
    for thread in ("t1", "t2", "t3", "t1"):
        terminal.run("chat", thread, stdin="hello\n")

    def list_ids(*options: str) -> list[str]:
        return [
            json.loads(line)["id"] for line in terminal.run("threads", "list", "--json", *options).stdout.splitlines()
        ]

    assert list_ids() == ["t1", "t3", "t2"]
    assert list_ids("--sort", "created") == ["t3", "t2", "t1"]
    page = terminal.run("threads", "list", "--limit", "2")
    assert list_ids("--cursor", page.stderr.split()[-1]) == ["t2"]
    page = terminal.run("threads", "list", "--limit", "2", "--sort", "created")
    assert list_ids(*page.stderr.removeprefix("more: ").split()) == ["t1"]


def test_a_thread_moves_from_one_store_to_another(terminal: Terminal, tmp_path: Path) -> None:
    terminal.run("chat", "t1", stdin="hello\n")
    terminal.run("threads", "export", "t1", "-o", "t1.jsonl")
    before = json.loads(terminal.run("threads", "show", "t1", "--json").stdout)
    terminal.run("threads", "delete", "t1", "-y")

    terminal.run("threads", "import", "t1.jsonl")

    after = json.loads(terminal.run("threads", "show", "t1", "--json").stdout)
    assert [(m["id"], m["seq"], m["content"]) for m in after["messages"]] == [
        (m["id"], m["seq"], m["content"]) for m in before["messages"]
    ]


def test_status_says_what_is_missing_and_init_makes_it(terminal: Terminal) -> None:
    before = json.loads(terminal.run("status", "--json", status=1).stdout)
    assert ["threadmill migrate" in problem for problem in before["problems"]] == [True]
    assert "ConnectionError" in before["broker"]

    terminal.run("init")

    after = json.loads(terminal.run("status", "--json").stdout)
    assert (after["threads"], after["workers"]) == (0, 0)


def test_retention_asks_first_and_deletes_nothing_that_is_new(terminal: Terminal) -> None:
    terminal.run("chat", "t1", stdin="hello\n")

    terminal.run("retention", "set", "--tenant", "default", "--idle-days", "30")
    terminal.run("retention", "run", stdin="n\n", status=1)
    done = terminal.run("retention", "run", "--yes", "--json")

    told = json.loads(done.stdout)
    assert (told["threads"], told["messages"], told["blobs"]) == (0, 0, 0)


def test_policies_are_set_listed_reported_and_removed(terminal: Terminal) -> None:
    terminal.run("chat", "t1", stdin="hello\n")
    terminal.run("chat", "t2", stdin="hello\n")
    ask = ["retention", "set", "--tenant", "default", "--max-messages", "0", "--archive"]
    refused = terminal.run(*ask, stdin="n\n", status=1)
    assert "0 threads that go whole, 2 that may lose messages" in refused.stdout
    assert terminal.run("retention", "list", "--json").stdout == ""
    terminal.run(*ask, "--yes")
    terminal.run("retention", "hold", "t2", "--reason", "matter 7")

    listed = json.loads(terminal.run("retention", "list", "--json").stdout)
    assert listed == {"scope": "tenant", "tenant": "default", "max_messages": 0, "archive": True}
    told = json.loads(terminal.run("retention", "run", "--dry-run", "--json").stdout)
    assert [(share["threads"], share["messages"]) for share in told["due"]] == [(1, 2)]
    assert [thread["id"] for thread in told["held"]] == ["t2"]
    assert told["held_is_complete"] is True
    assert "kept by a legal hold: t2" in terminal.run("retention", "run", "--dry-run").stdout
    done = json.loads(terminal.run("retention", "run", "--yes", "--json").stdout)
    assert (done["messages"], done["archived"], done["held"]) == (2, 1, 1)
    terminal.run("retention", "release", "t2")
    terminal.run("retention", "remove", "--tenant", "default")
    terminal.run("retention", "remove", "--tenant", "default", status=1)
    terminal.run("retention", "set", "--idle-days", "3", status=1)


@pytest.mark.parametrize(
    ("scope", "problem"),
    [
        (["--agent", "assistent"], "--agent: 'assistent' is known to nobody (known: none)"),
        (["--tenant", "default", "--thread", "t9"], "--thread: 't9' is not stored for tenant 'default'"),
    ],
)
def test_a_policy_for_what_nobody_knows_is_refused_unless_that_is_meant(
    terminal: Terminal, scope: list[str], problem: str
) -> None:
    terminal.run("init")

    refused = terminal.run("retention", "set", *scope, "--idle-days", "3", status=1)
    terminal.run("retention", "set", *scope, "--idle-days", "3", "--allow-unknown")

    assert problem in refused.stderr
    assert "--allow-unknown" in refused.stderr
    assert len(terminal.run("retention", "list", "--json").stdout.splitlines()) == 1


def test_what_retention_archived_is_listed_and_read_back(terminal: Terminal) -> None:
    terminal.run("chat", "t1", stdin="hello\n")
    terminal.run("retention", "set", "--tenant", "default", "--max-messages", "0", "--archive", "--yes")
    terminal.run("retention", "run", "--yes")

    (archived,) = json_lines(terminal.run("threads", "archives", "t1", "--json"))
    assert (archived["number"], archived["messages"]) == (1, 2)
    assert "MESSAGES\n1 " in terminal.run("threads", "archives", "t1").stdout
    assert "nth" in terminal.run("threads", "import", "--archive", "t1", "--nth", "2", status=1).stderr
    terminal.run("threads", "import", "--archive", "t1", "--nth", "1", "--as", "t1-again")
    assert len(json.loads(terminal.run("threads", "show", "t1-again", "--json").stdout)["messages"]) == 2


def test_a_user_is_exported_and_erased(terminal: Terminal, tmp_path: Path) -> None:
    terminal.run("chat", "t1", stdin="hello\n")

    terminal.run("export-user", "ann.zip", "--thread", "t1")
    terminal.run("retention", "hold", "t1")
    nobody = terminal.run("erase", stdin="y\n", status=1)
    assert "Erase" not in nobody.stdout
    assert "name one of them" in nobody.stderr
    refused = terminal.run("erase", "--thread", "t1", "--yes", status=1)
    assert "'t1' under legal hold" in refused.stderr
    terminal.run("retention", "release", "t1")
    certificate = json.loads(terminal.run("erase", "--thread", "t1", "--yes", "--json").stdout)

    assert (tmp_path / "ann.zip").stat().st_size > 0
    assert certificate["counts"]["messages"] == 2
    terminal.run("threads", "show", "t1", status=1)


def test_a_user_is_listed_found_exported_and_erased_and_nobody_is_told_apart(terminal: Terminal) -> None:
    terminal.run("chat", "t1", "--user", "ann", stdin="a parcel\n")
    terminal.run("chat", "t2", "--user", "bob", stdin="a parcel\n")

    listed = json.loads(terminal.run("threads", "list", "--user", "ann", "--json").stdout)
    assert (listed["id"], listed["user"]) == ("t1", "ann")
    assert "t2" not in terminal.run("search", "parcel", "--user", "ann").stdout
    terminal.run("export-user", "ann.zip", "--user", "ann")
    nobody = terminal.run("erase", "--user", "anne", "--yes", "--json", status=4)
    assert json.loads(nobody.stdout)["outcome"] == "nothing was found"
    assert "nothing was found of 'anne' in tenant 'default'" in nobody.stderr
    assert "certificate" in terminal.run("erase", "--user", "ann", "--yes").stdout
    assert json.loads(terminal.run("threads", "list", "--json").stdout)["id"] == "t2"
    assert "--user: holds white space" in terminal.run("erase", "--user", "a b", "--yes", status=1).stderr


@pytest.mark.parametrize("command", [["export-user", "{}", "--thread", "t1"], ["threads", "export", "t1", "-o", "{}"]])
def test_a_place_that_cannot_be_written_to_is_named(terminal: Terminal, command: list[str]) -> None:
    terminal.run("chat", "t1", stdin="hello\n")

    told = terminal.run(*(part.format("nowhere/ann.out") for part in command), status=1)

    assert "'nowhere/ann.out' cannot be written (No such file or directory)" in told.stderr
    assert "Traceback" not in told.stderr


def test_an_export_that_fails_leaves_no_half_file(terminal: Terminal, tmp_path: Path) -> None:
    terminal.run("export-user", "ann.zip", "--thread", "nobody", status=1)

    assert list(tmp_path.glob("ann.zip*")) == []


def test_an_export_says_what_the_file_store_has_lost(terminal: Terminal, tmp_path: Path) -> None:
    terminal.run("chat", "t1", stdin="hello\n")
    terminal.run("retention", "set", "--tenant", "default", "--max-messages", "0", "--archive", "--yes")
    terminal.run("retention", "run", "--yes")
    for part in (tmp_path / ".threadmill" / "files" / ARCHIVES).rglob("*"):
        if part.is_file():
            part.unlink()

    told = terminal.run("export-user", "ann.zip", "--thread", "t1", status=3)

    assert "ann.zip: 1 threads" in told.stdout
    assert "lost, or damaged: archives/" in told.stderr
    assert (tmp_path / "ann.zip").stat().st_size > 0


def test_wrong_usage_is_exit_status_2(terminal: Terminal) -> None:
    terminal.run("threads", "list", "--limit", "0", status=2)
    terminal.run("nonsense", status=2)


def test_completion_is_offered_for_shells(terminal: Terminal) -> None:
    assert "completion" in terminal.run("--help").stdout


class Docker:
    """Stands for the docker command: notes what it was asked."""

    def __init__(self, folder: Path, *, status: int = 0) -> None:
        self.folder = folder
        self.log = folder / "asked"
        program = folder / "docker"
        program.write_text(f'#!/bin/sh\necho "$@" >> {self.log}\necho "no engine" >&2\nexit {status}\n')
        program.chmod(0o755)

    def asked(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of its own, with the shipped compose file, whose `docker` is a stand-in."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("docker-compose.yml", ".env.example"):
        (folder / name).write_text((Path(__file__).parents[4] / name).read_text())
    monkeypatch.setattr(docker, "COMPOSE", folder / "docker-compose.yml")
    monkeypatch.setenv("PATH", str(tmp_path))
    return folder


def test_docker_setup_makes_passwords_once_and_the_tables(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = Docker(tmp_path)
    migrated: list[str] = []
    monkeypatch.setattr(docker, "_migrate", migrated.append)

    docker.docker_setup()
    made = (checkout / ".env").read_text()
    docker.docker_setup()

    assert (checkout / ".env").read_text() == made
    assert "POSTGRES_PASSWORD=\n" not in made
    assert (checkout / ".env").stat().st_mode & 0o777 == 0o600
    assert all("up --detach --wait" in line and line.endswith("postgres") for line in engine.asked())
    assert migrated[0] == migrated[1]
    assert migrated[0].startswith("postgresql://threadmill:")
    assert f"export THREADMILL_DATABASE_URL={migrated[0]}" in capsys.readouterr().out


def test_docker_stop_keeps_the_volume_unless_told(checkout: Path, tmp_path: Path) -> None:
    engine = Docker(tmp_path)

    docker.docker_stop(remove_volumes=False)
    assert not any("volume" in line for line in engine.asked())
    docker.docker_stop(remove_volumes=True)

    assert engine.asked()[-1] == "volume rm threadmill_postgres"


def test_without_an_engine_there_is_one_clear_error(checkout: Path, tmp_path: Path) -> None:
    with pytest.raises(docker.OperatorError, match="docker is not installed"):
        docker.docker_start()

    Docker(tmp_path, status=1)
    with pytest.raises(docker.OperatorError, match="no engine"):
        docker.docker_start()


def test_a_turn_that_was_cancelled_is_listed_and_asked_again(terminal: Terminal) -> None:
    terminal.run("init")
    producer = Producer(load(database_url=f"sqlite:///{terminal.folder}/threads.db"))
    with closing(producer):
        turn_id = producer.send("t1", "hello", agent="later", allow_unknown_agent=True).id

    stopped = terminal.run("turns", "cancel", turn_id, "--json")
    listed = json_lines(terminal.run("turns", "list", "--state", "cancelled", "--json"))
    again = terminal.run("turns", "requeue", turn_id, "--json")
    waiting = terminal.run("turns", "list", "--state", "queued")

    assert json.loads(stopped.stdout) == {"id": turn_id, "tenant": "default", "state": "cancelled"}
    assert [(turn["id"], turn["thread_id"]) for turn in listed] == [(turn_id, "t1")]
    assert json.loads(again.stdout) == {"requeued": turn_id, "id": turn_id, "tenant": "default", "is_new": False}
    assert turn_id in waiting.stdout
    refused = terminal.run("turns", "requeue", turn_id, status=0)
    assert "goes on" in refused.stdout
    unknown = terminal.run("turns", "requeue", "nonsense", status=1)
    assert "TURN_IDS: no turn 'nonsense' is stored" in unknown.stderr


def test_all_turns_that_meet_conditions_are_asked_again(terminal: Terminal) -> None:
    terminal.run("init")
    with closing(Producer(load(database_url=f"sqlite:///{terminal.folder}/threads.db"))) as producer:
        turns = [producer.send(f"t{n}", "hello", agent="later", allow_unknown_agent=True) for n in range(3)]
        for turn in turns:
            turn.cancel()
    conditions = ("turns", "requeue", "--state", "cancelled", "--since", "1h")

    tried = terminal.run(*conditions, "--dry-run")
    one = json_lines(terminal.run(*conditions, "--limit", "1", "--json"))
    others = terminal.run(*conditions)
    none = terminal.run(*conditions)
    some = terminal.run("turns", "requeue", "nonsense", turns[0].id, status=1)

    assert tried.stdout.count("would be requeued") == 3
    assert [(line["id"], line["result"]) for line in one] == [(turns[0].id, "requeued")]
    assert others.stdout.splitlines() == [f"{turn.id} goes on" for turn in turns[1:]]
    assert others.stderr.splitlines()[-1] == "2 requeued"
    assert (none.stdout, none.stderr.splitlines()[-1]) == ("", "no turns match")
    assert "TURN_IDS: no turn 'nonsense'" in some.stderr
    assert f"{turns[0].id} goes on" in some.stdout
    both = terminal.run("turns", "requeue", turns[0].id, "--state", "failed", status=2)
    assert "--state chooses among many turns" in both.stderr
    assert "pass ids, or --state failed" in terminal.run("turns", "requeue", status=2).stderr


def test_a_turn_whose_agent_nobody_serves_shows_at_once_and_is_given_to_another(terminal: Terminal) -> None:
    terminal.run("init")
    settings = load(database_url=f"sqlite:///{terminal.folder}/threads.db")
    with closing(Producer(settings)) as producer:
        turn_id = producer.send("t1", "hello", agent="gone", allow_unknown_agent=True).id
        entry = {"host": "", "pid": 1, "serves": {"assistant": "1"}, "lease_duration_seconds": 600}
        producer.database.run(workers.register, worker=new_id(), **entry)

    state = terminal.run("status").stdout
    listed = terminal.run("turns", "list").stdout
    (in_json,) = json_lines(terminal.run("turns", "list", "--json"))
    doctor = terminal.run("doctor", "--check", "turn-unserved", status=1).stdout
    refused = terminal.run("turns", "requeue", turn_id, "--agent", "nobody", status=1)
    given = terminal.run("turns", "requeue", turn_id, "--agent", "assistant")

    assert "unserved  gone=1" in state
    assert "waits: no living worker serves this agent" in listed
    assert in_json["is_unserved"] is True
    assert "no living worker serves the agent 'gone'" in doctor
    assert "no worker has ever registered 'nobody'" in refused.stderr
    assert f"{turn_id} goes on" in given.stdout
    assert "waits: no living worker" not in terminal.run("turns", "list").stdout
    assert "unserved" not in terminal.run("status").stdout


def test_a_thread_is_summarized_listed_and_restored(terminal: Terminal) -> None:
    lines = "".join(f"How is day {n}?\n" for n in range(6))
    terminal.run("chat", "t1", stdin=f"Please book 2 seats for #W1234567.\n{lines}/quit\n")

    written = terminal.run("threads", "summarize", "t1", "--keep", "4")
    again = terminal.run("threads", "summarize", "t1", "--keep", "4")
    listed = terminal.run("threads", "summaries", "t1")
    as_json = json_lines(terminal.run("threads", "summaries", "t1", "--json"))
    restored = terminal.run("threads", "restore-summary", "t1")
    nothing = terminal.run("threads", "restore-summary", "t1")

    assert "current  1         10      offline/recall" in written.stdout
    # A summary that another one came before is not written either.
    assert again.stdout == (
        "no summary was written: only the turns to keep are left, "
        "or another summary, a restore or retention came first\n"
    )
    assert "current  1         10 " in listed.stdout
    assert "- Please book 2 seats for #W1234567." in listed.stdout
    assert [(summary["to_seq"], summary["is_current"]) for summary in as_json] == [(10, True)]
    assert "is undone" in restored.stderr
    assert nothing.stdout == "t1 has no summary\n"
    assert "restored" in terminal.run("threads", "summaries", "t1").stdout


def test_a_summary_of_an_unknown_agent_or_thread_is_refused(terminal: Terminal) -> None:
    terminal.run("chat", "t1", stdin="hi\n/quit\n")

    agent = terminal.run("threads", "summarize", "t1", "--agent", "nobody", status=1)
    thread = terminal.run("threads", "summaries", "t2", status=1)

    assert "agent: 'nobody' is not registered" in agent.stderr
    assert "no thread 't2'" in thread.stderr
