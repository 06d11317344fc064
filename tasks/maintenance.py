"""What beat asks for. Each task finds in Postgres what it has to do; a tick that is lost does no harm."""

import time
from collections.abc import Callable
from dataclasses import asdict
from functools import cache, partial
from typing import Any

import structlog

from conversation.bell import (
    COLLECT_FILES,
    EXPIRE_UPLOADS,
    RUN_PURGE,
    RUN_RETENTION,
    RUN_SUMMARIES,
    SUMMARIZE_DUE,
    SWEEP_TURNS,
    TURNS_QUEUE,
)
from conversation.errors import DatabaseUnavailable, ThreadmillError
from store import sweep as sweeping
from store import workers
from store.engine import Database
from store.schedule import claim_run, fail_run, finish_run
from store.settings import current
from tasks.app import app
from tasks.blob_gc import collect_after, run_expiry
from tasks.retention import run_purge, run_retention
from tasks.rings import ring, waiting_bells
from tasks.summaries import run_summaries

#: Seconds between two looks for uploads that are over.
EXPIRE_SECONDS = 600.0

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
    settings = current()
    _once(
        RUN_SUMMARIES, settings.summarize_seconds, lambda _: {"written": run_summaries(_database(), settings)}
    )


@app.task(name=SUMMARIZE_DUE)  # type: ignore[untyped-decorator]  # celery ships no types
def summarize_due(*, v: int) -> None:
    """Hear that a turn has filled a thread: write the summaries that are due, beat's or not."""
    del v  # the payload has had one shape so far
    run_summaries(_database(), current())


@app.task(name=RUN_RETENTION)  # type: ignore[untyped-decorator]  # celery ships no types
def retain() -> None:
    """Delete what is past its time."""
    settings = current()
    _once(RUN_RETENTION, settings.retention_seconds, lambda _: asdict(run_retention(_database(), settings)))


@app.task(name=RUN_PURGE)  # type: ignore[untyped-decorator]  # celery ships no types
def purge() -> None:
    """Delete turns that ended long ago."""
    settings = current()
    _once(RUN_PURGE, settings.retention_seconds, lambda _: {"turns": run_purge(_database(), settings)})


@app.task(name=COLLECT_FILES)  # type: ignore[untyped-decorator]  # celery ships no types
def collect_files() -> None:
    """Delete blobs that nobody uses, and bytes that no row knows."""
    settings = current()
    _once(COLLECT_FILES, settings.collect_seconds, lambda last: collect_after(_database(), settings, last))


@app.task(name=EXPIRE_UPLOADS)  # type: ignore[untyped-decorator]  # celery ships no types
def expire_uploads() -> None:
    """Forget uploads that are over."""
    settings = current()
    _once(EXPIRE_UPLOADS, EXPIRE_SECONDS, lambda _: {"expired": run_expiry(_database(), settings)})


def _once(schedule: str, every_seconds: float, work: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Do a schedule's work, if this period's run is nobody else's; `work` gets what the last one gave."""
    run = _database().run(partial(claim_run, schedule=schedule, every_seconds=every_seconds))
    if run is None:
        return
    try:
        outcome = work(run.last)
    except Exception as error:
        # What is ours says what to do, and holds no secret; of others, the kind has to do.
        told = str(error) if isinstance(error, ThreadmillError) else type(error).__name__
        _database().run(partial(fail_run, run=run, error=told))
        raise
    _database().run(partial(finish_run, run=run, outcome=outcome))
