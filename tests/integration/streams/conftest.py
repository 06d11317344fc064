"""Streams over rows of a real store, with events that the test says."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI

from producers.http.open_streams import OpenStreams
from producers.http.principal import Principal
from producers.producer import Producer
from store.settings import load
from tests.integration.streams.scripted_gateway import THREAD, OneKey, ScriptedHub, make_app


@dataclass
class Stage:
    """One gateway, its hub, and a turn of a thread that Ada owns."""

    producer: Producer
    hub: ScriptedHub
    app: FastAPI
    turn_id: str

    @property
    def streams(self) -> OpenStreams:
        streams: OpenStreams = self.app.state.gateway.streams
        return streams

    def admit(self, principal: Principal) -> None:
        """Let the key be this bearer's from now on."""
        authenticator: Any = self.app.state.gateway.authenticator
        assert isinstance(authenticator, OneKey)
        authenticator.principal = principal


@pytest.fixture
def stage(sqlite_url: str) -> Iterator[Stage]:
    # Nobody listens there: a wake-up that is lost changes nothing here.
    producer = Producer(load(database_url=sqlite_url, broker_url="redis://127.0.0.1:1/0"))
    turn = producer.send(THREAD, "hello", user="ada", allow_unknown_agent=True)
    hub = ScriptedHub()
    yield Stage(producer, hub, make_app(producer, hub), turn.id)
    producer.close()
