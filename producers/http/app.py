"""The gateway as an ASGI app: `create_gateway`, by itself or mounted in an app of FastAPI or Starlette.

What stays true: nothing connects before the first request or the app's start; a mounted gateway, whose lifespan no
server runs, works all the same, and `run_gateway` in the outer app's lifespan warms it up and closes it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from conversation.logs import use_standard_logging
from producers.events.hub import EventHub
from producers.http import (
    branches,
    context,
    files,
    health,
    inbound,
    inbound_sources,
    messages,
    pending,
    problems,
    schedules,
    stream_tokens,
    streams,
    summaries,
    threads,
    turns,
    usage,
    webhooks,
)
from producers.http.authenticator import CredentialAuthenticator
from producers.http.dependencies import Gateway
from producers.http.middleware.access_log import AccessLog
from producers.http.middleware.body_limit import BodyLimit
from producers.http.middleware.errors import ErrorBorder
from producers.http.middleware.idempotency import Idempotency
from producers.http.middleware.request_ids import RequestIds
from producers.http.middleware.time_limit import TimeLimit
from producers.http.openapi import API_DESCRIPTION, describe_api
from producers.http.page import page_route
from producers.http.principal import Authenticator
from producers.http.rate_limits import RateLimiter
from producers.producer import Producer
from producers.slack import create_slack_app
from store.settings import Settings, current

#: Modules whose `router` is served under `/v1`; the paths in them begin with that of their resource.
_RESOURCES = (
    threads, messages, branches, turns, pending, streams, stream_tokens, files, context, summaries, usage,
    schedules, inbound, inbound_sources, webhooks,
)  # fmt: skip
#: Headers that pages of other origins may send, and may read.
_CORS_REQUEST_HEADERS = (
    "Authorization",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Last-Event-ID",
    "X-Api-Key",
    "X-Request-Id",
)
_CORS_ANSWER_HEADERS = (
    "Content-Disposition", "ETag", "Idempotent-Replayed", "Location", "RateLimit", "RateLimit-Policy", "Retry-After",
    "WWW-Authenticate", "X-Request-Id",
)  # fmt: skip


def create_gateway(
    settings: Settings | None = None, *, producer: Producer | None = None, authenticator: Authenticator | None = None
) -> FastAPI:
    """Make a gateway; `settings` are the process's, if not given.

    A `producer` that is given is shared, and stays open when the gateway closes.
    """
    use_standard_logging()
    settings = settings or (producer.settings if producer else current())
    app = FastAPI(
        title="Threadmill",
        version="1",
        description=API_DESCRIPTION,
        lifespan=run_gateway,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_name_operation,
        middleware=_list_middleware(settings),
    )
    problems.add_handlers(app)
    app.state.slack = None
    app.state.gateway = _open(app, settings, producer, authenticator)
    app.include_router(health.router)
    for resource in _RESOURCES:
        app.include_router(resource.router, prefix="/v1")
    if settings.slack_signing_secret.get_secret_value():
        _mount_slack(app)
    if settings.gateway_page:
        app.routes.append(page_route(Path(settings.gateway_page), settings))
    app.openapi = lambda: describe_api(app)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def run_gateway(app: FastAPI) -> AsyncIterator[None]:
    """Warm a gateway up, and close it at the end: its lifespan, or a part of the outer app's where it is mounted."""
    gateway: Gateway = app.state.gateway
    gateway.streams.resume()
    await gateway.producer.warm_up_async()
    if app.state.slack is not None:
        app.state.slack.start()
    try:
        yield
    finally:
        gateway.drain()
        async with AsyncExitStack() as stack:
            for close in app.state.closers:
                stack.push_async_callback(close)


def _mount_slack(app: FastAPI) -> None:
    """Serve what Slack sends under `/slack`, and write answers there."""
    gateway: Gateway = app.state.gateway
    app.state.slack = create_slack_app(gateway.settings, producer=gateway.producer)
    app.mount("/slack", app.state.slack)
    app.state.closers.append(app.state.slack.close_async)


def _name_operation(route: APIRoute) -> str:
    """The operation id of a route that says none."""
    return route.name


def _list_middleware(settings: Settings) -> list[Middleware]:
    """The middleware, from the outermost: what an inner one answers has the headers of the outer ones."""
    cors = Middleware(
        CORSMiddleware,
        allow_origins=settings.gateway_cors_origins,
        allow_methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
        allow_headers=_CORS_REQUEST_HEADERS,
        expose_headers=_CORS_ANSWER_HEADERS,
    )
    return [
        Middleware(RequestIds),
        Middleware(AccessLog),
        *([cors] if settings.gateway_cors_origins else []),
        Middleware(ErrorBorder),
        Middleware(TimeLimit, seconds=settings.gateway_request_timeout_seconds),
        Middleware(
            BodyLimit, max_bytes=settings.gateway_max_body_bytes, max_form_bytes=settings.gateway_max_form_bytes
        ),
        Middleware(Idempotency),
    ]


def _open(app: FastAPI, settings: Settings, producer: Producer | None, authenticator: Authenticator | None) -> Gateway:
    """Open what a gateway has; what is its own is closed with it, the newest first."""
    closers: list[Callable[[], Awaitable[None]]] = []
    app.state.closers = closers
    if producer is None:
        producer = Producer(settings)
        closers.append(producer.close_async)
    if authenticator is None:
        authenticator = CredentialAuthenticator(producer)
        closers.append(authenticator.close)
    hub, rate_limiter = EventHub(producer.connections), RateLimiter(settings)
    closers += [rate_limiter.close, hub.close_async]
    return Gateway(
        settings=settings, producer=producer, authenticator=authenticator, hub=hub, rate_limiter=rate_limiter
    )
