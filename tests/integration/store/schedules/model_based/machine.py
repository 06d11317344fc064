"""The machine of schedules: beats tick and die, owners pause and change their minds, threads are busy, time jumps.

A tick dies before its commit, or after it with nobody told; two of them come at once.
"""

from collections import Counter
from datetime import datetime
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from sqlalchemy import Connection, delete, select

from conversation.turn import FINAL_STATES
from store import tables as t
from tests.integration.store.schedules.model_based.operations import (
    Create,
    Delete,
    EndTurns,
    ListDue,
    Pause,
    PutOff,
    Resume,
    RunNow,
    Tick,
)
from tests.integration.store.schedules.model_based.reference import Agenda
from tests.integration.store.small_machine import SmallMachine, second_of

SCHEDULES = tuple(f"e0000000-0000-0000-0000-00000000000{number}" for number in range(1, 6))
THREADS = ("x", "y")
#: Rounds in which everything that is due must have been sent once there is room.
DRAIN_ROUNDS = 30

schedules = st.sampled_from(SCHEDULES)
threads = st.sampled_from(THREADS)
limits = st.sampled_from([0, 0, 0, 1, 3])
#: The thread, what becomes of missed runs, the seconds between two, and the policy.
kinds = st.tuples(
    threads,
    st.sampled_from(["skip", "one", "all"]),
    st.sampled_from([60, 60, 3600, None]),
    st.sampled_from([None, None, "reject"]),
)
seconds = st.sampled_from([1, 59, 60, 61, 150, 301, 3600, 7 * 3600])


class AgendaMachine(SmallMachine):
    """What happens to schedules."""

    def __init__(self) -> None:
        super().__init__()
        self.stage.clear()
        self.stage.database.run(lambda c: c.execute(delete(t.schedules)) and None)
        self.model = Agenda()
        #: An id is given once.
        self.used: set[str] = set()

    @rule(schedule=schedules, kind=kinds, later=seconds)
    def create(self, schedule: str, kind: tuple[str, str, int | None, str | None], later: int) -> None:
        thread, catch_up, every, when_busy = kind
        if schedule not in self.used:
            self.used.add(schedule)
            self.do(Create(schedule, thread, catch_up, every, self.model.now + later, when_busy))

    @rule(schedule=schedules, limit=limits, commits=st.sampled_from([True, True, True, False]), again=st.booleans())
    def tick(self, schedule: str, limit: int, *, commits: bool, again: bool) -> None:
        operation = Tick((schedule,), limit)
        self.do(operation, commits=commits)
        if again:
            self.do(operation)

    @rule()
    def look(self) -> None:
        self.do(ListDue())

    @precondition(lambda self: self.model.list_due())
    @rule(limit=limits)
    def tick_due(self, limit: int) -> None:
        """All at once, where it is said which of them comes first."""
        due = self.do(ListDue())
        moments = {self.model.due_at(self.model.schedules[one]) for one in due}
        for together in [tuple(due)] if len(moments) == len(due) else [(one,) for one in due]:
            self.do(Tick(together, limit))

    @rule(schedule=schedules, run=st.sampled_from("ab"), limit=limits)
    def run_now(self, schedule: str, run: str, limit: int) -> None:
        self.do(RunNow(schedule, run, limit))

    @rule(schedule=schedules, kind=st.sampled_from([Pause, Resume, Resume, PutOff]))
    def change(self, schedule: str, kind: type[Pause | Resume | PutOff]) -> None:
        self.do(kind(schedule))

    @rule(schedule=schedules)
    def delete(self, schedule: str) -> None:
        """Its turns stay."""
        self.do(Delete(schedule))

    @rule(thread=threads)
    def end_turns(self, thread: str) -> None:
        self.do(EndTurns(thread))

    @rule(seconds=seconds)
    def pass_time(self, seconds: int) -> None:
        self.move_clock(seconds)

    @precondition(lambda self: self.model.list_due())
    @rule(after=st.integers(1, 8), limit=limits, commits=st.booleans(), data=st.data())
    def race(self, after: int, limit: int, *, commits: bool, data: Any) -> None:
        """A tick that is held up, or dies there, beside another operation; what is locked, another tick passes over."""
        schedule = data.draw(st.sampled_from(self.model.list_due()))
        first = Tick((schedule,), limit)
        others = [first, Pause(schedule), RunNow(schedule, "r", limit), Delete(schedule), EndTurns("x"), ListDue()]
        second = data.draw(st.sampled_from(others))
        raced = self.stage.race(first, second, after=after, commits=commits)
        if not commits and second == first:
            # It passed over the locked row, and did nothing: the next tick finds it.
            assert raced.second == (0, 0, 0)
            return
        both = [(first, raced.first), (second, raced.second)]
        self.explain((both, both[::-1]) if commits else [both[1:]], f"{raced} of {first} and {second}")

    # What must hold

    def picture(self) -> Any:
        return self.stage.database.run(_read)

    @staticmethod
    def picture_of(model: Agenda) -> Any:
        return {
            "schedules": [
                [one, its.state, its.next_at, its.retry_at, its.failures, its.last_due_at, its.last_key, its.has_error]
                for one, its in sorted(model.schedules.items())
            ],
            "runs": [[run.key, run.thread, run.schedule, run.is_over] for run in model.runs],
        }

    @invariant()
    def no_run_comes_twice(self) -> None:
        runs = self.picture()["runs"]
        assert not any(count > 1 for count in Counter(key for key, *_ in runs).values()), "a run came twice"

    def teardown(self) -> None:
        """Everything has room, and ticks go on: nothing that is due may be left."""
        self.pass_time(2 * 3600)
        for _ in range(DRAIN_ROUNDS):
            for thread in THREADS:
                self.do(EndTurns(thread))
            due = self.do(ListDue())
            if not due:
                break
            for schedule in due:
                self.do(Tick((schedule,), 0))
        assert not self.model.list_due(), "a run never comes"
        self.both_hold_the_same()


def _read(connection: Connection) -> Any:
    is_over = t.turns.c.state.in_(sorted(FINAL_STATES)).label("is_over")
    statement = select(t.turns, t.threads.c.id.label("thread"), is_over).join(t.threads)
    rows = connection.execute(statement.order_by(t.turns.c.arrival_seq)).all()
    keys = {row.id: _key(row.idempotency_key) for row in rows}
    found = connection.execute(select(t.schedules).order_by(t.schedules.c.id)).all()
    return {
        "schedules": [
            [
                *(row.id, row.state, second_of(row.next_at), second_of(row.retry_at), row.failures),
                *(second_of(row.last_due_at), keys.get(row.last_turn_id), row.last_error is not None),
            ]
            for row in found
        ],
        "runs": [[keys[row.id], row.thread, row.schedule_id, row.is_over] for row in rows],
    }


def _key(key: str) -> str:
    """`schedule:{id}:{time}` with the time in seconds, as the model has it."""
    _, schedule, occasion = key.split(":", 2)
    if occasion.startswith("now:"):
        return f"{schedule}:{occasion}"
    return f"{schedule}:{second_of(datetime.fromisoformat(occasion))}"
