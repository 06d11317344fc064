"""Webhooks on each database and on both of PostgreSQL's roads: its functions, and plain statements."""

import base64
from collections.abc import Iterator

import pytest

from store.database.engine import Database
from store.settings import load
from tests.integration.webhook_scene import WebhookScene

KEY = base64.urlsafe_b64encode(b"k" * 32).decode()


@pytest.fixture(params=["postgresql", "postgresql-plain", "sqlite"])
def scene(request: pytest.FixtureRequest) -> Iterator[WebhookScene]:
    """A store with nothing in it, a clock that is moved by hand, and a receiver."""
    url = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "database_url")
    settings = load(database_url=url, webhook_encryption_keys=KEY)
    database = Database(settings, use_functions=request.param != "postgresql-plain")
    with WebhookScene.open(database, settings) as scene:
        yield scene
    database.close()
