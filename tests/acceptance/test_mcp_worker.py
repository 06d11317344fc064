"""A worker whose agents call MCP servers: turns beside each other, and programs that end with their worker."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from conversation.turn import TurnState
from tests.acceptance.agents_of_mcp import URL_VARIABLE
from tests.acceptance.installation import Installation, eventually, worker
from tests.conftest import LendDatabase
from tests.stub_mcp import StubMcp, text

pytestmark = pytest.mark.soak


@pytest.fixture
def stub() -> Iterator[StubMcp]:
    with StubMcp() as server:
        server.declare("add", answer=lambda arguments: text(json.dumps(arguments)))
        yield server


@pytest.fixture
def calling(
    stub: StubMcp, lend_database: LendDatabase, migrated_template: str, valkey_server: object, tmp_path: Path
) -> Iterator[Installation]:
    with lend_database(migrated_template) as database_url:
        installation = Installation(database_url, valkey_server.url, tmp_path)  # type: ignore[attr-defined]
        installation.environment |= {
            URL_VARIABLE: stub.url,
            "THREADMILL_MCP_ALLOW_NETWORKS": "127.0.0.0/8",
            "THREADMILL_AGENT_MODULES": "tests.acceptance.agents_of_mcp",
        }
        try:
            installation.start(worker("one"), *installation.upkeep())
            yield installation
        finally:
            installation.close()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not Path(f"/proc/{pid}/stat").exists() or " Z " not in Path(f"/proc/{pid}/stat").read_text()


@pytest.mark.parametrize("end", ["stop", pytest.param("kill", marks=pytest.mark.soak)])
def test_turns_share_a_session_and_a_program_ends_with_its_worker(
    calling: Installation, stub: StubMcp, end: str
) -> None:
    words = 'call program_process and call stub_add with {"n": 1}'
    turns = [calling.send(f"t{number}", words, agent="caller") for number in range(12)]

    results = calling.all_ended(turns)

    assert {result.state for result in results} == {TurnState.COMPLETED}
    told = {row["content"] for row in calling.history() if row["role"] == "tool"}
    (pid,) = {int(json.loads(content)["result"]) for content in told if '"result"' in content}
    assert len(stub.called("initialize")) == 1
    assert len(stub.called()) == len(turns)
    if end == "stop":
        calling.stop("one")
    else:
        calling.processes["one"].kill()
    eventually(lambda: not is_alive(pid), 30)
    assert "Traceback" not in calling.processes["one"].log.read_text()
