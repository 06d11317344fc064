"""Preparing files for models, in processes of their own.

What stays true: a task says that a file waits, and which one is prepared is decided in the database, by all that wait;
a file is prepared by one process at a time, however often it is requested. As long as files wait, a task is on its
way: one that may take none of them looks again, then leaves another behind. Should all be lost, the waiting turn
sends one, and so does beat.
"""

import asyncio
import time
from contextlib import suppress
from functools import partial

import structlog
from kombu.exceptions import OperationalError

from agent.files.prepare import prepare_file
from conversation.errors import FileNotStored, FileStoreUnavailable
from conversation.task_contract import FILES_QUEUE, PREPARE_FILE
from store.blobs import open_file_store
from store.database.engine import Database
from store.files import file_queue
from store.files.file_queue import FileClaim
from store.files.prepare import FilePreparer
from store.files.prepared_rows import Preparation
from store.settings import current
from tasks.celery_app import app
from tasks.neighbours import Neighbours
from tasks.publish import count_queued_tasks, request_file

#: Seconds for one file, its download and its scan included: the pool kills a process that takes longer.
TIME_LIMIT_SECONDS = 150.0
#: Seconds for which a task waits for a file that it may take, and between two looks.
PATIENCE_SECONDS = 10.0
LOOK_SECONDS = 0.5

_log = structlog.get_logger(__name__)
_neighbours = Neighbours()


class _LastServed:
    """The tenant whose file this process began last: those behind it are next."""

    tenant = ""


@app.task(name=PREPARE_FILE, shared=False, time_limit=TIME_LIMIT_SECONDS)  # type: ignore[untyped-decorator]  # celery ships no types
def prepare(*, v: int, tenant: str, sha256: str) -> None:
    """Prepare the file whose turn it is, if any waits: this one, as a rule."""
    del v  # the payload has had one shape so far
    if not asyncio.run(_prepare_next()):
        # Files wait that may not be taken yet: another process, or this one, looks again.
        request_file(tenant, sha256)


async def _prepare_next() -> bool:
    """Prepare the file whose turn it is; False where all that wait are held back."""
    database, files = Database(current()), open_file_store(current())
    try:
        claim = await _claim_patiently(database)
        if claim.preparation is not None:
            await asyncio.to_thread(_see_to_more, claim)
            read = partial(prepare_file, ocr_languages=current().languages_to_recognize)
            await _prepare_begun(FilePreparer(files, database, read), claim.preparation)
        return not claim.is_held_back
    finally:
        files.close()
        await database.close_async()


async def _claim_patiently(database: Database) -> FileClaim:
    """Claim a file; where none may be taken yet, wait a while for one."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        claim = await database.run_async(
            file_queue.claim,
            after=_LastServed.tenant,
            limit=current().tenant_max_running_files,
            has_neighbours=_neighbours.are_several(),
            scans=bool(current().scanner_url),
        )
        for tenant in claim.tenants:
            _neighbours.note(tenant)
        if claim.preparation is not None:
            _LastServed.tenant = claim.preparation.tenant
        if claim.is_settled:
            continue
        if not claim.is_held_back or time.monotonic() > give_up_at:
            return claim
        await asyncio.sleep(LOOK_SECONDS)


async def _prepare_begun(preparer: FilePreparer, preparation: Preparation) -> None:
    with structlog.contextvars.bound_contextvars(tenant=preparation.tenant, sha256=preparation.sha256):
        try:
            await preparer.prepare_begun(preparation)
        except (FileStoreUnavailable, FileNotStored) as error:
            # The waiting turn requests it again; beat does, too.
            _log.warning("file_not_prepared", reason=type(error).__name__)


def _see_to_more(claim: FileClaim) -> None:
    """Have a task on its way for what waits behind a file, should theirs have been lost."""
    preparation = claim.preparation
    # A broker that is away costs the task only.
    with suppress(OperationalError):
        if claim.has_more and preparation is not None and not count_queued_tasks(FILES_QUEUE):
            request_file(preparation.tenant, preparation.sha256)
