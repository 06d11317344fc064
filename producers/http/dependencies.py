"""Dependencies of the routes: the gateway that it runs in, and a principal with the scope that it needs."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

from fastapi import Depends, Request

from producers.http.open_streams import OpenStreams
from producers.http.openapi import check_parameters
from producers.http.principal import Authenticator, Principal, Scope
from producers.http.problems import Problem
from producers.http.rate_limits import RateLimiter
from producers.http.request_record import record_of
from producers.producer import Producer
from store.database.tenant import name_tenant
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
    rate_limiter: RateLimiter
    #: The streams of events that are open.
    streams: OpenStreams = field(default_factory=OpenStreams)

    def drain(self) -> None:
        """End all streams, so that the server can stop; their readers come again. Only on the event loop."""
        self.streams.drain()


def gateway_of(request: Request) -> Gateway:
    """The gateway that answers a request."""
    gateway: Gateway = request.app.state.gateway
    return gateway


async def authenticate(request: Request) -> Principal:
    """The principal of a request, whatever it may do; it is asked for once a request.

    Raises `Problem` 401 where no credential holds, 429 where it was too busy; `InvalidInput` for parameters that
    the operation does not have.
    """
    record, gateway = record_of(request), gateway_of(request)
    if record.principal is None:
        # A task may come from one that served another request.
        name_tenant(None)
        principal = await gateway.authenticator.authenticate(request.headers, request.query_params)
        if principal is None:
            challenge = {"WWW-Authenticate": "Bearer"}
            raise Problem(401, "Unauthorized", "no valid key or token came with the request", headers=challenge)
        record.principal = principal
        name_tenant(principal.tenant)
        record.headers |= await gateway.rate_limiter.check(principal)
    if "route" in request.scope:
        check_parameters(request)
    return record.principal


def path_of(request: Request, path: str) -> str:
    """The path of a resource as clients see it, wherever the gateway is mounted: for `Location`."""
    return quote(f"{request.scope.get('root_path', '')}{path}", safe="/~")


def _require(scope: Scope) -> Callable[[Request], Awaitable[Principal]]:
    async def require(request: Request) -> Principal:
        principal = await authenticate(request)
        if scope not in principal.scopes or principal.thread_id is not None:
            raise Problem(403, "Forbidden", f"the credential lacks the scope {scope!r}")
        return principal

    return require


GatewayOf = Annotated[Gateway, Depends(gateway_of)]
#: Principals with the scope that a route needs.
Reader = Annotated[Principal, Depends(_require("read"))]
Writer = Annotated[Principal, Depends(_require("write"))]
Operator = Annotated[Principal, Depends(_require("operate"))]
