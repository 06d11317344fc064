"""A pooler that lends its connections by the transaction, as PgBouncer does with `pool_mode = transaction`.

What it does as PgBouncer does, by default: a client logs in without a connection to the server; it gets
one with the first message of a transaction and gives it back when the server says that none is open;
nothing is reset between two clients; start-up parameters that it does not track are refused, and so is
each parameter in `options`; a client that hangs up in a transaction costs the connection.
"""

import asyncio
import os
import socket

from psycopg.pq import ConnStatus, PGconn

from tests.integration.relay import Relay
from tests.integration.wire import QUERY, READY_FOR_QUERY

#: Start-up parameters that it takes: those that the server reports, and who wants what.
TRACKED = frozenset(
    {
        *("user", "database", "application_name"),
        *("client_encoding", "DateStyle", "TimeZone", "standard_conforming_strings"),
    }
)
#: What the server reports at log-in, and clients read.
REPORTED = (
    *("server_version", "server_encoding", "client_encoding", "DateStyle", "TimeZone"),
    *("integer_datetimes", "standard_conforming_strings", "IntervalStyle"),
)
#: The version fields of messages that come before the first one: for TLS, for GSSAPI.
ENCRYPTION = {80877103, 80877104}
TERMINATE, SYNC, IDLE = b"X", b"S", b"I"


class Pooler(Relay):
    """Lends `size` connections to as many clients as come; `url` leads to it."""

    def __init__(self, database_url: str, *, size: int = 1) -> None:
        super().__init__(database_url)
        self._size = size
        self._free: asyncio.Queue[_Server] = asyncio.Queue()
        self._clients: set[asyncio.Task[None]] = set()
        #: How often a connection was lent: once a transaction.
        self.lent = 0
        #: Clients that were logged in at one time, at most.
        self.most_clients = 0

    async def _open(self) -> asyncio.Server:
        for _ in range(self._size):
            self._free.put_nowait(await _Server.opened(self._url()))
        return await super()._open()

    def _url(self) -> str:
        return self._plain.set(drivername="postgresql").render_as_string(hide_password=False)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            if await self._log_in(reader, writer):
                self.most_clients = max(self.most_clients, len(self._clients))
                await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._clients.discard(task)

    async def _log_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        while True:
            length = int.from_bytes(await reader.readexactly(4))
            body = await reader.readexactly(length - 4)
            if int.from_bytes(body[:4]) not in ENCRYPTION:
                break
            writer.write(b"N")
        words = body[4:].rstrip(b"\0").decode().split("\0")
        complaint = refusal(dict(zip(words[::2], words[1::2], strict=True)))
        if complaint:
            fields = f"SFATAL\0VFATAL\0C08P01\0M{complaint}\0\0".encode()
            writer.write(message(b"E", fields))
            await writer.drain()
            return False
        server = await self._free.get()
        greeting = server.greeting
        self._free.put_nowait(server)
        writer.write(message(b"R", bytes(4)) + greeting + message(READY_FOR_QUERY, IDLE))
        await writer.drain()
        return True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Transaction after transaction, each on whichever connection is free."""
        while True:
            first = await read_message(reader)
            if first[0] == TERMINATE:
                return
            server = await self._free.get()
            self.lent += 1
            try:
                await _lend(server, first, reader, writer)
            except BaseException:
                # In the middle of a transaction: what it left there is nobody's.
                server.close()
                server = await _Server.opened(self._url())
                raise
            finally:
                self._free.put_nowait(server)

    async def _close(self) -> None:
        await super()._close()
        for task in list(self._clients):
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        while not self._free.empty():
            self._free.get_nowait().close()


class _Server:
    """A connection to the server that the driver has logged in, and that we then speak on ourselves."""

    def __init__(self, login: PGconn, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._login = login
        self.reader, self.writer = reader, writer
        self.greeting = b"".join(
            message(b"S", name.encode() + b"\0" + value + b"\0")
            for name in REPORTED
            if (value := login.parameter_status(name.encode())) is not None
        )

    @classmethod
    async def opened(cls, url: str) -> "_Server":
        login = await asyncio.to_thread(PGconn.connect, url.encode())
        assert login.status == ConnStatus.OK, login.error_message
        ours = socket.socket(fileno=os.dup(login.socket))
        ours.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=ours)
        return cls(login, reader, writer)

    def close(self) -> None:
        self.writer.close()
        self._login.finish()


async def _lend(
    server: _Server, first: tuple[bytes, bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Carry messages both ways until the server is in no transaction any more."""
    sent = first
    while True:
        server.writer.write(message(*sent))
        if sent[0] in (QUERY, SYNC):
            status = await _answered(server, writer)
            if status == IDLE:
                return
        sent = await read_message(reader)
        if sent[0] == TERMINATE:
            raise ConnectionError("hung up in a transaction")


async def _answered(server: _Server, writer: asyncio.StreamWriter) -> bytes:
    """Pass an answer on to its end; the server's state then."""
    while True:
        kind, body = await read_message(server.reader)
        writer.write(message(kind, body))
        if kind == READY_FOR_QUERY:
            await writer.drain()
            return body


def refusal(parameters: dict[str, str]) -> str:
    """What is said to a client that asks for what a pooler cannot keep."""
    for word in parameters.pop("options", "").replace("-c ", "-c").split():
        name = word.removeprefix("-c").partition("=")[0]
        if name not in TRACKED:
            return f"unsupported startup parameter in options: {name}"
    unknown = sorted(parameters.keys() - TRACKED)
    return f"unsupported startup parameter: {unknown[0]}" if unknown else ""


def message(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4) + body


async def read_message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    kind = await reader.readexactly(1)
    length = int.from_bytes(await reader.readexactly(4))
    return kind, await reader.readexactly(length - 4)
