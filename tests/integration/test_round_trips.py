"""What a message and a turn cost the database, counted on the wire: round trips, and bytes read.

Everything is warm: connections are open. BEGIN and COMMIT count one each. The heartbeat has a
connection of its own and is counted for itself. No message here has an attachment.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ClauseElement, event, func, select, text
from sqlalchemy.engine.interfaces import CacheStats

from agent.agent import Agent
from agent.files.content_parts import AttachmentParts
from agent.files.prepare import prepare_file
from agent.offline.model import RecallModel
from agent.tools.thread_pool import ToolThreads
from conversation.ids import new_id
from conversation.task_contract import WakeUp
from conversation.turn import TurnState
from producers import Producer, Turn
from store.blobs import open_file_store
from store.database.engine import Database
from store.files.prepare import FilePreparer
from store.files.reader import FileReader
from store.history import message_rows
from store.lineage import row_lineage
from store.settings import Settings, load
from store.tables import turns as turn_rows
from store.tables.turns import unfinished
from store.turns import sweep, workers
from store.turns.claims import ClaimRequest
from store.turns.next_turn import head_of, is_due
from store.turns.turn_store import TurnStore
from tasks.active_runs import ActiveRuns
from tasks.heartbeat import Heartbeat
from tasks.runner import Runner
from tests.integration.wire import Traffic, WireTap

#: One call of a function.
SEND = 1
#: The claim and the settling: a function each.
TURN = 1 + 1
#: Before a tool and after it, each BEGIN, lock with the token and write the journal, COMMIT.
TOOL_CALL = 3 + 3

FEW, WINDOWFUL, MANY = 10, 300, 5_000


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Site:
    """A backend and a worker whose every word to the database is heard."""

    def __init__(self, settings: Settings, tap: WireTap) -> None:
        self.tap = tap
        self.settings = settings
        self.producer = Producer(settings)
        self.database = Database(settings)
        self.agents = {"assistant": Agent(name="assistant", tools=[add], model=RecallModel())}
        self.worker = new_id()
        self.running = ActiveRuns()
        self.tool_threads = ToolThreads(2)
        self.ended: list[str] = []
        blobs = open_file_store(settings)
        maker = FilePreparer(blobs, self.database, prepare_file)
        self.runner = Runner(
            settings=settings,
            agents=self.agents,
            claim_request=ClaimRequest(
                worker=self.worker,
                agents={name: agent.version for name, agent in self.agents.items()},
                max_messages={name: agent.max_messages for name, agent in self.agents.items()},
            ),
            turn_store=TurnStore(self.database),
            active_runs=self.running,
            attachments=AttachmentParts(FileReader(blobs, self.database, maker.prepare)),
            tool_threads=self.tool_threads,
            publish_turn_ended=self.ended.append,
        )

    async def open(self) -> None:
        """Sign the worker on, and let every road be gone once."""
        register = partial(
            workers.register,
            worker=self.worker,
            host="here",
            pid=1,
            serves={name: agent.version for name, agent in self.agents.items()},
            lease_duration_seconds=600,
        )
        self.database.run(register)
        await self.answer(self.send("warm-up"))
        self.database.run(sweep.pick_wake_ups, grace_seconds=0, limit=1)

    async def close(self) -> None:
        await self.database.close_async()
        self.database.close()
        self.producer.close()

    def send(self, thread: str, content: str = "hello", **options: Any) -> Turn:
        return self.producer.send(thread, content, **options)

    async def answer(self, turn: Turn) -> None:
        """Get the wake-up, and run what is due."""
        await self.runner.run_thread(WakeUp(tenant=turn.tenant, thread_id=turn.thread_id, turn_id=turn.id))

    async def answered(self, turn: Turn) -> Traffic:
        """What answering costs."""
        with self.tap.listening() as traffic:
            await self.answer(turn)
        assert turn.state is TurnState.COMPLETED
        return traffic


@pytest.fixture
def tap(database_url: str) -> Iterator[WireTap]:
    with WireTap(database_url) as opened:
        yield opened


@pytest.fixture
async def site(tap: WireTap, valkey_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    opened = Site(load(database_url=tap.url, broker_url=valkey_url, file_store_url=str(tmp_path)), tap)
    await opened.open()
    yield opened
    await opened.close()


#: A thread of so many messages, all of them answered, beside a hundred short ones of others.
STOCK = (
    """
    insert into threads (tenant, id, metadata, created_at, updated_at, last_seq)
    select 'default', :thread, '{}'::jsonb, now(), now(), :count
    union all
    select 'default', :thread || '-' || n, '{}'::jsonb, now(), now(), 50 from generate_series(1, 100) n
    """,
    """
    insert into messages (thread_key, seq, id, role, content, metadata, created_at)
    select key, n, 'm-' || n, case n % 2 when 1 then 'user' else 'assistant' end,
        rpad('message ' || n, 200, '.'), '{}', now()
    from threads, generate_series(1, last_seq) n where threads.id like :thread || '%'
    """,
    """
    insert into turns (id, thread_key, tenant, state, agent, metadata, created_at)
    select gen_random_uuid(), thread_key, 'default', 'completed', 'assistant', '{}', now()
    from messages where role = 'user' and turn_id is null
    """,
)


def stock(database: Database, thread: str, count: int) -> None:
    """Fill the database as months of use do; the planner knows what is there."""
    with database.engine.begin() as connection:
        for statement in STOCK:
            connection.execute(text(statement), {"thread": thread, "count": count})
        connection.execute(text("analyze"))


async def test_a_send_on_a_new_thread_and_on_an_old_one_costs_one_round_trip(site: Site) -> None:
    with site.tap.listening() as first:
        site.send("t")
    with site.tap.listening() as second:
        site.send("t")

    assert first.round_trips == SEND, first
    assert second.round_trips == SEND, second
    assert SEND == 1


async def test_a_send_on_the_event_loop_costs_as_much(site: Site) -> None:
    await site.producer.send_async("t", "hello")

    with site.tap.listening() as traffic:
        await site.producer.send_async("t", "hello")

    await site.producer.database.close_async()
    assert traffic.round_trips == SEND, traffic


async def test_a_send_under_a_known_idempotency_key_costs_no_more(site: Site) -> None:
    sent = site.send("t", idempotency_key="k")

    with site.tap.listening() as traffic:
        again = site.send("t", idempotency_key="k")

    assert (again.id, again.is_new) == (sent.id, False)
    assert traffic.round_trips == SEND, traffic


async def test_a_turn_without_tools_costs_two_round_trips(site: Site) -> None:
    turn = site.send("t")

    traffic = await site.answered(turn)

    assert traffic.round_trips == TURN, traffic


async def test_a_tool_call_adds_a_write_before_it_and_one_after_it(site: Site) -> None:
    turn = site.send("t", 'call add with {"a": 20, "b": 22}')

    traffic = await site.answered(turn)

    assert "42" in turn.wait(1).messages[-1].content
    assert traffic.round_trips == TURN + TOOL_CALL, traffic


async def test_tools_that_run_together_share_the_write_before_them(site: Site) -> None:
    turn = site.send("t", 'call add with {"a": 1, "b": 2} and add({"a": 3, "b": 4})')

    traffic = await site.answered(turn)

    assert len([m for m in turn.wait(1).messages if m.role == "tool"]) == 2
    assert traffic.round_trips == TURN + TOOL_CALL + TOOL_CALL // 2, traffic


async def test_a_drain_costs_no_more_for_each_turn(site: Site) -> None:
    sent = [site.send("t", f"message {n}") for n in range(5)]

    traffic = await site.answered(sent[0])

    assert [turn.state for turn in sent] == [TurnState.COMPLETED] * 5
    assert traffic.round_trips == 5 * TURN, traffic


async def test_a_wake_up_for_a_thread_with_nothing_to_do_costs_one_round_trip(site: Site) -> None:
    turn = site.send("t")
    await site.answer(turn)

    with site.tap.listening() as traffic:
        await site.answer(turn)

    assert traffic.round_trips == 1, traffic


async def test_a_long_history_costs_no_round_trip_more(site: Site) -> None:
    for thread, count in (("short", FEW), ("long", MANY)):
        stock(site.database, thread, count)
        with site.tap.listening() as sending:
            turn = site.send(thread)
        plain = await site.answered(turn)
        with_tool = await site.answered(site.send(thread, 'call add with {"a": 1, "b": 2}'))

        assert sending.round_trips == SEND, (thread, sending)
        assert plain.round_trips == TURN, (thread, plain)
        assert with_tool.round_trips == TURN + TOOL_CALL, (thread, with_tool)


async def test_a_turn_reads_its_window_and_not_the_history(site: Site) -> None:
    """From 300 messages to 5,000 the bytes that a turn reads grow by the digits of its seqs alone."""
    read = {}
    for count in (FEW, WINDOWFUL, MANY):
        stock(site.database, f"t-{count}", count)
        read[count] = (await site.answered(site.send(f"t-{count}"))).bytes_read

    assert read[WINDOWFUL] > 3 * read[FEW], read
    assert read[MANY] < 1.01 * read[WINDOWFUL], read


async def test_no_statement_of_a_send_or_a_turn_is_compiled_again(site: Site) -> None:
    """Compiling one costs more than sending it: a statement that has no cache key would double a turn."""
    order = 'call add with {"a": 1, "b": 2}'
    compiled: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, _values: Any, context: Any, _many: Any) -> None:
        # A transaction begins with a text that is sent as it is.
        if context.cache_hit is not CacheStats.CACHE_HIT and not statement.startswith("BEGIN;"):
            compiled.append(statement)

    await site.answer(site.send("t", order))
    for engine in (site.producer.database.engine, site.database.async_engine.sync_engine):
        event.listen(engine, "after_cursor_execute", note)
    await site.answer(site.send("t"))
    await site.answer(site.send("t", order))

    assert compiled == []


async def test_a_sweep_costs_the_same_however_many_wait(site: Site) -> None:
    costs = []
    for count in (1, 40):
        for n in range(count):
            site.send(f"{count}-{n}")
        with site.tap.listening() as traffic:
            wake_ups = sweep.pick_wake_ups_alone(site.database, grace_seconds=0, limit=500)
        assert len(wake_ups) >= count
        costs.append(traffic.round_trips)

    assert costs == [1, 1]


async def test_a_heartbeat_costs_the_same_however_many_turns_run(site: Site) -> None:
    """Two transactions of one statement each: keep the row alive, and see what it holds."""
    heartbeat = Heartbeat(site.worker, site.settings, site.agents, site.running, asyncio.get_running_loop())
    costs = []

    with ExitStack() as entered:
        entered.callback(heartbeat._database.close)
        heartbeat._beat()
        for count in (0, 30):
            for n in range(count):
                entered.enter_context(site.running.enter(("default", f"t-{n}")))
                site.send(f"t-{n}")
                await site.runner.turn_store.claim("default", f"t-{n}", site.runner.claim_request)
            with site.tap.listening() as traffic:
                heartbeat._beat()
            costs.append(traffic.round_trips)

    assert costs == [6, 6]


async def test_waiting_for_a_turn_that_has_ended_costs_one_look(site: Site) -> None:
    turn = site.send("t")
    await site.answer(turn)

    with site.tap.listening() as traffic:
        turn.wait(1)

    assert traffic.round_trips == 4, traffic


async def test_a_look_at_a_turn_that_has_not_ended_reads_nothing_of_its_replies(site: Site) -> None:
    turn = site.send("t")

    with site.tap.listening() as traffic, pytest.raises(TimeoutError):
        turn.wait(0)

    assert traffic.round_trips == 3, traffic


def plan_of(database: Database, statement: ClauseElement) -> str:
    words = statement.compile(database.engine, compile_kwargs={"literal_binds": True})
    with database.engine.begin() as connection:
        rows = connection.exec_driver_sql(f"EXPLAIN {words}").scalars()
        return "\n".join(rows)


async def test_what_a_turn_reads_is_found_by_index(site: Site) -> None:
    stock(site.database, "long", MANY)
    find = text("select key from threads where id = 'long'")
    key = site.database.run(lambda connection: connection.execute(find).scalar_one())
    turn = site.send("long")
    await site.answer(turn)
    window = message_rows.window_rows(row_lineage(key), turn.id, after_seq=4900, to_seq=5001, inbox_after=5000)
    head = select(head_of(key))
    swept = select(func.min(turn_rows.c.arrival_seq)).where(unfinished, is_due)
    replies = select(message_rows.messages.c.seq).where(message_rows.messages.c.turn_id == turn.id)

    plans = {
        "window": plan_of(site.database, window),
        "head": plan_of(site.database, head),
        "sweep": plan_of(site.database, swept.group_by(turn_rows.c.thread_key)),
        "replies": plan_of(site.database, replies),
    }

    for name, plan in plans.items():
        assert "Seq Scan on messages" not in plan, (name, plan)
        assert "Seq Scan on turns" not in plan, (name, plan)
    # Both ends of the window, on this thread: not the whole index, and not the thread's whole history.
    reads_its_window = r"Index Cond: \(\(thread_key = \d+\) AND \(seq > 4900\)"
    assert re.search(reads_its_window, plans["window"]), plans["window"]
    assert "ix_turns_of_thread" in plans["head"], plans["head"]
