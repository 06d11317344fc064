"""Going on with erasures that broke off, in bounded runs.

What stays true: one that fails stops no other, is told, and is taken up again by a later run; one that
somebody works on is left to them. A hold keeps it unfinished, until it is released.
"""

import time
from dataclasses import dataclass
from functools import partial

import structlog

from conversation.errors import ThreadHeld
from store.blobs import BlobStore
from store.database.engine import Database
from store.erasure.unfinished import Unfinished, take_up
from store.erasure.workflow import go_on

#: Seconds without a step after which nobody works on an erasure any more: longer than a step takes, as
#: a rule; where it is not, two work on it, which does no harm.
IDLE_SECONDS = 900.0
#: Seconds of one run: what is left is taken up by a later one.
RUN_SECONDS = 300.0

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Resumed:
    """What a run came to: erasures that were finished, that a hold stops, and that are not finished yet."""

    finished: int = 0
    held: int = 0
    left: int = 0


def resume_erasures(database: Database, files: BlobStore, *, seconds: float = RUN_SECONDS) -> Resumed:
    """Go on with each erasure that nobody works on, the one that waits longest first."""
    resumed, until = Resumed(), time.monotonic() + seconds
    while time.monotonic() < until:
        found = database.run(partial(take_up, idle_seconds=IDLE_SECONDS))
        if found is None:
            break
        _resume(database, files, found, resumed, until=until)
    return resumed


def _resume(
    database: Database, files: BlobStore, found: Unfinished, resumed: Resumed, *, until: float
) -> None:
    try:
        go_on(database, files, found.id, found.subject, until=until)
    except ThreadHeld:
        resumed.held += 1
        _log.warning("erasure_held", erasure_id=found.id, tenant=found.subject.tenant)
    except Exception as error:  # noqa: BLE001 - whatever stops one, the others are persons' wishes as well
        resumed.left += 1
        # Not its text: it may name whom this is about.
        reason = type(error).__name__
        _log.warning("erasure_left", erasure_id=found.id, tenant=found.subject.tenant, reason=reason)
    else:
        resumed.finished += 1
        _log.info("erasure_finished", erasure_id=found.id, tenant=found.subject.tenant)
