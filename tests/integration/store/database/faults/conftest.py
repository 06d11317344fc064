"""A stage on a database that can be reached by two roads, one of which breaks when a test says so."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.integration.store.database.faults.breaking_wire import BreakingWire
from tests.integration.store.database.faults.stage import Stage


@pytest.fixture
def wire(database_url: str) -> Iterator[BreakingWire]:
    with BreakingWire(database_url) as opened:
        yield opened


@pytest.fixture
async def stage(database_url: str, wire: BreakingWire) -> AsyncIterator[Stage]:
    opened = Stage(database_url, wire.url)
    await opened.open()
    yield opened
    await opened.close()
