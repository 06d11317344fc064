"""Schedules on each database and on both of PostgreSQL's roads."""

from collections.abc import Iterator

import pytest

from store.database.engine import Database
from store.settings import load


@pytest.fixture(params=["postgresql", "postgresql-plain", "sqlite"])
def any_database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A migrated, empty database of each kind, and PostgreSQL once more without its functions."""
    url = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "database_url")
    database = Database(load(database_url=url), use_functions=request.param != "postgresql-plain")
    yield database
    database.close()
