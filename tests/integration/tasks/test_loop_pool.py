"""The pool in which turns wait on the loop behaves as Celery's pool of threads, and holds no thread for a turn.

Each test runs Celery's own worker in this process, over a real broker; what is expected of both pools
is one table.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from celery import Celery, signals
from celery.app.trace import reset_worker_optimizations, setup_worker_optimizations
from celery.bootsteps import RUN
from celery.concurrency import get_implementation, thread
from celery.events.dispatcher import EventDispatcher
from celery.exceptions import Ignore
from celery.worker import WorkController, state
from kombu import Producer
from kombu.asynchronous import set_event_loop

from conversation.task_contract import RUN_TURNS
from tasks import app as worker_app
from tasks.celery_app import app as celery_app
from tasks.loop_pool import TaskPool, wait_on_loop

QUEUE = "turns"
OTHER = "other.task"
PATIENCE_SECONDS = 30
TURN_SECONDS = 0.05


class Loop:
    """The worker's event loop, and turns that wait on it for the test."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.let_go = asyncio.Event()
        self.begun: list[str] = []
        self.threads: set[str] = set()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def run(self, what: str) -> None:
        """The body of a turn's task."""
        self.threads.add(threading.current_thread().name)
        wait_on_loop(self.loop, self._turn(what))

    def open(self) -> None:
        self.loop.call_soon_threadsafe(self.let_go.set)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    async def _turn(self, what: str) -> None:
        self.begun.append(what)
        if what == "breaks":
            raise RuntimeError("broken")
        if what == "ignores":
            raise Ignore
        if what == "cancels":
            raise asyncio.CancelledError
        if what == "waits":
            await self.let_go.wait()
        await asyncio.sleep(TURN_SECONDS)


class Stage:
    """One worker on one broker, and what its signals and events told."""

    def __init__(self, broker_url: str, loop: Loop) -> None:
        self.told: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.rejected: list[Any] = []
        self.loop = loop
        self.broker_url = broker_url
        self.app = Celery("stage", broker=broker_url, set_as_current=False, task_cls=celery_app.task_cls)
        self.app.conf.update(
            task_ignore_result=True,
            worker_disable_prefetch=True,
            worker_prefetch_multiplier=1,
            worker_send_task_events=True,
            worker_enable_remote_control=False,
            task_default_queue=QUEUE,
            task_queues=celery_app.conf.task_queues,
        )
        self.other_threads: set[str] = set()
        self.app.task(self._run_turn, name=RUN_TURNS, shared=False, waits_on_loop=True)
        self.app.task(self._run_other, name=OTHER, shared=False)

    def _run_turn(self, *, v: int, what: str) -> None:
        self.loop.run(what)

    def _run_other(self) -> None:
        self.other_threads.add(threading.current_thread().name)

    @contextmanager
    def work(self, pool: type, concurrency: int = 4, **options: Any) -> Iterator[WorkController]:
        """A worker that consumes, in a thread of its own."""
        set_event_loop(None)
        worker = WorkController(
            app=self.app,
            pool=pool,
            concurrency=concurrency,
            hostname="stage@here",
            loglevel=30,
            **{"without_heartbeat": True, "without_mingle": True, "without_gossip": True, **options},
        )
        setup_worker_optimizations(self.app, "stage@here")
        celery_thread = threading.Thread(target=worker.start, name="celery")
        celery_thread.start()
        try:
            yield worker
        finally:
            self.loop.open()
            state.should_stop = 0
            celery_thread.join(PATIENCE_SECONDS)
            state.should_stop = None
            reset_worker_optimizations(self.app)
            set_event_loop(None)
            state.reset_state()
            assert not celery_thread.is_alive()

    def send(self, what: str = "answers", *, name: str = RUN_TURNS, **options: Any) -> str:
        kwargs = {"v": 1, "what": what} if name == RUN_TURNS else {}
        return str(self.app.send_task(name, **{"kwargs": kwargs, **options}).id)

    def wait(self, what: Callable[[], object]) -> None:
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while not what():
            assert time.monotonic() < give_up_at, (self.told, [event["type"] for event in self.events])
            time.sleep(0.01)

    def has_event(self, task_id: str, *types: str) -> bool:
        return any(event.get("uuid") == task_id and event["type"] in types for event in self.events)

    def is_over(self, task_id: str) -> bool:
        return f"task_postrun {task_id}" in self.told

    def succeeded_tasks(self) -> set[str]:
        return {event["uuid"] for event in tuple(self.events) if event["type"] == "task-succeeded"}

    def last_event(self, task_id: str) -> dict[str, Any]:
        return [event for event in self.events if event.get("uuid") == task_id][-1]

    def events_of(self, task_id: str) -> list[str]:
        return [event["type"] for event in self.events if event.get("uuid") == task_id]


@pytest.fixture
def loop() -> Iterator[Loop]:
    opened = Loop()
    yield opened
    opened.close()


@pytest.fixture
def stage(valkey_url: str, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    staged = Stage(valkey_url, loop)
    send = EventDispatcher.send

    def record(dispatcher: Any, type: str, *arguments: Any, **fields: Any) -> Any:  # noqa: A002 - Celery's word
        staged.events.append({"type": type, **fields})
        return send(dispatcher, type, *arguments, **fields)

    monkeypatch.setattr(EventDispatcher, "send", record)

    def hear(signal: Any, sender: Any, **_: Any) -> None:
        staged.told.append(f"{signal.name} {sender.request.id}")

    def hear_rejected(message: Any, **_: Any) -> None:
        staged.rejected.append(message)

    told = (signals.task_prerun, signals.task_success, signals.task_failure, signals.task_postrun)
    for signal in told:
        signal.connect(hear)
    signals.task_rejected.connect(hear_rejected)
    yield staged
    for signal in told:
        signal.disconnect(hear)
    signals.task_rejected.disconnect(hear_rejected)
    staged.app.close()


both_pools = pytest.mark.parametrize("pool", [thread.TaskPool, TaskPool], ids=["threads", "loop"])

RECEIVED = ["task-received", "task-started"]
OTHER_ARGUMENTS = ({}, {"v": 1}, {"v": 1, "what": "answers", "more": 2}, {"what": "answers"})
STRANGE_BODIES = ({}, [], 5, None, "text", [[], {}], [5, {}, {}], [[], [], {}], [[], {}, 5], [None, None, None])
FAILED = ["task_prerun", "task_failure", "task_postrun"]
OUTCOMES = {
    "answers": ([*RECEIVED, "task-succeeded"], ["task_prerun", "task_success", "task_postrun"], None),
    "breaks": ([*RECEIVED, "task-failed"], FAILED, "TaskBroke('RuntimeError')"),
    "cancels": ([*RECEIVED, "task-failed"], FAILED, "TaskBroke('concurrent.futures._base.CancelledError')"),
    "ignores": (RECEIVED, ["task_prerun", "task_postrun"], None),
}


@both_pools
def test_events_and_signals_tell_of_each_turn(stage: Stage, pool: type) -> None:
    tasks: dict[str, str] = {}
    with stage.work(pool):
        for what, (events, *_) in OUTCOMES.items():
            tasks[what] = task = stage.send(what)
            stage.wait(
                lambda task=task, events=events: stage.is_over(task) and len(stage.events_of(task)) == len(events)
            )

    for what, (events, told, exception) in OUTCOMES.items():
        assert stage.events_of(tasks[what]) == events
        assert [line for line in stage.told if line.endswith(tasks[what])] == [f"{one} {tasks[what]}" for one in told]
        assert stage.last_event(tasks[what]).get("exception") == exception
    ended = stage.last_event(tasks["answers"])
    assert ended["runtime"] >= TURN_SECONDS
    assert ended["result"] == "None"


@both_pools
def test_messages_with_other_arguments_fail_and_harm_nobody(stage: Stage, pool: type) -> None:
    with stage.work(pool):
        strange = [stage.send(kwargs=kwargs) for kwargs in OTHER_ARGUMENTS]
        good = stage.send()
        stage.wait(lambda: stage.is_over(good))

    assert [stage.events_of(task) for task in strange] == [[*RECEIVED, "task-failed"]] * len(strange)
    assert stage.loop.begun == ["answers"]


@both_pools
def test_messages_that_are_no_tasks_of_ours_are_put_aside(stage: Stage, pool: type) -> None:
    with stage.work(pool):
        unknown = stage.send(name="no.such.task")
        with stage.app.connection_for_write() as connection, connection.channel() as channel:
            producer = Producer(channel, routing_key=QUEUE)
            producer.publish("no task at all")
            producer.publish(b"\x80\x02", content_type="application/x-python-serialize", content_encoding="binary")
            producer.publish([[], {}, {}], headers={"task": RUN_TURNS})
            for number, body in enumerate(STRANGE_BODIES):
                producer.publish(body, headers={"task": RUN_TURNS, "id": f"strange-{number}"})
        stage.wait(lambda: len(stage.rejected) == len(STRANGE_BODIES) + 1)
        good = stage.send()
        stage.wait(lambda: stage.has_event(good, "task-succeeded"))
        # None of them keeps a place in the worker.
        stage.wait(lambda: not state.reserved_requests)

    assert stage.events_of(unknown) == ["task-failed"]
    assert stage.loop.begun == ["answers"]


@both_pools
def test_a_revoked_or_expired_turn_does_not_run_and_a_time_limit_is_none(stage: Stage, pool: type) -> None:
    state.revoked.add("revoked-one")
    with stage.work(pool):
        stage.send(task_id="revoked-one")
        expired = stage.send(expires=-1)
        good = stage.send(time_limit=0.01, soft_time_limit=0.01)
        stage.wait(lambda: stage.has_event(good, "task-succeeded"))

    assert stage.events_of("revoked-one") == ["task-revoked"]
    assert stage.events_of(expired) == ["task-revoked"]
    assert stage.loop.begun == ["answers"]


@both_pools
def test_no_more_turns_are_taken_than_may_run(stage: Stage, pool: type) -> None:
    with stage.work(pool, concurrency=2) as worker, redis.Redis.from_url(stage.broker_url) as broker:
        tasks = [stage.send("waits") for _ in range(3)]
        stage.wait(lambda: len(stage.loop.begun) == 2)
        time.sleep(0.2)
        assert len(stage.loop.begun) == 2
        assert broker.llen(QUEUE) == 1
        assert not broker.exists("unacked")
        assert worker.pool.info["max-concurrency"] == 2
        stage.loop.open()
        stage.wait(lambda: all(stage.has_event(task, "task-succeeded") for task in tasks))


@both_pools
def test_a_worker_that_is_told_to_stop_waits_for_its_turns_and_takes_no_more(stage: Stage, pool: type) -> None:
    with stage.work(pool) as worker:
        held = stage.send("waits")
        stage.wait(lambda: stage.loop.begun)
        state.should_stop = 0
        # A message that comes before it has looked is taken yet.
        stage.wait(lambda: worker.blueprint.state != RUN)
        late = stage.send()
        stage.loop.open()

    assert stage.told == [f"{name} {held}" for name in ("task_prerun", "task_success", "task_postrun")]
    assert stage.events_of(late) == []


@pytest.mark.parametrize("turns", [200, pytest.param(3000, marks=pytest.mark.endurance)])
def test_turns_that_wait_hold_no_thread_and_keep_nothing_else_waiting(stage: Stage, turns: int) -> None:
    with stage.work(TaskPool, concurrency=turns + 2) as worker:
        before = threading.active_count()
        tasks = [stage.send("waits") for _ in range(turns)]
        stage.wait(lambda: len(stage.loop.begun) == turns)
        # Fewer, where a thread that another test left ends meanwhile.
        assert threading.active_count() <= before
        assert worker.pool.info["turns"] == turns
        other, quick = stage.send(name=OTHER), stage.send()
        stage.wait(lambda: stage.has_event(other, "task-succeeded") and stage.has_event(quick, "task-succeeded"))
        stage.loop.open()
        stage.wait(lambda: set(tasks) <= stage.succeeded_tasks())
        assert worker.pool.info["turns"] == 0

    assert stage.loop.threads == {"celery"}
    assert stage.other_threads.isdisjoint({"celery"})


def test_celery_finds_the_pool_under_the_name_that_is_left_to_users() -> None:
    assert worker_app is not None
    assert get_implementation("custom") is TaskPool
