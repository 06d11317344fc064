"""One look for schedules whose time has come, as a plain function.

What stays true: each schedule is run in a transaction of its own; one that cannot be run is put off and logged, and
holds up no other. What a look leaves, the next one finds.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from conversation.errors import DatabaseUnavailable
from conversation.task_contract import WakeUp
from store.database.engine import Database
from store.schedules import runs
from store.settings import Settings

#: Schedules that one look lists at a time.
BATCH = 200
#: Seconds of one look: the next tick goes on. So long a sweep may have to wait for a thread.
LOOK_SECONDS = 3.0

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
    outcome, until = ScheduleOutcome(), time.monotonic() + LOOK_SECONDS
    is_over = False
    while not is_over and (ids := database.run(runs.list_due, limit=BATCH)):
        # Where another process has all of these in hand, it goes on by itself.
        is_over = True
        for schedule_id in ids:
            if time.monotonic() >= until:
                is_over = True
                break
            is_over &= not _run_one(database, settings, schedule_id, publish, outcome)
    if outcome.sent or outcome.refused or outcome.failed:
        _log.info("schedules_ran", sent=outcome.sent, refused=outcome.refused, failed=outcome.failed)
    return outcome


def _run_one(
    database: Database,
    settings: Settings,
    schedule_id: str,
    publish: Callable[[WakeUp], object],
    outcome: ScheduleOutcome,
) -> bool:
    """Run a schedule, or put it off; False where another process did."""
    try:
        run = database.run(runs.run_due, schedule_id, rules=runs.rules_of(settings))
    except DatabaseUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the others come next
        reason = type(error).__name__
        _log.error("schedule_not_run", schedule=schedule_id, reason=reason)
        database.run(runs.put_off, schedule_id, reason)
        outcome.failed += 1
        return True
    outcome.sent += run.sent
    outcome.refused += run.refused
    for wake_up in run.wake_ups:
        publish(wake_up)
    return run.is_over
