"""A wire to PostgreSQL that breaks where a test says: before a statement arrives, or before its answer does.

A statement is what the client waits for: a simple query, or all that one Sync ends. BEGIN and COMMIT
count. Statements are counted on each connection for itself, from the moment that the break is set.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Literal

from tests.integration.relay import Relay
from tests.integration.wire import CHUNK_BYTES, PARSE, QUERY, READY_FOR_QUERY, Messages

SYNC = b"S"

#: `before`: the server never sees the statement. `after`: it has run it, and its answer is lost.
Moment = Literal["before", "after"]


@dataclass
class Break:
    """Where the wire breaks, and what passed until then."""

    #: The statement, from 1; 0 never breaks.
    at: int = 0
    moment: Moment = "before"
    #: How many connections break there, one after the other.
    times: int = 1
    broken: int = 0
    #: What arrived at the server, without parameters.
    statements: list[str] = field(default_factory=list)

    def strikes(self, number: int, moment: Moment) -> bool:
        if self.broken >= self.times or (number, moment) != (self.at, self.moment):
            return False
        self.broken += 1
        return True


class BreakingWire(Relay):
    """Passes everything on until it breaks. `url` leads through it."""

    def __init__(self, database_url: str) -> None:
        super().__init__(database_url)
        self._pairs: set[_Pair] = set()
        self.set = Break()

    def breaks(self, at: int = 0, moment: Moment = "before", *, times: int = 1) -> Break:
        """Set where it breaks next; counting begins anew on every connection."""
        new = Break(at, moment, times)
        self._ask(self._set(new))
        return new

    async def _set(self, new: Break) -> None:
        self.set = new
        for pair in self._pairs:
            pair.asked = pair.answered = 0

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(self._upstream.host, self._upstream.port)
        pair = _Pair(self, reader, writer, from_server, to_server)
        self._pairs.add(pair)
        try:
            await pair.pass_on()
        finally:
            self._pairs.discard(pair)

    async def _close(self) -> None:
        await super()._close()
        for pair in list(self._pairs):
            pair.hang_up()
        await asyncio.gather(*(pair.task for pair in list(self._pairs)), return_exceptions=True)


class _Pair:
    """One connection."""

    def __init__(
        self,
        wire: BreakingWire,
        from_client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        from_server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        self._wire = wire
        self._from_client, self._to_client = from_client, to_client
        self._from_server, self._to_server = from_server, to_server
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        self._is_open = False
        self._is_cut = False
        self.asked = self.answered = 0

    async def pass_on(self) -> None:
        try:
            await asyncio.gather(
                self._carry(self._from_client, self._to_server, Messages(self._ask, opens_without_type=True)),
                self._carry(self._from_server, self._to_client, Messages(self._answer)),
            )
        except ConnectionError:
            pass
        finally:
            self.hang_up()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, messages: Messages) -> None:
        while data := await reader.read(CHUNK_BYTES):
            # The client sends a statement at once and then waits: a chunk never holds two of them.
            messages.feed(data)
            if self._is_cut:
                break
            writer.write(data)
            await writer.drain()
        self.hang_up()

    def hang_up(self) -> None:
        for end in (self._to_client, self._to_server):
            end.close()

    def _ask(self, kind: bytes, body: bytes) -> None:
        if kind in (QUERY, SYNC):
            self.asked += 1
            self._is_cut = self._is_cut or self._wire.set.strikes(self.asked, "before")
        if kind in (QUERY, PARSE) and not self._is_cut:
            self._wire.set.statements.append(body.split(b"\0")[0 if kind == QUERY else 1].decode())

    def _answer(self, kind: bytes, body: bytes) -> None:
        del body
        if kind != READY_FOR_QUERY:
            return
        if not self._is_open:
            # It ends the greeting.
            self._is_open = True
            return
        self.answered += 1
        self._is_cut = self._is_cut or self._wire.set.strikes(self.answered, "after")
