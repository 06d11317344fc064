"""What schedules must come to, in plain Python: no lock, no SQL, no cron expression.

What stays true: times are whole seconds of the clock that the machine moves, which begins at midnight; a schedule that
comes again does so after so many seconds, counted from there.
"""

from dataclasses import dataclass, field

from conversation.errors import InvalidInput, LimitReached, ScheduleNotFound, ThreadBusy, UserError
from conversation.schedule import RUNS_MAX
from store.schedules.runs import RETRY_MAX_SECONDS, RETRY_MIN_SECONDS

#: Seconds that a run may be late which is sent although its schedule skips missed ones.
GRACE = 300


@dataclass
class Schedule:
    thread: str
    catch_up: str
    #: Seconds between two runs; None of one that runs once.
    every: int | None
    next_at: int | None
    when_busy: str | None = None
    #: The time of the only run.
    at: int | None = None
    state: str = "active"
    retry_at: int | None = None
    failures: int = 0
    last_due_at: int | None = None
    #: The key of its newest turn.
    last_key: str | None = None
    has_error: bool = False

    def next_after(self, second: int) -> int | None:
        return None if self.every is None else (second // self.every + 1) * self.every


@dataclass
class Run:
    """A turn."""

    key: str
    thread: str
    schedule: str
    is_over: bool = False


@dataclass
class Agenda:
    """The schedules and their turns, and the verbs over them."""

    #: Turns that have not ended, at most; 0 is any number.
    limit: int = 0
    now: int = 0
    schedules: dict[str, Schedule] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)

    def create(self, schedule: str, values: Schedule) -> None:
        self.schedules.setdefault(schedule, values)

    def due_at(self, its: Schedule) -> int | None:
        """When it is to run; None where it is not."""
        due_at = its.retry_at if its.retry_at is not None else its.next_at
        return due_at if its.state == "active" and due_at is not None and due_at <= self.now else None

    def list_due(self) -> list[str]:
        return sorted(one for one, its in self.schedules.items() if self.due_at(its) is not None)

    def tick(self, schedules: tuple[str, ...]) -> tuple[int, int, int]:
        """Returns how many runs were sent, how many were refused, and how many schedules were moved on."""
        found = [(self.due_at(its), one) for one, its in self.schedules.items() if one in schedules]
        due = sorted((at, one) for at, one in found if at is not None)
        told = [self._run(schedule) for _, schedule in due]
        return sum(sent for sent, _ in told), sum(refused for _, refused in told), len(told)

    def _run(self, schedule: str) -> tuple[int, int]:
        its = self.schedules[schedule]
        due, its.next_at = self._plan(its)
        failures, its.retry_at, its.failures = its.failures, None, 0
        sent = refused = 0
        for second in due:
            try:
                key, is_new = self._send(schedule, its, str(second))
            except LimitReached:
                its.next_at, refused = second, refused + 1
                self._put_off(its, failures)
                break
            except UserError:
                its.last_due_at, its.has_error, refused = second, True, refused + 1
            else:
                its.last_due_at, its.last_key, its.has_error, sent = second, key, False, sent + is_new
        if its.next_at is None:
            its.state = "ended"
        return sent, refused

    def _plan(self, its: Schedule) -> tuple[list[int], int | None]:
        """The times that are sent now, and the next one."""
        assert its.next_at is not None
        missed: list[int] = [its.next_at]
        while its.every is not None and missed[-1] + its.every <= self.now:
            missed.append(missed[-1] + its.every)
        if its.catch_up == "all":
            missed = missed[:RUNS_MAX]
            return missed, its.next_after(missed[-1])
        is_late = its.catch_up == "skip" and self.now - missed[-1] > GRACE
        return [] if is_late else missed[-1:], its.next_after(missed[-1])

    def _send(self, schedule: str, its: Schedule, occasion: str) -> tuple[str, bool]:
        key = f"{schedule}:{occasion}"
        if any(run.key == key for run in self.runs):
            return key, False
        unfinished = [run for run in self.runs if not run.is_over]
        if self.limit and len(unfinished) >= self.limit:
            raise LimitReached
        if its.when_busy == "reject" and any(run.thread == its.thread for run in unfinished):
            raise ThreadBusy("t", "busy")
        self.runs.append(Run(key, its.thread, schedule))
        return key, True

    def _put_off(self, its: Schedule, failures: int) -> None:
        its.retry_at = self.now + int(min(RETRY_MIN_SECONDS * 2 ** min(failures, 10), RETRY_MAX_SECONDS))
        its.failures, its.has_error = failures + 1, True

    def put_off(self, schedule: str) -> None:
        its = self.schedules.get(schedule)
        if its is not None and its.state == "active":
            self._put_off(its, its.failures)

    def run_now(self, schedule: str, run: str) -> bool:
        """Returns whether it is a new turn."""
        its = self._find(schedule)
        key, is_new = self._send(schedule, its, f"now:{run}")
        if is_new:
            its.last_key = key
        return is_new

    def pause(self, schedule: str) -> str:
        its = self._find_lasting(schedule)
        if its.state == "active":
            its.state, its.retry_at = "paused", None
        return its.state

    def resume(self, schedule: str) -> str:
        its = self._find_lasting(schedule)
        if its.state == "paused":
            its.state, its.failures = "active", 0
            its.next_at = its.at if its.every is None else its.next_after(self.now)
        return its.state

    def delete(self, schedule: str) -> None:
        self._find(schedule)
        del self.schedules[schedule]

    def end(self, thread: str) -> None:
        """The turns of a thread come to their end."""
        for run in self.runs:
            run.is_over |= run.thread == thread

    def _find(self, schedule: str) -> Schedule:
        if schedule not in self.schedules:
            raise ScheduleNotFound
        return self.schedules[schedule]

    def _find_lasting(self, schedule: str) -> Schedule:
        its = self._find(schedule)
        if its.state == "ended":
            raise InvalidInput("schedule_id", "has ended", "create another one")
        return its
