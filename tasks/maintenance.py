"""What beat asks for. Each task finds in Postgres what it has to do; a tick that is lost does no harm."""

import time
from collections.abc import Callable
from dataclasses import asdict
from functools import cache, partial

import structlog

from conversation.bell import RUN_PURGE, RUN_RETENTION, RUN_SUMMARIES, SWEEP_TURNS, TURNS_QUEUE
from conversation.errors import DatabaseUnavailable
from store import sweep as sweeping
from store import workers
from store.engine import Database
from store.schedule import claim_run, finish_run
from store.settings import current
from tasks.app import app
from tasks.retention import run_purge, run_retention
from tasks.rings import ring, waiting_bells
from tasks.upkeep import run_summaries

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
        RUN_SUMMARIES, settings.summarize_seconds, lambda: {"written": run_summaries(_database(), settings)}
    )


@app.task(name=RUN_RETENTION)  # type: ignore[untyped-decorator]  # celery ships no types
def retain() -> None:
    """Delete what is past its time."""
    settings = current()
    _once(RUN_RETENTION, settings.retention_seconds, lambda: asdict(run_retention(_database(), settings)))


@app.task(name=RUN_PURGE)  # type: ignore[untyped-decorator]  # celery ships no types
def purge() -> None:
    """Delete turns that ended long ago."""
    settings = current()
    _once(RUN_PURGE, settings.retention_seconds, lambda: {"turns": run_purge(_database(), settings)})


def _once(schedule: str, every_seconds: float, work: Callable[[], dict[str, int]]) -> None:
    """Do a schedule's work, if this period's run is not somebody else's."""
    due_at = _database().run(partial(claim_run, schedule=schedule, every_seconds=every_seconds))
    if due_at is not None:
        outcome = work()
        _database().run(partial(finish_run, schedule=schedule, due_at=due_at, outcome=outcome))
