"""Schedules, for a producer's callers: create, list, change, pause, resume, run and delete them.

What stays true: what is refused is refused before the first write; a schedule of another tenant is not there.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, TypedDict, Unpack

from conversation.ids import new_id
from conversation.schedule import CatchUp, ScheduleRecord
from conversation.validation import check_id
from conversation.when_busy import WhenBusy
from producers.api import default_producer, move_to_thread
from producers.producer import Producer
from producers.turn import Turn
from store.database.engine import PatientRunner
from store.schedules import changes as stored_changes
from store.schedules import repository, runs
from store.schedules.repository import SchedulePage
from store.schedules.request import ScheduleRequest
from store.schedules.runs import RunOutcome
from store.threads.visible_threads import Viewer
from store.turns.thread_turns import TurnPage


class ScheduleKeywords(TypedDict, total=False):
    """The keyword arguments of `create_schedule`, for type checkers."""

    #: Minute, hour, day of the month, month, day of the week: `0 9 * * mon-fri`; or a name, as `@daily`.
    cron: str | None
    #: Aware: the one time at which it runs.
    at: datetime | None
    #: The time zone in which the cron expression and the rule are read, as `Europe/Berlin`.
    time_zone: str
    #: What becomes of runs whose times passed while nobody was there: `skip`, `one` or `all`.
    catch_up: CatchUp | Literal["skip", "one", "all"]
    #: The thread that its messages are sent to.
    thread_id: str | None
    #: A thread id with the local date of the run in it, as `report-{date}`.
    thread_rule: str | None
    #: A name that no other schedule of the same user has.
    name: str | None
    #: The agent that shall answer; without it, THREADMILL_DEFAULT_AGENT or the one that the thread was handed over to.
    agent: str | None
    #: What becomes of a run while its thread is busy: `enqueue`, `reject`, `interrupt`, …; without it, the thread says.
    when_busy: WhenBusy | str | None
    #: The user who asks, and whose the threads are that it makes.
    user: str | None
    tenant: str
    #: `user` or `system`.
    role: str
    #: JSON that is stored with each message.
    metadata: Mapping[str, Any] | None
    #: 0 to 9, higher is sooner; it orders threads.
    priority: int


class ScheduleChanges(TypedDict, total=False):
    """The keyword arguments of `change_schedule`, for type checkers: as in `ScheduleKeywords`."""

    content: str
    #: In the place of `at`.
    cron: str | None
    #: In the place of `cron`.
    at: datetime | None
    time_zone: str
    catch_up: CatchUp | Literal["skip", "one", "all"]
    #: In the place of `thread_rule`.
    thread_id: str | None
    #: In the place of `thread_id`.
    thread_rule: str | None
    #: None takes it away.
    name: str | None
    #: None: the default one, or the one that the thread was handed over to.
    agent: str | None
    #: None: as the thread says.
    when_busy: WhenBusy | str | None
    metadata: Mapping[str, Any] | None
    priority: int


def create_schedule(content: str, **options: Unpack[ScheduleKeywords]) -> ScheduleRecord:
    """Create a schedule that sends this text at its times, each run as a turn with the schedule's id.

    It has `cron` or `at`, and `thread_id` or `thread_rule`. An `at` that is past is sent with the next tick, unless
    `catch_up` is `skip`. With a `name`, it may be created again as it is, as at each start of a backend: it is one
    schedule. Raises `InvalidInput`, also for a name that another schedule has, and `DatabaseUnavailable`.
    """
    producer = default_producer()
    request = ScheduleRequest(content=content, **options)
    # Checked once, before the first write, and as a value that the transaction can be run again with.
    request.values()
    return _database(producer, request.tenant).run(repository.create_schedule, new_id(), request)


def find_schedule(schedule_id: str, *, tenant: str = "default") -> ScheduleRecord:
    """A schedule as it is now. Raises `ScheduleNotFound` and `DatabaseUnavailable`."""
    return _database(default_producer(), tenant).run(repository.find_schedule, Viewer(tenant), schedule_id)


def list_schedules(
    *,
    tenant: str = "default",
    user: str | None = None,
    thread_id: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> SchedulePage:
    """The schedules of a tenant, the oldest first: a page of at most `limit`, and `next_cursor` for the next one.

    With `user` or `thread_id`, those of this user, and those that send to this thread. Raises `InvalidInput` and
    `DatabaseUnavailable`.
    """
    runner = _database(default_producer(), tenant)
    filters = {"thread_id": thread_id, "limit": limit, "cursor": cursor}
    return runner.run(repository.list_schedules, Viewer(tenant, user), **filters)  # type: ignore[arg-type]  # as named


def change_schedule(schedule_id: str, *, tenant: str = "default", **changes: Unpack[ScheduleChanges]) -> ScheduleRecord:
    """Change what is named of a schedule, from its next run on; the rest stays, and so does whose it is.

    With another time, it runs next when that comes, also one that has ended; what waits to be made up for is not.
    Raises `ScheduleNotFound`, `InvalidInput` and `DatabaseUnavailable`.
    """
    runner = _database(default_producer(), tenant)
    return runner.run(stored_changes.change_schedule, Viewer(tenant), schedule_id, changes)


def pause_schedule(schedule_id: str, *, tenant: str = "default") -> ScheduleRecord:
    """Pause a schedule: it sends nothing until it is resumed. One that is paused stays so.

    Raises `ScheduleNotFound`, `InvalidInput` for one that has ended, and `DatabaseUnavailable`.
    """
    return _database(default_producer(), tenant).run(repository.pause_schedule, Viewer(tenant), schedule_id)


def resume_schedule(schedule_id: str, *, tenant: str = "default") -> ScheduleRecord:
    """Resume a schedule from now on: what fell into the pause is not made up for, but for the run of one with `at`.

    Raises `ScheduleNotFound`, `InvalidInput` for one that has ended, and `DatabaseUnavailable`.
    """
    return _database(default_producer(), tenant).run(repository.resume_schedule, Viewer(tenant), schedule_id)


def run_schedule(schedule_id: str, *, idempotency_key: str | None = None, tenant: str = "default") -> Turn:
    """Send a schedule's message now, also while it is paused, and notify a worker; its next time stays.

    The same key gives the first such turn again. Raises `ScheduleNotFound`, `LimitReached`, `ThreadBusy` (by its policy
    `reject`), `ThreadNotFound` where its thread became another user's, and `DatabaseUnavailable`.
    """
    return send_now(default_producer(), schedule_id, idempotency_key=idempotency_key, tenant=tenant)


def delete_schedule(schedule_id: str, *, tenant: str = "default") -> None:
    """Delete a schedule; the turns of its runs stay. Raises `ScheduleNotFound` and `DatabaseUnavailable`."""
    _database(default_producer(), tenant).run(repository.delete_schedule, Viewer(tenant), schedule_id)


def list_schedule_runs(
    schedule_id: str, *, tenant: str = "default", limit: int = 50, cursor: str | None = None
) -> TurnPage:
    """The turns of a schedule's runs, the newest first: a page of at most `limit`, and `next_cursor` for the next one.

    Raises `ScheduleNotFound`, `InvalidInput` and `DatabaseUnavailable`.
    """
    runner = _database(default_producer(), tenant)
    return runner.run(repository.list_runs, Viewer(tenant), schedule_id, limit=limit, cursor=cursor)


create_schedule_async = move_to_thread(create_schedule)
change_schedule_async = move_to_thread(change_schedule)
find_schedule_async = move_to_thread(find_schedule)
list_schedules_async = move_to_thread(list_schedules)
pause_schedule_async = move_to_thread(pause_schedule)
resume_schedule_async = move_to_thread(resume_schedule)
run_schedule_async = move_to_thread(run_schedule)
delete_schedule_async = move_to_thread(delete_schedule)
list_schedule_runs_async = move_to_thread(list_schedule_runs)


def send_now(
    producer: Producer, schedule_id: str, *, idempotency_key: str | None = None, tenant: str = "default"
) -> Turn:
    """As `run_schedule`, with a producer of the caller's."""
    outcome = _database(producer, tenant).run(
        runs.run_now,
        Viewer(tenant),
        schedule_id,
        run_id=_run_id_of(idempotency_key),
        rules=runs.rules_of(producer.settings),
    )
    turn = _handle_of_run(producer, tenant, outcome)
    if turn.needs_notify:
        turn.notify()
    return turn


def _run_id_of(idempotency_key: str | None) -> str:
    """The id of a run out of its time: of a caller's key, or a new one."""
    if idempotency_key is None:
        return new_id()
    # A key may be as long as the whole idempotency key of the turn.
    return hashlib.sha256(check_id("idempotency_key", idempotency_key).encode()).hexdigest()


def _handle_of_run(producer: Producer, tenant: str, outcome: RunOutcome) -> Turn:
    """The handle of the turn of a run."""
    assert outcome.turn_id is not None
    return Turn(
        id=outcome.turn_id,
        tenant=tenant,
        address=outcome.address,
        is_new=outcome.sent > 0,
        connections=producer.connections,
        priority=outcome.priority,
        interrupts=outcome.interrupts,
        needs_notify=bool(outcome.wake_ups),
    )


def _database(producer: Producer, tenant: str) -> PatientRunner:
    return producer.database.acting_for(tenant)
