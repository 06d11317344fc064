"""A stub provider and a model that asks it by each road: what holds on one holds on the other.

The road through litellm is walked in soak runs alone where the straight one covers the rule.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from agent.models.protocol import ModelReply, ModelRequest
from agent.models.provider_model import ProviderModel
from tests.litellm_border import close_roads, ignore_litellm_warnings, list_roads
from tests.stub_openai import API_KEY, StubOpenAI

Ask = Callable[[ModelRequest], Awaitable[ModelReply]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ignore_litellm_warnings(items, Path(__file__).parent)


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    yield
    await close_roads()


@pytest.fixture
def provider() -> Iterator[StubOpenAI]:
    with StubOpenAI() as stub:
        yield stub


@pytest.fixture(params=list_roads(pytest.mark.soak))
def model(request: pytest.FixtureRequest) -> ProviderModel:
    """It waits next to nothing between attempts."""
    model_class = request.param()
    return model_class(backoff_initial_seconds=0.001, backoff_max_seconds=0.002, idle_timeout_seconds=0.3)


@pytest.fixture
def question(provider: StubOpenAI) -> ModelRequest:
    return ModelRequest(
        model="openai/gpt-4o",
        messages=[{"role": "user", "content": "Hello?"}],
        parameters={"api_base": provider.base_url, "api_key": API_KEY},
        timeout_seconds=5,
        max_attempts=3,
    )


@pytest.fixture(params=["whole", "streamed"])
def ask(request: pytest.FixtureRequest, model: ProviderModel) -> Ask:
    """Ask in both ways: what holds for one holds for the other."""

    async def ask_streamed(question: ModelRequest) -> ModelReply:
        *_, last = [item async for item in model.stream(question)]
        assert isinstance(last, ModelReply)
        return last

    return model.complete if request.param == "whole" else ask_streamed
