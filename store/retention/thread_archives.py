"""The methods of `ThreadStore` for threads that retention deleted and archived."""

from store.retention.restore import ArchivedThread, list_archived_threads, load_stored_parts, read_parts
from store.threads.branch_imports import ImportOutcome
from store.threads.thread_exports import ThreadExports


class ThreadArchives(ThreadExports):
    """The methods of `ThreadStore` for archives: they hold exports, and are imported as these are."""

    async def list_archives(self, thread_id: str) -> list[ArchivedThread]:
        """List the archives of threads of this id, the oldest thread first: an id may be used again."""
        return await self._run_on_thread(list_archived_threads, thread_id)

    async def restore_archive(
        self, thread_id: str, *, as_id: str | None = None, nth: int | None = None
    ) -> ImportOutcome:
        """Read a thread back that retention archived, with its ids, seqs and times; under `as_id`, if named.

        Of several that had this id, the youngest, or the `nth` of `list_archives`. Raises
        `ThreadNotFound` where no archive is, and as `import_thread` does. Neither does it set a legal hold.
        """
        files = (await self._open_file_store()).blobs
        parts = await self._run_on_thread(load_stored_parts, thread_id, nth=nth)
        # Its bytes are addressed by a row of ours: limits that were set since do not lose what was kept before them.
        return await self._import(read_parts(files, parts), thread_id=as_id, is_archive=True)
