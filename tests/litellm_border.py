"""The border to providers in tests: the roads to them, litellm's own warnings, and a stub in the environment."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from agent.models.http.session import close_session
from agent.models.litellm_road import close, load
from agent.models.provider_model import ProviderModel
from tests.stub_openai import StubOpenAI, reply

#: Both are of litellm's own code. It installs these filters at its import; pytest takes them out again.
LITELLM_WARNINGS = (
    "ignore:.*`ReadOnly` qualifier.*:UserWarning",
    "ignore:Accessing the .* attribute on the instance is deprecated:DeprecationWarning",
)


def straight() -> type[ProviderModel]:
    """The model class that asks straight where it can."""
    return ProviderModel


def through_litellm() -> type[ProviderModel]:
    """The model class that asks through litellm alone. Its import takes seconds."""
    from agent.models.litellm_model import LitellmModel

    load()
    return LitellmModel


def list_roads(marks: pytest.MarkDecorator) -> list[ParameterSet]:
    """Each road, as a parameter of a fixture; that through litellm with these marks."""
    return [pytest.param(straight, id="straight"), pytest.param(through_litellm, id="litellm", marks=marks)]


async def close_roads() -> None:
    """Close the connections of the running loop, on every road that was walked."""
    await close_session()
    if "litellm" in sys.modules:
        await close()


def ignore_litellm_warnings(items: list[pytest.Item], folder: Path, *further_warnings: str) -> None:
    """Let no warning of litellm's own fail a test under this folder."""
    for item in items:
        if item.path.is_relative_to(folder):
            for warning in (*LITELLM_WARNINGS, *further_warnings):
                item.add_marker(pytest.mark.filterwarnings(warning))


@asynccontextmanager
async def provider_in_environment(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StubOpenAI]:
    """A stub provider to which the environment leads. It says "All right." unless a test scripts it."""
    with StubOpenAI() as stub:
        for name, value in stub.environment().items():
            monkeypatch.setenv(name, value)
        stub.answer_with(lambda _: reply("All right."))
        yield stub
        await close_roads()
