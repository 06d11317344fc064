"""The variables of the documents are honoured wherever a store is opened."""

from pathlib import Path

import pytest
from sqlalchemy import func, select

from store.settings import load
from threadmill import Message, Thread, ThreadStore

POOL = {
    "NARRATOR_DB_POOL_SIZE": "2",
    "NARRATOR_DB_MAX_OVERFLOW": "3",
    "NARRATOR_DB_POOL_TIMEOUT": "7",
    "NARRATOR_DB_POOL_RECYCLE": "11",
}


@pytest.mark.parametrize("prefix", ["NARRATOR", "THREADMILL"])
async def test_a_store_without_an_address_is_the_one_that_the_environment_names(
    prefix: str, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{prefix}_DATABASE_URL", store_url)

    async with await ThreadStore.create() as store:
        await store.save_thread(Thread(id="t", messages=[Message(role="user", content="hi")]))
        assert store.is_in_memory == (":memory:" in store_url)

        if not store.is_in_memory:
            async with await ThreadStore.create(store_url) as another:
                assert await another.count() == 1


async def test_an_address_that_is_passed_wins(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NARRATOR_DATABASE_URL", database_url)

    async with await ThreadStore.create(f"sqlite:///{tmp_path}/mine.db") as store:
        assert store.database.is_sqlite


async def test_the_pool_is_as_large_as_the_environment_says(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (POOL | {"NARRATOR_DATABASE_URL": database_url}).items():
        monkeypatch.setenv(name, value)

    async with await ThreadStore.create() as store:
        pool = store.database.async_engine.pool

        assert (pool.size(), pool._max_overflow, pool._timeout, pool._recycle) == (2, 3, 7, 11)
        assert await store.database.run_async(lambda c: c.execute(select(func.now())).scalar_one())


def test_the_documented_defaults_are_the_defaults() -> None:
    settings = load()

    assert settings.db_pool_size == 5
    assert settings.db_max_overflow == 10
    assert settings.db_pool_timeout == 30
    assert settings.db_pool_recycle == 300
