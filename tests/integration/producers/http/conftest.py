"""One gateway for all tests of the resources: each test has threads of its own."""

import base64
from collections.abc import Iterator

import pytest

from store.settings import load
from tests.conftest import LendDatabase
from tests.integration.producers.http.site import Site
from threadmill.embedded.valkey import EmbeddedValkey


@pytest.fixture(scope="session")
def site(
    lend_database: LendDatabase,
    migrated_template: str,
    valkey_server: EmbeddedValkey,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    files = tmp_path_factory.mktemp("files")
    with lend_database(migrated_template) as url:
        key = base64.urlsafe_b64encode(b"k" * 32).decode()
        servers = {"database_url": url, "broker_url": valkey_server.url, "file_store_url": str(files)}
        opened = Site(load(**servers, webhook_encryption_keys=key))
        yield opened
        opened.close()
