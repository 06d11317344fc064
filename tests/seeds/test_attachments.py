"""Attachments: stored before the model is asked, in the store that was given, and shown to the model."""

import base64
from pathlib import Path
from typing import Any

import pytest

from tests.seeds.snippet import run
from tests.stub_openai import StubOpenAI, reply
from threadmill import Agent, Attachment, FileRejected, FileStore, Message, Thread, ThreadStore

#: One red pixel.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
)
SUPPORT = Path(__file__).parents[2] / "examples" / "support"


def parts_of_question(provider: StubOpenAI) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = provider.requests[-1].body["messages"][-1]["content"]
    return parts


async def test_a_picture_is_stored_first_and_then_shown_as_a_picture(
    folder: Path, provider: StubOpenAI, thread_store: ThreadStore
) -> None:
    (folder / "chart.png").write_bytes(PNG)
    stored_when_asked: list[bool] = []
    seen: dict[str, FileStore] = {}

    def answer(request: object) -> Any:
        stored_when_asked.append(any(path.is_file() for path in (folder / "uploads").rglob("*")))
        return reply("A chart.")

    provider.answer_with(answer)
    thread = await thread_store.save_thread(Thread(id="files"))

    ran = await run("attachments", {"thread": thread, **seen})

    assert stored_when_asked == [True]
    text, image = parts_of_question(provider)
    assert text == {"type": "text", "text": "Please analyze this image"}
    assert image["type"] == "image_url"
    assert image["image_url"]["url"] == f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert ran.result.content == "A chart."
    # Readable later, through the thread that is stored.
    (file,) = (await thread_store.get_thread("files")).messages[0].attachments
    assert (file.filename, file.mime_type, file.content) == ("chart.png", "image/png", None)
    assert await ran.file_store.get(file) == PNG


async def test_documents_go_as_text(provider: StubOpenAI, agent: Agent) -> None:
    message = Message(role="user", content="Read these.")
    message.add_attachment(Attachment(filename="note.txt", content=b"Tea is at four."))
    message.add_attachment(
        Attachment(filename="invoice.pdf", content=(SUPPORT / "invoice.pdf").read_bytes(), mime_type="application/pdf")
    )

    await agent.go(Thread(id="files", messages=[message]))

    asked, note, invoice = parts_of_question(provider)
    assert asked["text"] == "Read these."
    assert "Tea is at four." in note["text"]
    assert invoice["type"] == "text"
    assert "invoice" in invoice["text"].split("\n", 1)[1].lower()


async def test_the_files_of_earlier_messages_are_shown_again(provider: StubOpenAI, agent: Agent) -> None:
    message = Message(role="user", content="Look.")
    message.add_attachment(Attachment(filename="dot.png", content=PNG))
    thread = (await agent.go(Thread(id="files", messages=[message]))).thread
    thread.add_message(Message(role="user", content="What was it?"))

    await agent.go(thread)

    (first,) = [m for m in provider.requests[-1].body["messages"] if m["content"] != "What was it?"][1:2]
    assert [part["type"] for part in first["content"]] == ["text", "image_url"]


async def test_a_declared_type_is_not_believed(agent: Agent, thread_store: ThreadStore) -> None:
    thread = Thread(id="files", messages=[Message(role="user", content="Look.")])
    thread.messages[0].add_attachment(
        Attachment(filename="x.png", content=b"%PDF-1.7 not a picture at all", mime_type="image/png")
    )

    with pytest.raises(FileRejected):
        await agent.go(thread)

    assert await thread_store.count() == 0


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "..\\secret", ".."])
async def test_a_path_leads_nowhere(folder: Path, name: str) -> None:
    (folder / "secret").write_text("secret")
    files = await FileStore.create(base_path="./uploads")

    with pytest.raises(ValueError, match="file name"):
        Attachment(filename=name, content=b"x")
    with pytest.raises((ValueError, LookupError)):
        await files.get(name)
