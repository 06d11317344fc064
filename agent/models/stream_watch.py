"""The watch over a streamed answer: how long its server may be silent, and whether it said that it ended.

What stays true: two limits of time apply here, each with its own name: until the first byte, and between
two bytes. A stream that goes on is cut by neither of them, but by the end of its turn.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

#: The event with which servers of OpenAI's format end a stream. In the text of an answer no line begins so.
_DONE_EVENT = re.compile(rb"(?:^|[\r\n])data:[ \t]*\[DONE\]")
#: A finish reason as the server wrote it: the library replaces many words. In a text its quotes are escaped.
_FINISH_REASON = re.compile(rb'(?<!\\)"finish_reason"\s*:\s*"([a-zA-Z_]{1,64})"')
#: Bytes that are kept of what was read: what is looked for may come in two pieces.
_KEPT_BYTES = 128


class StreamWatch:
    """The watch over one stream."""

    def __init__(self, *, first_byte_seconds: float, silence_seconds: float) -> None:
        self.first_byte_seconds = first_byte_seconds
        self.silence_seconds = silence_seconds
        #: Whether a byte of the answer has come.
        self.has_begun = False
        #: Whether the server said that its answer is whole.
        self.is_done = False
        #: The server's own word for how its answer ended.
        self.finish_reason: str | None = None
        self._first_byte_deadline = _now() + first_byte_seconds
        self._limit: asyncio.Timeout | None = None
        self._tail = b""

    @asynccontextmanager
    async def limit(self, *, at_most_seconds: float | None = None) -> AsyncIterator[None]:
        """Limit a wait, with `TimeoutError`; each byte that comes meanwhile postpones its end.

        `at_most_seconds` is a limit that no byte postpones.
        """
        deadline = _now() + self.silence_seconds if self.has_begun else self._first_byte_deadline
        if at_most_seconds is not None:
            deadline = min(deadline, _now() + at_most_seconds)
        async with asyncio.timeout_at(deadline) as limit:
            self._limit = limit if at_most_seconds is None else None
            try:
                yield
            finally:
                self._limit = None

    def note_bytes(self, data: bytes = b"") -> None:
        """Note that bytes came."""
        self.has_begun = True
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(_now() + self.silence_seconds)
        if not data:
            return
        self._tail += data
        self.is_done = self.is_done or _DONE_EVENT.search(self._tail) is not None
        if match := _FINISH_REASON.search(self._tail):
            self.finish_reason = match[1].decode()
        self._tail = self._tail[-_KEPT_BYTES:]

    def watch(self, response: Any) -> None:
        """Watch the bytes of a response of httpx that nobody has read yet."""
        read_bytes = response.aiter_bytes

        async def read_watched_bytes(chunk_size: int | None = None) -> AsyncIterator[bytes]:
            async for data in read_bytes(chunk_size):
                self.note_bytes(data)
                yield data

        response.aiter_bytes = read_watched_bytes

    @property
    def problem(self) -> str:
        """The reason, in words, of a wait that was in vain."""
        if self.has_begun:
            return f"the stream fell silent for {self.silence_seconds:g} s"
        return f"no answer began within {self.first_byte_seconds:g} s"


def _now() -> float:
    return asyncio.get_running_loop().time()
