"""A provider that is away, over two workers with one Valkey: what it costs, and how turns come back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
import redis
from sqlalchemy import func, select, text, update

from agent.agent import Agent
from agent.models.breaker import Breakers
from agent.tools.thread_pool import ToolThreads
from conversation.errors import ModelError
from conversation.ids import new_id
from conversation.message import Message
from conversation.task_contract import WakeUp
from store import tables
from store.database.column_types import clock
from store.database.engine import Database
from store.live.breaker_board import PREFIX, ValkeyBreakerBoard
from store.settings import Settings, load
from store.turns import inbox, workers
from store.turns.attempts import read_attempts
from store.turns.awaiting_model import let_go
from store.turns.claims import ClaimRequest
from store.turns.send_request import SendRequest
from store.turns.turn_store import TurnStore
from tasks.active_runs import ActiveRuns
from tasks.runner import Runner
from tests.integration.scripted import NoFiles, Scripted, says
from tests.integration.store.turns.test_lifecycle import Store

THREADS = 200
FAILURES = 5
#: Longer than a test takes: a period ends here when a test says so.
PERIOD = 3600.0


@dataclass
class Site:
    """Two workers, as far as their runners see them, with a stub of a provider."""

    settings: Settings
    database: Database
    model: Scripted
    valkey: redis.Redis
    boards: list[ValkeyBreakerBoard] = field(default_factory=list)
    letting_go: list[Awaitable[int]] = field(default_factory=list)

    def send(self, count: int) -> None:
        for number in range(count):
            message = Message(role="user", content="hello")
            request = SendRequest(
                turn_id=new_id(),
                tenant="default",
                thread_id=f"t{number}",
                message=message,
                agent="a",
                allow_unknown_agent=True,
            )
            self.database.run(inbox.accept, request, mark_notified=False)

    def worker(self) -> Runner:
        worker, turn_store = new_id(), TurnStore(self.database)
        entry = {"host": "here", "pid": 1, "serves": {"a": "1"}, "lease_duration_seconds": 60}
        self.database.run(workers.register, **entry, worker=worker)
        self.boards.append(ValkeyBreakerBoard(self.settings))
        return Runner(
            settings=self.settings,
            agents={"a": Agent(name="a", model=self.model)},
            claim_request=ClaimRequest(worker=worker, agents={"a": "1"}),
            turn_store=turn_store,
            active_runs=ActiveRuns(),
            attachments=NoFiles(),
            tool_threads=ToolThreads(2),
            publish_turn_ended=lambda _: None,
            breakers=Breakers(
                self.boards[-1],
                failures_to_open=FAILURES,
                probe_seconds=PERIOD,
                on_close=lambda key: self.letting_go.append(asyncio.ensure_future(turn_store.let_go_waiting(key))),
            ),
        )

    async def run_all(self, *runners: Runner) -> int:
        """Run every thread that is due, shared out among the workers. Returns how often the model was asked."""
        asked = len(self.model.requests)
        due = (
            select(tables.threads.c.id)
            .join(tables.turns)
            .where(tables.turns.c.state == "queued", func.coalesce(tables.turns.c.retry_at, clock()) <= clock())
        )
        names = self.database.run(lambda connection: connection.execute(due).scalars().all())
        for number, name in enumerate(names):
            wake_up = WakeUp(tenant="default", thread_id=name, turn_id=new_id())
            await runners[number % len(runners)].run_thread(wake_up)
        return len(self.model.requests) - asked

    def pass_pauses(self, *threads: str) -> None:
        """The pause of every turn is over, or of those of some threads."""
        waiting = update(tables.turns).where(tables.turns.c.retry_at.is_not(None))
        if threads:
            keys = select(tables.threads.c.key).where(tables.threads.c.id.in_(threads))
            waiting = waiting.where(tables.turns.c.thread_key.in_(keys))
        self.database.run(lambda connection: connection.execute(waiting.values(retry_at=clock(plus_seconds=-1.0))))

    def end_period(self) -> None:
        """Another probe may be made."""
        for name in self.valkey.scan_iter(f"{PREFIX}*:probe"):
            self.valkey.delete(name)

    def states(self) -> dict[str, int]:
        counts = select(tables.turns.c.state, func.count()).group_by(tables.turns.c.state)
        return dict(map(tuple, self.database.run(lambda c: c.execute(counts).all())))


@pytest.fixture
async def site(database: Database, valkey_url: str) -> AsyncIterator[Site]:
    settings = load(broker_url=valkey_url)
    model = Scripted(ModelError("unavailable", "503", retryable=True))
    with redis.Redis.from_url(valkey_url) as valkey:
        site = Site(settings, database, model, valkey)
        yield site
    for board in site.boards:
        await board.close()
    await database.close_async()


@pytest.mark.soak
async def test_turns_that_wait_cost_one_probe_a_period_and_all_are_answered_when_it_is_back(site: Site) -> None:
    site.send(THREADS)
    one, other = site.worker(), site.worker()

    at_first = await site.run_all(one, other)
    costs = []
    for _ in range(3):
        site.pass_pauses()
        site.end_period()
        costs.append(await site.run_all(one, other))
    waiting = site.states()
    site.model.answers = (says("hi"),)
    site.end_period()
    site.pass_pauses("t0")
    probes = await site.run_all(one)
    let_go_turns = await asyncio.gather(*site.letting_go)
    site.pass_pauses()
    asked = await site.run_all(one, other)

    assert at_first < 2 * FAILURES
    assert costs == [1, 1, 1]
    assert waiting == {"queued": THREADS}
    assert (probes, let_go_turns) == (1, [THREADS - 1])
    assert (asked, site.states()) == (THREADS - 1, {"completed": THREADS})


async def test_a_turn_that_waits_says_what_it_waits_for(site: Site) -> None:
    site.send(FAILURES + 1)
    await site.run_all(site.worker())

    rows = site.database.run(lambda c: c.execute(select(tables.turns).order_by(tables.turns.c.arrival_seq)).all())
    kept = [site.database.run(read_attempts, turn_id=row.id)[0].outcome.value for row in rows]

    assert kept == ["retried"] * FAILURES + ["put_off"]
    assert [row.retries for row in rows] == [1] * FAILURES + [0]
    assert all(row.retry_at and row.failing_since and row.error_kind == "model_error" for row in rows)
    assert rows[0].error_message == "unavailable: the provider cannot be reached, or is down"
    assert "not asked" in rows[-1].error_message
    # Those that failed before it opened come by themselves.
    assert [row.waits_for is not None for row in rows] == [False] * (FAILURES - 1) + [True, True]


async def test_a_worker_that_starts_in_an_outage_asks_nobody(site: Site) -> None:
    site.send(20)
    await site.run_all(site.worker())
    site.pass_pauses()

    assert await site.run_all(site.worker()) == 0


async def test_valkey_that_is_flushed_in_the_middle_costs_a_probe(site: Site) -> None:
    site.send(40)
    one, other = site.worker(), site.worker()
    await site.run_all(one, other)
    site.valkey.flushdb()
    site.pass_pauses()
    await asyncio.sleep(1.05)  # what was read is taken for true that long

    assert await site.run_all(one, other) == 1
    (state,) = [name for name in site.valkey.scan_iter(f"{PREFIX}*") if not name.endswith(b":probe")]
    assert site.valkey.get(state) == b"unavailable"


async def test_without_valkey_a_worker_has_its_own_breaker(site: Site) -> None:
    site.settings = load(broker_url="redis://127.0.0.1:1/0", notify_timeout_seconds=0.1)
    site.send(40)
    one = site.worker()

    at_first = await site.run_all(one)
    site.pass_pauses()

    assert (at_first, await site.run_all(one)) == (FAILURES, 0)
    assert site.states() == {"queued": 40}


@pytest.mark.parametrize("seconds", [59, 3600])
def test_turns_that_are_let_go_come_soon_and_one_after_the_other(any_database: Database, seconds: int) -> None:
    store = Store(any_database)
    store.worker()
    for number in range(5):
        store.send("hello", thread=f"t{number}")
    waits = {"retry_at": clock(plus_seconds=float(seconds)), "waits_for": "m:1"}
    any_database.run(lambda c: c.execute(update(tables.turns).values(waits)))
    any_database.run(
        lambda c: c.execute(update(tables.turns).where(tables.turns.c.arrival_seq == 1).values(waits_for="m:2"))
    )

    counts = [any_database.run(let_go, breaker="m:1") for _ in range(2)]

    moments = select(tables.turns.c.retry_at, clock().label("now")).order_by(tables.turns.c.arrival_seq)
    rows = any_database.run(lambda c: c.execute(moments).all())
    assert counts == [4, 0]
    assert rows[0].retry_at > rows[0].now + timedelta(seconds=30)
    assert all(row.retry_at < row.now + timedelta(seconds=1) for row in rows[1:])
    assert sorted(row.retry_at for row in rows[1:]) == [row.retry_at for row in rows[1:]]


def test_a_turn_that_is_claimed_while_others_are_let_go_waits_for_nothing_any_more(database: Database) -> None:
    store = Store(database)
    store.worker()
    store.send("hello")
    waits = {"retry_at": clock(plus_seconds=60.0), "waits_for": "m:1"}
    database.run(lambda c: c.execute(update(tables.turns).values(waits)))

    with ThreadPoolExecutor(1) as other, database.engine.connect() as claiming:
        claiming.execute(update(tables.turns).values(state="running", retry_at=None))
        letting_go = other.submit(database.run, let_go, breaker="m:1")
        while not claiming.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one():
            assert not letting_go.done()
        claiming.commit()
        assert letting_go.result(30) == 0

    row = database.run(lambda c: c.execute(select(tables.turns.c.state, tables.turns.c.retry_at)).one())
    assert tuple(row) == ("running", None)


@pytest.mark.parametrize("verb", ["read", "write", "take_probe", "delay_probe"])
async def test_a_board_that_is_away_says_so_in_one_way(verb: str) -> None:
    board = ValkeyBreakerBoard(load(broker_url="redis://127.0.0.1:1/0", notify_timeout_seconds=0.1))
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "read": lambda: board.read("k"),
        "write": lambda: board.write("k", "x"),
        "take_probe": lambda: board.take_probe("k", seconds=1),
        "delay_probe": lambda: board.delay_probe("k", seconds=1),
    }

    for _ in range(2):
        with pytest.raises(ConnectionError):
            await calls[verb]()
    await board.close()


async def test_a_board_gives_one_probe_in_its_time(site: Site) -> None:
    one, other = site.worker(), site.worker()
    del one, other
    first, second = site.boards

    taken = [await first.take_probe("k", seconds=60), await second.take_probe("k", seconds=60)]
    await second.delay_probe("k", seconds=0.001)
    await asyncio.sleep(0.01)
    taken.append(await second.take_probe("k", seconds=60))
    await first.write("k", "timeout")

    assert taken == [True, False, True]
    assert (await second.read("k"), await second.read("other")) == ("timeout", None)
    ttl = site.valkey.ttl(f"{PREFIX}k")
    assert isinstance(ttl, int)
    assert ttl > 3600
