"""A stub provider and a model that asks it, for every test of the litellm adapter."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from agent.models import litellm_model
from agent.models.litellm_model import LitellmModel
from agent.models.protocol import ModelReply, ModelRequest
from tests.litellm_border import ignore_litellm_warnings
from tests.stub_openai import API_KEY, StubOpenAI

Ask = Callable[[ModelRequest], Awaitable[ModelReply]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ignore_litellm_warnings(items, Path(__file__).parent)


@pytest.fixture(scope="session", autouse=True)
def _loaded(clean_environment: None) -> None:
    litellm_model.load()


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    yield
    await litellm_model.close()


@pytest.fixture
def provider() -> Iterator[StubOpenAI]:
    with StubOpenAI() as stub:
        yield stub


@pytest.fixture
def model() -> LitellmModel:
    """It waits next to nothing between attempts."""
    return LitellmModel(backoff_initial_seconds=0.001, backoff_max_seconds=0.002, idle_timeout_seconds=0.3)


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
def ask(request: pytest.FixtureRequest, model: LitellmModel) -> Ask:
    """Ask in both ways: what holds for one holds for the other."""

    async def ask_streamed(question: ModelRequest) -> ModelReply:
        *_, last = [item async for item in model.stream(question)]
        assert isinstance(last, ModelReply)
        return last

    return model.complete if request.param == "whole" else ask_streamed
