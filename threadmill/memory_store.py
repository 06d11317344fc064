"""The store of an agent that was given none: in this process's memory, for whichever event loop or thread asks.

What stays true: no caller has to close it. It is closed once its agent and the threads that it answered are gone.
"""

import asyncio
from threading import Lock
from weakref import WeakKeyDictionary, finalize

from conversation.thread import Thread
from store.thread_store import ThreadStore


class MemoryStore:
    """The store in memory of one agent."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._store: ThreadStore | None = None

    async def open_store(self) -> ThreadStore:
        """The store, opened at the first call."""
        return self._store if self._store is not None else await asyncio.to_thread(self._open)

    def stay_open_for(self, thread: Thread) -> None:
        """Stay open as long as this working copy is there: another agent may go on with it."""
        _stores_by_thread[thread] = self

    def _open(self) -> ThreadStore:
        with self._lock:
            if self._store is None:
                self._store = ThreadStore.open_in_memory()
                finalize(self, self._store.database.close)
            return self._store


_stores_by_thread: WeakKeyDictionary[Thread, MemoryStore] = WeakKeyDictionary()
