"""What beat asks for. Each task finds in Postgres what it has to do; a tick that is lost does no harm."""

import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import cache, partial
from typing import Any

import structlog

from conversation.errors import DatabaseUnavailable, ThreadmillError
from conversation.task_contract import (
    COLLECT_FILES,
    EXPIRE_UPLOADS,
    PREPARE_FILES,
    REFRESH_STATISTICS,
    RUN_PURGE,
    RUN_RETENTION,
    RUN_SUMMARIES,
    SUMMARIZE_DUE,
    SWEEP_TURNS,
    TURNS_QUEUE,
)
from store.database.engine import Database
from store.files import prepared_rows
from store.schedule_runs import claim_run, fail_run, finish_run
from store.settings import Settings, current
from store.tables import statistics
from store.turns import sweep as sweeping
from store.turns import workers
from tasks.app import app
from tasks.jobs.collect_files import collect_after
from tasks.jobs.expire_uploads import expire_after
from tasks.jobs.retention import run_purge, run_retention
from tasks.jobs.summaries import run_summaries
from tasks.publish import ring, ring_for_file, waiting_bells
from tasks.schedules import PERIODS

#: Seconds that a file may wait before beat rings for it: somebody has, as a rule.
FORGOTTEN_SECONDS = 60.0
#: Bells of one tick, at most.
FILE_BELLS = 100

#: Held while this process does what may take minutes, one thing at a time. With what summaries hold, two
#: threads of three are busy at most: the sweep finds one free.
_upkeep = threading.Lock()

_log = structlog.get_logger(__name__)


class _Outage:
    """How long this process leaves leases alone that lapsed while the database was away."""

    until = 0.0


_outage = _Outage()


@cache
def _database() -> Database:
    return Database(current())


@app.task(name=SWEEP_TURNS)  # type: ignore[untyped-decorator]  # celery ships no types
def sweep() -> None:
    """Ring for every thread that has a due turn and nobody who works on it."""
    settings = current()
    if time.monotonic() < _outage.until:
        # Workers that were cut off from the database as well come first: what they hold is theirs.
        return
    room = settings.sweep_queue_limit - waiting_bells(TURNS_QUEUE)
    if room <= 0:
        _log.info("sweep_held_back", limit=settings.sweep_queue_limit)
        return
    limit = min(settings.sweep_batch, room)
    pick = partial(
        sweeping.due_bells,
        grace_seconds=settings.sweep_grace_seconds,
        limit=limit,
        tenant_max_running=settings.tenant_max_running_turns,
    )
    try:
        bells = _database().run(pick)
    except DatabaseUnavailable:
        _outage.until = time.monotonic() + 2 * settings.heartbeat_seconds
        raise
    for bell in bells:
        ring(bell)
    forgotten = _database().run(workers.forget_dead)
    if bells or forgotten:
        _log.info("sweep_rang", bells=len(bells), forgotten_workers=forgotten)


@app.task(name=RUN_SUMMARIES)  # type: ignore[untyped-decorator]  # celery ships no types
def summarize() -> None:
    """Write summaries for the threads that need one."""
    _claimed(RUN_SUMMARIES, lambda settings, _: {"written": run_summaries(_database(), settings)})


@app.task(name=SUMMARIZE_DUE)  # type: ignore[untyped-decorator]  # celery ships no types
def summarize_due(*, v: int) -> None:
    """Hear that a turn has filled a thread: write the summaries that are due, beat's or not."""
    del v  # the payload has had one shape so far
    run_summaries(_database(), current())


@app.task(name=RUN_RETENTION)  # type: ignore[untyped-decorator]  # celery ships no types
def retain() -> None:
    """Delete what is past its time."""
    _once(RUN_RETENTION, lambda settings, _: asdict(run_retention(_database(), settings, collects=False)))


@app.task(name=RUN_PURGE)  # type: ignore[untyped-decorator]  # celery ships no types
def purge() -> None:
    """Delete turns that ended long ago."""
    _once(RUN_PURGE, lambda settings, _: {"turns": run_purge(_database(), settings)})


@app.task(name=PREPARE_FILES)  # type: ignore[untyped-decorator]  # celery ships no types
def prepare_waiting() -> None:
    """Ring for files that nobody has made ready: of messages that no turn has read yet, or lost bells."""
    scans = bool(current().scanner_url)
    find = partial(prepared_rows.waiting, older_than_seconds=FORGOTTEN_SECONDS, limit=FILE_BELLS, scans=scans)
    found = _database().run(find)
    for tenant, sha256 in found:
        ring_for_file(tenant, sha256)
    if found:
        _log.info("files_rung_for", files=len(found))


@app.task(name=COLLECT_FILES)  # type: ignore[untyped-decorator]  # celery ships no types
def collect_files() -> None:
    """Delete blobs that nobody uses, and bytes that no row knows."""
    _once(COLLECT_FILES, lambda settings, last: collect_after(_database(), settings, last))


@app.task(name=EXPIRE_UPLOADS)  # type: ignore[untyped-decorator]  # celery ships no types
def expire_uploads() -> None:
    """Forget uploads that are over."""
    _once(EXPIRE_UPLOADS, lambda settings, last: expire_after(_database(), settings, last))


@app.task(name=REFRESH_STATISTICS)  # type: ignore[untyped-decorator]  # celery ships no types
def refresh_statistics() -> None:
    """Have PostgreSQL look at its tables anew."""
    _once(REFRESH_STATISTICS, lambda *_: dict(_database().run(statistics.refresh)))


#: What a schedule does: with the settings, and what its last run that ended well has left behind.
Work = Callable[[Settings, dict[str, Any]], dict[str, Any]]


def _once(name: str, work: Work) -> None:
    """As `_claimed`, unless this process is at something long: a later tick finds it free, or another one."""
    # Ticks come together: one that only asks whether it is time is over at once.
    if _upkeep.acquire(timeout=1):
        try:
            _claimed(name, work)
        finally:
            _upkeep.release()


def _claimed(name: str, work: Work) -> None:
    """Do a schedule's work, if this period's run is nobody else's."""
    settings = current()
    run = _database().run(partial(claim_run, schedule=name, every_seconds=PERIODS[name](settings)))
    if run is None:
        return
    try:
        outcome = work(settings, run.last)
    except Exception as error:
        # What is ours says what to do, and holds no secret; of others, the kind has to do.
        told = str(error) if isinstance(error, ThreadmillError) else type(error).__name__
        _database().run(partial(fail_run, run=run, error=told))
        raise
    _database().run(partial(finish_run, run=run, outcome=outcome))
