"""A proxy that loses answers: the request was delivered, and nothing comes back."""

import asyncio
from contextlib import suppress

from tests.integration.streams.cutting_proxy import CuttingProxy


class LosingProxy(CuttingProxy):
    """Cuts as its elder does; and the answers of the next requests that begin a connection are lost."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.losses = 0

    def lose(self, count: int) -> None:
        """Lose so many answers, beginning with the next request."""
        self.cut()
        self.losses = count

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.losses == 0:
            await super()._accept(reader, writer)
            return
        self.losses -= 1
        upstream, to_upstream = await asyncio.open_connection("127.0.0.1", self.port)
        with suppress(OSError):
            async with asyncio.timeout(20):
                pass_on = asyncio.create_task(_pass_on(reader, to_upstream))
                # It was carried out when the answer begins.
                await upstream.read(1)
                pass_on.cancel()
        for each in (writer, to_upstream):
            each.transport.abort()


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(4096):
        target.write(data)
        await target.drain()
