"""Connections to the broker that stay open, lent to one thread or task at a time.

What stays true: a connection that failed is not lent again; where a command failed on it, neither is any that was
open beside it: they lead to the same server. A forked child has none of its parent's. No more are kept unused than
`IDLE_MAX`.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from store.live.broker_address import BrokerAddress
from store.live.broker_connection import BrokerConnection

#: Seconds for which a connection is kept unused: routers on the way forget it after minutes, without a word,
#: and the next command would wait for its timeout.
IDLE_SECONDS_MAX = 60.0
#: Connections that are kept unused.
IDLE_MAX = 64

C = TypeVar("C", bound=BrokerConnection)


class BrokerConnections(Generic[C]):
    """Connections of one kind to one broker."""

    def __init__(self, kind: type[C], address: BrokerAddress, *, timeout_seconds: float) -> None:
        """`timeout_seconds` bounds each wait for the server: to connect, to log in, to answer."""
        self._kind = kind
        self._address = address
        self._timeout_seconds = timeout_seconds
        self._pid = os.getpid()
        #: Connections that nobody uses, and when each was used last. The freshest are at the end, and taken first.
        self._idle: list[tuple[C, float]] = []
        self._is_closed = False

    def open(self, *, within_seconds: float = float("inf")) -> C:
        """Open a connection. Raises as `BrokerConnection`."""
        return self._kind(self._address, timeout_seconds=min(self._timeout_seconds, within_seconds))

    async def open_async(self, *, within_seconds: float = float("inf")) -> C:
        """As `open`, without a moment of the event loop spent on waiting for the network."""
        seconds = min(self._timeout_seconds, within_seconds)
        async with asyncio.timeout(seconds):
            return await asyncio.to_thread(self.open, within_seconds=seconds)

    def take(self) -> C | None:
        """Take an open connection that the server has not closed; None if there is none."""
        if self._pid != os.getpid():
            # A forked child: these are its parent's.
            self._pid, self._idle = os.getpid(), []
        while (idle := self._pop()) is not None:
            connection, used_at = idle
            if time.monotonic() - used_at <= IDLE_SECONDS_MAX and connection.is_usable():
                return connection
            connection.close()
        return None

    def give_back(self, connection: C) -> None:
        """Keep a connection for the next one who takes it."""
        self._idle.append((connection, time.monotonic()))
        if self._is_closed:
            self._drop_idle()
        # One for each that comes: after a burst, those beyond what is needed go.
        elif (len(self._idle) > IDLE_MAX or self._has_stale()) and (idle := self._pop(0)) is not None:
            idle[0].close()

    def _has_stale(self) -> bool:
        """Whether one was unused for so long that it is not lent again."""
        # Other threads may take it meanwhile.
        return any(time.monotonic() - used_at > IDLE_SECONDS_MAX for _, used_at in self._idle[:1])

    @contextmanager
    def use(self, connection: C) -> Iterator[C]:
        """Give a connection back afterwards, unless a failure or a cancellation left it in the middle of a reply."""
        try:
            yield connection
        except BaseException as error:
            # A cancelled wait as well: the reply would be taken for that of the next command.
            connection.close()
            if isinstance(error, Exception):
                self._drop_idle()
            raise
        self.give_back(connection)

    def close(self) -> None:
        """Close the connections: at once those that nobody uses, the others when they are given back."""
        self._is_closed = True
        self._drop_idle()

    def _drop_idle(self) -> None:
        while (idle := self._pop()) is not None:
            idle[0].close()

    def _pop(self, index: int = -1) -> tuple[C, float] | None:
        """One of a list that other threads use as well; None if it is empty."""
        try:
            return self._idle.pop(index)
        except IndexError:
            return None
