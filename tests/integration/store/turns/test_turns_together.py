"""Turns that are claimed and settled in one transaction: each as if it were alone."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, func, select, text, update

from conversation.errors import DatabaseRefused, LeaseLost
from conversation.ids import new_id
from conversation.message import Message
from conversation.turn import ClaimedTurn, Completed, Failed, RefusedTurn
from store import tables
from store.database.call_queue import BUSY, TOGETHER_MAX, half_of_connections
from store.database.engine import Database
from store.settings import load
from store.turns import claim_call, inbox, workers
from store.turns.claim_call import PartialClaim
from store.turns.claim_request import NothingDue
from store.turns.claims import ClaimRequest
from store.turns.send_request import SendRequest
from store.turns.turn_store import TurnStore
from store.turns.unreadable import UNREADABLE
from tests.integration.store.database.faults.breaking_wire import BreakingWire, Moment
from tests.integration.wire import WireTap

CLAIMANT = ClaimRequest(worker=new_id(), agents={"a": "1"})
#: Two that go at once, and those of one transaction behind them.
FULL = BUSY + TOGETHER_MAX
THREADS = [f"t{number}" for number in range(FULL)]


class Scene:
    """A database, and a turn in each of the threads."""

    def __init__(self, url: str) -> None:
        self.database = Database(load(database_url=url, db_pool_size=4, db_max_overflow=4))
        self.store = TurnStore(self.database)
        entry: dict[str, Any] = {"host": "h", "pid": 1, "serves": {"a": "1"}, "lease_duration_seconds": 600}
        self.database.run(workers.register, **entry, worker=CLAIMANT.worker)
        for thread in THREADS:
            message = Message(role="user", content=f"hello from {thread}")
            request = SendRequest(
                turn_id=new_id(),
                tenant="default",
                thread_id=thread,
                agent="a",
                message=message,
                allow_unknown_agent=True,
            )
            self.database.run(inbox.accept, request=request)

    async def claim_all(self, *threads: str) -> list[ClaimedTurn]:
        claims = (self.store.claim("default", thread, CLAIMANT) for thread in threads or THREADS)
        claimed = await asyncio.gather(*claims)
        assert all(isinstance(turn, ClaimedTurn) for turn in claimed)
        return [turn for turn in claimed if isinstance(turn, ClaimedTurn)]

    async def settle_all(self, claimed: list[ClaimedTurn]) -> list[object]:
        settles = (self.store.settle(turn, answer(f"to {turn.thread_id}"), release=True) for turn in claimed)
        return list(await asyncio.gather(*settles, return_exceptions=True))

    def said(self) -> dict[str, list[str]]:
        """The texts of each thread, in their order."""
        ordered = select(tables.messages).order_by(tables.messages.c.thread_key, tables.messages.c.seq).subquery()
        texts = func.array_agg(ordered.c.content)
        query = select(tables.threads.c.id, texts).join(ordered, ordered.c.thread_key == tables.threads.c.key)
        rows = self.database.run(lambda c: c.execute(query.group_by(tables.threads.c.id)).all())
        return {thread: list(texts) for thread, texts in rows}


def answer(text: str) -> Completed:
    return Completed(messages=(Message(role="assistant", content=text),))


@asynccontextmanager
async def open_scene(url: str) -> AsyncIterator[Scene]:
    opened = Scene(url)
    yield opened
    await opened.database.close_async()
    opened.database.close()


@pytest.fixture
def tap(database_url: str) -> Iterator[WireTap]:
    with WireTap(database_url) as opened:
        yield opened


@pytest.fixture
async def scene(tap: WireTap) -> AsyncIterator[Scene]:
    async with open_scene(tap.url) as opened:
        yield opened


async def test_turns_that_wait_for_it_are_claimed_in_one_round_trip_and_settled_in_one(
    scene: Scene, tap: WireTap
) -> None:
    with tap.listening() as traffic:
        claimed = await scene.claim_all()
        claims = [text for text in traffic.statements if "claim_turn_v1" in text]
        outcomes = await scene.settle_all(claimed)
        settles = [text for text in traffic.statements if "settle_turn_v1" in text]

    assert sorted(text.count("claim_turn_v1") for text in claims) == [1] * BUSY + [TOGETHER_MAX]
    assert sorted(text.count("settle_turn_v1") for text in settles) == [1] * BUSY + [TOGETHER_MAX]
    assert [turn.thread_id for turn in claimed] == THREADS
    assert [message.content for turn in claimed for message in turn.window] == [f"hello from {t}" for t in THREADS]
    assert not any(isinstance(outcome, BaseException) for outcome in outcomes)
    assert scene.said() == {thread: [f"hello from {thread}", f"to {thread}"] for thread in THREADS}


async def test_of_claims_that_go_together_for_one_thread_one_gets_it(scene: Scene) -> None:
    asked = [*THREADS[:BUSY], *["t5"] * TOGETHER_MAX]

    outcomes = await asyncio.gather(*(scene.store.claim("default", thread, CLAIMANT) for thread in asked))

    assert [isinstance(outcome, ClaimedTurn) for outcome in outcomes].count(True) == BUSY + 1
    assert outcomes.count(NothingDue()) == TOGETHER_MAX - 1


async def test_a_turn_that_cannot_be_read_is_refused_alone(scene: Scene) -> None:
    damaged = text(
        "update inbox_messages set metadata = json_build_object('n', repeat('9', 5000)::json)"
        " where content = 'hello from t5'"
    )
    scene.database.run(lambda connection: connection.execute(damaged))

    outcomes = await asyncio.gather(*(scene.store.claim("default", thread, CLAIMANT) for thread in THREADS))

    assert [isinstance(outcome, ClaimedTurn) for outcome in outcomes] == [thread != "t5" for thread in THREADS]
    refused = outcomes[5]
    assert isinstance(refused, RefusedTurn)
    assert isinstance(refused.ending, Failed)
    assert refused.ending.error.kind == UNREADABLE


async def test_claims_that_read_more_of_their_turns_leave_half_of_the_connections(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun_before = update(tables.turns).values(attempt=1)
    scene.database.run(lambda connection: connection.execute(begun_before))
    reading, most = 0, 0

    def complete(connection: Connection, partial_claim: PartialClaim) -> ClaimedTurn | RefusedTurn:
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        try:
            connection.exec_driver_sql("select pg_sleep(0.1)")
            return read_rest(connection, partial_claim)
        finally:
            reading -= 1

    read_rest = claim_call.complete
    monkeypatch.setattr(claim_call, "complete", complete)
    claimed = await scene.claim_all()

    assert [turn.attempt for turn in claimed] == [2] * FULL
    assert 1 < most <= half_of_connections(scene.database.settings)


async def test_a_lease_that_was_lost_is_lost_by_its_own_turn_alone(scene: Scene) -> None:
    claimed = await scene.claim_all()
    stolen = update(tables.threads).where(tables.threads.c.id == "t5").values(lease_owner=None, fencing_token=99)
    scene.database.run(lambda connection: connection.execute(stolen))

    outcomes = await scene.settle_all(claimed)

    assert [isinstance(outcome, LeaseLost) for outcome in outcomes] == [thread == "t5" for thread in THREADS]
    others = {thread: [f"hello from {thread}", f"to {thread}"] for thread in THREADS}
    assert scene.said() == others | {"t5": ["hello from t5"]}


async def test_an_end_that_the_database_refuses_is_refused_to_its_own_turn_alone(scene: Scene) -> None:
    claimed = await scene.claim_all()
    # No jsonb holds such a character.
    ends = [
        replace(answer("well"), omitted={"messages": ["\0"]} if turn.thread_id == "t5" else None) for turn in claimed
    ]

    settles = (scene.store.settle(turn, end, release=True) for turn, end in zip(claimed, ends, strict=True))
    outcomes = await asyncio.gather(*settles, return_exceptions=True)

    assert [isinstance(outcome, DatabaseRefused) for outcome in outcomes] == [thread == "t5" for thread in THREADS]
    others = {thread: [f"hello from {thread}", "well"] for thread in THREADS}
    assert scene.said() == others | {"t5": ["hello from t5"]}


async def test_to_settle_a_turn_twice_in_one_transaction_changes_nothing(scene: Scene) -> None:
    claimed = await scene.claim_all(*THREADS[:4])
    settles = (scene.store.settle(turn, answer("once"), release=True) for turn in claimed for _ in range(2))

    outcomes = await asyncio.gather(*settles)

    assert [outcome.keeps_lease for outcome in outcomes] == [False] * 8
    assert {thread: texts[1:] for thread, texts in scene.said().items()} == {thread: ["once"] for thread in THREADS[:4]}


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_ends_whose_connection_breaks_are_committed_once(database_url: str, moment: Moment) -> None:
    with BreakingWire(database_url) as wire:
        async with open_scene(wire.url) as scene:
            claimed = await scene.claim_all()
            # Of the two that go at once, and of the one for all others.
            broken = wire.breaks(1, moment, times=BUSY + 1)

            outcomes = await scene.settle_all(claimed)

            assert broken.broken == BUSY + 1
            assert not any(isinstance(outcome, BaseException) for outcome in outcomes)
            assert scene.said() == {thread: [f"hello from {thread}", f"to {thread}"] for thread in THREADS}
