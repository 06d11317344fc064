"""A wire-tap between a client and PostgreSQL: what a caller really asks of the database.

A round trip is one answer that the client has to wait for: it ends with the server's ReadyForQuery.
BEGIN and COMMIT are round trips like any other; opening a connection is counted apart.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.integration.relay import Relay

#: Bytes that are read at once.
CHUNK_BYTES = 65536
#: Message types that carry a statement: a simple query, and the first part of an extended one.
QUERY, PARSE = b"Q", b"P"
READY_FOR_QUERY = b"Z"


@dataclass
class Traffic:
    """What passed while somebody listened."""

    #: One a round trip, as the client sent them.
    statements: list[str] = field(default_factory=list)
    round_trips: int = 0
    #: What the server sent, in bytes.
    bytes_read: int = 0
    connections_opened: int = 0

    def __str__(self) -> str:
        lines = [" ".join(statement.split())[:100] for statement in self.statements]
        return "\n".join([f"{self.round_trips} round trips, {self.bytes_read} bytes read", *lines])


class WireTap(Relay):
    """Passes every byte on as it is, and reads along."""

    def __init__(self, database_url: str) -> None:
        super().__init__(database_url)
        self._traffic = Traffic()
        self._pairs: set[asyncio.Task[None]] = set()

    @contextmanager
    def listening(self) -> Iterator[Traffic]:
        """What passes inside the block. The client has to be done with it before the block ends."""
        self._traffic = traffic = Traffic()
        yield traffic
        self._traffic = Traffic()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._upstream.host is not None
        assert self._upstream.port is not None
        task = asyncio.current_task()
        assert task is not None
        self._pairs.add(task)
        to_server: asyncio.StreamWriter | None = None
        try:
            from_server, to_server = await asyncio.open_connection(self._upstream.host, self._upstream.port)
            await asyncio.gather(
                _pass_on(reader, to_server, Messages(self._asked, opens_without_type=True)),
                _pass_on(from_server, writer, Messages(self._answers())),
            )
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            for end in (writer, to_server):
                if end is not None:
                    end.close()
            self._pairs.discard(task)

    def _asked(self, kind: bytes, body: bytes) -> None:
        if kind == QUERY:
            self._traffic.statements.append(body.split(b"\0")[0].decode())
        elif kind == PARSE:
            self._traffic.statements.append(body.split(b"\0")[1].decode())

    def _answers(self) -> Callable[[bytes, bytes], None]:
        is_open = False

        def answered(kind: bytes, body: bytes) -> None:
            nonlocal is_open
            self._traffic.bytes_read += 5 + len(body)
            if kind == READY_FOR_QUERY and is_open:
                self._traffic.round_trips += 1
            elif kind == READY_FOR_QUERY:
                is_open = True
                self._traffic.connections_opened += 1

        return answered

    async def _close(self) -> None:
        await super()._close()
        pairs = list(self._pairs)
        for task in pairs:
            task.cancel()
        await asyncio.gather(*pairs, return_exceptions=True)


class Messages:
    """Cuts one direction of the protocol into messages: a type byte, a length, a body.

    The client's very first message is older than the protocol's types and has none.
    """

    def __init__(self, hear: Callable[[bytes, bytes], None], *, opens_without_type: bool = False) -> None:
        self._hear = hear
        self._rest = b""
        self._type_bytes = 0 if opens_without_type else 1

    def feed(self, data: bytes) -> None:
        self._rest += data
        while len(self._rest) >= self._type_bytes + 4:
            length = int.from_bytes(self._rest[self._type_bytes : self._type_bytes + 4])
            end = self._type_bytes + length
            if len(self._rest) < end:
                return
            self._hear(self._rest[: self._type_bytes], self._rest[self._type_bytes + 4 : end])
            self._rest = self._rest[end:]
            self._type_bytes = 1


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, messages: Messages) -> None:
    while data := await reader.read(CHUNK_BYTES):
        # Counted before it is passed on: whoever has the answer finds it in the count.
        messages.feed(data)
        writer.write(data)
        await writer.drain()
    writer.close()
