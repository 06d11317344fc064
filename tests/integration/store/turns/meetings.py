"""A message that comes between the statements of whatever else happens on its thread, and the other way round.

What stays true: which statements there are is found by running them, so that a new one is held up as well; whichever
comes first, what holds in the end is the same for all (`check_whole`).
"""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, event, select, text

from conversation.errors import AlreadyDecided, ThreadBusy
from conversation.pending_call import Decision, PendingKind, PendingRequest
from conversation.step import Step
from conversation.turn import FINAL_STATES, ClaimedTurn, RefusedTurn, TurnState, Waiting
from conversation.when_busy import WhenBusy
from store.database.engine import Database
from store.tables import messages, pending_calls, threads, turns
from store.turns import claims, decisions, journal, sweep
from store.turns import settle as settling
from store.turns.pending_calls import load_open
from tests.integration.store.turns.busy_scene import BusyScene

Operation = Callable[[Connection], Any]

#: Seconds until who neither ends nor waits for a lock is held to hang.
PATIENCE = 30
#: Rounds of a sweep and the turns that it finds, in which everything must have ended.
ROUNDS = 8


@dataclass
class Meeting(BusyScene):
    """A thread with a first message of a policy; a second one of the same comes whenever `send_second` is called."""

    database: Database
    policy: WhenBusy
    sent: list[str] = field(default_factory=list)
    refusals: list[ThreadBusy] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.database)
        self.sent.append(self.send("one", self.policy))

    @property
    def first(self) -> str:
        return self.sent[0]

    def send_second(self) -> None:
        self.note_second(lambda: self.send("two", self.policy))

    def note_second(self, send: Callable[[], str]) -> None:
        try:
            self.sent.append(send())
        except ThreadBusy as refusal:
            self.refusals.append(refusal)

    # Where the first turn stands

    def claim_operation(self) -> Operation:
        return partial(claims.claim, tenant="default", thread_id=self.thread, claimant=self.claimant)

    def settle_operation(self, claimed: ClaimedTurn, ending: Any) -> Operation:
        return partial(settling.settle, lease=claimed.lease, turn_id=claimed.id, ending=ending, release=True)

    def record_operation(self, claimed: ClaimedTurn, *entries: Step) -> Operation:
        return partial(journal.record, lease=claimed.lease, turn_id=claimed.id, entries=entries)

    def wait(self) -> ClaimedTurn:
        """Have the first turn wait for an approval."""
        claimed = self.claim_turn()
        self.settle(claimed, WAITING)
        return claimed

    def decide_operation(self) -> Operation:
        return partial(decisions.decide, turn_id=self.first, call_id="c", decision=Decision.approve(), by="ada")

    def kill_worker(self) -> None:
        """The worker dies, and another one is there."""
        with self.database.engine.begin() as connection:
            connection.exec_driver_sql(f"DELETE FROM workers WHERE id = '{self.worker}'")
        self.worker = BusyScene(self.database).worker

    # To the end

    def go_on(self) -> None:
        """Whoever runs the first turn goes on with it, where it runs: reads what it is told, and ends it."""
        row = self.read(self.first)
        claimed = self.claimed_turns.get(row.attempt)
        if row.state is TurnState.RUNNING and claimed is not None:
            at_end = 1 + max(self.database.run(journal.load, self.first), default=-1)
            self.take(claimed, at_end)
            self.settle(claimed, self.ending(claimed))

    @property
    def claimed_turns(self) -> dict[int, ClaimedTurn]:
        return self.__dict__.setdefault("_claimed_turns", {})

    def claim_turn(self) -> ClaimedTurn:
        claimed = super().claim_turn()
        self.claimed_turns[claimed.attempt] = claimed
        return claimed

    def run_swept(self) -> None:
        """Run what sweeps find, and decide what nobody else does, until nothing is left."""
        for _ in range(ROUNDS):
            if not (unfinished := self.unfinished()):
                return
            wake_ups = self.database.run(sweep.pick_wake_ups, grace_seconds=0, limit=500)
            if self.thread in {each.thread_id for each in wake_ups}:
                self.run_all()
                continue
            for turn_id in unfinished:
                for call in self.database.run(load_open, turn_id=turn_id):
                    self.database.run(self.decide_operation(), call_id=call.call_id)
        raise AssertionError("something waits for ever")

    def unfinished(self) -> list[str]:
        of_thread = select(turns.c.id).join(threads).where(threads.c.id == self.thread)
        is_over = turns.c.state.in_(sorted(FINAL_STATES))
        return self.database.run(lambda c: list(c.execute(of_thread.where(~is_over)).scalars()))


WAITING = Waiting(pending=(PendingRequest(call_id="c", step_index=0, kind=PendingKind.APPROVAL, name="refund"),))


def finish(meeting: Meeting, operation: Operation, run: Callable[[Operation], Any]) -> None:
    """Run the operation this way; then everybody goes on to the end."""
    try:
        outcome = run(operation)
    except AlreadyDecided:
        # The message has ended the wait, or is about to.
        outcome = None
    if isinstance(outcome, RefusedTurn):
        meeting.settle(outcome, outcome.ending)
    elif isinstance(outcome, ClaimedTurn):
        meeting.claimed_turns[outcome.attempt] = outcome
        meeting.end(outcome)
    else:
        meeting.go_on()
    meeting.run_swept()


#: Brings the first turn where the operation is due, and returns that.
Prepare = Callable[[Meeting], Operation]


# Who is held up


def hold_operation(database: Database, policy: WhenBusy, prepare: Prepare, after: int) -> int:
    """The message comes after so many statements of the operation; returns how many these were."""
    meeting = Meeting(database, policy)
    operation = prepare(meeting)
    between = Between(database, after, meeting.send_second)
    finish(meeting, operation, between.run)
    check_whole(meeting)
    return between.count


def hold_send(database: Database, policy: WhenBusy, prepare: Prepare, after: int) -> int:
    """The operation comes after so many statements of the message's sender; returns how many these were."""
    meeting = Meeting(database, policy)
    operation = prepare(meeting)
    outcomes: list[Any] = []

    def act() -> None:
        try:
            outcomes.append(database.run(operation))
        except AlreadyDecided:
            outcomes.append(None)

    between = Between(database, after, act)
    accept = partial(meeting.accept, content="two", when_busy=policy)
    meeting.note_second(lambda: between.run(accept))
    finish(meeting, operation, lambda _: outcomes[0])
    check_whole(meeting)
    return between.count


def hold_at_lock(database: Database, policy: WhenBusy, prepare: Prepare) -> None:
    """The message comes while the operation waits for the lock of the thread's row, where it does."""
    meeting = Meeting(database, policy)
    operation = prepare(meeting)
    lock = select(threads.c.key).where(threads.c.id == meeting.thread).with_for_update(key_share=True)

    def run(operation: Operation) -> Any:
        with ThreadPoolExecutor(1) as pool:
            with database.engine.begin() as connection:
                connection.execute(lock)
                running = pool.submit(database.run, operation)
                wait_until_blocked(connection, running)
                meeting.send_second()
            return running.result(PATIENCE)

    finish(meeting, operation, run)
    check_whole(meeting)


def wait_until_blocked(connection: Connection, running: "Future[Any]") -> None:
    """Until somebody waits for a lock of this transaction, or it has ended."""
    # Of `pg_stat_activity`, a transaction sees who was connected when it looked first.
    is_blocking = text(
        "SELECT exists(SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid)))"
    )
    for _ in range(PATIENCE * 200):
        if running.done() or connection.execute(is_blocking).scalar_one():
            return
        # A moment at the server: no longer than it takes.
        connection.execute(text("SELECT pg_sleep(0.005)"))
    raise AssertionError("it neither ends nor waits")


class Between:
    """Runs something after so many statements of an operation, in a transaction of its own, and only once."""

    def __init__(self, database: Database, after: int, action: Callable[[], object]) -> None:
        self.database, self.after, self.action = database, after, action
        self.count, self.is_acting, self.has_acted = 0, False, False

    def run(self, operation: Operation) -> Any:
        with self._listen():
            outcome = self.database.run(operation)
        if not self.has_acted:
            self.action()
        return outcome

    @contextmanager
    def _listen(self) -> Iterator[None]:
        event.listen(self.database.engine, "after_cursor_execute", self._count)
        try:
            yield
        finally:
            event.remove(self.database.engine, "after_cursor_execute", self._count)

    def _count(self, *_: object) -> None:
        if self.is_acting:
            return
        self.count += 1
        if self.count == self.after:
            self.is_acting = self.has_acted = True
            self.action()
            self.is_acting = False


# What must hold


def check_whole(meeting: Meeting) -> None:
    """Nothing is lost, answered twice or out of order; each sender's handle resolves; nothing is held or left open."""
    rows = _read_rows(meeting)
    assert len(meeting.sent) + len(meeting.refusals) == 2
    assert all(refusal.turn_id in rows["turns"] for refusal in meeting.refusals), "it was refused for no turn"
    for turn_id, content in zip(meeting.sent, ("one", "two"), strict=False):
        _check_handle(meeting, turn_id, content, rows)
    asked = [message for message in rows["messages"] if message.role == "user"]
    in_order = list(dict.fromkeys(message.content for message in asked))
    assert in_order == [text for text in ("one", "two") if text in in_order]
    blocks = [turn_id for turn_id, _ in groupby(_answering(rows, message.turn_id) for message in rows["messages"])]
    assert len(blocks) == len(set(blocks)), "a message stands apart from its answer, or has two"
    for turn_id, row in rows["turns"].items():
        answers = [m for m in rows["messages"] if m.turn_id == turn_id and m.content.startswith("to ")]
        expected = {"completed": (1,), "cancelled": (0, 1)}.get(row.state, (0,))
        assert len(answers) in expected, f"{row.state} with {len(answers)} answers"
    assert rows["lease_owner"] is None, "a lease is left"
    assert rows["open_calls"] == 0, "somebody is still asked to decide"


def _answering(rows: dict[str, Any], turn_id: str) -> str:
    """The turn that answers the message of this one."""
    answering: str = rows["turns"][turn_id].merged_into or turn_id
    return answering


def _check_handle(meeting: Meeting, turn_id: str, content: str, rows: dict[str, Any]) -> None:
    record, result = meeting.read(turn_id), meeting.result(turn_id)
    assert result.state.is_final
    assert result.state is not TurnState.MERGED
    texts = Counter(meeting.stored())
    # Requeued behind others, it is asked again.
    expected = 1 + sum(row.requeued_from == turn_id != row.id for row in rows["turns"].values())
    if record.attempt or record.merged_into:
        assert texts[content] == expected, f"{content!r} stands there {texts[content]} times"
    else:
        assert record.state is TurnState.CANCELLED, "it never ran, and nobody asked it to stop"
    if result.state is TurnState.COMPLETED:
        assert content in result.content, "it was answered without being read"
    assert rows["turns"][_answering(rows, turn_id)].merged_into is None, (
        "the turn that answers it was answered by another one"
    )


def _read_rows(meeting: Meeting) -> dict[str, Any]:
    of_thread = threads.c.id == meeting.thread

    def read(connection: Connection) -> dict[str, Any]:
        said = select(messages).join(threads).where(of_thread).order_by(messages.c.seq)
        all_turns = connection.execute(select(turns).join(threads).where(of_thread)).all()
        is_open = pending_calls.c.turn_id.in_([row.id for row in all_turns]) & pending_calls.c.decision.is_(None)
        return {
            "messages": connection.execute(said).all(),
            "turns": {row.id: row for row in all_turns},
            "lease_owner": connection.execute(select(threads.c.lease_owner).where(of_thread)).scalar_one(),
            "open_calls": len(connection.execute(select(pending_calls.c.call_id).where(is_open)).all()),
        }

    return meeting.database.run(read)
