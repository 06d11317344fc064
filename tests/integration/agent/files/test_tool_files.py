"""Tools and files: a tool opens what hangs on its thread, and the model sees what a tool brings."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from agent.chat_messages import request_digest
from agent.files.content_parts import AttachmentParts
from agent.files.prepare import prepare_file
from agent.models.protocol import ModelRequest
from agent.tools.produced_file import ProducedFile
from agent.tools.run_context import RunContext
from conversation.errors import InvalidInput
from store.blobs import LocalBlobs
from store.database.engine import Database
from store.files.prepare import FilePreparer
from store.files.reader import FileReader
from store.tables import blobs
from tests.integration.scripted import Memory, Scripted, call, completed, run_of, says
from threadmill import Agent, Attachment, FileStore, Message, Thread, ThreadStore, tool

NOTE = b"The heron is on the roof."


@tool
async def opened(context: RunContext, name: str) -> str:
    """Open a file."""
    return (await context.open_file(name)).decode()


@tool
def opened_in_thread(context: RunContext, name: str) -> str:
    """Open a file."""
    return context.open_file_sync(name).decode()


@tool
async def listed(context: RunContext) -> list[str]:
    """List the files."""
    return [file.filename for file in await context.files()]


@tool
def listed_in_thread(context: RunContext) -> list[str]:
    """List the files."""
    return [file.filename for file in context.files_sync()]


@tool
async def opened_by_the_wrong_form(context: RunContext) -> str:
    """Open a file."""
    return context.open_file_sync("note.txt").decode()


@tool
def report() -> ProducedFile:
    """Write the report."""
    return ProducedFile("report.txt", b"All is well.", "text/plain")


TOOLS = [opened, opened_in_thread, listed, listed_in_thread, opened_by_the_wrong_form, report]


class Site:
    def __init__(self, store: ThreadStore, files: FileStore) -> None:
        self.store = store
        self.files = files

    async def ask(self, thread_id: str, text: str, **files: bytes) -> list[Message]:
        agent = Agent(name="clerk", tools=TOOLS, thread_store=self.store, file_store=self.files)
        thread = Thread(thread_id)
        thread.add_message(Message(role="user", content=text))
        for name, content in files.items():
            thread.messages[-1].add_attachment(Attachment(filename=f"{name}.txt", content=content))
        return [m for m in (await agent.go(thread)).new_messages if m.role == "tool"]

    async def told(self, text: str, **files: bytes) -> str:
        return (await self.ask("t", text, **files))[-1].content


@pytest.fixture
async def site(any_database: Database, tmp_path: Path):
    url = any_database.settings.database_url.get_secret_value()
    async with await ThreadStore.create(url) as store:
        yield Site(store, await FileStore.create(tmp_path / "files"))


@pytest.mark.parametrize("form", ["opened", "opened_in_thread"])
async def test_a_tool_opens_a_file_of_its_thread_by_name_and_by_hash(site: Site, form: str) -> None:
    sha256 = str(Attachment(filename="n", content=NOTE).sha256)

    assert NOTE.decode() in await site.told(f'call {form} with {{"name": "note.txt"}}', note=NOTE)
    assert NOTE.decode() in await site.told(f'call {form} with {{"name": "{sha256}"}}')


@pytest.mark.parametrize("form", ["listed", "listed_in_thread"])
async def test_a_tool_lists_the_files_of_its_thread_the_newest_first(site: Site, form: str) -> None:
    await site.told("hello call listed", a=b"1", b=b"2")

    assert await site.told(f"call {form} with {{}}", c=b"3") == '["c.txt","b.txt","a.txt"]'


async def test_of_two_files_of_one_name_the_newest_is_opened(site: Site) -> None:
    await site.told("call listed with {}", note=b"old")

    assert "new" in await site.told('call opened with {"name": "note.txt"}', note=b"new")


@pytest.mark.parametrize("form", ["opened", "opened_in_thread"])
async def test_a_file_of_another_thread_is_not_there_and_the_model_is_told_what_is(site: Site, form: str) -> None:
    await site.ask("other", "call listed with {}", secret=b"secret")
    sha256 = str(Attachment(filename="n", content=b"secret").sha256)

    for name in ("secret.txt", sha256, "../other/secret.txt"):
        told = await site.told(f'call {form} with {{"name": "{name}"}}', note=NOTE)
        assert "is no file of this conversation; pass one of 'note.txt'" in told
        assert "InvalidInput" in told


@pytest.mark.parametrize("form", ["opened", "opened_in_thread"])
async def test_a_blocked_file_is_refused_and_the_model_is_told(site: Site, form: str) -> None:
    await site.told("call listed with {}", note=NOTE)
    await site.store.database.run_async(lambda connection: connection.execute(update(blobs).values(scan="infected")))

    told = await site.told(f'call {form} with {{"name": "note.txt"}}')

    assert "FileRejected" in told
    assert "'note.txt' cannot be opened: a virus scanner found something harmful in it" in told


async def test_the_sync_form_on_the_loop_is_an_error_and_no_deadlock(site: Site) -> None:
    told = await site.told("call opened_by_the_wrong_form with {}", note=NOTE)

    assert "RuntimeError" in told
    assert "await files() or open_file() instead" in told


async def test_a_tool_opens_what_another_brought_in_the_same_turn(site: Site) -> None:
    told = await site.told('call report with {} then call opened with {"name": "report.txt"}')

    assert "All is well." in told


async def test_without_a_turn_there_are_no_files() -> None:
    context = RunContext(tenant="t", thread_id="t", turn_id="t", call_id="c")

    assert (await context.files(), context.files_sync()) == ((), ())
    with pytest.raises(InvalidInput, match="belongs to no turn"):
        await context.open_file("a.txt")


def files_of(database: Database, folder: Path) -> AttachmentParts:
    blobs = LocalBlobs(folder)
    return AttachmentParts(FileReader(blobs, database, FilePreparer(blobs, database, prepare_file).prepare))


async def run_with_files(database: Database, folder: Path, journal: Memory, model: Scripted, **agent: Any) -> None:
    from agent.agent import Agent as Bare

    reader = files_of(database, folder)
    (note,) = await reader.store_all("default", [Attachment(filename="note.txt", content=NOTE * 400)])
    window = (Message(id="m1", role="user", content="go", attachments=[note]),)
    run = run_of(Bare(name="clerk", tools=[report], **agent), model, journal, window=window)
    object.__setattr__(run._state.dependencies, "attachments", reader)
    await completed(run)
    await database.close_async()


async def test_the_model_reads_what_its_tool_brought(any_database: Database, tmp_path: Path) -> None:
    model = Scripted(says("", call("report", "c1")), says("done"))

    await run_with_files(any_database, tmp_path, Memory(), model)

    result = model.requests[-1].messages[-1]
    assert result["role"] == "tool"
    assert "All is well." in result["content"]


async def test_a_resumed_turn_asks_what_it_had_asked(any_database: Database, tmp_path: Path) -> None:
    asked: list[list[ModelRequest]] = []
    journal = Memory()
    for _ in range(2):
        model = Scripted(says("", call("report", "c1")), says("done"))
        await run_with_files(any_database, tmp_path, journal, model, max_file_tokens=300)
        asked.append(model.requests)

    first, resumed = asked
    assert len(first) == 2
    assert len(resumed) == 1  # the tool's block came out of the journal
    assert request_digest(resumed[-1]) == request_digest(first[-1])
    assert "[Cut here: the rest was left out" in str(first[0].messages)
