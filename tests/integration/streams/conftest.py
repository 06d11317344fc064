"""Streams over rows of a real store, with events that the test says."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import pytest

from producers.http.dependencies import Gateway
from producers.producer import Producer
from store.settings import load
from tests.integration.streams.scripted_gateway import ADA, THREAD, OneKey, ScriptedHub


@dataclass
class Stage:
    """One gateway, its hub, and a turn of a thread that Ada owns."""

    hub: ScriptedHub
    gateway: Gateway
    turn_id: str

    def gateway_with(self, **settings: Any) -> Gateway:
        """The same with other settings."""
        changed = self.gateway.settings.model_copy(update=settings)
        return Gateway(
            settings=changed,
            producer=self.gateway.producer,
            authenticator=self.gateway.authenticator,
            hub=self.gateway.hub,
        )


@pytest.fixture
def stage(sqlite_url: str) -> Iterator[Stage]:
    # Nobody listens there: a wake-up that is lost changes nothing here.
    producer = Producer(load(database_url=sqlite_url, broker_url="redis://127.0.0.1:1/0"))
    turn = producer.send(THREAD, "hello", user="ada", allow_unknown_agent=True)
    hub = ScriptedHub()
    gateway = Gateway(settings=producer.settings, producer=producer, authenticator=OneKey(ADA), hub=cast("Any", hub))
    yield Stage(hub, gateway, turn.id)
    producer.close()
