"""The heartbeat of a worker's process, on a real database and a real event loop."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import select, text

from agent.agent import Agent
from conversation.errors import DatabaseUnavailable
from conversation.exhaustion import Resource
from conversation.ids import new_id
from conversation.message import Message
from conversation.turn import ClaimedTurn, Completed
from store import tables
from store.database.engine import Database
from store.settings import load
from store.turns import cancel, claims, inbox
from store.turns.claims import ClaimRequest
from store.turns.send_request import SendRequest
from store.turns.settle import settle
from tasks.active_runs import ActiveRuns
from tasks.exhaustion import ExhaustionWatch
from tasks.heartbeat import Heartbeat

BEAT_SECONDS = 0.1
LEASE_DURATION_SECONDS = 0.6


@dataclass
class Process:
    """What a worker's process has around its heart."""

    database: Database
    loop: asyncio.AbstractEventLoop
    running: ActiveRuns = field(default_factory=ActiveRuns)
    id: str = field(default_factory=new_id)

    def heartbeat(self, on_hang: Callable[[], None] | None = None, *, runtime_dir: str = "") -> Heartbeat:
        """With a folder for its file, a worker's; else that of a library process."""
        settings = load(
            database_url=self.database.url.render_as_string(hide_password=False),
            lease_duration_seconds=LEASE_DURATION_SECONDS,
            heartbeat_interval_seconds=BEAT_SECONDS,
            runtime_dir=runtime_dir,
        )
        agents = {"assistant": Agent(name="assistant")}
        queues = ["turns"] if runtime_dir else []
        return Heartbeat(self.id, settings, agents, self.running, self.loop, on_hang=on_hang, queues=queues)

    def until(self) -> datetime:
        statement = select(tables.workers.c.lease_expires_at).where(tables.workers.c.id == self.id)
        return self.database.run(lambda c: c.execute(statement).scalar_one())

    def send(self, thread: str = "t") -> None:
        message = Message(role="user", content="hello")
        request = SendRequest(turn_id=new_id(), tenant="default", thread_id=thread, message=message, agent="assistant")
        self.database.run(inbox.accept, request=request)

    def owner(self, thread: str = "t") -> str | None:
        statement = select(tables.threads.c.lease_owner).where(tables.threads.c.id == thread)
        return self.database.run(lambda c: c.execute(statement).scalar_one())

    def claim(self, thread: str = "t") -> ClaimedTurn:
        self.send(thread)
        claimant = ClaimRequest(worker=self.id, agents={"assistant": "1"})
        claim = partial(claims.claim, tenant="default", thread_id=thread, claimant=claimant)
        claimed = self.database.run(claim)
        assert isinstance(claimed, ClaimedTurn)
        return claimed

    def turn(self, claimed: ClaimedTurn) -> Any:
        statement = select(tables.turns).where(tables.turns.c.id == claimed.id)
        return self.database.run(lambda c: c.execute(statement).one())


def eventually(what: Callable[[], object], seconds: float = 5) -> None:
    give_up_at = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < give_up_at, "it did not happen"
        time.sleep(0.02)


@pytest.fixture
def process(database: Database) -> Iterator[Process]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield Process(database, loop)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def beating(process: Process) -> Iterator[Process]:
    heartbeat = process.heartbeat()
    heartbeat.start()
    yield process
    heartbeat.stop()


def test_a_lease_that_nobody_in_the_process_works_for_is_freed(beating: Process) -> None:
    """Its turn is queued again, and that was no crash."""
    claimed = beating.claim()

    eventually(lambda: beating.turn(claimed).state == "queued")

    row = beating.turn(claimed)
    assert (row.attempt, row.crashes, row.notified_at) == (1, 0, None)
    again = beating.claim()
    assert again.id == claimed.id
    assert again.lease.fencing_token > claimed.lease.fencing_token
    assert beating.turn(again).crashes == 0


@pytest.mark.parametrize("error", [None, MemoryError()])
def test_a_process_that_lacks_something_is_replaced_and_shown_as_one_that_claims_nothing(
    process: Process, monkeypatch: pytest.MonkeyPatch, error: MemoryError | None
) -> None:
    """Its heart goes on, also where memory is what is missing."""

    def look() -> Resource:
        if error is not None:
            raise error
        return Resource.MEMORY

    lacks: list[Resource] = []
    heartbeat = process.heartbeat()
    heartbeat._exhaustion_watch = cast("ExhaustionWatch", SimpleNamespace(look=look))
    monkeypatch.setattr("tasks.heartbeat.replacement", SimpleNamespace(begin=lacks.append))
    heartbeat.announces_end = True
    heartbeat.start()
    drained = select(tables.workers.c.id).where(tables.workers.c.drain_requested_at.is_not(None))

    eventually(lambda: len(lacks) > 1 and process.database.run(lambda c: c.execute(drained).scalar_one_or_none()))
    heartbeat.stop()

    assert set(lacks) == {Resource.MEMORY}


@pytest.mark.parametrize("breaks_off", [True, False])
def test_a_lease_that_was_kept_for_a_next_turn_is_freed_where_the_task_broke_off(
    process: Process, breaks_off: bool
) -> None:
    """No turn runs there, so that nothing but the task's end tells of it; one that went well has released it."""
    heartbeat = process.heartbeat()
    heartbeat._register()
    with suppress(RuntimeError), process.running.enter(("default", "t")):
        claimed = process.claim()
        process.send()
        settled = partial(settle, lease=claimed.lease, turn_id=claimed.id, ending=Completed(), release=False)
        assert process.database.run(settled).keeps_lease
        heartbeat._beat()
        assert process.owner() == process.id
        if breaks_off:
            raise RuntimeError("the database went away for good")

    heartbeat._beat()

    assert process.owner() == (None if breaks_off else process.id)
    assert process.running.list_broken_off() == frozenset()
    heartbeat._database.close()


def test_a_lease_that_somebody_works_for_is_kept(beating: Process) -> None:
    with beating.running.enter(("default", "t")):
        claimed = beating.claim()
        before = beating.until()
        eventually(lambda: (beating.until() - before).total_seconds() > 3 * BEAT_SECONDS)

        assert beating.turn(claimed).state == "running"


def test_a_cancel_request_comes_with_the_next_beat(beating: Process) -> None:
    async def work() -> None:
        await asyncio.sleep(30)

    with beating.running.enter(("default", "t")) as entry:
        claimed = beating.claim()
        run = asyncio.run_coroutine_threadsafe(started(work), beating.loop).result(5)
        entry.turn_id, entry.task = claimed.id, run

        beating.database.run(cancel.request_cancel, turn_id=claimed.id)

        eventually(run.cancelled)


async def started(work: Callable[[], Any]) -> asyncio.Task[object]:
    return asyncio.create_task(work())


def test_it_stops_while_the_event_loop_hangs_and_goes_on_afterwards(beating: Process) -> None:
    free = threading.Event()
    beating.loop.call_soon_threadsafe(free.wait, 10)

    time.sleep(2 * LEASE_DURATION_SECONDS + 2 * BEAT_SECONDS)
    assert is_over(beating), "a process that hangs keeps its leases"

    free.set()
    eventually(lambda: not is_over(beating))


def test_a_loop_that_stays_silent_for_two_leases_ends_its_process(process: Process) -> None:
    ended, free = threading.Event(), threading.Event()
    heartbeat = process.heartbeat(on_hang=ended.set)
    heartbeat.start()
    process.loop.call_soon_threadsafe(free.wait, 20)

    assert not ended.wait(LEASE_DURATION_SECONDS), "one lease is not enough"
    assert ended.wait(10)

    free.set()
    heartbeat.stop()


def test_a_loop_that_is_closed_ends_its_process_at_once(database: Database) -> None:
    closed = asyncio.new_event_loop()
    closed.close()
    process, ended = Process(database, closed), threading.Event()
    heartbeat = process.heartbeat(on_hang=ended.set)
    heartbeat.start()

    assert ended.wait(10)

    heartbeat.stop()


def test_it_survives_a_database_that_answers_what_nobody_expected(beating: Process) -> None:
    refuse = text("ALTER TABLE workers ADD CONSTRAINT refused CHECK (false) NOT VALID")
    beating.database.run(lambda c: c.execute(refuse))
    time.sleep(3 * BEAT_SECONDS)
    beating.database.run(lambda c: c.execute(text("ALTER TABLE workers DROP CONSTRAINT refused")))

    before = beating.until()
    eventually(lambda: beating.until() > before)


def test_a_worker_whose_row_was_cleared_enters_itself_again(beating: Process) -> None:
    beating.database.run(lambda c: c.execute(tables.workers.delete()))

    eventually(lambda: beating.database.run(lambda c: c.execute(select(tables.workers.c.id)).scalar()))

    assert not is_over(beating)


def test_a_worker_that_stops_takes_its_row_away(process: Process) -> None:
    heartbeat = process.heartbeat()
    heartbeat.start()

    heartbeat.stop()

    assert process.database.run(lambda c: c.execute(select(tables.workers.c.id)).all()) == []


def is_over(process: Process) -> bool:
    statement = select(tables.workers.c.lease_expires_at < text("clock_timestamp()"))
    return bool(process.database.run(lambda c: c.execute(statement).scalar_one()))


def test_a_health_check_fails_while_the_loop_hangs_and_passes_again(process: Process, tmp_path: Path) -> None:
    heartbeat = process.heartbeat(runtime_dir=str(tmp_path))
    heartbeat.start()
    go_on = threading.Event()

    def is_healthy() -> bool:
        command = [sys.executable, "-m", "threadmill.healthcheck", "--id", process.id]
        environment = {**os.environ, "THREADMILL_RUNTIME_DIR": str(tmp_path)}
        return subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0

    try:
        eventually(is_healthy)
        process.loop.call_soon_threadsafe(go_on.wait)
        eventually(lambda: not is_healthy())
        go_on.set()
        eventually(is_healthy)
    finally:
        go_on.set()
        heartbeat.stop()
    assert list(tmp_path.iterdir()) == []


def test_a_health_check_passes_while_the_database_is_away(
    process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else an outage of the database would end every worker, and count as a crash of each turn."""
    heartbeat = process.heartbeat(runtime_dir=str(tmp_path))
    assert heartbeat._alive_file is not None
    touches: list[bool] = []
    is_away = threading.Event()
    beat = heartbeat._beat

    def beat_if_there() -> None:
        if is_away.is_set():
            raise DatabaseUnavailable("the database did not answer")
        beat()

    monkeypatch.setattr(heartbeat, "_beat", beat_if_there)
    monkeypatch.setattr(heartbeat._alive_file, "touch", lambda: touches.append(is_away.is_set()))
    heartbeat.start()
    eventually(lambda: touches)

    is_away.set()

    eventually(lambda: touches.count(True) >= 3)
    heartbeat.stop()


def test_a_beat_that_the_loop_did_not_answer_since_the_last_one_touches_no_file(
    process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease goes on for a while: a loop may be out of breath. A health check is to know before the process ends."""
    monkeypatch.setattr(sys.modules[__name__], "LEASE_DURATION_SECONDS", 6.0)
    heartbeat = process.heartbeat(runtime_dir=str(tmp_path))
    assert heartbeat._alive_file is not None
    beats: list[bool] = []
    touches: list[bool] = []
    blocked, go_on = threading.Event(), threading.Event()
    beat = heartbeat._beat
    monkeypatch.setattr(heartbeat, "_beat", lambda: (beat(), beats.append(blocked.is_set())))
    monkeypatch.setattr(heartbeat._alive_file, "touch", lambda: touches.append(blocked.is_set()))
    heartbeat.start()
    eventually(lambda: touches)

    process.loop.call_soon_threadsafe(lambda: (blocked.set(), go_on.wait()))

    eventually(lambda: beats.count(True) >= 3)
    go_on.set()
    # The ping before may have been answered.
    assert touches.count(True) <= 1
    heartbeat.stop()
