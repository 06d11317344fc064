"""Schedules: messages that are sent at their times, again and again by a cron expression, or once.

What stays true: which runs are due follows from a schedule and the time alone, so that it does not matter who asks, or
how often.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from conversation.cron import Cron, check_cron
from conversation.when_busy import WhenBusy

#: Runs that one look at a schedule makes up for, at most; the next look goes on.
RUNS_MAX = 100


class CatchUp(StrEnum):
    """The policy for runs whose times passed while nobody was there to send them."""

    #: None of them is sent: only one whose time was a moment ago.
    SKIP = "skip"
    #: The last of them is sent, and stands for the others.
    ONE = "one"
    #: Each of them is sent, in their order.
    ALL = "all"


class ScheduleState(StrEnum):
    """The state of a schedule."""

    ACTIVE = "active"
    PAUSED = "paused"
    #: Its only run was sent, or skipped.
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRecord:
    """A schedule as it is stored."""

    id: str
    tenant: str
    #: What its creator calls it, which no other schedule of the same user is called; None where it has no name.
    name: str | None
    #: The user who asks in its turns, and whose its threads are.
    user: str | None
    #: Minute, hour, day of the month, month, day of the week; None of one that runs once.
    cron: str | None
    #: The time zone of the expression and of the rule, as `Europe/Berlin`.
    time_zone: str
    #: When it runs, of one that runs once.
    at: datetime | None
    catch_up: CatchUp
    #: The thread that its messages are sent to; None where a rule says it.
    thread_id: str | None
    #: The thread id with the date of the run in it, as `report-{date}`.
    thread_rule: str | None
    #: None: the installation's default, or the one that the thread was handed over to.
    agent: str | None
    #: The policy of its runs for a thread that is busy; None leaves it to the thread.
    when_busy: WhenBusy | None
    role: str
    content: str
    metadata: Mapping[str, Any]
    priority: int
    state: ScheduleState
    #: The time of its next run; None of one that has ended.
    next_at: datetime | None
    #: When a run that was refused is tried again.
    retry_at: datetime | None
    #: The time of its last run.
    last_due_at: datetime | None
    #: The turn of its last run, also one that was asked for out of its time.
    last_turn_id: str | None
    #: Why its last run was refused; None where it was sent.
    last_error: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class RunPlan:
    """The runs of a schedule that are due, and when the next one is."""

    due: Sequence[datetime]
    #: None where none is to come.
    next_at: datetime | None


def plan_runs(cron: Cron | None, catch_up: CatchUp, next_at: datetime, now: datetime, *, grace: timedelta) -> RunPlan:
    """Plan the runs whose times came between `next_at`, the first that is to be sent, and now.

    The grace is how late a run may be that is sent although missed ones are skipped.
    """
    if cron is None:
        is_missed = catch_up is CatchUp.SKIP and now - next_at > grace
        return RunPlan(() if is_missed else (next_at,), None)
    if catch_up is CatchUp.ALL:
        return _plan_all(cron, next_at, now)
    newest = cron.newest_until(next_at, now)
    is_missed = catch_up is CatchUp.SKIP and now - newest > grace
    return RunPlan(() if is_missed else (newest,), cron.next_after(newest))


def _plan_all(cron: Cron, next_at: datetime, now: datetime) -> RunPlan:
    due: list[datetime] = []
    following: datetime | None = next_at
    while following is not None and following <= now and len(due) < RUNS_MAX:
        due.append(following)
        following = cron.next_after(following)
    return RunPlan(due, following)


def cron_of(expression: str | None, time_zone: str) -> Cron | None:
    """The cron expression of a schedule; None of one that runs once. Raises `InvalidInput`."""
    return None if expression is None else check_cron(expression, time_zone)
