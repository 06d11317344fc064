"""The tasks that beat sends. Each finds its work in Postgres; a tick that is lost does no harm.

What stays true: a tick returns what it came to, in counts; one that found nothing is seen by nobody.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from typing import Any

import structlog

from conversation.errors import DatabaseUnavailable, OperatorError
from conversation.ids import new_id
from conversation.logs import bind_turn
from conversation.task_contract import (
    COLLECT_FILES,
    EXPIRE_UPLOADS,
    PREPARE_PENDING_FILES,
    QUARANTINE_QUEUE,
    REFRESH_STATISTICS,
    RUN_PURGE,
    RUN_RETENTION,
    RUN_SCHEDULES,
    RUN_SUMMARIES,
    RUN_SUMMARIES_NOW,
    SEND_WEBHOOKS,
    SWEEP_TURNS,
    TURNS_QUEUE,
    WakeUp,
)
from conversation.turn import RefusedTurn, TurnError
from store.database.engine import Database
from store.files import file_queue
from store.schedule_runs import claim_run, fail_run, finish_run
from store.settings import Settings, current
from store.tables import statistics
from store.turns import fair_share, workers
from store.turns import sweep as sweeping
from store.turns.unreadable import error_of
from store.turns.unserved import end_overdue, list_overdue
from tasks.celery_app import app
from tasks.checked_task import QuietTask
from tasks.file_requests import publish_requests
from tasks.jobs.collect_files import run_scheduled_collection
from tasks.jobs.expire_uploads import run_scheduled_expiry
from tasks.jobs.retention import run_purge, run_retention
from tasks.jobs.schedules import run_schedules
from tasks.jobs.send_webhooks import prune_deliveries, send_webhooks
from tasks.jobs.summaries import run_summaries
from tasks.publish import count_queued_tasks, publish_wake_up
from tasks.schedules import SCHEDULES
from tasks.turn_events import TurnEvents, TurnOutcome
from tasks.turn_log import log_turn_end

#: Seconds that a file may wait before beat requests it: a turn has done so, as a rule.
FILE_WAIT_SECONDS = 60.0
#: Files that one tick requests, at most.
FILE_REQUESTS_MAX = 100

#: Seconds after which a wake-up that was put first counts as lost.
PUT_FIRST_SECONDS = 30.0

#: Held while this process does what may take minutes, one thing at a time. With what summaries and webhooks hold, three
#: threads of four are busy at most: the sweep finds one free.
_long_job_lock = threading.Lock()
#: Held while this process sends to webhooks, which takes as long as their servers do; and set while somebody asks it
#: to, who may have come when the sender had just looked.
_webhooks_lock, _webhooks_asked = threading.Lock(), threading.Event()

#: Held while this process looks for schedules whose time has come.
_schedules_lock = threading.Lock()

#: What a tick came to.
Outcome = dict[str, Any]
#: The work of a schedule: takes the settings and the outcome of its last good run, returns its own.
Job = Callable[[Settings, Outcome], Outcome]

_log = structlog.get_logger(__name__)
_turn_events = TurnEvents()


class _Outage:
    """How long this process leaves leases alone that lapsed while the database was away."""

    until = 0.0


_outage = _Outage()


class _Rotation:
    """The tenants that this process saw to last: those behind them are next."""

    tenant_of_files = ""
    tenant_of_turns = ""


class _PutFirst:
    """The turns whose wake-ups this process put first lately: each waits there until a worker has a place."""

    def __init__(self) -> None:
        self._published_at: dict[str, float] = {}

    def select_fresh(self, wake_ups: Sequence[WakeUp]) -> list[WakeUp]:
        """The wake-ups that were not put first lately; they are now."""
        now = time.monotonic()
        self._published_at = {turn: at for turn, at in self._published_at.items() if now - at < PUT_FIRST_SECONDS}
        fresh = [wake_up for wake_up in wake_ups if wake_up.turn_id not in self._published_at]
        self._published_at |= dict.fromkeys((wake_up.turn_id for wake_up in fresh), now)
        return fresh


_put_first = _PutFirst()


@contextmanager
def _note_outage(settings: Settings) -> Iterator[None]:
    try:
        yield
    except DatabaseUnavailable:
        _outage.until = time.monotonic() + 2 * settings.heartbeat_interval_seconds
        raise


@cache
def _database() -> Database:
    return Database(current())


@app.task(name=SWEEP_TURNS, base=QuietTask, shared=False)  # type: ignore[untyped-decorator]  # celery ships no types
def sweep() -> dict[str, int]:
    """Publish a wake-up for every thread that has a due turn and no worker."""
    settings = current()
    if time.monotonic() < _outage.until:
        # Workers that were cut off from the database as well come first: they hold leases.
        return {}
    with _note_outage(settings):
        ended_turns = _end_overdue_turns(settings.sweep_batch)
    in_broker = {queue: count_queued_tasks(queue) for queue in (TURNS_QUEUE, QUARANTINE_QUEUE)}
    if in_broker[TURNS_QUEUE]:
        with _note_outage(settings):
            _wake_neglected(settings)
    free_slots = settings.sweep_queue_limit - in_broker[TURNS_QUEUE]
    if free_slots <= 0:
        _log.info("sweep_held_back", limit=settings.sweep_queue_limit)
        return {"ended_turns": ended_turns}
    limit = min(settings.sweep_batch, free_slots)
    with _note_outage(settings):
        wake_ups = sweeping.pick_wake_ups_alone(
            _database(),
            grace_seconds=settings.sweep_grace_seconds,
            limit=limit,
            tenant_max_running=settings.tenant_max_running_turns.count,
            in_broker=in_broker,
        )
    for wake_up in wake_ups:
        publish_wake_up(wake_up)
    removed_workers = _database().run(workers.forget_dead)
    if wake_ups or removed_workers:
        _log.info("sweep_notified", wake_ups=len(wake_ups), removed_workers=removed_workers)
    return {"ended_turns": ended_turns, "wake_ups": len(wake_ups), "removed_workers": removed_workers}


def _wake_neglected(settings: Settings) -> None:
    """Publish wake-ups of tenants that run less than their share before the others that wait in the broker."""
    neglected = _database().run(
        fair_share.pick_neglected,
        after=_Rotation.tenant_of_turns,
        tenant_max_running=settings.tenant_max_running_turns.count,
    )
    _Rotation.tenant_of_turns = neglected.last_tenant
    fresh = _put_first.select_fresh(neglected.wake_ups)
    for wake_up in fresh:
        publish_wake_up(wake_up)
    if fresh:
        _log.info("neglected_turns_notified", wake_ups=len(fresh))


def _end_overdue_turns(limit: int) -> int:
    """End turns that must end, whether a worker is there or not: their agent may be gone. Returns how many."""
    sweeper = new_id()
    threads = _database().run(list_overdue, limit=limit)
    ended_turns = [_end_overdue_turn(*thread, sweeper) for thread in threads]
    for turn in filter(None, ended_turns):
        with bind_turn(turn):
            log_turn_end(turn, TurnOutcome(ending=turn.ending, seconds=0.0, tokens=turn.ending.usage.total_tokens))
        _turn_events.show_ended(turn, turn.ending)
    return len(list(filter(None, ended_turns)))


def _end_overdue_turn(tenant: str, thread_id: str, sweeper: str) -> RefusedTurn | None:
    """End the head of one thread. What is stored of one holds up no other. Raises `DatabaseUnavailable`."""
    error: TurnError | None = None
    for _ in ("as it is", "unread"):
        try:
            return _database().run(end_overdue, tenant, thread_id, sweeper=sweeper, error=error)
        except DatabaseUnavailable:
            raise
        except Exception as failure:  # noqa: BLE001 - whatever it is, the others come next
            error = error_of(failure)
            if error is None:
                _log.error("turn_not_ended", tenant=tenant, thread=thread_id, reason=type(failure).__name__)
                return None
    _log.error("turn_not_ended", tenant=tenant, thread=thread_id)
    return None


@app.task(name=RUN_SCHEDULES, base=QuietTask, shared=False)  # type: ignore[untyped-decorator]  # celery ships no types
def send_scheduled() -> Outcome:
    """Send the messages of schedules whose time has come. One look at a time in a process: the others would wait."""
    if not _schedules_lock.acquire(blocking=False):
        return {}
    try:
        return asdict(run_schedules(_database(), current(), publish_wake_up))
    finally:
        _schedules_lock.release()


@app.task(name=RUN_SUMMARIES, base=QuietTask, shared=False)  # type: ignore[untyped-decorator]  # celery ships no types
def summarize() -> Outcome:
    """Write summaries for the threads that need one."""
    return _run_if_due(RUN_SUMMARIES, lambda settings, _: {"written": run_summaries(_database(), settings)})


@app.task(name=RUN_SUMMARIES_NOW, base=QuietTask, shared=False)  # type: ignore[untyped-decorator]  # celery ships no types
def summarize_now(*, v: int) -> Outcome:
    """Write the summaries that are due now: sent when a turn has filled a thread, between beat's ticks."""
    del v  # the payload has had one shape so far
    return {"written": run_summaries(_database(), current())}


@app.task(name=RUN_RETENTION, base=QuietTask, shared=False)  # type: ignore[untyped-decorator]  # celery ships no types
def apply_retention() -> Outcome:
    """Delete what the retention policies say is past its time."""
    return _run_exclusively(
        RUN_RETENTION, lambda settings, _: asdict(run_retention(_database(), settings, collects=False))
    )


@app.task(name=RUN_PURGE, base=QuietTask, shared=False)  # type: ignore[untyped-decorator]  # celery ships no types
def purge_turns() -> Outcome:
    """Delete turns that ended long ago, and what webhooks were told long ago."""
    return _run_exclusively(
        RUN_PURGE,
        lambda settings, _: {
            "turns": run_purge(_database(), settings),
            "webhook_deliveries": prune_deliveries(_database(), settings),
        },
    )


@app.task(name=SEND_WEBHOOKS, base=QuietTask, shared=False)  # type: ignore[untyped-decorator]  # celery ships no types
def send_to_webhooks() -> dict[str, int]:
    """Tell webhooks of the events that are due."""
    counts: Counter[str] = Counter()
    _webhooks_asked.set()
    while _webhooks_asked.is_set() and _webhooks_lock.acquire(blocking=False):
        try:
            _take_request()
            counts.update(send_webhooks(_database(), current(), has_news=_take_request))
        finally:
            _webhooks_lock.release()
    return dict(counts)


def _take_request() -> bool:
    """Whether somebody has asked to send to webhooks; whoever asks then, asks anew."""
    is_asked = _webhooks_asked.is_set()
    _webhooks_asked.clear()
    return is_asked


@app.task(name=PREPARE_PENDING_FILES, base=QuietTask, shared=False)  # type: ignore[untyped-decorator]  # celery ships no types
def prepare_pending() -> Outcome:
    """Request files that are not prepared yet: no turn has read their message, or a request was lost."""
    scans = bool(current().scanner_url)
    files = _database().run(
        file_queue.load_waiting,
        older_than_seconds=FILE_WAIT_SECONDS,
        limit=FILE_REQUESTS_MAX,
        after=_Rotation.tenant_of_files,
        scans=scans,
    )
    hashes_by_tenant: dict[str, list[str]] = {}
    for tenant, sha256 in files:
        hashes_by_tenant.setdefault(tenant, []).append(sha256)
    for tenant, hashes in hashes_by_tenant.items():
        placed = _database().run(file_queue.request, tenant=tenant, hashes=hashes, scans=scans, in_background=True)
        publish_requests(tenant, hashes, placed)
        _Rotation.tenant_of_files = tenant
    if files:
        _log.info("files_requested", files=len(files))
    return {"files": len(files)}


@app.task(name=COLLECT_FILES, base=QuietTask, shared=False)  # type: ignore[untyped-decorator]  # celery ships no types
def collect_files() -> Outcome:
    """Delete blobs that no message uses, and bytes that no row knows."""
    return _run_exclusively(COLLECT_FILES, lambda settings, last: run_scheduled_collection(_database(), settings, last))


@app.task(name=EXPIRE_UPLOADS, base=QuietTask, shared=False)  # type: ignore[untyped-decorator]  # celery ships no types
def expire_uploads() -> Outcome:
    """Delete uploads that have expired."""
    return _run_exclusively(EXPIRE_UPLOADS, lambda settings, last: run_scheduled_expiry(_database(), settings, last))


@app.task(name=REFRESH_STATISTICS, base=QuietTask, shared=False)  # type: ignore[untyped-decorator]  # celery ships no types
def refresh_statistics() -> Outcome:
    """Have PostgreSQL refresh the statistics of its tables."""
    return _run_exclusively(REFRESH_STATISTICS, lambda *_: dict(_database().run(statistics.refresh)))


def _run_exclusively(name: str, job: Job) -> Outcome:
    """Run a job as `_run_if_due`, unless this process is at a long one: then a later tick runs it."""
    # Ticks come together: one that only asks whether it is time is over at once.
    if _long_job_lock.acquire(timeout=1):
        try:
            return _run_if_due(name, job)
        finally:
            _long_job_lock.release()
    return {}


def _run_if_due(name: str, job: Job) -> Outcome:
    """Run a schedule's job, if this process is the one that claims this period's run; {} if it is not."""
    settings = current()
    run = _database().run(claim_run, schedule=name, every_seconds=SCHEDULES[name].period_seconds(settings))
    if run is None:
        return {}
    try:
        outcome = job(settings, run.last_outcome)
    except Exception as error:
        # What an operator can mend says how, and quotes nobody; of other errors, only the type is stored.
        reason = str(error) if isinstance(error, OperatorError) else type(error).__name__
        _database().run(fail_run, run=run, error=reason)
        raise
    _database().run(finish_run, run=run, outcome=outcome)
    return outcome
