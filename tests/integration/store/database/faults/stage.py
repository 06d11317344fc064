"""A mailbox whose one road to the database may break, and a steady road beside it to see what came of it."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, select, text

from conversation.ids import new_id
from conversation.message import Message, Usage
from conversation.step import Step
from conversation.turn import ClaimedTurn, Completed, Ending, Lease, RefusedTurn
from store import tables
from store.database.engine import Database
from store.settings import load
from store.turns import claims, inbox, journal, sweep, workers
from store.turns import settle as turns
from store.turns.claims import ClaimOutcome, ClaimRequest
from store.turns.send_request import SendRequest
from store.turns.settle import SettleOutcome
from store.turns.turn_store import TurnStore

T = TypeVar("T")

QUESTION, ANSWER = "question", "answer"
SERVES = {"assistant": "1"}
#: Seconds after which a turn that has not ended never will, on the slowest machine.
ENDLESS_SECONDS = 90


class Stage:
    """One worker, and the verbs of the store by both roads."""

    def __init__(self, steady_url: str, broken_url: str, *, use_functions: bool = True, **settings: Any) -> None:
        self.steady = Database(load(database_url=steady_url), use_functions=use_functions)
        self.settings = load(database_url=broken_url, db_pool_size=1, db_max_overflow=0, **settings)
        #: Its one connection goes over the road that breaks.
        self.database = Database(self.settings, use_functions=use_functions)
        self.ledger = TurnStore(self.database, patience_seconds=0)
        self.worker = self.sign_on()
        self.claimant = ClaimRequest(worker=self.worker, agents=SERVES)

    async def open(self) -> None:
        """Open connections, so that only statements are counted from now on."""
        self.database.run(lambda connection: None)
        await self.database.run_async(lambda connection: None)

    async def close(self) -> None:
        await self.database.close_async()
        self.database.close()
        self.steady.close()

    def sign_on(self) -> str:
        worker = new_id()
        self.steady.run(workers.register, host="here", pid=1, serves=SERVES, lease_duration_seconds=600, worker=worker)
        return worker

    def sent(self, thread: str) -> str:
        return self.steady.run(inbox.accept, request=request(thread)).turn_id

    def claimed(self, thread: str) -> ClaimedTurn:
        self.sent(thread)
        found = self.steady.run(claim_of(thread, self.claimant))
        assert isinstance(found, ClaimedTurn)
        return found

    def settled(self, claimed: ClaimedTurn | RefusedTurn, ending: Ending | None = None) -> SettleOutcome:
        return self.steady.run(settling(claimed, ending or answer()))

    def recorded(self, claimed: ClaimedTurn, *entries: Step) -> None:
        self.steady.run(journal.record, lease=claimed.lease, turn_id=claimed.id, entries=entries)

    def go_on(self) -> None:
        """What processes do by themselves: the heartbeat frees what no task works on, the sweep notifies.

        Over and over: a session of the server may hold its locks until it notices that its client is gone.
        """
        give_up_at = time.monotonic() + ENDLESS_SECONDS
        while self._unfinished():
            assert time.monotonic() < give_up_at, f"not ended: {self._unfinished()}"
            for held in self.steady.run(workers.list_held_threads, worker=self.worker):
                self.steady.run(workers.release, worker=self.worker, held=held)
            for wake_up in self.steady.run(sweep.pick_wake_ups, grace_seconds=0, limit=1000):
                found = self.steady.run(claim_of(wake_up.thread_id, self.claimant))
                if isinstance(found, RefusedTurn):
                    self.settled(found, found.ending)
                elif isinstance(found, ClaimedTurn):
                    self._run(found)

    def _run(self, claimed: ClaimedTurn) -> None:
        """As the loop does: a call that somebody began and nobody finished is unknown, then the answer."""
        begun = [step for step in claimed.steps.values() if not step.is_final]
        if begun:
            self.recorded(claimed, *(replace(step, state="unknown") for step in begun))
        self.settled(claimed)

    def _unfinished(self) -> list[str]:
        open_turns = select(tables.turns.c.id).where(tables.turns.c.state.in_(["queued", "running"]))
        return list(self.steady.run(lambda connection: connection.execute(open_turns).scalars().all()))

    def turn_ids(self, thread: str) -> list[str]:
        of_thread = (
            select(tables.turns.c.id)
            .join(tables.threads, tables.turns.c.thread_key == tables.threads.c.key)
            .where(tables.threads.c.id == thread)
            .order_by(tables.turns.c.arrival_seq)
        )
        return list(self.steady.run(lambda connection: connection.execute(of_thread).scalars().all()))

    def assert_whole(self, thread: str, *, turn_ids: list[str], state: str, told: str) -> None:
        """Each turn is over, said once, in order, and nothing is left of it but the history."""
        with self.steady.engine.begin() as connection:
            (owner, last_seq, key) = connection.execute(
                select(tables.threads.c.lease_owner, tables.threads.c.last_seq, tables.threads.c.key).where(
                    tables.threads.c.id == thread
                )
            ).one()
            ended = rows(connection, tables.turns, "id", "state", thread_key=key)
            said = rows(connection, tables.messages, "seq", "turn_id", "content", thread_key=key)
            waiting = connection.execute(select(tables.inbox_messages.c.turn_id)).scalars().all()
            left = connection.execute(select(tables.steps.c.turn_id).where(tables.steps.c.state == "started")).all()

        assert owner is None, told
        assert ended == [(turn_id, state) for turn_id in turn_ids], told
        assert not set(waiting) & set(turn_ids) or state == "cancelled", told
        assert left == [], told
        expected = [(turn_id, text) for turn_id in turn_ids for text in (QUESTION, ANSWER)]
        if state == "completed":
            assert [row[1:] for row in said] == expected, told
        assert [row[0] for row in said] == list(range(1, last_seq + 1)), told


def rows(connection: Connection, table: Any, *names: str, thread_key: int) -> list[tuple[Any, ...]]:
    order = table.c.arrival_seq if "arrival_seq" in table.c else table.c.seq
    columns = [table.c[name] for name in names]
    found = connection.execute(select(*columns).where(table.c.thread_key == thread_key).order_by(order))
    return [tuple(row) for row in found]


def request(thread: str, **options: Any) -> SendRequest:
    return SendRequest(
        **{
            "turn_id": new_id(),
            "tenant": "default",
            "thread_id": thread,
            "message": Message(role="user", content=QUESTION),
            "agent": "assistant",
        }
        | options
    )


def answer() -> Completed:
    return Completed(messages=(Message(role="assistant", content=ANSWER),), usage=Usage(3, 4), cost=0.5)


def claim_of(thread: str, claimant: ClaimRequest, held: Lease | None = None) -> Callable[[Connection], ClaimOutcome]:
    return partial(claims.claim, tenant="default", thread_id=thread, claimant=claimant, held=held)


def settling(
    claimed: ClaimedTurn | RefusedTurn, ending: Ending, *, release: bool = False
) -> Callable[..., SettleOutcome]:
    return partial(turns.settle, lease=claimed.lease, turn_id=claimed.id, ending=ending, release=release)


def ping(connection: Connection) -> int:
    """The process of the server that this connection leads to."""
    return int(connection.execute(text("select pg_backend_pid()")).scalar_one())
