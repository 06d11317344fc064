"""The strict stub providers, and a model that asks them: each by its own road, at full length all through litellm."""

import gc
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agent.models.provider_model import ProviderModel
from tests.litellm_border import close_roads, ignore_litellm_warnings, list_roads
from tests.stub_providers import StubProviders

FURTHER_WARNINGS = (
    "ignore:Pydantic serializer warnings:UserWarning",
    # A client that a request in another thread made is left to the garbage collector.
    "ignore:Unclosed:ResourceWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ignore_litellm_warnings(items, Path(__file__).parent, *FURTHER_WARNINGS)


@pytest.fixture(scope="module", autouse=True)
def _collected(clean_environment: None) -> Iterator[None]:
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    yield
    await close_roads()


@pytest.fixture(scope="session")
def _stub_server() -> Iterator[StubProviders]:
    with StubProviders() as server:
        yield server


@pytest.fixture
def stubs(_stub_server: StubProviders) -> StubProviders:
    _stub_server.clear()
    return _stub_server


@pytest.fixture(params=list_roads(pytest.mark.endurance))
def model(request: pytest.FixtureRequest) -> ProviderModel:
    """It waits next to nothing between attempts."""
    model_class = request.param()
    return model_class(backoff_initial_seconds=0.001, backoff_max_seconds=0.002)
