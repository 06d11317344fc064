"""One look for schedules whose time has come, as a plain function.

What stays true: many schedules are run in one transaction; where one of them cannot be, the others are run without it,
and it alone is put off and logged. What a look leaves, the next one finds.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from conversation.errors import DatabaseUnavailable
from conversation.task_contract import WakeUp
from store.database.engine import Database
from store.database.retry_policy import is_lock_timeout
from store.schedules import runs
from store.settings import Settings

#: Schedules that one look lists at a time.
LISTED = 200
#: Schedules that are run in one transaction: what it locks, it holds for some tenths of a second.
BATCH = 50
#: Seconds of one look: the next tick goes on. So long a sweep may have to wait for a thread.
LOOK_SECONDS = 3.0
#: Seconds that a run waits for whoever holds a row of its thread, before it is put off.
LOCK_SECONDS = 0.2

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class ScheduleOutcome:
    """The outcome of one look."""

    sent: int = 0
    #: Runs that were refused, as by a limit of their tenant.
    refused: int = 0
    #: Schedules that could not be run at all.
    failed: int = 0


def run_schedules(database: Database, settings: Settings, publish: Callable[[WakeUp], object]) -> ScheduleOutcome:
    """Send what is due, and publish the wake-ups of its turns."""
    look = _Look(database, runs.rules_of(settings), publish, time.monotonic() + LOOK_SECONDS)
    while not look.is_over() and (ids := database.run(runs.list_due, limit=LISTED)):
        moved = sum(look.run(ids[start : start + BATCH]) for start in range(0, len(ids), BATCH))
        if not moved:
            # Another process has all of these in hand, and goes on by itself.
            break
    outcome = look.outcome
    if outcome.sent or outcome.refused or outcome.failed:
        _log.info("schedules_ran", sent=outcome.sent, refused=outcome.refused, failed=outcome.failed)
    return outcome


class _Look:
    """A look under way."""

    def __init__(
        self, database: Database, rules: runs.RunRules, publish: Callable[[WakeUp], object], until: float
    ) -> None:
        self._database = database
        self._rules = rules
        self._publish = publish
        #: By the clock of `time.monotonic`.
        self._until = until
        self.outcome = ScheduleOutcome()

    def is_over(self) -> bool:
        return time.monotonic() >= self._until

    def run(self, schedule_ids: Sequence[str]) -> int:
        """Run schedules together; returns how many were moved on. Where that fails, each half by itself."""
        if self.is_over():
            return 0
        try:
            run = self._database.run(runs.run_due, schedule_ids, rules=self._rules, lock_seconds=LOCK_SECONDS)
        except Exception as error:
            if isinstance(error, DatabaseUnavailable) and not is_lock_timeout(error):
                raise
            middle = len(schedule_ids) // 2
            if middle:
                return self.run(schedule_ids[:middle]) + self.run(schedule_ids[middle:])
            return self._put_off(schedule_ids[0], type(error).__name__)
        self.outcome.sent += run.sent
        self.outcome.refused += run.refused
        for wake_up in run.wake_ups:
            self._publish(wake_up)
        return run.moved

    def _put_off(self, schedule_id: str, reason: str) -> int:
        _log.error("schedule_not_run", schedule=schedule_id, reason=reason)
        self._database.run(runs.put_off, schedule_id, reason)
        self.outcome.failed += 1
        return 1
