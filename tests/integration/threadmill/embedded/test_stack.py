"""The whole stack: everything starts, everything stops, and a killed owner takes everything along.

Celery runs a small app of these tests, so that they are about the stack and not about turns.
"""

import base64
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from celery import Celery

from conversation.errors import InvalidInput
from conversation.task_contract import FILES_QUEUE, MAINTENANCE_QUEUE, QUARANTINE_QUEUE, TURNS_QUEUE
from store.live.broker_users import OPERATOR
from threadmill.embedded import log_file, programs
from threadmill.embedded.errors import DirectoryInUse, ServerFailed
from threadmill.embedded.programs import Program, beat, flower, ready_when_logged, worker
from threadmill.embedded.stack import Stack

pytestmark = pytest.mark.soak

APP = """
import os, time
from pathlib import Path
from celery import Celery
from tasks import orphaned_children
orphaned_children.connect()
app = Celery("standin", broker=os.environ["THREADMILL_BROKER_URL"])
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)

@app.task(name="standin.write", shared=False)
def write(path, text):
    Path(path).write_text(text)

@app.task(name="standin.sleep", shared=False)
def sleep(path, seconds):
    Path(path).write_text("started")
    time.sleep(seconds)
    Path(path).write_text("finished")
"""

OWNER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_stack import plan
from threadmill.embedded.stack import Stack
stack = Stack(Path(sys.argv[1]), plan=plan)
stack.start()
print("started", flush=True)
time.sleep(600)
"""


def plan(directory: Path) -> Sequence[Program]:
    programs = (
        worker("turns", ["turns"], app="standin", options=["-c", "4"]),
        worker("pool", ["pool"], app="standin", options=["-P", "prefork", "-c", "2"]),
        beat(directory / "beat", app="standin"),
        flower(directory / "flower", app="standin"),
    )
    # It is Celery as it comes, which does more at the broker than any process of ours.
    return [replace(program, broker_user=OPERATOR) for program in programs]


def only_worker(directory: Path) -> Sequence[Program]:
    return plan(directory)[:1]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("app")
    (folder / "standin.py").write_text(APP)
    return {**os.environ, "PYTHONPATH": str(folder)}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("stack"), environment, plan=plan) as stack:
        yield stack


def processes_of(folder: Path) -> dict[int, str]:
    """Every living process of this folder, known by its variables, its command line or where it works."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text(errors="replace").replace("\0", " ")
            variables = (process / "environ").read_text(errors="replace")
            place = str((process / "cwd").readlink())
        except OSError:
            continue
        if int(process.name) != os.getpid() and str(folder) in f"{command} {variables} {place}":
            found[int(process.name)] = command
    return found


def eventually(what: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def ask(stack: Stack, task: str, *arguments: object, queue: str = "turns") -> None:
    with closing(Celery(broker=stack.addresses().broker_url, set_as_current=False)) as app:
        app.send_task(f"standin.{task}", args=arguments, queue=queue)


def works(stack: Stack, folder: Path, queue: str = "turns") -> bool:
    """Whether a worker of the stack does what it is asked for."""
    path = folder / f"{queue}-{time.monotonic_ns()}"
    ask(stack, "write", str(path), "done", queue=queue)
    return eventually(lambda: path.exists() and path.read_text() == "done")


def test_logs_that_grow_are_set_aside_while_all_goes_on(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_file, "LIMIT_BYTES", 100)

    stack.rotate_logs()

    for folder in (stack._home.directory / "logs", stack._home.directory / "postgres"):
        assert {path.stem for path in folder.glob("*.log.1")} == {path.name for path in folder.glob("*.log")}
    assert "ready." in (stack._home.directory / "logs" / "turns.log.1").read_text()
    assert stack.dead_parts() == []


def test_every_queue_has_a_worker_and_suspects_have_theirs_alone(tmp_path: Path) -> None:
    commands = {program.name: program.argv for program in programs.plan(tmp_path)}

    queues = {name: argv[argv.index("-Q") + 1] for name, argv in commands.items() if "-Q" in argv}

    assert queues == {
        "turns": TURNS_QUEUE,
        "quarantine": QUARANTINE_QUEUE,
        "maintenance": MAINTENANCE_QUEUE,
        "files": FILES_QUEUE,
    }


def test_processes_that_read_files_are_replaced_before_they_grow(tmp_path: Path) -> None:
    (files,) = (program.argv for program in programs.plan(tmp_path) if program.name == "files")

    assert files[-4:] == ("--max-tasks-per-child", "200", "--max-memory-per-child", "600000")


def test_a_worker_is_not_killed_within_its_own_grace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THREADMILL_SHUTDOWN_GRACE_SECONDS", "77")

    turns = programs.plan(tmp_path)[0]

    assert turns.stop_seconds > 77


def test_the_programs_of_threadmill_start_and_stop(tmp_path: Path) -> None:
    with Stack(tmp_path / "stack") as stack:
        programs_of_ours = ["turns", "quarantine", "maintenance", "files", "beat", "flower", "gateway"]
        assert stack.names() == ["postgres", "valkey", *programs_of_ours]
        assert stack.dead_parts() == []

    assert processes_of(tmp_path) == {}


def test_everything_runs_and_the_workers_work(stack: Stack, tmp_path: Path) -> None:
    assert stack.names() == ["postgres", "valkey", "turns", "pool", "beat", "flower"]
    assert stack.dead_parts() == []
    assert works(stack, tmp_path, "turns")
    assert works(stack, tmp_path, "pool")


def test_the_database_has_the_newest_schema(stack: Stack) -> None:
    with psycopg.connect(stack.addresses().database_url) as connection:
        assert connection.execute("SELECT count(*) FROM threads").fetchone() == (0,)


def test_flower_asks_for_the_password_that_the_stack_tells(stack: Stack) -> None:
    addresses = stack.addresses()
    request = urllib.request.Request(addresses.flower_url + "api/workers")

    with pytest.raises(urllib.error.HTTPError) as refused, urllib.request.urlopen(request):
        pass
    refused.value.close()
    pair = f"{addresses.flower_user}:{addresses.flower_password}".encode()
    request.add_header("Authorization", f"Basic {base64.b64encode(pair).decode()}")
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200
    assert refused.value.code == 401


def test_no_secret_is_on_a_command_line_or_in_a_repr(stack: Stack) -> None:
    addresses = stack.addresses()
    passwords = [url.split(":")[2].split("@")[0] for url in (addresses.database_url, addresses.broker_url)]
    commands = " ".join(Path(f"/proc/{stack.pid(name)}/cmdline").read_text() for name in stack.names())

    assert commands
    for secret in [*passwords, addresses.flower_password]:
        assert secret not in commands
        assert secret not in repr(addresses)


def test_the_programs_are_told_where_the_servers_are(stack: Stack) -> None:
    addresses = stack.addresses()

    variables = Path(f"/proc/{stack.pid('beat')}/environ").read_text().split("\0")

    # As a role that owns nothing.
    server = addresses.database_url.rpartition("@")[2]
    (url,) = [variable for variable in variables if variable.startswith("THREADMILL_DATABASE_URL=")]
    assert url.endswith(f"@{server}")
    assert url != f"THREADMILL_DATABASE_URL={addresses.database_url}"
    assert f"THREADMILL_BROKER_URL={addresses.broker_url}" in variables
    assert f"THREADMILL_FILE_STORE_URL={addresses.file_store}" in variables


def test_a_folder_has_one_stack(stack: Stack, environment: dict[str, str]) -> None:
    with pytest.raises(DirectoryInUse, match=f"process {os.getpid()}"):
        Stack(stack._home.directory, environment, plan=plan).start()

    assert stack.dead_parts() == []


def test_a_name_that_nothing_has_is_refused_with_the_names_there_are(stack: Stack) -> None:
    with pytest.raises(InvalidInput, match="use one of postgres, valkey, turns"):
        stack.kill("turn")


@pytest.mark.parametrize("name", ["turns", "pool", "valkey", "postgres", "beat", "flower"])
def test_a_part_that_was_killed_can_be_started_again(stack: Stack, tmp_path: Path, name: str) -> None:
    addresses, before = stack.addresses(), stack.pid(name)
    with closing(psycopg.connect(addresses.database_url)) as bystander:  # keeps a child of PostgreSQL alive
        bystander.execute("SELECT 1")
        stack.kill(name)
        assert stack.dead_parts() == [name]
        assert stack.pid(name) is None

        stack.restart(name)

    assert stack.dead_parts() == []
    assert stack.pid(name) != before
    assert stack.addresses() == addresses
    assert works(stack, tmp_path, "turns")
    assert works(stack, tmp_path, "pool")


@pytest.mark.endurance
def test_stopping_lets_work_finish_and_leaves_no_process(environment: dict[str, str], tmp_path: Path) -> None:
    stack = Stack(tmp_path / "stack", environment, plan=plan).start()
    ask(stack, "sleep", str(tmp_path / "work"), 1.5)
    assert eventually((tmp_path / "work").exists)
    assert len(processes_of(tmp_path)) > 8

    stack.stop()
    stack.stop()

    assert (tmp_path / "work").read_text() == "finished"
    assert processes_of(tmp_path) == {}


def test_a_killed_owner_takes_every_process_along(environment: dict[str, str], tmp_path: Path) -> None:
    """The children of a prefork pool as well, which are children of a child."""
    program = OWNER.format(tests=str(Path(__file__).parent))
    command = [sys.executable, "-c", program, str(tmp_path / "stack")]
    variables = {**environment, "PYTHONPATH": f"{environment['PYTHONPATH']}:{Path.cwd()}"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables) as owner:
        try:
            assert owner.stdout.readline() == "started\n"
            before = processes_of(tmp_path)
        finally:
            owner.kill()
    assert len(before) > 8
    assert [command for command in before.values() if "prefork" in command][1:]

    assert eventually(lambda: not processes_of(tmp_path)), processes_of(tmp_path)


def test_servers_that_the_user_names_are_used_and_left_alone(
    environment: dict[str, str], empty_database_url: str, valkey_url: str, tmp_path: Path
) -> None:
    own = {"NARRATOR_DATABASE_URL": empty_database_url, "THREADMILL_BROKER_URL": valkey_url}
    with Stack(tmp_path / "stack", {**environment, **own}, plan=only_worker) as stack:
        assert stack.names() == ["turns"]
        assert stack.addresses().database_url == empty_database_url
        assert works(stack, tmp_path)

    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT count(*) FROM threads").fetchone() == (0,)


def test_a_program_that_does_not_start_is_an_error_that_leaves_nothing_behind(
    environment: dict[str, str], tmp_path: Path
) -> None:
    def broken(directory: Path) -> Sequence[Program]:
        complaint = (sys.executable, "-c", "raise SystemExit('I was not made for this')")
        return [*only_worker(directory), Program(name="broken", argv=complaint, is_ready=ready_when_logged("ready"))]

    heard: list[str] = []
    with pytest.raises(ServerFailed, match=r"(?s)broken ended with exit code 1.*I was not made for this"):
        Stack(tmp_path / "stack", environment, plan=broken).start(heard.append)

    assert processes_of(tmp_path) == {}
    assert heard[:2] == ["starting postgres", "starting valkey"]
    assert heard[-1] == "waiting for broken"


@pytest.mark.endurance
def test_a_stack_that_was_stopped_starts_again_where_it_was(environment: dict[str, str], tmp_path: Path) -> None:
    with Stack(tmp_path / "stack", environment, plan=only_worker) as first:
        addresses = first.addresses()

    with Stack(tmp_path / "stack", environment, plan=only_worker) as second:
        assert second.addresses() == addresses
        assert works(second, tmp_path)
