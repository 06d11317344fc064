"""The files that a tool may open: those of its thread, and those of tools earlier in the turn.

What stays true: a name or hash reaches no file of another thread; a file that is blocked is not
opened. From whatever loop or thread a tool asks, the work is done on the turn's loop, where the database's
connections are.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from agent.files.protocol import AttachmentReader
from conversation.attachment import Attachment
from conversation.errors import InvalidInput

#: File names in the error for one that is not there.
OFFERED_NAMES_MAX = 20

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ThreadFiles:
    """The files of the thread that one turn runs on. Made on the turn's loop."""

    reader: AttachmentReader
    tenant: str
    thread_id: str
    #: The files of tools in this turn so far, the newest last.
    turn_files: Callable[[], Sequence[Attachment]]
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    async def all(self) -> tuple[Attachment, ...]:
        """List the files, the newest first, each name and content once."""
        return await self._run_on_turn_loop(self._list())

    async def open(self, name: str) -> bytes:
        """The bytes of the newest file of this name, or of this hash.

        Raises `InvalidInput` where the thread has none, `FileRejected` where it is blocked.
        """
        return await self._run_on_turn_loop(self._open(name))

    async def _run_on_turn_loop(self, work: Coroutine[Any, Any, T]) -> T:
        if asyncio.get_running_loop() is self.loop:
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))

    async def _list(self) -> tuple[Attachment, ...]:
        stored_files = await self.reader.list_thread_files(self.tenant, self.thread_id)
        candidates = [*reversed(self.turn_files()), *stored_files]
        return tuple({(file.filename, file.sha256): file for file in reversed(candidates)}.values())[::-1]

    async def _open(self, name: str) -> bytes:
        files = await self._list()
        file = next((file for file in files if name in (file.filename, file.sha256)), None)
        if file is None:
            names = ", ".join(dict.fromkeys(repr(file.filename) for file in files[:OFFERED_NAMES_MAX]))
            fix = f"pass one of {names}" if names else "there are none in this conversation"
            raise InvalidInput("file", f"{name[:255]!r} is no file of this conversation", fix)
        return await self.reader.open(self.tenant, file)

    def wait_for(self, work: Coroutine[Any, Any, T], seconds: float | None) -> T:
        """Run a coroutine on the loop while this thread waits. Raises `RuntimeError` on any loop."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            work.close()
            raise RuntimeError("this would hold up the event loop: await files() or open_file() instead")
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(seconds)
