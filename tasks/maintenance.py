"""What beat asks for. Each task finds in Postgres what it has to do; a tick that is lost does no harm."""

from functools import cache

import structlog

from conversation.bell import SWEEP_TURNS, TURNS_QUEUE
from store import sweep as sweeping
from store import workers
from store.engine import Database
from store.settings import current
from tasks.app import app
from tasks.rings import ring, waiting_bells

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
            connection, grace_seconds=settings.sweep_grace_seconds, limit=limit
        )
    )
    for bell in bells:
        ring(bell)
    forgotten = _database().run(workers.forget_dead)
    if bells or forgotten:
        _log.info("sweep_rang", bells=len(bells), forgotten_workers=forgotten)
