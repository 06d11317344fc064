"""`threadmill status`: each thing that is wrong is a line, and status 1."""

import json
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import text, update

from conversation.ids import new_id
from conversation.task_contract import RUN_RETENTION
from producers import Producer
from store import tables
from store.database.column_types import clock
from store.database.engine import Database
from store.settings import load
from store.turns import workers
from tests.command import run_command
from tests.integration.producers.backend import claim

QUEUES = ("turns", "quarantine", "maintenance", "files")
NO_BROKER = "redis://127.0.0.1:1/0"


class Site:
    """An installation whose parts are rows."""

    def __init__(self, database: Database, broker_url: str, folder: Path) -> None:
        self.database = database
        self.folder = folder
        self.environment = {
            "PATH": os.environ["PATH"],
            "THREADMILL_DATABASE_URL": database.url.render_as_string(hide_password=False),
            "THREADMILL_BROKER_URL": broker_url,
        }

    def enter(self, queue: str, *, host: str = "here", up: float = 60, silent: float = 0) -> str:
        """Enter a worker that started so long ago, and sent its last heartbeat so long ago."""
        worker, lease_duration_seconds = new_id(), load().lease_duration_seconds
        serves = {"assistant": "1"} if queue in ("turns", "quarantine") else {}
        register = partial(workers.register, worker=worker, host=host, pid=7, serves=serves, queues=[queue])
        self.database.run(register, lease_duration_seconds=lease_duration_seconds)
        times = {
            "started_at": clock(plus_seconds=-up),
            "lease_expires_at": clock(plus_seconds=lease_duration_seconds - silent),
        }
        of_worker = update(tables.workers).where(tables.workers.c.id == worker)
        self.database.run(lambda c: c.execute(of_worker.values(times)) and None)
        return worker

    def send(self, *, minutes_ago: int, agent: str = "assistant") -> str:
        producer = Producer(load(database_url=self.environment["THREADMILL_DATABASE_URL"], broker_url=NO_BROKER))
        turn = producer.send(f"t-{new_id()}", "hello", agent=agent, allow_unknown_agent=True)
        for table, column in (("turns", "created_at"), ("threads", "created_at"), ("threads", "updated_at")):
            moved = text(f"UPDATE {table} SET {column} = {column} - interval '{minutes_ago} min'")
            self.database.run(lambda c, moved=moved: c.execute(moved) and None)
        producer.close()
        return turn.thread_id

    def status(self, *options: str, **variables: str) -> tuple[int, list[str]]:
        """The exit status, and the problems."""
        ended = run_command("status", *options, folder=self.folder, environment=self.environment | variables)
        lines = ended.stdout.splitlines()
        return ended.returncode, [line.removeprefix("problem   ") for line in lines if line.startswith("problem")]


@pytest.fixture
def site(database: Database, valkey_url: str, tmp_path: Path) -> Site:
    return Site(database, valkey_url, tmp_path)


@pytest.fixture
def whole(site: Site) -> Site:
    """A worker for each queue."""
    for queue in QUEUES:
        site.enter(queue)
    return site


def assert_problem(site: Site, *words: str, **variables: str) -> None:
    status, problems = site.status(**variables)
    assert (status, len(problems)) == (1, 1), problems
    assert [word for word in words if word not in problems[0]] == [], problems


def test_where_nothing_is_wrong_it_counts_the_living_alone(whole: Site) -> None:
    whole.enter("turns", up=600, silent=100)
    whole.database.run(partial(workers.register, worker=new_id(), host="", pid=1, serves={}, lease_duration_seconds=60))
    whole.send(minutes_ago=1)

    ended = run_command("status", "--json", folder=whole.folder, environment=whole.environment)

    told = json.loads(ended.stdout)
    # The silent one is replaced: one of its host and queue started since. A library process is no worker.
    assert (ended.returncode, told["problems"], told["workers"]) == (0, [], 4)
    assert told["queues"] == dict.fromkeys(sorted(QUEUES), 1)


def test_no_worker(site: Site) -> None:
    assert_problem(site, "no worker lives")


@pytest.mark.parametrize("missing", QUEUES)
def test_a_queue_that_nobody_serves(site: Site, missing: str) -> None:
    for queue in QUEUES:
        if queue != missing:
            site.enter(queue)

    assert_problem(site, f"no worker serves the queue {missing}", f"-Q {missing}")


@pytest.mark.parametrize(("host", "up"), [("elsewhere", 10), ("here", 150)])
def test_a_worker_that_fell_silent_and_was_not_replaced(site: Site, host: str, up: float) -> None:
    """Neither one on another host nor one that was there before is in its place."""
    for queue in QUEUES:
        site.enter(queue, host=host, up=up)
    site.enter("turns", up=900, silent=100)

    assert_problem(site, "the worker of turns on here (process 7) has been silent for 10")


def test_no_broker(site: Site) -> None:
    """What it takes along is not told beside it: a consumer without a broker cannot say that it lives."""
    site.enter("turns")
    site.enter("quarantine")

    assert_problem(site, "the broker does not answer", THREADMILL_BROKER_URL=NO_BROKER)


@pytest.mark.parametrize(
    ("agent", "is_busy", "words"),
    [
        ("assistant", False, "the workers run nothing"),
        ("assistant", True, "the workers are busy"),
        ("gone", False, "no living worker serves the agent 'gone'"),
    ],
)
def test_a_due_turn_that_waits_for_too_long(whole: Site, agent: str, is_busy: bool, words: str) -> None:
    thread = whole.send(minutes_ago=10, agent=agent)
    if is_busy:
        claim(whole.database, whole.enter("turns"), whole.send(minutes_ago=0))

    assert_problem(whole, repr(thread), "more than 300", words)
    assert whole.status(THREADMILL_STATUS_MAX_WAIT_SECONDS="3600") == (0, [])


def test_a_turn_behind_another_does_not_wait_for_a_worker(whole: Site) -> None:
    claim(whole.database, whole.enter("turns"), whole.send(minutes_ago=10))

    assert whole.status() == (0, [])


def test_a_stale_schedule(whole: Site) -> None:
    long_ago = clock(plus_seconds=-10 * load().retention_interval_seconds)
    row = {"schedule": RUN_RETENTION, "due_at": long_ago, "started_at": long_ago, "finished_at": long_ago}
    insert = tables.schedule_runs.insert().values(row | {"outcome": {}})
    whole.database.run(lambda c: c.execute(insert) and None)

    assert_problem(whole, "no run succeeded for two periods", RUN_RETENTION)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"THREADMILL_DATABASE_URL": "postgresql://me:s3cret@127.0.0.1:9/db"}, ["the database did not answer"]),
        (
            {"THREADMILL_DATABASE_URL": "postgresql://me:s3cret@127.0.0.1:9/db", "THREADMILL_BROKER_URL": NO_BROKER},
            ["the database did not answer", "the broker does not answer"],
        ),
    ],
)
def test_without_its_database_a_line_for_each_that_is_away_and_nothing_else(
    whole: Site, variables: dict[str, str], words: Sequence[str]
) -> None:
    ended = run_command("status", folder=whole.folder, environment=whole.environment | variables)

    lines = ended.stdout.splitlines()
    assert (ended.returncode, ended.stderr, len(lines)) == (1, "", len(words)), ended
    assert [word in line for word, line in zip(words, lines, strict=True)] == [True] * len(words)
    assert "s3cret" not in ended.stdout
