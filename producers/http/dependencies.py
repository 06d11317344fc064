"""What each route asks for: the gateway that it runs in, and a principal with the scope that it needs."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from producers.http.open_streams import OpenStreams
from producers.http.principal import Authenticator, Principal, Scope
from producers.http.problems import Problem
from producers.producer import Producer
from store.settings import Settings

if TYPE_CHECKING:
    from producers.events.hub import EventHub


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """One gateway: what its routes share."""

    settings: Settings
    producer: Producer
    authenticator: Authenticator
    #: Follows the events of threads.
    hub: "EventHub"
    #: The streams of events that are open.
    streams: OpenStreams = field(default_factory=OpenStreams)

    def drain(self) -> None:
        """End all streams, so that the server can stop; their readers come again. Only on the event loop."""
        self.streams.drain()


def gateway_of(request: Request) -> Gateway:
    """The gateway that answers a request."""
    gateway: Gateway = request.app.state.gateway
    return gateway


def _require(scope: Scope) -> Callable[[Request], Awaitable[Principal]]:
    async def require(request: Request) -> Principal:
        authenticator = gateway_of(request).authenticator
        principal = await authenticator.authenticate(request.headers, request.query_params)
        if principal is None:
            raise Problem(401, "Unauthorized", "no valid key or token came with the request")
        if scope not in principal.scopes or principal.thread_id is not None:
            raise Problem(403, "Forbidden", f"the credential lacks the scope {scope!r}")
        return principal

    return require


GatewayOf = Annotated[Gateway, Depends(gateway_of)]
#: Principals with the scope that a route needs.
Reader = Annotated[Principal, Depends(_require("read"))]
Writer = Annotated[Principal, Depends(_require("write"))]
Operator = Annotated[Principal, Depends(_require("operate"))]
