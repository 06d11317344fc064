"""One database for all examples and pairs of a module, emptied between them, under the model's clock."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import LendDatabase
from tests.integration.store.turns.model_based.sqlite_stage import SqliteStage
from tests.integration.store.turns.model_based.stage import Stage, model_clock

POSTGRESQL = ["functions", pytest.param("plain", marks=pytest.mark.soak)]


@pytest.fixture(scope="module", params=POSTGRESQL)
def stage(request: pytest.FixtureRequest, lend_database: LendDatabase, migrated_template: str) -> Iterator[Stage]:
    """The store over the functions of PostgreSQL, and at length over plain statements, too."""
    with lend_database(migrated_template) as url, model_clock():
        opened = Stage(url, use_functions=request.param == "functions")
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def sqlite_stage(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The store on a file of SQLite."""
    path = shutil.copy(migrated_file, tmp_path_factory.mktemp("stage") / "store.db")
    with model_clock():
        opened = SqliteStage(f"sqlite:///{path}")
        yield opened
        opened.close()
