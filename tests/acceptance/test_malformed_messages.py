"""Somebody writes into the broker whatever they like: workers live, turns are answered, no memory and no log fills."""

import re
import time
from collections.abc import Iterator

import pytest
import redis

from conversation.task_contract import FILES_QUEUE, MAINTENANCE_QUEUE, TURNS_QUEUE
from conversation.turn import TurnState
from producers import Turn
from tasks.refusals import KINDS
from tests.acceptance.installation import Installation, eventually, files, worker
from tests.acceptance.test_files_worker import ASK_READER, text_file
from tests.acceptance.test_worker_memory import resident_kib
from tests.malformed_messages import malform
from tests.tries import check_tries
from threadmill.embedded import programs

pytestmark = [pytest.mark.soak, pytest.mark.timeout(300)]

#: Malformed messages for each pool, at full length.
COUNT = 5_000
QUEUES = (TURNS_QUEUE, FILES_QUEUE, MAINTENANCE_QUEUE)
#: Malformed messages of a part that is written at once, with an honest turn behind it.
PART = 250
#: A stream: the malformed messages before each honest turn, and the honest turns in it at full length.
STREAM_EACH, STREAM_TURNS = 33, 300
#: KiB that a worker may grow by in the stream: half of what its messages take.
GROWTH_MAX_KIB = 8 * 1024
WORKERS = ("one", "two", "files", "maintenance")


@pytest.fixture
def broker(valkey_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey_url) as client:
        yield client


#: Keys that kombu or Celery reads, with something else in them from before the workers start until after all is done:
#: lists of two priorities among them, which no message of the test has.
WRONG_KEYS = (
    *("turns\x06\x165", "files\x06\x165", "unacked", "unacked_index", "unacked_mutex", "_kombu.binding_deadlines"),
    *(f"_kombu.binding.{name}" for name in ("turns", "files", "celery.pidbox", "celeryev", "reply.celery.pidbox")),
    *(f"_kombu.binding_permanent.{name}" for name in ("turns", "maintenance", "celery.pidbox")),
)


@pytest.fixture
def crowd(installation: Installation, broker: redis.Redis) -> Installation:
    """An installation with a worker for each pool, and two for turns, on a broker that others use as they like."""
    broker.mset(dict.fromkeys(WRONG_KEYS, "no list and no set"))
    threads = programs.worker("two", [TURNS_QUEUE], options=["-P", "threads", "-c", "16"])
    installation.start(worker("one"), threads, files(), *installation.upkeep())
    return installation


def pids_of(installation: Installation) -> dict[str, int | None]:
    return {name: installation.processes[name].pid for name in WORKERS if installation.processes[name].is_running}


def count_waiting(broker: redis.Redis) -> int:
    keys = [key for queue in QUEUES for key in broker.keys(f"{queue}*")]
    return sum(broker.llen(key) for key in keys if broker.type(key) == b"list")


def count_unanswered(installation: Installation, turns: list[Turn]) -> int:
    return sum(result.state is not TurnState.COMPLETED for result in installation.all_ended(turns))


def refused_by(installation: Installation, name: str) -> int:
    """How many messages the log of a worker says were refused, at least."""
    return sum(map(int, re.findall(r"broker_message_refused kind=\w+ count=(\d+)", log_of(installation, name))))


def log_of(installation: Installation, name: str) -> str:
    return installation.processes[name].log.read_text(errors="replace")


@pytest.mark.parametrize("count", [1_000, pytest.param(COUNT, marks=pytest.mark.endurance)])
def test_every_pool_outlives_whatever_stands_in_the_broker(
    count: int, crowd: Installation, broker: redis.Redis
) -> None:
    pids, began = pids_of(crowd), time.monotonic()
    # Two pools share the queue of turns.
    counts = dict.fromkeys(QUEUES, count) | {TURNS_QUEUE: 2 * count}
    turns = []
    for part in range(count // PART):
        for queue, of_queue in counts.items():
            broker.lpush(queue, *malform(queue, of_queue * PART // count, seed=part))
        turns.append(crowd.send(f"thread-{part}", "hello"))
    eventually(lambda: count_waiting(broker) == 0, told=lambda: crowd.told([]))
    note = text_file("The warranty of the grinder ends in March 2031.")
    turns.append(crowd.send("file", "When does it end?", attachments=[note], **ASK_READER))
    unanswered = count_unanswered(crowd, turns)
    dead = [name for name, pid in pids.items() if pids_of(crowd).get(name) != pid]

    if count == COUNT:
        tries = sum(counts.values())
        check_tries(
            "malformed messages in the broker, on each pool of workers", tries=tries, successes=len(dead) + unanswered
        )
    assert (dead, unanswered) == ([], 0)
    assert {broker.type(key) for key in WRONG_KEYS} == {b"string"}
    for name in WORKERS:
        # What comes within a second is told when that is over.
        eventually(lambda name=name: refused_by(crowd, name) > count / 5, told=lambda name=name: log_of(crowd, name))
    seconds = time.monotonic() - began
    for name in WORKERS:
        lines = log_of(crowd, name).count("broker_message_refused")
        assert lines <= (seconds + 1) * len(KINDS), name
        assert "DROP TABLE" not in log_of(crowd, name)
        assert "Traceback" not in log_of(crowd, name)
    keep_up_with_a_stream(crowd, broker, STREAM_TURNS * count // COUNT)


def keep_up_with_a_stream(installation: Installation, broker: redis.Redis, honest_turns: int) -> None:
    pids, before_kib = pids_of(installation), memory_of(installation)
    messages = list(malform(TURNS_QUEUE, 1_000, seed=-1))
    turns = []
    for number in range(honest_turns):
        some = [messages[(number * 7 + each) % len(messages)] for each in range(STREAM_EACH)]
        broker.lpush(TURNS_QUEUE, *some)
        turns.append(installation.send(f"stream-{number}", "hello"))

    assert count_unanswered(installation, turns) == 0
    assert pids_of(installation) == pids
    grown_kib = {name: size - before_kib[name] for name, size in memory_of(installation).items()}
    assert max(grown_kib.values()) < GROWTH_MAX_KIB, grown_kib


def memory_of(installation: Installation) -> dict[str, int]:
    return {name: resident_kib(installation.processes[name].pid or 0) for name in WORKERS}
