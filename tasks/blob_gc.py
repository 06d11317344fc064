"""Garbage collection of blobs, as a plain function that a task, a command or a test can call."""

from functools import partial

from store import blob_gc
from store.engine import Database
from store.files import open_file_store
from store.settings import Settings


def run_blob_gc(database: Database, settings: Settings) -> int:
    """Delete blobs that nobody has any more and whose grace is over; returns how many."""
    blobs = 0
    database.run(blob_gc.mark_unused_blobs)
    store = open_file_store(settings)
    delete = partial(
        blob_gc.delete_unused_blobs, delete_object=store.delete, grace_days=settings.blob_grace_days
    )
    while gone := database.run(delete):
        blobs += gone
    store.close()
    return blobs
