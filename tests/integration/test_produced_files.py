"""Files that tools bring: stored before the journal points to them, and attached to the tool's message."""

from pathlib import Path

import pytest

from agent.journal import JournalledResult, tool_result_of, tool_step
from agent.produced import ProducedFile
from conversation.message import ToolCall
from threadmill import Agent, FileStore, Message, Thread, ThreadStore, tool

REPORT = b"The heron is on the roof."


@tool
def report() -> ProducedFile:
    """Write the report."""
    return ProducedFile("report.txt", REPORT, "text/plain")


@tool
def program() -> ProducedFile:
    """Bring something that may not be kept."""
    return ProducedFile("program.bin", b"\x7fELF" + bytes(100), "application/x-executable")


@pytest.fixture
def url(any_database: object, tmp_path: Path) -> str:
    return str(any_database.settings.database_url.get_secret_value())  # type: ignore[attr-defined]


async def ask(url: str, folder: Path, text: str) -> tuple[Thread, FileStore]:
    files = await FileStore.create(folder)
    async with await ThreadStore.create(url) as store:
        agent = Agent(name="clerk", tools=[report, program], thread_store=store, file_store=files)
        thread = Thread("t")
        thread.add_message(Message(role="user", content=text))
        await agent.go(thread)
        return await store.get_thread("t"), files


async def test_a_tools_file_hangs_on_its_message_and_can_be_read_later(url: str, tmp_path: Path) -> None:
    thread, files = await ask(url, tmp_path / "files", "call report with {}")

    (brought,) = [message for message in thread.messages if message.role == "tool"]
    (attachment,) = brought.attachments
    assert (attachment.filename, attachment.mime_type) == ("report.txt", "text/plain")
    assert attachment.sha256 is not None
    assert attachment.sha256 in brought.content
    assert await files.get(attachment) == REPORT


async def test_a_file_that_may_not_be_kept_is_told_to_the_model(url: str, tmp_path: Path) -> None:
    thread, files = await ask(url, tmp_path / "files", "call program with {}")

    (brought,) = [message for message in thread.messages if message.role == "tool"]
    assert brought.attachments == []
    assert "FileRefused" in brought.content
    assert await files.list() == ()
    assert thread.messages[-1].role == "assistant"


async def test_a_replayed_result_has_its_files(url: str, tmp_path: Path) -> None:
    thread, _files = await ask(url, tmp_path / "files", "call report with {}")
    (brought,) = [message for message in thread.messages if message.role == "tool"]

    result = JournalledResult(brought.content, "finished", tuple(brought.attachments))
    again = tool_result_of(tool_step(1, ToolCall("c", "report", "{}"), result))

    assert again == result
