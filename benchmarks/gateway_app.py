"""The gateway with one more route: a stream of one event that nothing but the app has to do with.

What stays true: the route has the gateway's middleware, server and encoding, and neither a credential, a row nor a
broker: no stream of this app can be faster.
"""

from collections.abc import AsyncGenerator

from fastapi import FastAPI, Request

from conversation.events import MessageDelta
from producers.http.app import create_gateway
from producers.http.dependencies import gateway_of
from producers.http.sse import EventStreamResponse, encode_event

RAW_PATH = "/raw"


def create() -> FastAPI:
    """Make the app, for a server."""
    app = create_gateway()
    app.add_api_route(RAW_PATH, _stream_one, methods=["POST"], response_model=None)
    return app


async def _stream_one(request: Request) -> EventStreamResponse:
    gateway = gateway_of(request)
    return EventStreamResponse(_say_hello(), streams=gateway.streams, settings=gateway.settings, credential=None)


async def _say_hello() -> AsyncGenerator[bytes]:
    delta = MessageDelta(thread_id="t", turn_id="t", number=1, message_id="m", text="hello")
    yield encode_event(delta, delta.number)
