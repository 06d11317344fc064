"""What the store must come to, in plain Python: no lock, no SQL, one thing at a time.

It reads like the specification, and is all of it that the machine checks. Times are whole seconds
of the clock that the machine moves. A verb either raises before it changed anything, or is done.
"""

from dataclasses import replace

from conversation.errors import (
    IdempotencyConflict,
    LeaseLost,
    LimitReached,
    ThreadBusy,
    TurnNotFound,
    TurnNotRequeueable,
    UnknownAgent,
)
from conversation.task_contract import QUARANTINE_QUEUE, TURNS_QUEUE
from tests.integration.store.turns.model_based import branches, children, policies, waits
from tests.integration.store.turns.model_based.values import (
    Ask,
    Claimed,
    End,
    Entry,
    Line,
    Process,
    Request,
    Thread,
    Turn,
)

#: Seconds for which a worker that does not beat is believed to live.
LEASE = 15
#: Seconds for which a wake-up that was notified is believed to be under way.
GRACE = 10
#: Seconds after which the row of a dead worker is cleared away.
FORGET = 3600
#: Crashes of shared processes before a turn must run alone.
SHARED_CRASHES = 2
#: Runs of a turn that may break off while their process lives.
INTERRUPTIONS = 10


class Mailbox:
    """The tables, and the verbs over them."""

    def __init__(self) -> None:
        self.now = 0
        self.threads: dict[str, Thread] = {}
        self.turns: dict[str, Turn] = {}
        self.asks: dict[str, Ask] = {}
        #: Each worker's `until`.
        self.workers: dict[str, int] = {}
        self.agents: set[str] = set()
        self.numbers = 0
        #: Turns that whoever acts now has not seen, or only later: they came in between.
        self.unseen: set[str] = set()

    # What holds

    def is_alive(self, worker: str | None) -> bool:
        return worker is not None and self.workers.get(worker, self.now) > self.now

    def unfinished(self, thread: str | None = None) -> list[Turn]:
        mine = [t for t in self.turns.values() if thread in (None, t.thread) and not t.is_final]
        return sorted(mine, key=lambda turn: turn.position)

    def head(self, thread: str, *, besides: str | None = None) -> Turn | None:
        """The one that has begun, else the oldest that is due."""
        rest = [turn for turn in self.unfinished(thread) if turn.id != besides]
        begun = [turn for turn in rest if turn.has_begun]
        return next((t for t in begun + rest if t.has_begun or (t.not_before or 0) <= self.now), None)

    def can_start(self, turn: Turn) -> bool:
        has_work = turn.state != "waiting" and (turn.retry_at or 0) <= self.now
        return has_work or self.must_end(turn)

    def must_end(self, turn: Turn) -> bool:
        moments = [moment for moment in (turn.deadline, turn.wait_over_at) if moment is not None]
        return turn.cancel_asked or any(moment <= self.now for moment in moments)

    def is_abandoned(self, turn: Turn) -> bool:
        return turn.runner is not None and not self.is_alive(turn.runner)

    def has_room(self, turn: Turn, max_running: int) -> bool:
        running = sum(other.state == "running" for other in self.turns.values())
        return not max_running or turn.state == "running" or running < max_running

    def holds(self, worker: str, thread: str, fence: int) -> bool:
        """Whether this lease is the thread's newest, and was not given back."""
        row = self.threads.get(thread)
        return row is not None and (row.owner, row.fence) == (worker, fence)

    def holds_job(self, job: Claimed) -> bool:
        row = self.row_of(job)
        return row is not None and self.holds(job.worker, row, job.fence)

    def row_of(self, job: Claimed) -> str | None:
        """The name that the row has now that this lease is of; None where it is gone."""
        if job.number is None:
            return job.thread if job.thread in self.threads else None
        return next((name for name, row in self.threads.items() if row.number == job.number), None)

    def new_number(self) -> int:
        self.numbers += 1
        return self.numbers

    def user_of(self, turn: Turn) -> str | None:
        """Whom tools act for."""
        return turn.sender or self.threads[turn.thread].user

    # Producers

    def accept(self, ask: Ask, position: float, seen: "Mailbox | None" = None) -> tuple[str, bool]:
        """`seen` is what it looked at, where others committed before it did."""
        seen = seen or self
        for earlier in self.asks.values():
            if earlier.turn == ask.turn or (ask.key is not None and earlier.key == ask.key):
                if earlier.said() != ask.said():
                    raise IdempotencyConflict
                return earlier.turn, earlier.turn == ask.turn
        if ask.limit and len(self.unfinished()) >= ask.limit:
            raise LimitReached
        if ask.agent not in self.agents and not ask.allow_unknown:
            raise UnknownAgent
        row = branches.row_for(seen, ask.thread)
        ahead, policy = seen.head(row), policies.policy_of(seen, ask)
        rejecting = [turn for turn in self.unfinished(row) if turn.when_busy == "reject"]
        if policy == "reject" and (ahead is not None or rejecting):
            raise ThreadBusy(row, (ahead or rejecting[0]).id)
        window_end = self.now + ask.merge_window if policy == "merge" and ask.merge_window else None
        is_awaited = policy not in policies.INTERRUPTING and policies.is_awaited(self, ahead, ask.priority)
        is_marked = ask.notifies and ask.not_before is None and window_end is None and not is_awaited
        self.asks[ask.turn] = ask
        if row not in self.threads:
            self.threads[row] = Thread(self.new_number(), agent=ask.agent, user=ask.user)
        self.turns[ask.turn] = Turn(
            ask.turn, row, position, ask.agent, ask.priority, ask.runner, ask.not_before, ask.deadline,
            notified_at=self.now if is_marked else None, retry_at=window_end,
            inbox=[] if ask.content is None else [ask.content], sent_at=self.now, when_busy=policy,
            steers=ahead.id if policy == "steer" and ahead is not None else None,
            sender=None if ask.user == self.threads[row].user else ask.user,
        )  # fmt: skip
        return ask.turn, True

    def cancel(self, turn_id: str) -> str:
        turn = self._turn(turn_id)
        policies.interrupt(self, turn.thread)
        if not turn.is_final:
            turn.cancel_asked, turn.retry_at = True, None
            if turn.state == "queued" and not turn.has_begun:
                turn.state = "cancelled"
        if turn.is_final:
            children.tell(self, turn, is_published=False)
        return turn.state

    def requeue(self, turn_id: str, new_turn: str, position: int) -> tuple[str, bool]:
        turn = self._turn(turn_id)
        if turn.window and self.threads[turn.thread].is_deleted:
            raise TurnNotFound
        if new_turn in self.turns:
            return new_turn, True
        if turn.state == "queued" and turn.requeued_from == turn.id:
            return turn.id, False
        if turn.state not in ("failed", "cancelled"):
            raise TurnNotRequeueable
        merged = {each.id for each in self.turns.values() if each.merged_into == turn.id}
        others = [each for each in self.turns.values() if each.thread == turn.thread and each.id not in merged]
        is_newest = all(each.position <= turn.position for each in others)
        if is_newest and turn.window in (None, self.threads[turn.thread].last_seq):
            turn.state, turn.requeued_from, turn.runner, turn.notified_at = "queued", turn.id, None, self.now
            turn.retries, turn.crashes, turn.crashed_worker, turn.error = 0, 0, None, None
            turn.interruptions = 0
            turn.retry_at, turn.not_before, turn.deadline, turn.cancel_asked = None, None, None, False
            turn.wait_over_at = None
            turn.when_busy, turn.steers, turn.interrupted_by, turn.rolled_back = None, None, None, False
            return turn.id, False
        said = enumerate(branches.lines(self, turn.thread), start=1)
        asked = [
            line.text
            for seq, line in said
            if line.turn in merged or (line.turn == turn.id and seq <= (turn.window or 0))
        ]
        self.turns[new_turn] = Turn(
            new_turn, turn.thread, position, turn.agent, turn.priority,
            notified_at=self.now, requeued_from=turn.id, inbox=asked or list(turn.inbox), sent_at=self.now,
            sender=turn.sender,
        )  # fmt: skip
        return new_turn, True

    # Workers and their leases

    def register(self, process: Process) -> None:
        self.workers[process.id] = self.now + LEASE
        self.agents.update(process.agents)

    def beat(self, worker: str) -> bool:
        if worker in self.workers:
            self.workers[worker] = self.now + LEASE
        return worker in self.workers

    def take_back_crashes(self, worker: str) -> int:
        counted = [turn for turn in self.unfinished() if turn.crashed_worker == worker]
        for turn in counted:
            turn.crashes, turn.crashed_worker = turn.crashes - 1, None
        return len(counted)

    def leave(self, worker: str) -> None:
        for name, thread in self.threads.items():
            running = next((turn for turn in self.unfinished(name) if turn.state == "running"), None)
            # One that is kept between two turns nobody holds any more, though it says so.
            if thread.owner == worker and running is not None:
                thread.owner = None
                running.interrupt()
        self.workers.pop(worker, None)

    def forget_dead(self) -> int:
        dead = [worker for worker, until in self.workers.items() if until < self.now - FORGET]
        for worker in dead:
            del self.workers[worker]
        return len(dead)

    def held_by(self, worker: str, idle: tuple[str, ...]) -> set[tuple[str, int, str | None, bool]]:
        """Thread, fence, the turn that runs there, and whether somebody asked it to stop."""
        running = {turn.thread: turn for turn in self.turns.values() if turn.state == "running"}
        return {
            (name, thread.fence, turn.id if turn else None, bool(turn and policies.is_to_stop(self, turn)))
            for name, thread in self.threads.items()
            if thread.owner == worker
            for turn in [running.get(name)]
            if turn is not None or name in idle
        }

    def let_go(self, worker: str, thread: str, fence: int, turn_id: str | None) -> bool:
        if not self.holds(worker, thread, fence):
            return False
        self.threads[thread].owner = None
        if turn_id is not None and self.turns[turn_id].state == "running":
            self.turns[turn_id].interrupt()
        return True

    # A turn's run

    def claim(self, who: Process, thread_id: str, held: int | None) -> Claimed | str:
        thread = self.threads.get(thread_id)
        if thread is None:
            return "nothing"
        owner = None if held == thread.fence else thread.owner
        if self.is_alive(owner):
            return "nothing"
        policies.interrupt(self, thread_id)
        turn = self.head(thread_id)
        if turn is None or not self._may_run(who, turn):
            if owner is None:
                thread.owner = None
            return "nothing"
        is_foreign = turn.runner not in (None, who.runner)
        died = turn.state == "running" and owner is not None
        if turn.crashes + died == SHARED_CRASHES and not (who.runs_quarantine or is_foreign):
            return f"suspect {turn.id}"
        if died:
            turn.crashes, turn.crashed_worker = turn.crashes + 1, owner
        if turn.wait_over_at is not None:
            waits.close(turn)
        merged = policies.merge(self, turn)
        turn.state, turn.retry_at, turn.notified_at, turn.attempt = "running", None, None, turn.attempt + 1
        thread.owner, thread.fence, thread.agent = who.id, thread.fence + 1, turn.agent
        for answered in (turn, *merged):
            thread.history += [Line(answered.id, text) for text in answered.inbox]
            answered.inbox = []
        turn.window = thread.last_seq if turn.window is None else turn.window
        return self._told(who, thread, turn, is_foreign=is_foreign)

    def _may_run(self, who: Process, turn: Turn) -> bool:
        may_end = who.runner is None and self.must_end(turn)
        is_mine = turn.runner == who.runner and (turn.agent in who.agents or may_end)
        return self.can_start(turn) and (is_mine or self.is_abandoned(turn)) and self.has_room(turn, who.max_running)

    def _told(self, who: Process, thread: Thread, turn: Turn, *, is_foreign: bool) -> Claimed:
        left = None if turn.deadline is None else turn.deadline - self.now
        is_undecided = turn.wait_over_at is not None and turn.wait_over_at <= self.now
        too_late = "deadline" if left is not None and left <= 0 else "waiting_expired" if is_undecided else None
        is_poison = turn.crashes > SHARED_CRASHES or turn.interruptions >= INTERRUPTIONS
        poison = "poison" if is_poison else None
        refused = "abandoned" if is_foreign else poison or too_late
        claimed = Claimed(
            thread=turn.thread, turn=turn.id, worker=who.id, fence=thread.fence, attempt=turn.attempt,
            cancel=turn.cancel_asked and refused is None, refused=refused, parent=turn.parent and turn.parent[0],
        )  # fmt: skip
        if claimed.cancel or claimed.refused:
            return claimed
        return replace(
            claimed, retries=turn.retries, seconds_left=left,
            window=tuple(line.text for seq, line in branches.in_view(self, turn.thread) if seq <= (turn.window or 0)),
            steps=tuple(sorted((index, entry.state) for index, entry in turn.steps.items())),
            is_steered=any(one.id not in self.unseen for one in policies.waiting_for(self, turn.id)),
            decided=waits.told(turn),
            calls_told=policies.calls_told(self, turn.thread),
        )  # fmt: skip

    def record(self, job: Claimed, entries: tuple[tuple[int, str], ...], requests: tuple[Request, ...]) -> bool:
        """Returns whether messages wait that the turn is to read."""
        if not self.holds_job(job):
            raise LeaseLost
        for index, state in entries:
            self._write_step(job, index, state)
        waits.ask(self, self.turns[job.turn], requests)
        return bool(policies.waiting_for(self, job.turn))

    def settle(self, job: Claimed, end: End, *, release: bool) -> tuple[str | None, bool]:
        """Returns the next turn that can start, and whether the lease is kept for it."""
        row, turn = self.row_of(job), self.turns.get(job.turn)
        if row is None or turn is None:
            raise LeaseLost
        thread = self.threads[row]
        if thread.fence == job.fence and turn.is_final:
            return None, thread.owner == job.worker
        if not self.holds_job(job) or turn.state != "running":
            raise LeaseLost
        policies.interrupt(self, row)
        self._end(job, turn, end)
        thread.history += [*end.read, *(Line(turn.id, text) for text in end.replies)]
        if end.is_final:
            policies.hide(self, turn)
        following = self.head(row) if end.is_final else None
        if following is not None and (following.runner is not None or not self.can_start(following)):
            following = None
        keeps = following is not None and not release
        thread.owner = job.worker if keeps else None
        return following.id if following else None, keeps

    def _end(self, job: Claimed, turn: Turn, end: End) -> None:
        turn.error = end.error if end.is_final else end.error or turn.error
        if end.kind == "wait":
            waits.begin(self, turn, end.requests)
            if end.step is not None:
                self._write_step(job, end.step, "waiting")
            return
        if not end.is_final:
            if end.kind != "retry":
                turn.interrupt()
            turn.state, turn.notified_at = "queued", None
            if end.kind == "retry":
                turn.retries += 1
                turn.retry_at = None if turn.cancel_asked else self.now + end.after
            return
        # Whoever asked to stop before the commit has won, though the reply is kept.
        turn.state = "cancelled" if end.kind == "completed" and turn.cancel_asked else end.kind
        if turn.state == "cancelled":
            waits.close(turn)
        if end.kind != "completed":
            turn.close_started()
        if end.step is not None:
            self._write_step(job, end.step, "finished")

    def _write_step(self, job: Claimed, index: int, state: str) -> None:
        steps = self.turns[job.turn].steps
        if index not in steps or steps[index].is_open:
            steps[index] = Entry(state, job.fence)

    # Wake-ups

    def sweep(self, limit: int, max_running: int) -> list[tuple[str, str, str]]:
        """Thread, turn and queue of each wake-up: one a thread, the oldest first."""
        found = [turn for turn in map(self.head, self.threads) if turn and self._waits(turn, max_running)]
        found = sorted(found, key=lambda turn: turn.position)[:limit]
        wake_ups = []
        for turn in found:
            turn.notified_at = self.now
            is_suspect = turn.crashes + (turn.state == "running") == SHARED_CRASHES
            wake_ups.append((turn.thread, turn.id, QUARANTINE_QUEUE if is_suspect else TURNS_QUEUE))
        return wake_ups

    def _waits(self, turn: Turn, max_running: int) -> bool:
        return (
            (self.can_start(turn) or (turn.has_begun and policies.is_interrupted(self, turn)))
            and self.has_room(turn, max_running)
            and (turn.runner is None or self.is_abandoned(turn))
            and (turn.notified_at is None or turn.notified_at < self.now - GRACE)
            and not self.is_alive(self.threads[turn.thread].owner)
        )

    def _turn(self, turn_id: str) -> Turn:
        if turn_id not in self.turns:
            raise TurnNotFound
        return self.turns[turn_id]
