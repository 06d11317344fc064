"""A program that runs agents by itself dies in the middle of a turn: what becomes of its thread."""

import os
from pathlib import Path

import pytest

from agent.offline.model import RecallModel
from conversation.message import Message
from conversation.turn import TurnState
from store.turns import records
from tests.acceptance.installation import HASTY, eventually, run_python
from threadmill import Agent, ThreadStore

pytestmark = pytest.mark.soak

#: Calls a tool that never returns. Its arguments: the database, and the file that the tool makes.
PROGRAM = """
import asyncio, sys
from pathlib import Path
from agent.offline.model import RecallModel
from threadmill import Agent, Message, Thread, ThreadStore

def hang() -> str:
    Path(sys.argv[2]).touch()
    while True:
        pass

async def main() -> None:
    thread = Thread("t")
    thread.add_message(Message(role="user", content="call hang with {}"))
    store = await ThreadStore.create(sys.argv[1])
    await Agent(name="a", tools=[hang], model=RecallModel(), thread_store=store).go(thread)

asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_turn_whose_program_died_is_ended_by_the_next_one(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/t.db" if kind == "sqlite" else request.getfixturevalue("database_url")
    for name, value in HASTY.items():
        monkeypatch.setenv(name, value)
    reached = tmp_path / "reached"
    program = run_python(PROGRAM, url, str(reached), environment=dict(os.environ), log=tmp_path / "program.log")
    eventually(reached.exists, 60, program.log_tail)
    program.kill()

    async with await ThreadStore.create(url) as store:
        thread = await store.get_thread("t")
        thread.add_message(Message(role="user", content="hello"))
        result = await Agent(name="another", model=RecallModel(), thread_store=store).go(thread)
        stored = await store.get_thread("t")
        first = stored.messages[0].turn_id
        assert first is not None
        record = await store.database.run_async(lambda connection: records.read(connection, first))

    assert '"hello"' in result.content
    assert record.state is TurnState.FAILED
    assert record.error is not None
    assert record.error.kind == "abandoned"
    assert [m.role for m in stored.messages] == ["user", "assistant", "tool", "user", "assistant"]
    assert "CutOff" in stored.messages[2].content
