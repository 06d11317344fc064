"""The strict stub providers, and a model that asks them through litellm."""

import gc
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agent.models import litellm_model
from agent.models.litellm_model import LitellmModel
from tests.litellm_border import ignore_litellm_warnings
from tests.stub_providers import StubProviders

FURTHER_WARNINGS = (
    "ignore:Pydantic serializer warnings:UserWarning",
    # A client that a request in another thread made is left to the garbage collector.
    "ignore:Unclosed:ResourceWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ignore_litellm_warnings(items, Path(__file__).parent, *FURTHER_WARNINGS)


@pytest.fixture(scope="session", autouse=True)
def _loaded(clean_environment: None) -> Iterator[None]:
    litellm_model.load()
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    yield
    await litellm_model.close()


@pytest.fixture(scope="session")
def _stub_server() -> Iterator[StubProviders]:
    with StubProviders() as server:
        yield server


@pytest.fixture
def stubs(_stub_server: StubProviders) -> StubProviders:
    _stub_server.clear()
    return _stub_server


@pytest.fixture
def model() -> LitellmModel:
    """It waits next to nothing between attempts."""
    return LitellmModel(backoff_initial_seconds=0.001, backoff_max_seconds=0.002)
