"""An installation of each test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.installation import Installation, worker


@pytest.fixture
def installation(database_url: str, valkey_url: str, tmp_path: Path) -> Iterator[Installation]:
    """A database and a broker without anything in them, and nothing that runs."""
    opened = Installation(database_url, valkey_url, tmp_path)
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture
def answering(installation: Installation) -> Installation:
    """An installation with one worker, called `one`, that hears each wake-up, and nobody who sweeps."""
    installation.start(worker("one"))
    return installation


@pytest.fixture
def running(installation: Installation) -> Installation:
    """An installation with one worker, called `one`, and the sweep."""
    installation.start(worker("one"), *installation.upkeep())
    return installation
