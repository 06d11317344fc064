"""Preparing files for models, in processes of their own.

What stays true: a task carries a hash, never a name; a file is prepared by one process at a time,
however often it is requested; a request that is lost is sent again by the waiting turn, and by beat.
"""

import asyncio
from functools import partial

import structlog

from agent.files.prepare import prepare_file
from conversation.errors import FileNotStored, FileStoreUnavailable
from conversation.task_contract import PREPARE_FILE
from store.blobs import open_file_store
from store.database.engine import Database
from store.files.prepare import FilePreparer
from store.settings import current
from tasks.celery_app import app

#: Seconds for one file, its download and its scan included: the pool kills a process that takes longer.
TIME_LIMIT_SECONDS = 150.0

_log = structlog.get_logger(__name__)


@app.task(name=PREPARE_FILE, shared=False, time_limit=TIME_LIMIT_SECONDS)  # type: ignore[untyped-decorator]  # celery ships no types
def prepare(*, v: int, tenant: str, sha256: str) -> None:
    """Prepare one file, unless it is prepared or another process is preparing it."""
    del v  # the payload has had one shape so far
    with structlog.contextvars.bound_contextvars(tenant=tenant, sha256=sha256):
        try:
            asyncio.run(_prepare(tenant, sha256))
        except (FileStoreUnavailable, FileNotStored) as error:
            # The waiting turn requests it again; beat does, too.
            _log.warning("file_not_prepared", reason=type(error).__name__)


async def _prepare(tenant: str, sha256: str) -> None:
    database, files = Database(current()), open_file_store(current())
    try:
        read = partial(prepare_file, ocr_languages=current().languages_to_recognize)
        await FilePreparer(files, database, read).prepare(tenant, sha256)
    finally:
        files.close()
        await database.close_async()
