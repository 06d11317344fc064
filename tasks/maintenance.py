"""What beat asks for. Each task finds in Postgres what it has to do; a tick that is lost does no harm."""

from collections.abc import Callable
from dataclasses import asdict
from functools import cache, partial

import structlog

from conversation.bell import RUN_RETENTION, RUN_SUMMARIES, SWEEP_TURNS, TURNS_QUEUE
from store import sweep as sweeping
from store import workers
from store.engine import Database
from store.schedule import claim_run, finish_run
from store.settings import current
from tasks.app import app
from tasks.rings import ring, waiting_bells
from tasks.upkeep import run_retention, run_summaries

_log = structlog.get_logger(__name__)


@cache
def _database() -> Database:
    return Database(current())


@app.task(name=SWEEP_TURNS)  # type: ignore[untyped-decorator]  # celery ships no types
def sweep() -> None:
    """Ring for every thread that has a due turn and nobody who works on it."""
    settings = current()
    room = settings.sweep_queue_limit - waiting_bells(TURNS_QUEUE)
    if room <= 0:
        _log.info("sweep_held_back", limit=settings.sweep_queue_limit)
        return
    limit = min(settings.sweep_batch, room)
    bells = _database().run(
        lambda connection: sweeping.due_bells(
            connection,
            grace_seconds=settings.sweep_grace_seconds,
            limit=limit,
            tenant_max_running=settings.tenant_max_running_turns,
        )
    )
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


def _once(schedule: str, every_seconds: float, work: Callable[[], dict[str, int]]) -> None:
    """Do a schedule's work, if this period's run is not somebody else's."""
    due_at = _database().run(partial(claim_run, schedule=schedule, every_seconds=every_seconds))
    if due_at is not None:
        outcome = work()
        _database().run(partial(finish_run, schedule=schedule, due_at=due_at, outcome=outcome))
