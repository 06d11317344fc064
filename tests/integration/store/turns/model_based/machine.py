"""The machine: producers, workers and time do what they like, and the store must come to what the model says.

What stays true: whatever happens, happens to both; after each event both hold the same. Between any
two operations a process may die or stand still: it has died when nothing lets it act any more, and
one that stood still acts on with whatever lease it believes in. Within an operation it may die
before its commit, or after it with nobody told; or another one runs between its statements.
"""

import copy
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, ClassVar, assert_never

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import Connection

from tests.integration.store.turns.model_based import choices, picture
from tests.integration.store.turns.model_based.events import (
    ClosesSend,
    Dies,
    Event,
    Fate,
    OpensSend,
    Race,
    Runs,
    Starts,
    TimePasses,
)
from tests.integration.store.turns.model_based.operations import (
    THREADS,
    Beat,
    Claim,
    HeldBy,
    LetGo,
    Operation,
    Register,
    Send,
    Settle,
    Sweep,
    outcome,
)
from tests.integration.store.turns.model_based.orders import explain
from tests.integration.store.turns.model_based.reference import FORGET, LEASE, Mailbox
from tests.integration.store.turns.model_based.stage import Stage
from tests.integration.store.turns.model_based.tally import Tally
from tests.integration.store.turns.model_based.values import Ask, Claimed, End, Process

#: Rounds in which everything must have ended once everybody is well again.
DRAIN_ROUNDS = 60


@dataclass
class OpenSend:
    """A producer's own long transaction, with a message of ours in it."""

    send: Send
    connection: Connection
    position: int
    accepted_at: int
    #: What there was when it was sent.
    seen: Mailbox


class Machine(RuleBasedStateMachine):
    """Set `stage` before it runs."""

    stage: ClassVar[Stage]
    tally: ClassVar[Tally] = Tally()

    def __init__(self) -> None:
        super().__init__()
        self.stage.clear()
        self.model = Mailbox()
        self.position = 0
        self.ids = 0
        self.living: list[Process] = []
        #: What processes that live believe to hold: the newest last, the stale ones with them.
        self.jobs: list[Claimed] = []
        #: Leases that were kept to go on with the thread.
        self.kept: list[Claimed] = []
        #: What heartbeats were told about their workers' threads.
        self.seen: list[LetGo] = []
        self.open_send: OpenSend | None = None
        self._fences: dict[int, int] = {}
        self._is_broken = False
        self._open = ExitStack()

    def new_id(self, kind: str) -> str:
        """The same ones in each run: `a…` a process, `b…` a turn, `c…` a reply."""
        self.ids += 1
        return f"{kind}0000000-0000-0000-0000-{self.ids:012}"

    @initialize(roles=st.permutations(choices.ROLES), is_busy=st.sampled_from([True, True, False]))
    def begin(self, roles: list[str], *, is_busy: bool) -> None:
        for role in roles:
            self._start(Starts(choices.process_of(role, self.new_id("a")), Fate.LIVES))
        if is_busy:
            ask = Ask(turn=self.new_id("b"), thread=THREADS[0], content="hello")
            self.do(Send(ask))
            self.do(Claim(next(one for one in self.living if not one.is_library), ask.thread))

    @rule(event=choices.events())
    def next(self, event: Event) -> None:
        self.tally.note_event(type(event).__name__)
        try:
            self._happen(event)
        except BaseException:
            # What was found once is told alone: no teardown goes on from there.
            self._is_broken = True
            raise

    def _happen(self, event: Event) -> None:
        match event:
            case Runs(operation, fate):
                self.do(operation, fate)
            case Race():
                self._race(event)
            case TimePasses():
                self._pass_time(event)
            case Starts():
                self._start(event)
            case Dies():
                self._die(event)
            case OpensSend(send):
                self._open_send(send)
            case ClosesSend(commits):
                self._close_send(commits=commits)
            case _:
                assert_never(event)

    # Doing it to both

    def do(self, operation: Operation, fate: Fate = Fate.LIVES) -> Any:
        """What its caller is told; None for one that is dead, or not told."""
        self.position += 1
        if fate is Fate.DIES_BEFORE:
            never_was = copy.deepcopy(self.model)
            self._same(operation, self.stage.run(operation, commits=False), self._imagined(never_was, operation))
            return None
        told = self._same(operation, self.stage.run(operation), self._imagined(self.model, operation))
        if fate is Fate.TRIES_AGAIN:
            told = self._same(operation, self.stage.run(operation), self._imagined(self.model, operation))
        if fate is Fate.DIES_AFTER:
            return None
        self._remember(operation, told)
        return told

    def _imagined(self, mailbox: Mailbox, operation: Operation, position: int | None = None) -> Any:
        return outcome(lambda: operation.on_model(mailbox, position or self.position))

    def _same(self, operation: Operation, told: Any, imagined: Any) -> Any:
        self._check(told == imagined, f"the store says {told}, the model {imagined}")
        self.tally.note(operation, told)
        return told

    def _check(self, holds: bool, why: str) -> None:
        self._is_broken |= not holds
        assert holds, why

    def _remember(self, operation: Operation, told: Any) -> None:
        match operation, told:
            case Claim(), Claimed():
                row = self.model.threads.get(told.thread)
                self.jobs.append(replace(told, number=row.number if row else -1))
            case Settle(job=job), (_, True):
                self.kept.append(job)
            case HeldBy(worker=worker), set():
                for thread, fence, turn, _ in sorted(told, key=lambda held: held[0]):
                    self.seen.append(LetGo(worker, thread, fence, turn))
            case Beat(worker=worker), False:
                self.do(Register(next(one for one in self.living if one.id == worker)))

    # Processes and time

    def _start(self, event: Starts) -> None:
        self.do(Register(event.process), event.fate)
        if event.fate is Fate.LIVES:
            self.living.append(event.process)

    def _die(self, event: Dies) -> None:
        dead = event.process.id
        self.living.remove(event.process)
        self.jobs = [job for job in self.jobs if job.worker != dead]
        self.kept = [job for job in self.kept if job.worker != dead]
        self.seen = [let_go for let_go in self.seen if let_go.worker != dead]
        if event.lapses:
            self._pass_time(TimePasses(LEASE, beating=True))

    def _pass_time(self, event: TimePasses) -> None:
        self._move_clock(event.seconds)
        for process in self.living if event.beating else ():
            self.do(Beat(process.id))

    def _move_clock(self, seconds: int) -> None:
        self.model.now += seconds
        self.stage.set_clock(self.model.now)

    # A producer's long transaction

    def _open_send(self, send: Send) -> None:
        connection = self._open.enter_context(self.stage.open_transaction())
        self.position += 1
        seen = copy.deepcopy(self.model)
        self._same(send, send.on_store(connection), self._imagined(copy.deepcopy(seen), send))
        self.open_send = OpenSend(send, connection, self.position, self.model.now, seen)

    def _close_send(self, *, commits: bool) -> None:
        sent, self.open_send = self.open_send, None
        assert sent is not None
        if not commits:
            sent.connection.rollback()
            return
        sent.connection.commit()
        now, self.model.now = self.model.now, sent.accepted_at
        sent.send.on_model(self.model, sent.position, sent.seen)
        self.model.now = now

    # Two at once

    def _race(self, race: Race) -> None:
        """They ran in some order, whichever; or the first one never did."""
        raced = self.stage.race(race.first, race.second, after=race.after, commits=race.commits)
        stored = self.stage.picture()
        found = explain(self.model, race, raced, stored, self.position + 1)
        self.position += 2
        self._check(found is not None, f"no order explains {raced} of {race}; stored is {stored}")
        assert found is not None
        self.model, order = found
        note(f"# in this order: {[(type(operation).__name__, told) for operation, told in order]}")
        for operation, told in order:
            self.tally.note(operation, told)
            self._remember(operation, told)

    # What must hold

    @invariant()
    def both_hold_the_same(self) -> None:
        stored, imagined = self.stage.picture(), picture.of_model(self.model)
        for name, rows in imagined.items():
            self._check(stored[name] == rows, f"{name}: the store holds {stored[name]}, the model {rows}")
        picture.check_by_itself(stored)
        for name, row in self.model.threads.items():
            self._check(row.fence >= self._fences.get(row.number, 0), f"a fencing token of {name} fell")
            self._fences[row.number] = row.fence

    def teardown(self) -> None:
        """Everybody dies; one healthy worker and one for quarantine are left. Then every turn must end."""
        try:
            if not self._is_broken:
                self._drain()
            self.tally.note_end(self.model)
        finally:
            self._open.close()

    def _drain(self) -> None:
        if self.open_send is not None:
            self._close_send(commits=True)
        self._move_clock(FORGET + LEASE + 1)
        healers = choices.healers(self.new_id("a"), self.new_id("a"))
        for healer in healers.values():
            self.do(Register(healer))
        for _ in range(DRAIN_ROUNDS):
            if not self.model.unfinished():
                break
            self._move_clock(LEASE - 1)
            for healer in healers.values():
                self.do(Beat(healer.id))
            for thread, _, queue in self.do(Sweep()):
                self._answer(healers[queue], thread)
        assert not self.model.unfinished(), "a turn never ends"
        held = [thread for thread in self.model.threads.values() if self.model.is_alive(thread.owner)]
        assert not held, "a lease is left"
        self.both_hold_the_same()

    def _answer(self, healer: Process, thread: str) -> None:
        """As a worker does: turn after turn, ended as what it was told asks for."""
        job = self.do(Claim(healer, thread))
        while isinstance(job, Claimed):
            read = self.model.turns[job.turn].read
            end = End(kind="completed", replies=(f"{self.new_id('c')}.answer",), read=read)
            if job.cancel or job.refused:
                end = End(kind="failed" if job.refused else "cancelled", error=job.refused, read=read)
            _, keeps = self.do(Settle(job, end, release=False))
            job = self.do(Claim(healer, thread, job.fence)) if keeps else None
