"""The store on each database that it serves."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from store.database.engine import Database
from store.settings import Settings, load


@pytest.fixture(params=["postgresql", "sqlite"])
def any_database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A migrated, empty database of each kind: the conformance suite runs on both."""
    url = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "database_url")
    database = Database(load(database_url=url))
    yield database
    database.close()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated, empty PostgreSQL database."""
    opened = Database(load(database_url=database_url))
    yield opened
    opened.close()


@pytest.fixture
def settings(database_url: str, valkey_url: str, tmp_path: Path) -> Settings:
    """Settings on real servers, with files in a folder of the test's own."""
    return load(database_url=database_url, broker_url=valkey_url, file_store_url=str(tmp_path / "files"))
