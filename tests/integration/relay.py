"""Something that stands between a client and PostgreSQL, on an event loop in a thread of its own."""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from sqlalchemy.engine import make_url

#: Seconds that the relay's own loop may take for a word from outside, on a busy machine.
LOOP_SECONDS = 60

T = TypeVar("T")


class Relay(ABC):
    """Listens on a port of this machine; `url` leads to it."""

    def __init__(self, database_url: str) -> None:
        self._upstream = make_url(database_url)
        # In clear: who listens to the protocol has to read it.
        self._plain = self._upstream.update_query_dict({"sslmode": "disable", "gssencmode": "disable"})
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=type(self).__name__, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._ask(self._open())
        port = self._server.sockets[0].getsockname()[1]
        self.url = self._plain.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ask(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _ask(self, work: Coroutine[Any, Any, T]) -> T:
        """Do it on the relay's loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(LOOP_SECONDS)

    async def _open(self) -> asyncio.Server:
        return await asyncio.start_server(self._accept, "127.0.0.1", 0)

    @abstractmethod
    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client."""

    async def _close(self) -> None:
        """Take no more clients, and let go of those that are there."""
        self._server.close()
