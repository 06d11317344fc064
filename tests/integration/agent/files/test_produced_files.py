"""Files that tools bring: stored before the journal points to them, and attached to the tool's message."""

from pathlib import Path

import pytest

from agent.files.content_parts import FileLimits
from agent.journal import tool_step
from agent.tools.produced_file import ProducedFile
from conversation.message import ToolCall
from conversation.replay import JournalledResult, tool_result_of
from store.settings import Settings, load
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


@tool
def archive() -> list[ProducedFile]:
    """Bring many files."""
    return [ProducedFile(f"{number}.txt", REPORT + bytes([65 + number % 26]), "text/plain") for number in range(300)]


@tool
def pair() -> list[ProducedFile]:
    """Bring two files."""
    return [ProducedFile("a.txt", REPORT + b"a"), ProducedFile("b.txt", REPORT + b"b")]


@pytest.fixture
def url(any_database: object, tmp_path: Path) -> str:
    return str(any_database.settings.database_url.get_secret_value())  # type: ignore[attr-defined]


async def ask(url: str, folder: Path, text: str, **limits: int) -> tuple[Thread, FileStore]:
    files = await FileStore.create(folder)
    async with await ThreadStore.create(settings=load(database_url=url, **limits)) as store:
        tools = [report, program, archive, pair]
        agent = Agent(name="clerk", tools=tools, thread_store=store, file_store=files)
        thread = Thread("t")
        thread.add_message(Message(role="user", content=text))
        await agent.go(thread)
        return await store.get_thread("t"), files


async def test_a_tools_file_hangs_on_its_message_and_can_be_read_later(url: str, tmp_path: Path) -> None:
    thread, files = await ask(url, tmp_path / "files", "call report with {}")

    (brought,) = [message for message in thread.messages if message.role == "tool"]
    (attachment,) = brought.attachments
    assert (attachment.filename, attachment.media_type) == ("report.txt", "text/plain")
    assert attachment.sha256 is not None
    assert attachment.sha256 in brought.content
    assert await files.get(attachment) == REPORT


async def test_a_file_that_may_not_be_kept_is_told_to_the_model(url: str, tmp_path: Path) -> None:
    thread, files = await ask(url, tmp_path / "files", "call program with {}")

    (brought,) = [message for message in thread.messages if message.role == "tool"]
    assert brought.attachments == []
    assert "FileRejected" in brought.content
    assert await files.list() == ()
    assert thread.messages[-1].role == "assistant"


@pytest.mark.parametrize(
    ("call", "limits", "told"),
    [
        ("report", {"tenant_max_bytes": 10}, ("LimitReached", "THREADMILL_TENANT_MAX_BYTES")),
        ("archive", {}, ("FileRejected", "these are 300 files, at most 20 fit in one message; bring fewer")),
        ("pair", {"attachments_max_count": 1}, ("FileRejected", "at most 1 fit in one message")),
        ("pair", {"message_max_bytes": 40}, ("FileRejected", "have 52 bytes together, at most 40 fit")),
    ],
)
async def test_files_above_a_limit_are_told_to_the_model_and_none_of_them_is_stored(
    url: str, tmp_path: Path, call: str, limits: dict[str, int], told: tuple[str, str]
) -> None:
    thread, files = await ask(url, tmp_path / "files", f"call {call} with {{}}", **limits)

    (brought,) = [message for message in thread.messages if message.role == "tool"]
    assert brought.attachments == []
    assert all(words in brought.content for words in told)
    assert await files.list() == ()
    assert thread.messages[-1].role == "assistant"


async def test_files_within_the_limits_of_a_message_are_all_kept(url: str, tmp_path: Path) -> None:
    limits = {"attachments_max_count": 2, "message_max_bytes": 52, "tenant_max_bytes": 52}
    thread, files = await ask(url, tmp_path / "files", "call pair with {}", **limits)

    (brought,) = [message for message in thread.messages if message.role == "tool"]
    assert [file.filename for file in brought.attachments] == ["a.txt", "b.txt"]
    assert len(await files.list()) == 2


def test_limits_that_nobody_sets_are_those_of_the_settings() -> None:
    fields = Settings.model_fields

    assert FileLimits() == FileLimits(fields["attachments_max_count"].default, fields["message_max_bytes"].default)


async def test_a_replayed_result_has_its_files(url: str, tmp_path: Path) -> None:
    thread, _files = await ask(url, tmp_path / "files", "call report with {}")
    (brought,) = [message for message in thread.messages if message.role == "tool"]

    result = JournalledResult(brought.content, "finished", tuple(brought.attachments))
    again = tool_result_of(tool_step(1, ToolCall("c", "report", "{}"), result))

    assert again == result
