"""Resuming erasures that broke off, in bounded runs.

What stays true: an erasure that fails stops no other, is logged, and is resumed by a later run; one that
another process works on is left to it. A hold keeps it unfinished, until it is released.
"""

import time
from dataclasses import dataclass

import structlog

from conversation.errors import ThreadUnderLegalHold
from store.blobs import BlobStore
from store.database.engine import Database
from store.erasure.unfinished import UnfinishedErasure, claim_erasure
from store.erasure.workflow import resume_erasure

#: Seconds without a step after which no process works on an erasure any more: longer than a step takes,
#: as a rule; where it is not, two work on it, which does no harm.
IDLE_SECONDS = 900.0
#: Seconds of one run: a later one resumes the remainder.
RUN_SECONDS = 300.0

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class ResumeOutcome:
    """The outcome of a run: erasures that were finished, that a hold stops, and that are not finished yet."""

    finished: int = 0
    held: int = 0
    unfinished: int = 0


def resume_erasures(database: Database, files: BlobStore, *, seconds: float = RUN_SECONDS) -> ResumeOutcome:
    """Resume each erasure that no process works on, the longest waiting first."""
    outcome, until = ResumeOutcome(), time.monotonic() + seconds
    while time.monotonic() < until:
        erasure = database.run(claim_erasure, idle_seconds=IDLE_SECONDS)
        if erasure is None:
            break
        _resume(database, files, erasure, outcome, until=until)
    return outcome


def _resume(
    database: Database, files: BlobStore, erasure: UnfinishedErasure, outcome: ResumeOutcome, *, until: float
) -> None:
    try:
        resume_erasure(database, files, erasure.id, erasure.subject, until=until)
    except ThreadUnderLegalHold:
        outcome.held += 1
        _log.warning("erasure_held", erasure_id=erasure.id, tenant=erasure.subject.tenant)
    except Exception as error:  # noqa: BLE001 - whatever stops one, users have asked for the others as well
        outcome.unfinished += 1
        # Not its text: it may name the user whose data is erased.
        reason = type(error).__name__
        _log.warning("erasure_unfinished", erasure_id=erasure.id, tenant=erasure.subject.tenant, reason=reason)
    else:
        outcome.finished += 1
        _log.info("erasure_finished", erasure_id=erasure.id, tenant=erasure.subject.tenant)
