"""Every verb of the store, said twice: as the real function on PostgreSQL, and as the model's.

What stays true: an operation is a value, with its ids in it: it may run again, and then means the
same. Both sides answer with the same plain values, a refusal as the name of its error.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection

from conversation.errors import ThreadmillError
from conversation.step import message_of
from conversation.turn import ClaimedTurn, Lease, RefusedTurn
from conversation.when_busy import WhenBusy
from store.turns import cancel, claims, inbox, journal, steering, sweep, workers
from store.turns import requeue as requeues
from store.turns import settle as turns
from store.turns.children import Kin
from store.turns.claims import ClaimRequest, Quarantined
from store.turns.send_request import SendLimits, SendRequest
from tests.integration.store.turns.model_based import children, policies
from tests.integration.store.turns.model_based.conversions import (
    asked,
    ending,
    key_of,
    lease,
    moment,
    said,
    step,
    told,
    told_refused,
)
from tests.integration.store.turns.model_based.policies import MERGE_MAX, OF_AGENTS
from tests.integration.store.turns.model_based.reference import GRACE, LEASE, Mailbox
from tests.integration.store.turns.model_based.values import Ask, Claimed, End, Process, Request

TENANT = "default"
THREADS = ("x", "y")


class Operation(Protocol):
    """One transaction."""

    def on_store(self, connection: Connection) -> Any:
        """What the caller is told."""
        ...

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        """The same; a turn that it makes gets this position."""
        ...


def outcome(tried: Callable[[], Any]) -> Any:
    """What came of it; a refusal by its name."""
    try:
        return tried()
    except ThreadmillError as error:
        return type(error).__name__


def request_of(ask: Ask) -> SendRequest:
    return SendRequest(
        turn_id=ask.turn,
        tenant=TENANT,
        thread_id=ask.thread,
        message=None if ask.content is None else said("user", f"{ask.turn}.asked", ask.content),
        agent=ask.agent,
        allow_unknown_agent=ask.allow_unknown,
        idempotency_key=ask.key,
        priority=ask.priority,
        not_before=moment(ask.not_before),
        deadline=moment(ask.deadline),
        local_process_id=ask.runner,
        when_busy=None if ask.when_busy is None else WhenBusy(ask.when_busy),
        merge_window_seconds=ask.merge_window,
        user=ask.user,
    )


@dataclass(frozen=True)
class Send:
    ask: Ask

    def on_store(self, connection: Connection) -> Any:
        limits = SendLimits(tenant_max_unfinished_turns=self.ask.limit)
        accepted = inbox.accept(connection, request_of(self.ask), limits, mark_notified=self.ask.notifies)
        return accepted.turn_id, accepted.is_new

    def on_model(self, mailbox: Mailbox, position: int, seen: Mailbox | None = None) -> Any:
        return mailbox.accept(self.ask, position, seen)


@dataclass(frozen=True)
class Cancel:
    turn: str

    def on_store(self, connection: Connection) -> Any:
        return cancel.request_cancel(connection, self.turn).value

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        return mailbox.cancel(self.turn)


@dataclass(frozen=True)
class Requeue:
    turn: str
    new_turn: str

    def on_store(self, connection: Connection) -> Any:
        again = requeues.requeue(
            connection, self.turn, new_turn_id=self.new_turn, new_message_id=f"{self.new_turn}.asked"
        )
        return again.turn_id, again.is_new

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        return mailbox.requeue(self.turn, self.new_turn, position)


@dataclass(frozen=True)
class Register:
    process: Process

    def on_store(self, connection: Connection) -> Any:
        workers.register(
            connection,
            self.process.id,
            host="here",
            pid=1,
            serves=dict.fromkeys(self.process.agents, "1"),
            lease_duration_seconds=LEASE,
            when_busy=OF_AGENTS,
        )

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        mailbox.register(self.process)


@dataclass(frozen=True)
class Beat:
    worker: str

    def on_store(self, connection: Connection) -> Any:
        return workers.beat(connection, self.worker, lease_duration_seconds=LEASE).is_known

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        return mailbox.beat(self.worker)


@dataclass(frozen=True)
class TakeBackCrashes:
    worker: str

    def on_store(self, connection: Connection) -> Any:
        return workers.undo_crashes(connection, self.worker)

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        return mailbox.take_back_crashes(self.worker)


@dataclass(frozen=True)
class Leave:
    worker: str

    def on_store(self, connection: Connection) -> Any:
        workers.unregister(connection, self.worker)

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        mailbox.leave(self.worker)


@dataclass(frozen=True)
class ForgetDead:
    def on_store(self, connection: Connection) -> Any:
        return workers.forget_dead(connection)

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        return mailbox.forget_dead()


@dataclass(frozen=True)
class HeldBy:
    worker: str
    #: Those that it kept between two turns, among others.
    idle: tuple[str, ...] = THREADS

    def on_store(self, connection: Connection) -> Any:
        idle = [(TENANT, thread) for thread in self.idle]
        held = workers.list_held_threads(connection, self.worker, idle_threads=idle)
        return {(one.thread_id, one.fencing_token, one.turn_id, one.cancel_requested) for one in held}

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        return mailbox.held_by(self.worker, self.idle)


@dataclass(frozen=True)
class LetGo:
    worker: str
    thread: str
    fence: int
    turn: str | None

    def on_store(self, connection: Connection) -> Any:
        key = key_of(connection, self.thread)
        held = workers.HeldThread(TENANT, self.thread, key, self.fence, self.turn, cancel_requested=False)
        return workers.release(connection, self.worker, held)

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        return mailbox.let_go(self.worker, self.thread, self.fence, self.turn)


@dataclass(frozen=True)
class Claim:
    who: Process
    thread: str
    #: The token of the lease that it goes on with.
    held: int | None = None

    def on_store(self, connection: Connection) -> Any:
        claimant = ClaimRequest(
            worker=self.who.id,
            local_process_id=self.who.runner,
            runs_quarantine=self.who.runs_quarantine,
            agents=dict.fromkeys(self.who.agents, "1"),
            tenant_max_running=self.who.max_running,
            merge_max=MERGE_MAX,
        )
        held = None
        if self.held is not None:
            held = Lease(thread_key=key_of(connection, self.thread), worker=self.who.id, fencing_token=self.held)
        found = claims.claim(connection, TENANT, self.thread, claimant, held=held)
        if isinstance(found, ClaimedTurn):
            return told(found)
        if isinstance(found, RefusedTurn):
            return told_refused(found)
        return f"suspect {found.turn_id}" if isinstance(found, Quarantined) else "nothing"

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        return mailbox.claim(self.who, self.thread, self.held)


@dataclass(frozen=True)
class Record:
    job: Claimed
    entries: tuple[tuple[int, str], ...]
    #: What the turn leaves to be decided while it goes on.
    requests: tuple[Request, ...] = ()

    def on_store(self, connection: Connection) -> Any:
        entries = [step(index, state) for index, state in self.entries]
        held, pending = lease(self.job), [asked(request) for request in self.requests]
        return journal.record(connection, held, self.job.turn, entries, pending)

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        return mailbox.record(self.job, self.entries, self.requests)


@dataclass(frozen=True)
class Take:
    """Read, at this place of the journal, what was sent to the turn meanwhile."""

    job: Claimed
    index: int

    def on_store(self, connection: Connection) -> Any:
        held = lease(self.job)
        steps = steering.take(connection, held, self.job.turn, self.index, limit=MERGE_MAX)
        return tuple((one.index, one.name, message_of(one).content) for one in steps)

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        return policies.take(mailbox, self.job, self.index)


def _kin(job: Claimed, end: End) -> Kin | None:
    """Whom an end concerns, as `Kin.of` says of what was claimed."""
    parent = job.parent if end.is_final else None
    has_children = end.is_final and job.may_have_children
    begins_some = any(request.child is not None for request in end.requests)
    return Kin(TENANT, parent, has_children) if parent or has_children or begins_some else None


@dataclass(frozen=True)
class Settle:
    job: Claimed
    end: End
    release: bool

    def on_store(self, connection: Connection) -> Any:
        held, whole, kin = lease(self.job), ending(self.end), _kin(self.job, self.end)
        settled = turns.settle(connection, held, self.job.turn, whole, release=self.release, kin=kin)
        return settled.next_turn_id, settled.keeps_lease

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        told = mailbox.settle(self.job, self.end, release=self.release)
        children.after_settle(mailbox, self.job, self.end, position)
        return told


@dataclass(frozen=True)
class Sweep:
    limit: int = 500
    max_running: int = 0

    def on_store(self, connection: Connection) -> Any:
        wake_ups = sweep.pick_wake_ups(
            connection, grace_seconds=GRACE, limit=self.limit, tenant_max_running=self.max_running
        )
        return [(wake_up.thread_id, wake_up.turn_id, wake_up.queue) for wake_up in wake_ups]

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        return mailbox.sweep(self.limit, self.max_running)
