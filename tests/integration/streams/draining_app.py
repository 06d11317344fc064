"""Apps for a real server process: the streams by themselves, and mounted in an app that knows nothing of them."""

from typing import Any, cast

from fastapi import FastAPI

from producers.http.dependencies import Gateway
from producers.producer import Producer
from store.settings import current
from tests.integration.streams.scripted_gateway import ADA, OneKey, ScriptedHub, delta, make_app


def _make() -> FastAPI:
    hub = ScriptedHub(events=[delta(5)])
    producer = Producer(current())
    return make_app(
        Gateway(settings=producer.settings, producer=producer, authenticator=OneKey(ADA), hub=cast("Any", hub))
    )


alone = _make()
mounted = FastAPI()
mounted.mount("/chat", _make())
