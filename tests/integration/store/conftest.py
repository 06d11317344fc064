"""Retention and erasure on each database, with files in a folder."""

from pathlib import Path

import pytest

from store.blobs import LocalBlobs
from store.database.engine import Database
from store.settings import load
from tests.integration.store.scenes import Scene


def scene_over(database: Database, folder: Path) -> Scene:
    settings = load(
        database_url=database.settings.database_url, file_store_url=str(folder / "files"), blob_grace_days=0
    )
    return Scene(database, settings, LocalBlobs(folder / "files"))


@pytest.fixture
def scene(any_database: Database, tmp_path: Path) -> Scene:
    return scene_over(any_database, tmp_path)


@pytest.fixture
def postgres_scene(database: Database, tmp_path: Path) -> Scene:
    return scene_over(database, tmp_path)
