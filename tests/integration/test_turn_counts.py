"""What a turn takes besides its round trips, counted: wake-ups, announcements, allocations. No time is measured.

A worker of this process is handed its wake-ups, and lives as any other: heartbeat, signals, pool.
"""

import asyncio
import gc
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from pathlib import Path

import psycopg
import pytest
import redis

from agent.agent import Agent
from agent.models.protocol import ModelReply, ModelRequest, StreamRestarted, TextDelta
from agent.offline.model import RecallModel
from benchmarks.own_turns import OwnTurns
from benchmarks.stage import read_wal_position
from benchmarks.stock import stock_threads
from store.settings import load
from tasks.full_collections import NEVER

#: Turns that wait at once: enough that what the process has once is little of each one's share; and those that
#: wait already, for whom its connections were opened.
WAITING, WARM = 60, 20
MESSAGES = 50
#: KiB that a waiting turn may hold, its window of 50 messages of 200 characters included, and the objects that a full
#: collection of garbage looks at: a message of the window that was kept whole would be one or two.
WAITING_KIB_MAX, WAITING_OBJECTS_MAX = 50, 160
#: Bytes that a turn may write to PostgreSQL's log, its sending included: one that makes its thread, and a further one.
WAL_BYTES_MAX, FURTHER_WAL_BYTES_MAX = 5_060, 4_390
#: Columns that few turns have: their indexes do not hold the others.
RARE = ("parent_turn_id", "when_busy", "steers", "merged_into", "rolled_back", "schedule_id")
#: Blocks of Python's allocator that a turn may leave behind: a cache that grows with each would leave more.
LEFT_BLOCKS_MAX = 8


class HeldModel:
    """Answers when it is let go."""

    def __init__(self) -> None:
        self.asked = 0
        self.released = asyncio.Event()

    async def complete(self, request: ModelRequest) -> ModelReply:
        self.asked += 1
        await self.released.wait()
        return ModelReply(content="at last", model=request.model)

    async def stream(self, request: ModelRequest) -> AsyncIterator[TextDelta | StreamRestarted | ModelReply]:
        yield await self.complete(request)


@pytest.fixture
def held() -> HeldModel:
    return HeldModel()


@pytest.fixture
def site(database_url: str, valkey_url: str, tmp_path: Path, held: HeldModel) -> Iterator[OwnTurns]:
    settings = load(database_url=database_url, broker_url=valkey_url, file_store_url=str(tmp_path))
    agents = {"assistant": Agent(name="assistant", model=RecallModel()), "held": Agent(name="held", model=held)}
    with OwnTurns(settings, agents) as opened:
        opened.turn("warm-up")
        yield opened


@pytest.fixture
def broker(valkey_url: str) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(valkey_url) as client:
        yield client


def count_calls(broker: "redis.Redis", command: str) -> int:
    """How often the server was told this command so far."""
    stats = broker.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})
    return int(stats["calls"])


def wait_until_counted(broker: "redis.Redis", command: str, count: int) -> int:
    """What an announcement counts to: it is sent a moment after the commit."""
    deadline = time.monotonic() + 10
    while (calls := count_calls(broker, command)) < count and time.monotonic() < deadline:
        time.sleep(0.02)
    return calls


def test_a_send_publishes_one_wake_up_and_a_turn_none(site: OwnTurns, broker: "redis.Redis") -> None:
    before = count_calls(broker, "lpush")

    turns = [site.send(f"t-{number}")[0] for number in range(5)]
    after_sends = count_calls(broker, "lpush")
    for turn in turns:
        site.answer(turn)

    assert after_sends - before == 5
    assert count_calls(broker, "lpush") == after_sends


def test_the_wake_ups_of_a_burst_on_one_thread_are_answered_by_one_task(site: OwnTurns, broker: "redis.Redis") -> None:
    turns = [site.send("t")[0] for _ in range(5)]
    published = count_calls(broker, "lpush")

    site.answer(turns[0])

    assert {turn.state for turn in turns} == {"completed"}
    assert count_calls(broker, "lpush") == published


def test_a_turn_announces_its_end_once(site: OwnTurns, broker: "redis.Redis") -> None:
    turns = [site.send(f"t-{number}")[0] for number in range(10)]
    before = count_calls(broker, "publish")

    for turn in turns:
        site.answer(turn)
    announced = wait_until_counted(broker, "publish", before + 10) - before

    assert announced == 10


@pytest.mark.parametrize(
    ("thread", "looks"), [("new", {"threads": 6, "turns": 3}), ("known", {"threads": 4, "turns": 3})]
)
def test_a_send_looks_each_thing_up_once(database_url: str, thread: str, looks: dict[str, int]) -> None:
    send = "select threadmill.send_message(%s, 'hello', allow_unknown_agent => true)"
    count = "select relname, idx_scan from pg_stat_xact_user_tables where relname = any(%s)"
    with psycopg.connect(database_url) as connection:
        for warm in ("known", "warm"):
            connection.execute(send, [warm])
        # Counted from here on.
        connection.execute("select pg_stat_force_next_flush()")
        connection.commit()

        connection.execute(send, [thread])
        counted = dict(connection.execute(count, [list(looks)]).fetchall())

    # Foreign keys look, too. What made a thread at its second attempt looked 13 times into them.
    assert counted == looks


def test_a_turn_writes_little_to_the_log(site: OwnTurns, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        written = []
        for _ in range(2):
            before = read_wal_position(connection)
            for number in range(40):
                site.turn(f"t-{number}")
            written.append((read_wal_position(connection) - before) / 40)
        indexes = connection.execute(
            "select count(*) from pg_index where indrelid = 'turns'::regclass "
            "and coalesce(pg_get_expr(indpred, indrelid), '') !~ %s",
            ["|".join(RARE)],
        ).fetchone()

    assert written[0] < WAL_BYTES_MAX
    assert written[1] < FURTHER_WAL_BYTES_MAX
    # A claim and an end write to each that holds the row: one more needs a reason, or takes the place of another.
    assert indexes == (9,)


def test_a_waiting_turn_holds_little_memory(site: OwnTurns, database_url: str, held: HeldModel) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        stock_threads(connection, "t-", WARM + WAITING, MESSAGES)
    ends = wait_in_model(site, held, range(WARM))
    gc.collect()
    objects_before = len(gc.get_objects())
    tracemalloc.start()
    try:
        ends += wait_in_model(site, held, range(WARM, WARM + WAITING))
        gc.collect()
        held_bytes, _ = tracemalloc.get_traced_memory()
        held_objects = len(gc.get_objects()) - objects_before
    finally:
        tracemalloc.stop()
    site.worker.loop.call_soon_threadsafe(held.released.set)
    for end in ends:
        end.result(timeout=60)

    assert held_bytes / 1024 / WAITING < WAITING_KIB_MAX
    assert held_objects / WAITING < WAITING_OBJECTS_MAX


def wait_in_model(site: OwnTurns, held: HeldModel, numbers: range) -> list[Future[object]]:
    """Have these threads' turns claimed, until all are in the air."""
    asked = held.asked
    turns = [site.producer.send(f"t-{number}", "hello", agent="held", allow_unknown_agent=True) for number in numbers]
    ends = [site.begin(turn) for turn in turns]
    deadline = time.monotonic() + 60
    while held.asked < asked + len(turns):
        assert time.monotonic() < deadline, [end for end in ends if end.done()]
        time.sleep(0.02)
    return ends


def test_a_worker_makes_full_collections_itself_and_sees_turns_begin_and_end(site: OwnTurns) -> None:
    before = site.worker.active_runs.changes

    site.turn("t")

    assert site.worker.full_collections.count_changes() - before == 2
    assert (gc.get_threshold()[2], gc.get_freeze_count() > 0) == (NEVER, True)


def test_a_turn_leaves_nothing_behind_in_memory(site: OwnTurns) -> None:
    for number in range(20):
        site.turn(f"warm-{number}")
    gc.collect()
    before = sys.getallocatedblocks()

    for number in range(60):
        site.turn(f"t-{number}")
    gc.collect()
    left = (sys.getallocatedblocks() - before) / 60

    assert left < LEFT_BLOCKS_MAX
