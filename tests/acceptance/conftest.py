"""An installation of each test's own."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.installation import Installation, worker
from threadmill.embedded.valkey import EmbeddedValkey

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.acceptance.chat import OpenTab


@pytest.fixture
def installation(
    database_url: str, valkey_url: str, valkey_server: EmbeddedValkey, tmp_path: Path
) -> Iterator[Installation]:
    """A database and a broker without anything in them, and nothing that runs."""
    opened = Installation(database_url, valkey_url, tmp_path, broker_url_as=valkey_server.url_as)
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


# Of one module: while it is there, a loop seems to run in this thread.
@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Debian's Chromium, driven by Playwright."""
    from playwright.sync_api import sync_playwright

    from tests.acceptance.chat import CHROMIUM

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_tab(browser: "Browser") -> "Iterator[OpenTab]":
    """Opens tabs with the chat page, logged in."""
    from tests.acceptance.chat import lend_tabs

    with lend_tabs(browser) as open_tab:
        yield open_tab
