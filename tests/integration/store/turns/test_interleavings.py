"""What happens when two do it at once: claims, commits, steps, sweeps, cancels and sends on real locks.

Where an order matters it is made: one transaction is held open, the other is seen to wait for it.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, event, select, text, update

from conversation.errors import AlreadyDecided, DatabaseRefused, LeaseLost
from conversation.ids import new_id
from conversation.message import Message
from conversation.pending_call import Decision, PendingKind, PendingRequest
from conversation.step import Step
from conversation.turn import (
    Cancelled,
    ClaimedTurn,
    Completed,
    HandOver,
    Lease,
    RefusedTurn,
    RetryLater,
    TurnError,
    TurnState,
    Waiting,
)
from store import tables
from store.database.engine import Database
from store.retention import delete_thread
from store.settings import load
from store.turns import cancel, claims, decisions, inbox, journal, sweep, workers
from store.turns import settle as turns
from store.turns.claims import ClaimRequest, NothingDue
from store.turns.send_request import UNLIMITED, SendLimits, SendRequest

T = TypeVar("T")

#: Seconds until somebody who waits is held to wait for ever; a lock is waited for longer.
PATIENCE = 10
AWAY = TurnError("model_error", "away", retryable=True)


class Mailbox:
    """The store's verbs, on a connection of the test's or in a transaction of their own."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.pool = ThreadPoolExecutor(16)

    def worker(self, **rules: Any) -> ClaimRequest:
        worker = new_id()
        entry = {"host": "here", "pid": 1, "serves": {"assistant": "1"}, "lease_duration_seconds": 60}
        self.database.run(workers.register, **entry, worker=worker)
        return ClaimRequest(worker=worker, agents={"assistant": "1"}, **rules)

    def kill(self, claimant: ClaimRequest) -> None:
        past = update(tables.workers).values(lease_expires_at=datetime(2020, 1, 1, tzinfo=UTC))
        self.do(lambda c: c.execute(past.where(tables.workers.c.id == claimant.worker)))

    def do(self, operation: Callable[[Connection], T]) -> T:
        return self.database.run(operation)

    def soon(self, operation: Callable[[Connection], T]) -> "Future[T]":
        """Run it in another thread, in a transaction of its own."""
        return self.pool.submit(self.database.run, operation)

    def send(self, content: str = "hello", thread: str = "t", **options: Any) -> str:
        return self.do(partial(accept, content=content, thread=thread, **options))

    def claim(self, claimant: ClaimRequest, thread: str = "t", held: Lease | None = None) -> ClaimedTurn:
        claimed = self.do(claim(claimant, thread, held))
        assert isinstance(claimed, ClaimedTurn)
        return claimed

    def read(self, turn_id: str) -> Any:
        return self.do(lambda c: c.execute(select(tables.turns).where(tables.turns.c.id == turn_id)).one())

    def history(self) -> list[str]:
        statement = select(tables.messages.c.content).order_by(tables.messages.c.seq)
        return self.do(lambda c: list(c.execute(statement).scalars()))

    def wait_until_blocked(self, count: int = 1) -> None:
        """Until so many transactions wait for a lock of another one."""
        waiting = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        give_up_at = time.monotonic() + PATIENCE
        while self.do(lambda c: c.execute(waiting).scalar_one()) < count:
            assert time.monotonic() < give_up_at, "nobody waits for a lock"
            time.sleep(0.01)

    def deadlocks(self) -> int:
        """Deadlocks of this database so far, those included that were run again without a word."""
        counted = text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        time.sleep(1.1)  # sessions report what they counted once a second
        return self.do(lambda c: int(c.execute(counted).scalar_one()))


def accept(
    connection: Connection,
    content: str = "hello",
    thread: str = "t",
    limits: SendLimits = UNLIMITED,
    *,
    agent: str = "assistant",
    mark_notified: bool = True,
    **options: Any,
) -> str:
    message = Message(role="user", content=content)
    request = SendRequest(turn_id=new_id(), tenant="default", thread_id=thread, message=message, agent=agent, **options)
    return inbox.accept(connection, request, limits, mark_notified=mark_notified).turn_id


def claim(claimant: ClaimRequest, thread: str = "t", held: Lease | None = None) -> Callable[[Connection], Any]:
    return partial(claims.claim, tenant="default", thread_id=thread, claimant=claimant, held=held)


def settle(claimed: ClaimedTurn, ending: Any = None, *, release: bool = False) -> Callable[[Connection], Any]:
    replies = (Message(role="assistant", content=f"re {claimed.window[-1].content}"),)
    ending = ending if ending is not None else Completed(messages=replies)
    return partial(turns.settle, lease=claimed.lease, turn_id=claimed.id, ending=ending, release=release)


def record(claimed: ClaimedTurn) -> Callable[[Connection], None]:
    step = Step(index=0, kind="model", state="finished", result={"content": "said"})
    return partial(journal.record, lease=claimed.lease, turn_id=claimed.id, entries=[step])


def due(connection: Connection, *, grace_seconds: float = 10, limit: int = 500) -> list[str]:
    return [b.thread_id for b in sweep.pick_wake_ups(connection, grace_seconds=grace_seconds, limit=limit)]


@pytest.fixture(params=["functions", pytest.param("plain", marks=pytest.mark.soak)])
def database(request: pytest.FixtureRequest, database_url: str) -> Iterator[Database]:
    """PostgreSQL with its functions, and at length in plain statements, too."""
    settings = load(database_url=database_url, db_lock_timeout_seconds=3 * PATIENCE)
    opened = Database(settings, use_functions=request.param == "functions")
    yield opened
    opened.close()


@pytest.fixture
def mailbox(database: Database) -> Iterator[Mailbox]:
    opened = Mailbox(database)
    opened.worker()  # makes the agent known
    yield opened
    opened.pool.shutdown(wait=True)


@pytest.fixture
def plain_mailbox(database_url: str) -> Iterator[Mailbox]:
    """A mailbox in plain statements, between which others commit."""
    database = Database(load(database_url=database_url), use_functions=False)
    opened = Mailbox(database)
    opened.worker()
    yield opened
    opened.pool.shutdown(wait=True)
    database.close()


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """A transaction that the test holds open; it ends with `commit` at the latest when the test does."""
    with database.engine.connect() as opened:
        yield opened


# A stale worker and the one that takes over


def test_a_step_that_is_being_written_is_seen_by_the_claim_that_follows(
    mailbox: Mailbox, connection: Connection
) -> None:
    stale, next_one = mailbox.worker(), mailbox.worker()
    mailbox.send()
    claimed = mailbox.claim(stale)
    mailbox.kill(stale)

    record(claimed)(connection)
    takes_over = mailbox.soon(claim(next_one))
    mailbox.wait_until_blocked()
    connection.commit()

    resumed = takes_over.result()
    assert isinstance(resumed, ClaimedTurn)
    assert resumed.steps[0].result == {"content": "said"}


@pytest.mark.parametrize("write", [record, settle], ids=["step", "commit"])
def test_a_stale_write_that_races_a_claim_is_refused(
    mailbox: Mailbox, connection: Connection, write: Callable[[ClaimedTurn], Callable[[Connection], Any]]
) -> None:
    stale, next_one = mailbox.worker(), mailbox.worker()
    mailbox.send()
    claimed = mailbox.claim(stale)
    mailbox.kill(stale)

    resumed = claim(next_one)(connection)
    stale_write = mailbox.soon(write(claimed))
    mailbox.wait_until_blocked()
    connection.commit()

    with pytest.raises(LeaseLost):
        stale_write.result()
    assert mailbox.do(lambda c: c.execute(select(tables.steps)).all()) == []
    assert mailbox.history() == ["hello"]
    mailbox.do(settle(resumed))
    assert mailbox.history() == ["hello", "re hello"]


@pytest.mark.parametrize("write", [record, settle], ids=["step", "commit"])
def test_a_worker_whose_turn_was_taken_over_writes_nothing(
    mailbox: Mailbox, write: Callable[[ClaimedTurn], Callable[[Connection], Any]]
) -> None:
    stale, next_one = mailbox.worker(), mailbox.worker()
    mailbox.send()
    claimed = mailbox.claim(stale)
    mailbox.kill(stale)
    resumed = mailbox.claim(next_one)
    mailbox.do(settle(resumed))

    with pytest.raises(LeaseLost):
        mailbox.do(write(claimed))

    assert mailbox.history() == ["hello", "re hello"]


# No wake-up is lost


def test_a_claim_that_waited_for_the_lock_sees_what_was_sent_while_it_waited(
    mailbox: Mailbox, connection: Connection
) -> None:
    """The holder has looked for more and found nothing; then it is sent, and then the holder lets go."""
    holder, hears = mailbox.worker(), mailbox.worker()
    mailbox.send("one")
    claimed = mailbox.claim(holder)

    settled = settle(claimed)(connection)
    hearing = mailbox.soon(claim(hears))
    mailbox.wait_until_blocked()
    second = mailbox.send("two")
    connection.commit()

    assert (settled.next_turn_id, settled.keeps_lease) == (None, False)
    found = hearing.result()
    assert isinstance(found, ClaimedTurn)
    assert found.id == second
    assert [m.content for m in found.window] == ["one", "re one", "two"]


def test_a_wake_up_that_comes_while_the_holder_goes_on_is_not_needed(mailbox: Mailbox, connection: Connection) -> None:
    holder, hears = mailbox.worker(), mailbox.worker()
    mailbox.send("one")
    claimed = mailbox.claim(holder)
    second = mailbox.send("two")

    settled = settle(claimed)(connection)
    hearing = mailbox.soon(claim(hears))
    mailbox.wait_until_blocked()
    connection.commit()

    assert hearing.result() == NothingDue()
    assert (settled.next_turn_id, settled.keeps_lease) == (second, True)
    assert mailbox.claim(holder, held=claimed.lease).id == second


def test_a_message_whose_transaction_commits_while_the_holder_lets_go_is_found(
    mailbox: Mailbox, connection: Connection
) -> None:
    holder, hears = mailbox.worker(), mailbox.worker()
    mailbox.send("one")
    claimed = mailbox.claim(holder)

    with mailbox.database.engine.connect() as sender:
        second = accept(sender, content="two")
        settled = settle(claimed)(connection)
        sender.commit()
        hearing = mailbox.soon(claim(hears))
        mailbox.wait_until_blocked()
        connection.commit()

    assert not settled.keeps_lease
    found = hearing.result()
    assert isinstance(found, ClaimedTurn)
    assert found.id == second


def test_sending_waits_for_no_claim_and_no_commit(mailbox: Mailbox, connection: Connection) -> None:
    holder = mailbox.worker()
    mailbox.send("one")

    claimed = claim(holder)(connection)
    during_claim = mailbox.soon(partial(accept, content="two")).result(timeout=PATIENCE)
    connection.commit()
    settle(claimed)(connection)
    during_commit = mailbox.soon(partial(accept, content="three")).result(timeout=PATIENCE)
    connection.commit()

    assert {mailbox.read(turn).state for turn in (during_claim, during_commit)} == {"queued"}


def test_an_open_send_on_a_thread_holds_up_no_turn_of_it(mailbox: Mailbox, connection: Connection) -> None:
    holder = mailbox.worker()
    mailbox.send("one")

    late = accept(connection, content="from a long transaction")
    claimed = mailbox.soon(claim(holder)).result(timeout=PATIENCE)
    mailbox.soon(record(claimed)).result(timeout=PATIENCE)
    mailbox.soon(settle(claimed)).result(timeout=PATIENCE)
    mailbox.soon(partial(cancel.request_cancel, turn_id=claimed.id)).result(timeout=PATIENCE)
    assert mailbox.soon(claim(holder)).result(timeout=PATIENCE) == NothingDue()
    connection.commit()

    assert mailbox.claim(holder).id == late


# Two at once


@contextmanager
def meanwhile(database: Database, words: str, operation: Callable[[Connection], object]) -> Iterator[None]:
    """Another transaction commits just before the first statement that has these words."""
    left = [operation]

    def commit_another(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if words in statement and left:
            database.run(left.pop())

    event.listen(database.engine, "before_cursor_execute", commit_another)
    try:
        yield
    finally:
        event.remove(database.engine, "before_cursor_execute", commit_another)
    assert not left


def test_a_send_that_its_limit_refuses_is_accepted_if_a_turn_ends_before_the_reason_is_read(
    plain_mailbox: Mailbox,
) -> None:
    """The limit is within bounds again by then: nothing is left to refuse it for."""
    plain_mailbox.worker()
    one = SendLimits(tenant_max_unfinished_turns=1)
    earlier = plain_mailbox.send(thread="earlier", limits=one)

    with meanwhile(plain_mailbox.database, "earlier_turn", partial(cancel.request_cancel, turn_id=earlier)):
        sent = plain_mailbox.send("one more", limits=one)

    assert plain_mailbox.read(sent).state == "queued"


def test_a_send_to_an_agent_that_registers_before_the_reason_is_read_is_accepted(plain_mailbox: Mailbox) -> None:
    register = partial(
        workers.register, worker=new_id(), host="here", pid=1, serves={"clerk": "1"}, lease_duration_seconds=60
    )

    with meanwhile(plain_mailbox.database, "earlier_turn", register):
        sent = plain_mailbox.send(agent="clerk")

    assert plain_mailbox.read(sent).state == "queued"


def test_a_send_on_a_thread_that_is_deleted_between_its_statements_makes_it_anew(plain_mailbox: Mailbox) -> None:
    plain_mailbox.worker()
    deleted = plain_mailbox.send("gone with its thread")
    delete = partial(delete_thread.delete_thread, tenant="default", thread_id="t")

    with meanwhile(plain_mailbox.database, "INTO inbox_messages", delete):
        sent = plain_mailbox.send("still here")

    assert plain_mailbox.read(sent).state == "queued"
    with pytest.raises(DatabaseRefused):
        plain_mailbox.read(deleted)


@pytest.mark.parametrize("is_new_thread", [False, True])
def test_a_send_that_waited_for_another_transactions_thread_goes_on(
    mailbox: Mailbox, connection: Connection, *, is_new_thread: bool
) -> None:
    """Deleted or inserted meanwhile, by a transaction that commits while the send waits for it."""
    if is_new_thread:
        accept(connection, "first")
    else:
        mailbox.send("gone with its thread")
        delete_thread.delete_thread(connection, tenant="default", thread_id="t")
    sending = mailbox.soon(partial(accept, content="still here"))
    mailbox.wait_until_blocked()

    connection.commit()

    assert mailbox.read(sending.result(timeout=PATIENCE)).state == "queued"


def test_of_claims_at_once_one_wins(mailbox: Mailbox) -> None:
    claimants = [mailbox.worker() for _ in range(6)]
    for number in range(15):
        mailbox.send(f"message {number}")
        start = threading.Barrier(len(claimants))

        def race(connection: Connection, claimant: ClaimRequest, start: threading.Barrier) -> Any:
            start.wait(10)
            return claim(claimant)(connection)

        racing = [mailbox.soon(partial(race, claimant=one, start=start)) for one in claimants]
        found = [future.result() for future in racing]

        (winner,) = [one for one in found if isinstance(one, ClaimedTurn)]
        mailbox.do(settle(winner))

    assert len(mailbox.history()) == 30
    assert [len(text.split()) for text in mailbox.history()] == [2, 3] * 15


def test_two_sweeps_at_once_notify_each_thread_once(mailbox: Mailbox, connection: Connection) -> None:
    for number in range(10):
        mailbox.send(thread=f"thread-{number}", mark_notified=False)

    first = due(connection, limit=4)
    second = mailbox.soon(due).result(timeout=PATIENCE)
    connection.commit()
    third = mailbox.do(due)

    assert sorted(first + second + third) == [f"thread-{number}" for number in range(10)]
    assert third == []


def test_a_sweep_notifies_again_only_after_the_grace(mailbox: Mailbox) -> None:
    mailbox.send(mark_notified=False)

    assert mailbox.do(due) == ["t"]
    assert mailbox.do(due) == []
    assert mailbox.do(partial(due, grace_seconds=0)) == ["t"]


def test_a_sweep_is_bounded_and_begins_with_the_oldest(mailbox: Mailbox) -> None:
    """One wake-up a thread, however many turns wait there."""
    for number in range(25):
        mailbox.send(thread=f"thread-{number:02}", mark_notified=False)
        mailbox.send(thread="thread-00", mark_notified=False)

    published = [mailbox.do(partial(due, limit=7)) for _ in range(5)]

    assert [len(wake_ups) for wake_ups in published] == [7, 7, 7, 4, 0]
    assert [thread for wake_ups in published for thread in wake_ups] == [f"thread-{n:02}" for n in range(25)]


def test_a_sweep_leaves_the_living_alone_and_notifies_for_the_dead(mailbox: Mailbox) -> None:
    living, dead = mailbox.worker(), mailbox.worker()
    for thread, claimant in (("living", living), ("dead", dead)):
        mailbox.send(thread=thread, mark_notified=False)
        mailbox.claim(claimant, thread)
        mailbox.send("behind", thread=thread, mark_notified=False)
    mailbox.send(thread="later", mark_notified=False, not_before=datetime.now(UTC) + timedelta(hours=1))
    retrying = mailbox.send(thread="retrying", mark_notified=False)
    claimed = mailbox.claim(living, "retrying")
    mailbox.do(settle(claimed, RetryLater(after=timedelta(hours=1), error=AWAY)))
    mailbox.kill(dead)

    assert mailbox.do(due) == ["dead"]
    mailbox.do(lambda c: c.execute(update(tables.turns).values(retry_at=None, not_before=None)))
    assert mailbox.do(due) == ["later", "retrying"]
    assert mailbox.read(retrying).state == "queued"


# The head, whoever comes late


def test_a_turn_that_has_begun_stays_the_head_though_an_earlier_one_commits_late(
    mailbox: Mailbox, connection: Connection
) -> None:
    """Else its user's message would be parted from its answer."""
    dead, next_one = mailbox.worker(), mailbox.worker()
    mailbox.send("zero")
    mailbox.do(settle(mailbox.claim(dead)))
    accept(connection, content="early, committed late")
    begun = mailbox.send("begun")
    mailbox.claim(dead)
    connection.commit()
    mailbox.kill(dead)

    assert mailbox.do(partial(due, grace_seconds=0)) == ["t"]
    resumed = mailbox.claim(next_one)
    assert resumed.id == begun
    settled = mailbox.do(settle(resumed))
    following = mailbox.claim(next_one, held=resumed.lease)
    assert following.id == settled.next_turn_id
    mailbox.do(settle(following))
    assert mailbox.history()[2:] == ["begun", "re begun", "early, committed late", "re early, committed late"]


@pytest.mark.parametrize(
    "ending", [RetryLater(after=timedelta(hours=1), error=AWAY), HandOver()], ids=["retry", "hand back"]
)
def test_a_turn_that_is_queued_again_stays_the_head_though_an_earlier_one_comes_due(
    mailbox: Mailbox, ending: Any
) -> None:
    claimant = mailbox.worker()
    mailbox.send("for later", mark_notified=False, not_before=datetime.now(UTC) + timedelta(hours=1))
    begun = mailbox.send("begun")
    settled = mailbox.do(settle(mailbox.claim(claimant), ending))
    mailbox.do(lambda c: c.execute(update(tables.turns).values(not_before=None)))

    assert (settled.next_turn_id, settled.keeps_lease) == (None, False)
    if isinstance(ending, RetryLater):
        assert mailbox.do(claim(claimant)) == NothingDue()
        assert mailbox.do(due) == []
        mailbox.do(lambda c: c.execute(update(tables.turns).values(retry_at=None)))
    assert mailbox.do(due) == ["t"]
    resumed = mailbox.claim(claimant)
    assert resumed.id == begun


def test_a_resumed_turn_keeps_the_summary_and_context_that_it_began_with(mailbox: Mailbox) -> None:
    """Here: none, though both came while it was away."""
    dead, next_one = mailbox.worker(), mailbox.worker()
    mailbox.send("one")
    key = mailbox.claim(dead).lease.thread_key
    summary = {"id": new_id(), "thread_key": key, "from_seq": 1, "to_seq": 1, "content": "a summary"}
    said = {"thread_key": key, "key": "k", "content": "a context", "updated_at": datetime.now(UTC)}

    def write(connection: Connection) -> None:
        connection.execute(tables.summaries.insert().values(**summary, model="m", created_at=datetime.now(UTC)))
        connection.execute(tables.thread_context.insert().values(**said))
        connection.execute(update(tables.threads).values(summary_id=summary["id"], context_version=1))

    mailbox.do(write)
    mailbox.kill(dead)

    resumed = mailbox.claim(next_one)

    assert [m.content for m in resumed.window] == ["one"]
    assert not any("a summary" in text for text in resumed.context)


# Cancelling


def test_a_cancel_that_waits_for_the_commit_finds_the_turn_over(mailbox: Mailbox, connection: Connection) -> None:
    claimant = mailbox.worker()
    turn = mailbox.send()
    claimed = mailbox.claim(claimant)

    settle(claimed)(connection)
    cancelling = mailbox.soon(partial(cancel.request_cancel, turn_id=turn))
    mailbox.wait_until_blocked()
    connection.commit()

    assert cancelling.result() is TurnState.COMPLETED


def test_a_commit_that_waits_for_a_cancel_is_cancelled_with_what_was_said(
    mailbox: Mailbox, connection: Connection
) -> None:
    claimant = mailbox.worker()
    turn = mailbox.send()
    claimed = mailbox.claim(claimant)

    assert cancel.request_cancel(connection, turn) is TurnState.RUNNING
    committing = mailbox.soon(settle(claimed))
    mailbox.wait_until_blocked()
    connection.commit()
    committing.result()

    assert mailbox.read(turn).state == "cancelled"
    assert mailbox.history() == ["hello", "re hello"]


def test_a_cancelled_turn_is_not_put_off(mailbox: Mailbox) -> None:
    """Else it would block its thread until its model's time has come."""
    claimant = mailbox.worker()
    turn = mailbox.send()
    claimed = mailbox.claim(claimant)
    mailbox.do(partial(cancel.request_cancel, turn_id=turn))

    mailbox.do(settle(claimed, RetryLater(after=timedelta(hours=1), error=AWAY)))

    assert mailbox.do(due) == ["t"]
    refused = mailbox.do(claim(claimant))
    assert isinstance(refused, RefusedTurn)
    assert isinstance(refused.ending, Cancelled)


# Everything at once


class Traffic:
    """Senders, workers, cancellers and sweeps on three threads, in random order, for so many messages."""

    def __init__(self, mailbox: Mailbox, *, messages: int) -> None:
        self.mailbox = mailbox
        self.messages = messages
        self.sent: list[str] = []

    def lasts(self) -> bool:
        return len(self.sent) < self.messages

    def send(self, random: Random) -> None:
        while self.lasts():
            self.sent.append(self.mailbox.send(thread=f"thread-{random.randrange(3)}"))
            time.sleep(0.02)

    def work(self, random: Random) -> None:
        claimant = self.mailbox.worker()
        while self.lasts():
            claimed = self.mailbox.do(claim(claimant, f"thread-{random.randrange(3)}"))
            while isinstance(claimed, ClaimedTurn):
                self.mailbox.do(record(claimed))
                settled = self.mailbox.do(settle(claimed, release=random.random() < 0.3))
                goes_on = claim(claimant, claimed.thread_id, claimed.lease)
                claimed = self.mailbox.do(goes_on) if settled.keeps_lease else None

    def disturb(self, random: Random) -> None:
        while self.lasts():
            if self.sent:
                turn = random.choice(self.sent[-20:])
                self.mailbox.do(partial(cancel.request_cancel, turn_id=turn))
            self.mailbox.do(partial(due, grace_seconds=0))


def test_nothing_deadlocks_when_everybody_works_on_the_same_threads(mailbox: Mailbox) -> None:
    traffic = Traffic(mailbox, messages=150)
    kinds = (traffic.send, traffic.work, traffic.disturb)
    for future in [mailbox.pool.submit(kind, Random(seed)) for seed in range(3) for kind in kinds]:
        future.result()

    assert mailbox.deadlocks() == 0
    claimant = mailbox.worker()
    for thread in ("thread-0", "thread-1", "thread-2"):
        while isinstance(claimed := mailbox.do(claim(claimant, thread)), ClaimedTurn):
            mailbox.do(settle(claimed, release=True))
    states = mailbox.do(lambda c: c.execute(select(tables.turns.c.state).distinct()).scalars().all())
    assert set(states) <= {"completed", "cancelled"}
    said = select(tables.messages).order_by(tables.messages.c.thread_key, tables.messages.c.seq)
    rows = mailbox.do(lambda c: c.execute(said).all())
    for asked, answer in zip(rows[::2], rows[1::2], strict=True):
        assert (asked.role, answer.role) == ("user", "assistant")
        assert asked.turn_id == answer.turn_id


# Decisions on what a turn waits for


def wait_for(calls: int = 2) -> Waiting:
    requests = [
        PendingRequest(call_id=f"c{place}", step_index=place + 1, kind=PendingKind.APPROVAL, name="refund")
        for place in range(calls)
    ]
    return Waiting(pending=tuple(requests))


def decide(turn_id: str, call_id: str, decision: Decision | None = None) -> Callable[[Connection], Any]:
    decision = decision or Decision.approve()
    return partial(decisions.decide, turn_id=turn_id, call_id=call_id, decision=decision, by="ada")


def test_two_last_decisions_at_once_queue_the_turn_once(mailbox: Mailbox, connection: Connection) -> None:
    turn_id = mailbox.send()
    mailbox.do(settle(mailbox.claim(mailbox.worker()), wait_for(2)))

    first = decide(turn_id, "c0")(connection)
    second = mailbox.soon(decide(turn_id, "c1"))
    mailbox.wait_until_blocked()
    connection.commit()

    assert [first.wake_up is None, second.result().wake_up is None] == [True, False]
    assert mailbox.read(turn_id).state == "queued"


def test_of_two_decisions_on_one_call_the_first_counts(mailbox: Mailbox, connection: Connection) -> None:
    turn_id = mailbox.send()
    mailbox.do(settle(mailbox.claim(mailbox.worker()), wait_for(1)))

    decide(turn_id, "c0")(connection)
    denial = mailbox.soon(decide(turn_id, "c0", Decision.deny()))
    mailbox.wait_until_blocked()
    connection.commit()

    with pytest.raises(AlreadyDecided):
        denial.result()


@pytest.mark.parametrize("is_first", [True, False], ids=["decision first", "cancel first"])
def test_a_decision_beside_a_cancel(mailbox: Mailbox, connection: Connection, is_first: bool) -> None:
    turn_id = mailbox.send()
    mailbox.do(settle(mailbox.claim(mailbox.worker()), wait_for(1)))
    operations = [decide(turn_id, "c0"), partial(cancel.request_cancel, turn_id=turn_id)]
    earlier, later = operations if is_first else reversed(operations)

    earlier(connection)
    outcome = mailbox.soon(later)
    mailbox.wait_until_blocked()
    connection.commit()

    if is_first:
        outcome.result()
    else:
        with pytest.raises(AlreadyDecided):
            outcome.result()
    # Either way the next claim ends it.
    refused = mailbox.do(claim(mailbox.worker()))
    assert isinstance(refused, RefusedTurn)
    assert isinstance(refused.ending, Cancelled)


def test_a_claim_that_waited_for_the_last_decision_runs_the_turn(mailbox: Mailbox, connection: Connection) -> None:
    turn_id = mailbox.send()
    mailbox.do(settle(mailbox.claim(mailbox.worker()), wait_for(1)))

    decide(turn_id, "c0")(connection)
    claiming = mailbox.soon(claim(mailbox.worker()))
    mailbox.wait_until_blocked()
    connection.commit()

    claimed = claiming.result()
    assert isinstance(claimed, ClaimedTurn)
    assert claimed.id == turn_id


def test_a_decision_that_waited_for_a_claim_that_ends_the_turn_comes_too_late(
    mailbox: Mailbox, connection: Connection
) -> None:
    turn_id = mailbox.send()
    mailbox.do(settle(mailbox.claim(mailbox.worker()), wait_for(1)))
    past = update(tables.turns).values(wait_expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    mailbox.do(lambda c: c.execute(past))

    refused = claim(mailbox.worker())(connection)
    assert isinstance(refused, RefusedTurn)
    deciding = mailbox.soon(decide(turn_id, "c0"))
    mailbox.wait_until_blocked()
    connection.commit()

    with pytest.raises(AlreadyDecided):
        deciding.result()
