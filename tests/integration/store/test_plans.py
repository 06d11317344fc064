"""What the store reads: by index, and as much beside thousands of threads as beside a few."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, text

from benchmarks.bulk_load import COMMON_WORD, RARE_WORD, load_threads, load_waiting_turns
from conversation.ids import new_id
from conversation.message import Message
from conversation.turn import FINAL_STATES, ClaimedTurn, Completed, TurnState
from conversation.water_marks import WaterMarks
from store.database.engine import Database
from store.settings import load
from store.summaries import due
from store.threads import counts, listing, search
from store.turns import (
    claims,
    fair_share,
    inbox,
    overview,
    sweep,
    sweep_request,
    thread_turns,
    unserved,
    usage,
    waiting,
    workers,
)
from store.turns import listing as turn_listing
from store.turns import settle as turns
from store.turns.claims import ClaimRequest
from store.turns.inbox import SendLimits, SendRequest
from store.turns.listing import TurnFilter
from store.turns.usage import UsageFilter, UsageKey
from tests.conftest import LendDatabase
from tests.integration.plans import rows_read, run_explained

#: Threads that are stored, and turns that wait.
SIZES = [
    pytest.param((3_000, 1_500), id="thousands"),
    pytest.param((1_000_000, 20_000), id="a-million", marks=[pytest.mark.endurance, pytest.mark.timeout(900)]),
]
#: Rows that one step of a plan may read: a page of a listing, a window of a sweep; far from all there are.
READ_MAX = 450
#: One turn ends in each second.
LATELY = timedelta(seconds=360)
WORKER = new_id()
CLAIMANT = ClaimRequest(worker=WORKER, agents={"assistant": "1"}, tenant_max_running=100)
MARKS = WaterMarks(high_messages=200, high_tokens=50_000, low_messages=50, low_tokens=12_000)


@pytest.fixture(scope="module", params=SIZES)
def database(request: pytest.FixtureRequest, lend_database: LendDatabase, migrated_template: str) -> Iterator[Database]:
    """Threads that were answered, and turns that wait."""
    threads, waiting = request.param
    with lend_database(migrated_template) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            load_threads(connection, threads)
            load_waiting_turns(connection, waiting)
        opened = Database(load(database_url=url))
        serves = {"assistant": "1"}
        opened.run(workers.register, worker=WORKER, host="", pid=1, serves=serves, lease_duration_seconds=600)
        yield opened
        opened.close()


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that these few rows exceed, as a million exceeds the real ones."""
    monkeypatch.setattr(sweep_request, "WINDOW_MIN", 50)
    monkeypatch.setattr(waiting, "SEARCH_WINDOW", 50)
    monkeypatch.setattr(counts, "COUNT_MAX_COST", 0)
    for name in ("QUEUED_MAX", "ENDED_MAX", "CALLED_MAX"):
        monkeypatch.setattr(overview, name, 100)
    for name, bound in {"RANKED_MAX": 20, "READ_MAX": 200}.items():
        monkeypatch.setattr(search, name, bound)


def send(connection: Connection, thread: str) -> str:
    message = Message(role="user", content="Where is it?")
    request = SendRequest(turn_id=new_id(), tenant="default", thread_id=thread, message=message, agent="assistant")
    limits = SendLimits(tenant_max_unfinished_turns=100_000)
    return inbox.accept(connection, request, limits).turn_id


def answer(connection: Connection, thread: str) -> None:
    """A turn from its message to its end; the turn of another message waits behind it."""
    send(connection, thread)
    send(connection, thread)
    claimed = claims.claim(connection, "default", thread, CLAIMANT)
    assert isinstance(claimed, ClaimedTurn)
    ending = Completed(messages=(Message(role="assistant", content="Here."),))
    assert turns.settle(connection, claimed.lease, claimed.id, ending, release=False).keeps_lease


def list_second_page(connection: Connection) -> None:
    filters = TurnFilter(tenant="default", states=[TurnState.COMPLETED])
    first = turn_listing.list_turns(connection, filters, limit=20)
    assert len(turn_listing.list_turns(connection, filters, limit=20, cursor=first.next_cursor)) == 20


def list_lately_ended(connection: Connection) -> None:
    filters = TurnFilter(states=FINAL_STATES, since=datetime.now(UTC) - LATELY)
    turn_listing.list_turns(connection, filters, limit=20)


def sum_cost_of_tenant(connection: Connection) -> None:
    filters = UsageFilter(since=datetime.now(UTC) - LATELY, tenant="default")
    usage.sum_usage(connection, filters, by=[UsageKey.AGENT, UsageKey.DAY])


def pick_neglected(connection: Connection) -> None:
    request = SendRequest(
        turn_id=new_id(),
        tenant="other",
        thread_id="t",
        message=Message(role="user", content="Well?"),
        agent="assistant",
    )
    inbox.accept(connection, request)
    assert [wake_up.tenant for wake_up in fair_share.pick_neglected(connection).wake_ups] == ["default", "other"]


OPERATIONS: dict[str, Callable[[Connection], Any]] = {
    "send, claim and settle in a new thread": partial(answer, thread="new"),
    "send, claim and settle in an old thread": partial(answer, thread="t2999"),
    "sweep": partial(sweep.pick_wake_ups, grace_seconds=0, limit=20, tenant_max_running=100),
    "sweep beside wake-ups in the broker": partial(
        sweep.pick_wake_ups, grace_seconds=0, limit=20, tenant_max_running=100, in_broker={"turns": 100}
    ),
    "turn that waits for longest": partial(waiting.find_longest_waiting, over_seconds=0, tenant_max_running=100),
    "sweep of a tenant": partial(
        sweep.pick_wake_ups, grace_seconds=0, limit=1, tenant_max_running=100, tenant="default"
    ),
    "overdue turns": partial(unserved.list_overdue, limit=20),
    "held threads": partial(workers.list_held_threads, worker=WORKER, idle_threads=[("default", "t7")]),
    "status": counts.stats,
    "failed turns": partial(
        turn_listing.list_turns, filters=TurnFilter(tenant="default", states=[TurnState.FAILED]), limit=20
    ),
    "turns in any state": partial(turn_listing.list_turns, filters=TurnFilter(tenant="default"), limit=20),
    "a later page of turns": list_second_page,
    "turns that all tenants ended": list_lately_ended,
    "failed turns of a kind": partial(
        turn_listing.list_turns,
        filters=TurnFilter(tenant="default", states=[TurnState.FAILED], error_kinds=["model"], agents=["assistant"]),
        limit=20,
    ),
    "overview": overview.read_overview,
    "cost of a tenant": sum_cost_of_tenant,
    "threads by creation": partial(listing.list_threads, filters=listing.ThreadFilter(), limit=20),
    "search of a rare word": partial(search.search_messages, query=RARE_WORD),
    "search of a common word": partial(search.search_messages, query=COMMON_WORD),
    "turns of tenants beside one with many": pick_neglected,
    "threads due for a summary": partial(due.reserve_due, marks={}, other_marks=MARKS, limit=20),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_nothing_that_is_often_done_reads_a_whole_table(
    database: Database, operation: Callable[[Connection], Any]
) -> None:
    nodes = run_explained(database, operation)

    # Workers that died are deleted after an hour: all of them are few.
    whole = {node.get("Relation Name") for node in nodes if node["Node Type"] == "Seq Scan"}
    assert whole <= {"workers"}
    read = {f"{node['Node Type']} of {node.get('Relation Name')}": rows_read(node) for node in nodes}
    assert {step: rows for step, rows in read.items() if rows > READ_MAX} == {}


def test_a_listing_by_update_reads_the_threads_of_ten_minutes(database: Database) -> None:
    page = partial(listing.list_threads, filters=listing.ThreadFilter(), limit=20, order="updated")

    nodes = run_explained(database, page)

    assert "ix_threads_tenant_updated_period" in {node.get("Index Name") for node in nodes}
    # One thread was updated in each second.
    assert max(map(rows_read, nodes)) <= 2 * 600 + 21


def test_a_page_of_the_turns_of_a_long_thread_reads_no_more_than_it_shows(database: Database) -> None:
    add_turns = """
        insert into turns (id, thread_key, tenant, state, agent, metadata, created_at)
        select gen_random_uuid(), key, tenant, 'completed', agent, '{}', now()
        from threads, generate_series(1, 60) where id = 't9'
    """
    database.run(lambda c: c.execute(text(add_turns)) and c.execute(text("analyze turns")) and None)
    first_page = database.run(thread_turns.list_of_thread, "default", "t9", limit=10)
    next_page = partial(
        thread_turns.list_of_thread, tenant="default", thread_id="t9", limit=10, cursor=first_page.next_cursor
    )

    nodes = run_explained(database, next_page)

    assert "ix_turns_of_thread" in {node.get("Index Name") for node in nodes}
    assert max(map(rows_read, nodes)) <= 11
