"""The gateway as an ASGI app: `create_gateway`, by itself or mounted in an app of FastAPI or Starlette.

What stays true: nothing connects before the first request or the app's start; a mounted gateway, whose lifespan no
server runs, works all the same, and `run_gateway` in the outer app's lifespan warms it up and closes it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec

from fastapi import FastAPI
from starlette.middleware import Middleware

from producers.http import health, problems
from producers.http.dependencies import Gateway
from producers.http.middleware.request_ids import RequestIds
from producers.http.principal import Authenticator
from producers.producer import Producer
from store.settings import Settings, current

#: Modules whose `router` is served under `/v1`; the paths in them begin with that of their resource.
_RESOURCES = ("threads", "messages", "turns", "streams", "stream_tokens", "files", "context", "summaries", "usage")


def create_gateway(
    settings: Settings | None = None, *, producer: Producer | None = None, authenticator: Authenticator | None = None
) -> FastAPI:
    """Make a gateway; `settings` are the process's, if not given.

    A `producer` that is given is shared, and stays open when the gateway closes.
    """
    settings = settings or (producer.settings if producer else current())
    app = FastAPI(
        title="Threadmill",
        version="1",
        lifespan=run_gateway,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=[Middleware(RequestIds)],
    )
    problems.add_handlers(app)
    app.state.owns_producer = producer is None
    app.state.gateway = _open(settings, producer or Producer(settings), authenticator)
    app.include_router(health.router)
    for name in _RESOURCES:
        if find_spec(f"producers.http.{name}"):
            app.include_router(import_module(f"producers.http.{name}").router, prefix="/v1")
    return app


@asynccontextmanager
async def run_gateway(app: FastAPI) -> AsyncIterator[None]:
    """Warm a gateway up, and close it at the end: its lifespan, or a part of the outer app's where it is mounted."""
    gateway: Gateway = app.state.gateway
    await gateway.producer.warm_up_async()
    try:
        yield
    finally:
        if app.state.owns_producer:
            await gateway.producer.close_async()


def _open(settings: Settings, producer: Producer, authenticator: Authenticator | None) -> Gateway:
    if authenticator is None:
        authenticator = import_module("producers.http.authenticator").create_authenticator(producer)
    hub = (
        import_module("producers.events.hub").EventHub(producer.connections)
        if find_spec("producers.events.hub")
        else None
    )
    return Gateway(settings=settings, producer=producer, authenticator=authenticator, hub=hub)  # type: ignore[arg-type]
