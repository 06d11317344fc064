"""The server of the tests of the web tools."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.agent.web.site import Site, running


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    async with running(made):
        yield made
