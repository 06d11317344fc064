"""The event loop of callers that have none: what follows threads for them runs there, in a thread of its own.

What stays true: all sync viewers of a producer share this loop, and so one listener and one poll; one that is left,
or interrupted, leaves nothing running there.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
#: Seconds that closing waits for what is on its way.
CLOSE_SECONDS = 10.0


class SyncLoop:
    """One event loop in a thread, started with the first viewer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def iterate(self, follow: Callable[P, AsyncIterator[T]], *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        """Iterate over an async iterator, for a caller who blocks. Closing the one closes the other."""
        loop = self._open()
        stream: _Stream[T] = _Stream(partial(follow, *args, **kwargs))
        try:
            while (item := asyncio.run_coroutine_threadsafe(stream.pull(), loop).result()) is not None:
                yield item[0]
        except CancelledError:
            # The loop was closed.
            return
        finally:
            if self._loop is loop:
                closing = asyncio.run_coroutine_threadsafe(stream.close(), loop)
                # A collector of garbage may run in the loop's own thread, which must not wait for itself.
                if threading.current_thread() is not self._thread:
                    closing.result(CLOSE_SECONDS)

    def close(self, clean_up: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Clean up on the loop, then stop it: viewers that block come to their end. Nothing where none is running."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(clean_up(), loop).result(CLOSE_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(CLOSE_SECONDS)

    def _open(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_run, args=(self._loop,), name="threadmill-events", daemon=True)
                self._thread.start()
            return self._loop


class _Stream(Generic[T]):
    """An async iterator, of which one item at a time is asked for. Only on its event loop."""

    def __init__(self, follow: Callable[[], AsyncIterator[T]]) -> None:
        self._follow = follow
        self._iterator: AsyncIterator[T] | None = None
        self._pulling: asyncio.Task[Any] | None = None

    async def pull(self) -> tuple[T] | None:
        """The next item, or None at the end."""
        if self._iterator is None:
            self._iterator = self._follow()
        self._pulling = asyncio.current_task()
        try:
            return (await anext(self._iterator),)
        except StopAsyncIteration:
            return None
        finally:
            self._pulling = None

    async def close(self) -> None:
        """Break off what is asked for, and close the iterator."""
        if self._pulling is not None:
            self._pulling.cancel()
            await asyncio.wait({self._pulling})
        aclose = getattr(self._iterator, "aclose", None)
        if aclose is not None:
            await aclose()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        _cancel_all(loop)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
