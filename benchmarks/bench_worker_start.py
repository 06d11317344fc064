"""From the start of a worker's process to its first turn, against a bare Celery worker's first task.

A message waits when the worker starts. Measured to the moment in which its turn is claimed; the
bare worker to the moment in which it has run its task. Once for the offline model, once for a model
that is asked straight, and once for one behind litellm, whose import is most of it. The least of
some starts, and the processor time of the worker until then: where that is much less than the
seconds, something else was running.
"""

import time
from collections.abc import Mapping
from pathlib import Path

from redis import Redis

from benchmarks import noop
from benchmarks.stage import Figure, is_quick, processor_seconds, settings_of, show, stack
from conversation.task_contract import TURNS_QUEUE
from producers import Producer
from tests.stub_openai import StubOpenAI, reply
from threadmill.embedded.process import POLL_SECONDS, Process
from threadmill.embedded.programs import worker
from threadmill.embedded.stack import Stack

#: Seconds.
START_SECONDS_MAX = 10.0
#: Seconds of processor time.
STRAIGHT_SECONDS_MAX = 3.0
BARE_WORKER = worker("noop", [noop.QUEUE], app="benchmarks.noop")
OWN_WORKER = worker("turns", [TURNS_QUEUE])


def main() -> None:
    """Start each worker some times, on the same servers, with nothing else running."""
    rounds = 1 if is_quick(__doc__) else 3
    with stack() as servers, StubOpenAI() as provider:
        provider.answer_with(lambda _: reply("Hello."))
        providers = dict(provider.environment())
        straight = {**providers, "THREADMILL_MODEL": "openai/stub"}
        through_litellm = {**providers, "THREADMILL_MODEL": "litellm/openai/stub"}
        bare_seconds = min(measure_bare_start(servers) for _ in range(rounds))
        offline_seconds = min(measure_first_turn(servers, {}) for _ in range(rounds))
        straight_seconds = min(measure_first_turn(servers, straight) for _ in range(rounds))
        litellm_seconds = min(measure_first_turn(servers, through_litellm) for _ in range(rounds))
    show(
        "Worker start, to its first task or turn",
        [
            Figure("a bare Celery worker", bare_seconds[0], "s"),
            Figure("a worker with the offline model", offline_seconds[0], "s", bare_seconds[0], START_SECONDS_MAX),
            Figure(
                "a worker with a model asked straight", straight_seconds[0], "s", bare_seconds[0], START_SECONDS_MAX
            ),
            Figure("a worker with a model behind litellm", litellm_seconds[0], "s", bare_seconds[0], START_SECONDS_MAX),
            Figure("processor time of the bare worker", bare_seconds[1], "s"),
            Figure("... with the offline model", offline_seconds[1], "s", bare_seconds[1]),
            Figure("... with a model asked straight", straight_seconds[1], "s", bare_seconds[1], STRAIGHT_SECONDS_MAX),
            Figure("... with a model behind litellm", litellm_seconds[1], "s", bare_seconds[1]),
        ],
    )


def measure_bare_start(servers: Stack) -> tuple[float, float]:
    """Measure the seconds to the first task of a Celery worker that has nothing of ours but its settings."""
    with Redis.from_url(servers.addresses().broker_url) as client:
        client.delete(noop.DONE)
        noop.app.conf.broker_url = servers.addresses().broker_url
        noop.mark_done.apply_async(queue=noop.QUEUE)
        started = time.time()
        process = launch(servers, BARE_WORKER.argv, {})
        while not client.exists(noop.DONE):
            time.sleep(POLL_SECONDS)
        ended, used_seconds = time.time(), processor_seconds(process.pid)
    process.stop(timeout_seconds=60)
    return ended - started, used_seconds


def measure_first_turn(servers: Stack, variables: Mapping[str, str]) -> tuple[float, float]:
    """Measure the seconds to the claim of a turn that waits for a worker, and that has to complete, too."""
    producer = Producer(settings_of(servers))
    turn = producer.send("t", "hello", allow_unknown_agent=True)
    started = time.time()
    process = launch(servers, OWN_WORKER.argv, variables)
    state = turn.wait(timeout=120).state
    used_seconds = processor_seconds(process.pid)
    claimed_at = turn.record.started_at
    process.stop(timeout_seconds=60)
    producer.close()
    assert state == "completed", f"the turn is {state}"
    assert claimed_at is not None
    return claimed_at.timestamp() - started, used_seconds


def launch(servers: Stack, argv: tuple[str, ...], variables: Mapping[str, str]) -> Process:
    """Start a worker in a process of its own, without waiting for it."""
    log = Path(servers.addresses().file_store).parent / "logs" / "bench.log"
    process = Process("worker", argv, log=log, environment={**servers.environment, **variables})
    process.start()
    return process


if __name__ == "__main__":
    main()
