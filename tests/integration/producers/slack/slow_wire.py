"""A wire between processes and PostgreSQL whose answers take their time."""

import asyncio
from contextlib import suppress

from tests.integration.relay import Relay

#: Bytes that are read at once.
CHUNK_BYTES = 65536


class SlowWire(Relay):
    """Passes every byte on, and each answer after so many seconds."""

    def __init__(self, database_url: str) -> None:
        super().__init__(database_url)
        self.delay_seconds = 0.0
        self._pairs: set[asyncio.Task[None]] = set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pairs.add(task)
        host, port = str(self._upstream.host), int(self._upstream.port or 0)
        from_server, to_server = await asyncio.open_connection(host, port)
        ways = [
            asyncio.create_task(self._pass_on(reader, to_server, is_answer=False)),
            asyncio.create_task(self._pass_on(from_server, writer, is_answer=True)),
        ]
        try:
            # A process that was killed closes its end: the server shall hear of it.
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            writer.close()
            to_server.close()
            self._pairs.discard(task)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(CHUNK_BYTES):
                if is_answer:
                    await asyncio.sleep(self.delay_seconds)
                writer.write(chunk)
                await writer.drain()

    async def _close(self) -> None:
        await super()._close()
        pairs = list(self._pairs)
        for task in pairs:
            task.cancel()
        await asyncio.gather(*pairs, return_exceptions=True)
