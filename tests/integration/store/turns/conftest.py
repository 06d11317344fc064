"""Turns on each database that the store serves, and on PostgreSQL by functions and by plain statements."""

from collections.abc import Iterator

import pytest

from store.database.engine import Database
from store.settings import load


@pytest.fixture(params=["postgresql", "postgresql in plain statements", "sqlite"])
def any_database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A migrated, empty database of each kind, and each of the ways to it: the conformance suite runs on all."""
    url = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "database_url")
    database = Database(load(database_url=url), use_functions="plain" not in request.param)
    yield database
    database.close()
