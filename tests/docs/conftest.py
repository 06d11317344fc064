"""An installation whose workers serve the agents that the pages define."""

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.installation import Installation, files, worker
from tests.conftest import LendDatabase
from tests.docs.pages import all_blocks
from tests.stub_openai import StubOpenAI
from tests.stub_openai.behaviours import reply
from threadmill.cli.new import new
from threadmill.embedded.valkey import EmbeddedValkey


@pytest.fixture(scope="session")
def folder_of_pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every file that a page shows, under its name."""
    folder = tmp_path_factory.mktemp("pages")
    written: dict[Path, str] = {}
    for block in all_blocks("python"):
        if block.file is None:
            continue
        project = folder / block.project
        if not project.exists():
            new(project)
        path = project / block.file
        assert written.setdefault(path, block.text) == block.text, f"{block.place}: two files of one name"
        path.write_text(block.text)
    return folder


# Of one module: a worker that outlived it would take the wake-ups of other tests.
@pytest.fixture(scope="module")
def with_a_worker(
    lend_database: LendDatabase, migrated_template: str, valkey_server: EmbeddedValkey, folder_of_pages: Path
) -> Iterator[dict[str, str]]:
    """The variables under which a page finds a worker that answers."""
    registering = [block for block in all_blocks("python") if block.registers]
    folders = sorted({str(folder_of_pages / block.project) for block in registering})
    with lend_database(migrated_template) as url:
        installation = Installation(url, valkey_server.url, folder_of_pages)
        installation.environment |= {
            "PYTHONPATH": os.pathsep.join([*folders, os.environ.get("PYTHONPATH", "")]),
            "THREADMILL_AGENT_MODULES": ",".join(["agent.assistant", *sorted({block.module for block in registering})]),
            "THREADMILL_DEFAULT_AGENT": "assistant",
            "THREADMILL_WEBHOOK_ENCRYPTION_KEYS": base64.urlsafe_b64encode(b"k" * 32).decode(),
        }
        try:
            installation.start(worker("pages"), files(), *installation.upkeep())
            yield installation.environment
        finally:
            installation.close()


@pytest.fixture
def with_a_stub() -> Iterator[dict[str, str]]:
    """The variables under which a page finds a provider that speaks OpenAI's protocol."""
    with StubOpenAI() as stub:
        stub.answer_with(lambda _: reply("Hello."))
        yield {"MY_MODEL_SERVER": stub.base_url}
