"""The web client: what tools fetch through, with the operator's rules in it.

What stays true: the rules come from the code that builds the client, never from an argument that a model
wrote. A client holds no connection and belongs to no event loop, so one serves all threads.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence

from agent.web.address_guard import AddressGuard, Network
from agent.web.answer import Answer, PostAnswer, accept_any_type
from agent.web.limits import WebLimits
from agent.web.reach import Reach, Resolve

#: Where the web is served. With any port at all, an agent could knock on mail servers and databases.
WEB_PORTS = (80, 443, 8080, 8443)


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a host, by the machine's own resolver."""
    address_infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in address_infos))


class WebClient:
    """A client that fetches public URLs; others only where their network is allowed by name."""

    def __init__(
        self,
        *,
        allow_networks: Iterable[str | Network] = (),
        allow_ports: Iterable[int] = WEB_PORTS,
        resolve: Resolve = system_resolve,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._ssl_context = ssl_context
        self._reach = Reach(
            guard=AddressGuard(allow_networks),
            allow_ports=frozenset(allow_ports),
            resolve=resolve,
            load_ssl_context=self._load_ssl_context,
        )

    async def get(
        self, url: str, *, limits: WebLimits, objection: Callable[[str], str | None] = accept_any_type
    ) -> Answer:
        """GET a URL, following redirects. Raises `WebError`.

        `objection` says of a media type why it is not wanted; then no body is read.
        """
        from agent.web.fetch import get

        return await get(self._reach, url, limits=limits, objection=objection)

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, limits: WebLimits, shown_url: str
    ) -> PostAnswer:
        """POST a body, and return the status of the answer; no redirect is followed. Raises `WebError`.

        Errors call the URL `shown_url`: it may hold a secret in its path.
        """
        from agent.web.post import post

        return await post(self._reach, url, headers=headers, body=body, limits=limits, shown_url=shown_url)

    async def _load_ssl_context(self) -> ssl.SSLContext:
        """Load the certificates to trust: certifi's list, read once and off the loop."""
        if self._ssl_context is None:
            from httpx import create_ssl_context

            self._ssl_context = await asyncio.to_thread(create_ssl_context, trust_env=False)
        return self._ssl_context
