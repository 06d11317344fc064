"""The event loop on which every session of this process with an MCP server lives, in a thread of its own.

What stays true: a session begins, is used and ends on this one loop, whichever loop a turn or a tool runs on and
however soon that one ends; a large answer is parsed here, and holds up no worker's loop.
"""

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

Result = TypeVar("Result")

#: Seconds for sessions to end with their process: a server that was started has two to go by itself.
CLOSE_SECONDS = 5.0


@dataclass(slots=True, eq=False)
class LoopThread:
    """A loop that runs until the process ends."""

    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    thread: threading.Thread = field(init=False)
    #: Another process that was forked from this one has no such thread.
    pid: int = field(default_factory=os.getpid)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, name="mcp", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.close()

    async def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Await on this loop; cancelling the caller cancels it there."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))

    def close(self) -> None:
        """End what runs on the loop, and the loop."""
        if self.pid != os.getpid() or not self.thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(_cancel_all(), self.loop).add_done_callback(
            lambda _: self.loop.call_soon_threadsafe(self.loop.stop)
        )
        self.thread.join(CLOSE_SECONDS)


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=CLOSE_SECONDS) if tasks else None


_lock = threading.Lock()
_current: LoopThread | None = None


def loop_thread(create: Callable[[], LoopThread] = LoopThread) -> LoopThread:
    """The loop of this process, which starts when it is first asked for."""
    global _current  # noqa: PLW0603 - one for the process, as the thread is
    with _lock:
        if _current is None or _current.pid != os.getpid():
            _current = create()
            atexit.register(_current.close)
        return _current
