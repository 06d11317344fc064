"""Gateway processes with an agent in Slack, over one database and a stub of Slack's API."""

import gc
import warnings
from collections.abc import AsyncIterator, Iterator

import pytest

from store.database.engine import Database
from store.settings import Settings
from tests.integration.producers.slack.stage import Stage
from tests.stub_slack import StubSlack


@pytest.fixture(autouse=True)
def left_by_the_dead() -> Iterator[None]:
    """Collects the connections of processes that died in a test: they hang where they were, and close nothing."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def slack() -> Iterator[StubSlack]:
    with StubSlack() as server:
        yield server


@pytest.fixture
async def stage(
    settings: Settings, database: Database, worker: str, slack: StubSlack, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    """The stage of a story; whatever processes it began end with it."""
    monkeypatch.setattr("producers.slack.api.POST_INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr("producers.slack.api.AWAY_FIRST_SECONDS", 0.01)
    monkeypatch.setattr("producers.slack.api.RETRY_AFTER_SECONDS", 0.0)
    monkeypatch.setattr("producers.slack.delivery.RETRY_FIRST_SECONDS", 0.02)
    monkeypatch.setattr("producers.slack.deliveries.POLL_SECONDS", 0.05)
    opened = Stage(settings, database, worker, slack)
    yield opened
    await opened.close()
