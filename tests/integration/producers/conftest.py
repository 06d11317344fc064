"""A producer on real servers, an agent that it may ask for, and a spy where a test counts wake-ups."""

from collections.abc import AsyncIterator, Iterator

import pytest

from producers.producer import Producer
from store.database.engine import Database
from store.settings import Settings
from tests.integration.producers.backend import SpyNotifier, register_agent


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A publish may take long on a busy machine; where the bound itself is tested, it is set again."""
    return settings.model_copy(update={"notify_timeout_seconds": 10.0})


@pytest.fixture
def worker(database: Database) -> str:
    """The id of a worker that serves the agent `assistant`; nothing runs."""
    return register_agent(database)


@pytest.fixture
def producer(settings: Settings, worker: str) -> Iterator[Producer]:
    opened = Producer(settings)
    yield opened
    opened.close()


@pytest.fixture
async def async_producer(settings: Settings, worker: str) -> AsyncIterator[Producer]:
    """A producer that is closed on the test's own event loop."""
    opened = Producer(settings)
    yield opened
    await opened.close_async()


@pytest.fixture
def spy(producer: Producer, database: Database) -> SpyNotifier:
    """Stands where the producer's wake-ups would be published."""
    producer.connections.notifier.close()
    producer.connections.notifier = SpyNotifier(database)  # type: ignore[assignment]
    return producer.connections.notifier  # type: ignore[return-value]
