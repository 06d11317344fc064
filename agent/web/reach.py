"""How far a client may reach: the addresses, the ports and the certificates that an operator allows."""

import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from agent.web.address_guard import AddressGuard

#: All addresses of a host, in the order in which to try them. Raises `socket.gaierror`.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The reach of one client, the same for each of its fetches and every hop of them."""

    guard: AddressGuard
    allow_ports: frozenset[int]
    resolve: Resolve
    #: Loads the certificates to trust: late, since a fetch over plain HTTP needs none.
    load_ssl_context: Callable[[], Awaitable[ssl.SSLContext]]
