"""The network backend: resolve a name once, judge every address, connect to one of those.

What stays true: the address that is connected to is one that the guard has just let pass; no
second lookup can bring another one in. Host header, server name and certificate check stay those
of the name: they are made of the URL, above this.
"""

import asyncio
import socket
from collections.abc import Iterable, Sequence
from typing import Any

import httpcore

from agent.web.address_guard import AddressGuard
from agent.web.errors import NotReached, UrlRejected
from agent.web.reach import Resolve


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """The network backend for the connections of one request, or of one client that has a single URL."""

    def __init__(
        self,
        guard: AddressGuard,
        resolve: Resolve,
        *,
        redacted_url: str,
        http: Any = httpcore,
        connect_seconds: float | None = None,
    ) -> None:
        """`http` is the library that connects through it: httpcore, or another with the same names.

        `connect_seconds` are for connections whose request names no limit.
        """
        self._connect_seconds = connect_seconds
        self._guard = guard
        self._resolve = resolve
        self._redacted_url = redacted_url
        self._http = http
        self._sockets = http.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to a host. Raises `UrlRejected` if any of its addresses must not be talked to."""
        timeout = timeout if timeout is not None else self._connect_seconds
        assert timeout is not None, "every transfer has a limit"
        deadline = asyncio.get_running_loop().time() + timeout
        addresses = await self._resolve_and_check(host, port, timeout)
        for addresses_left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            # Each address gets its share, so that a dead first one leaves time for the others.
            share = (deadline - asyncio.get_running_loop().time()) / addresses_left
            try:
                stream: httpcore.AsyncNetworkStream = await self._sockets.connect_tcp(
                    address, port, share, local_address, socket_options
                )
                return stream
            except (self._http.ConnectError, self._http.ConnectTimeout):
                if addresses_left == 1:
                    raise
        raise NotReached(f"{self._redacted_url} could not be reached: its name has no address")

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        """Refuse: no URL leads to a file of this machine."""
        raise UrlRejected(f"{self._redacted_url} is no web address")

    async def _resolve_and_check(self, host: str, port: int, timeout: float) -> Sequence[str]:
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._resolve(host, port)
        except TimeoutError:
            raise self._http.ConnectTimeout from None
        except (socket.gaierror, UnicodeError):
            raise NotReached(f"{self._redacted_url} could not be reached: no such host is known") from None
        for address in addresses:
            kind = self._guard.objection(address)
            if kind is not None:
                # The address itself is not named: a model has no business with inner networks.
                raise UrlRejected(f"{self._redacted_url} leads to {kind}; only public addresses are fetched")
        return addresses
