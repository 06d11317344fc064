"""Every snippet on each database, with the real road to a provider: only the provider is a stub."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.litellm_border import ignore_litellm_warnings, provider_in_environment
from tests.stub_openai import StubOpenAI
from threadmill import Agent, ThreadStore


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ignore_litellm_warnings(items, Path(__file__).parent)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the snippet runs: what it writes to `./…` lands here."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(params=[pytest.param("memory", marks=pytest.mark.soak), "sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """An address of each kind of database, spelled as the documents do."""
    if request.param == "memory":
        return "sqlite+aiosqlite:///:memory:"
    if request.param == "sqlite":
        file: str = request.getfixturevalue("sqlite_url")
        return file.replace("sqlite://", "sqlite+aiosqlite://")
    url: str = request.getfixturevalue("database_url")
    return url.replace("postgresql://", "postgresql+asyncpg://")


@pytest.fixture
async def thread_store(store_url: str) -> AsyncIterator[ThreadStore]:
    async with await ThreadStore.create(store_url) as store:
        yield store


@pytest.fixture
async def provider(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StubOpenAI]:
    """The provider that `gpt-4` and its like lead to."""
    async with provider_in_environment(monkeypatch) as stub:
        yield stub


@pytest.fixture
def agent(provider: StubOpenAI, thread_store: ThreadStore) -> Agent:
    return Agent(name="assistant", model_name="gpt-4", purpose="To be helpful.", thread_store=thread_store)
