"""From the start of a worker's process to its first turn, against a bare Celery worker's first task.

A message waits when the worker starts. Measured to the moment in which its turn is claimed; the bare
worker to the moment in which it has run its task. With the offline model, with a model behind an
OpenAI-compatible server, ... the same behind litellm. The processor time is the worker's until its
first turn has ended: where it is much less than the seconds, something else was running.
"""

import time
from collections.abc import Mapping
from pathlib import Path

from redis import Redis

from benchmarks import noop
from benchmarks.figures import Demand, Figure, Measures, at_most
from benchmarks.stage import bare_worker, processor_seconds, rounds_within, settings_of, stack
from conversation.task_contract import TURNS_QUEUE
from producers import Producer
from tests.stub_openai import StubOpenAI, reply
from threadmill.embedded.process import POLL_SECONDS, Process
from threadmill.embedded.programs import Program, worker
from threadmill.embedded.stack import Stack

#: Seconds in which a bare worker has to have run its task.
BARE_SECONDS = 60
#: Seconds after which no further round begins.
BUDGET_SECONDS = 40
BARE_WORKER = bare_worker("noop", noop.QUEUE, "-P", "threads")
OWN_WORKER = worker("turns", [TURNS_QUEUE])
#: Which models, and what is asked of the processor time of each.
ROADS: tuple[tuple[str, str, dict[str, str], Demand | None], ...] = (
    ("offline", "a worker with the offline model", {}, None),
    ("openai", "... a model of an OpenAI-compatible server", {"THREADMILL_MODEL": "openai/stub"}, at_most(3)),
    ("litellm", "... the same behind litellm", {"THREADMILL_MODEL": "litellm/openai/stub"}, None),
)


def measure(*, quick: bool) -> Measures:
    """Start each worker some times, in turns, on the same servers, with nothing else running."""
    columns: dict[str, list[tuple[float, float]]] = {"bare": [], **{road[0]: [] for road in ROADS}}
    with stack() as servers, StubOpenAI() as provider:
        provider.answer_with(lambda _: reply("Hello."))
        for _ in rounds_within(BUDGET_SECONDS, 1 if quick else 2):
            columns["bare"].append(measure_bare_start(servers))
            for name, _, variables, _ in ROADS:
                columns[name].append(measure_first_turn(servers, {**provider.environment(), **variables}))
    return [*figures(columns, index=0, unit="s"), *figures(columns, index=1, unit="s")]


def figures(columns: dict[str, list[tuple[float, float]]], *, index: int, unit: str) -> list[Figure]:
    """The seconds, or the processor time, of each kind of start."""
    suffix, prefix = (("", ""), ("_cpu", "processor time: "))[index]
    base = Figure(
        key=f"bare{suffix}",
        label=f"{prefix}a bare Celery worker",
        rounds=[run[index] for run in columns["bare"]],
        unit=unit,
    )
    return [
        base,
        *(
            Figure(
                key=name + suffix,
                label=f"{prefix}{label}",
                rounds=[run[index] for run in columns[name]],
                unit=unit,
                baseline=base,
                demand=demand if suffix else None,
            )
            for name, label, _, demand in ROADS
        ),
    ]


def measure_bare_start(servers: Stack) -> tuple[float, float]:
    """Measure the seconds to the first task of a Celery worker that has nothing of ours but its settings."""
    with Redis.from_url(servers.addresses().broker_url) as client:
        client.delete(noop.DONE)
        noop.app.conf.broker_url = servers.addresses().broker_url
        noop.mark_done.apply_async(queue=noop.QUEUE)
        started = time.time()
        process = launch(servers, BARE_WORKER, {})
        while not client.exists(noop.DONE):
            time.sleep(POLL_SECONDS)
            assert time.time() < started + BARE_SECONDS, "the bare worker ran nothing"
        ended, used_seconds = time.time(), processor_seconds(process.pid)
    process.stop(timeout_seconds=60)
    return ended - started, used_seconds


def measure_first_turn(servers: Stack, variables: Mapping[str, str]) -> tuple[float, float]:
    """Measure the seconds to the claim of a turn that waits for a worker, and that has to complete, too."""
    producer = Producer(settings_of(servers))
    turn = producer.send("t", "hello", allow_unknown_agent=True)
    started = time.time()
    process = launch(servers, OWN_WORKER, variables)
    state = turn.wait(timeout=120).state
    used_seconds = processor_seconds(process.pid)
    claimed_at = turn.record.started_at
    process.stop(timeout_seconds=60)
    producer.close()
    assert state == "completed", f"the turn is {state}"
    assert claimed_at is not None
    return claimed_at.timestamp() - started, used_seconds


def launch(servers: Stack, program: Program, variables: Mapping[str, str]) -> Process:
    """Start a worker in a process of its own, without waiting for it."""
    log = Path(servers.addresses().file_store).parent / "logs" / "bench.log"
    environment = {**servers.environment, **program.environment, **variables}
    process = Process("worker", program.argv, log=log, environment=environment)
    process.start()
    return process
