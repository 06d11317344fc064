"""A proxy that cuts: each connection lives so many seconds, or carries so many bytes of answer, at most."""

import asyncio
from contextlib import suppress
from typing import Self


class CuttingProxy:
    """Passes bytes on to `port`, which may be another one at each connection."""

    def __init__(self, port: int, *, seconds: float | None = None, size: int | None = None) -> None:
        self.port = port
        self.seconds = seconds
        self.size = size
        self.connections = 0
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """Cut all connections now."""
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        pair = {writer}
        self._writers.add(writer)
        with suppress(OSError):
            upstream, to_upstream = await asyncio.open_connection("127.0.0.1", self.port)
            pair.add(to_upstream)
            self._writers.add(to_upstream)
            ways = {
                asyncio.create_task(_pass_on(reader, to_upstream)),
                asyncio.create_task(_pass_on(upstream, writer, self.size)),
            }
            _, rest = await asyncio.wait(ways, timeout=self.seconds, return_when=asyncio.FIRST_COMPLETED)
            for way in rest:
                way.cancel()
            await asyncio.wait(ways)
        for each in pair:
            each.transport.abort()
        self._writers -= pair


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter, size: int | None = None) -> None:
    left = float("inf") if size is None else size
    with suppress(OSError):
        while left > 0 and (data := await source.read(4096)):
            target.write(data[: int(min(left, len(data)))])
            left -= len(data)
            await target.drain()
