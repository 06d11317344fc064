"""The border to litellm in tests: warnings of its own code, and a stub provider that the environment names."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.models import litellm_model
from tests.stub_openai import StubOpenAI, reply

#: Both are of litellm's own code. It installs these filters at its import; pytest takes them out again.
LITELLM_WARNINGS = (
    "ignore:.*`ReadOnly` qualifier.*:UserWarning",
    "ignore:Accessing the .* attribute on the instance is deprecated:DeprecationWarning",
)


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
        await litellm_model.close()
