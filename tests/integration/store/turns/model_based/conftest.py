"""One database for all examples and pairs of a module, emptied between them, under the model's clock."""

from collections.abc import Iterator

import pytest

from tests.conftest import LendDatabase
from tests.integration.store.turns.model_based.stage import Stage, model_clock


@pytest.fixture(scope="module", params=["functions", pytest.param("plain", marks=pytest.mark.soak)])
def stage(request: pytest.FixtureRequest, lend_database: LendDatabase, migrated_template: str) -> Iterator[Stage]:
    """The store over the functions of PostgreSQL, and at length over plain statements, too."""
    with lend_database(migrated_template) as url, model_clock():
        opened = Stage(url, use_functions=request.param == "functions")
        yield opened
        opened.close()
