"""The stub that the clients of both languages speak to."""

from collections.abc import Iterator

import pytest

from tests.integration.clients.stub_gateway import Stub, running_stub


@pytest.fixture(scope="session")
def stub() -> Iterator[Stub]:
    """A gateway that breaks off."""
    with running_stub() as stub:
        yield stub
