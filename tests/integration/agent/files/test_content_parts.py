"""Files as the model sees them: out of a real store, made ready once, within the room of a turn."""

import asyncio
import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select, update

from agent.files.content_parts import AttachmentParts, human_size
from agent.files.prepare import prepare_file
from agent.files.token_budget import FileTokenBudget
from agent.models.capabilities import Capabilities
from agent.models.parts import read_text_part
from conversation.attachment import Attachment
from conversation.errors import FileRejected, FileStoreUnavailable
from conversation.message import Message
from conversation.prepared_file import PreparationResult
from store.blobs import LocalBlobs
from store.database.engine import Database
from store.files.prepare import FilePreparer
from store.files.reader import FileReader
from store.tables import blobs, renditions
from tests.integration.agent.files.test_prepare_pictures import noise, picture
from tests.unit.documents import docx, packed, xlsx

WAV = b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00" + b"\0" * 20


class Site:
    """A store of files, and what is asked of its preparer."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.blobs = LocalBlobs(folder)
        self.made: list[str] = []
        self.files = FileReader(self.blobs, database, FilePreparer(self.blobs, database, self.prepare).prepare)
        self.reader = AttachmentParts(self.files)

    async def prepare(self, content: bytes, media_type: str) -> PreparationResult:
        self.made.append(media_type)
        return await prepare_file(content, media_type)

    async def message(self, *files: tuple[str, bytes], role: str = "user") -> Message:
        stored = [
            await self.files.save("default", Attachment(filename=name, content=content)) for name, content in files
        ]
        extra = {"tool_call_id": "c", "name": "t"} if role == "tool" else {}
        return Message(role=role, content="see", attachments=stored, **extra)  # type: ignore[arg-type]

    async def parts(self, *messages: Message, room: int = 20_000, takes: Capabilities | None = None) -> list[Any]:
        found = await self.reader.build_parts("default", messages, takes or Capabilities(), FileTokenBudget(room))
        return [part for message in messages for part in found[message.id]]

    async def texts(self, *messages: Message, **view: Any) -> list[str]:
        return [fenced[1] for part in await self.parts(*messages, **view) if (fenced := read_text_part(part))]


@pytest.fixture
async def site(any_database: Database, tmp_path: Path):
    yield Site(any_database, tmp_path / "files")
    await any_database.close_async()


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    engine = database.engine if database.is_sqlite else database.async_engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)
    seen[:] = [statement for statement in seen if not statement.startswith("BEGIN")]


async def test_a_picture_is_shown_as_one_that_providers_take_and_as_itself_if_it_is(site: Site) -> None:
    small = picture((30, 20))
    message = await site.message(("large.png", picture((3136, 10))), ("small.png", small))

    large_part, small_part = await site.parts(message)

    assert small_part["image_url"]["url"] == "data:image/png;base64," + base64.b64encode(small).decode()
    assert large_part["image_url"]["url"].startswith("data:image/png;base64,")
    assert large_part != small_part


async def test_what_is_made_of_a_picture_is_stored_as_blobs_of_its_tenant(site: Site) -> None:
    message = await site.message(("large.png", picture((3136, 1000))))

    await site.parts(message)

    rows = site.database.run(lambda connection: connection.execute(select(renditions)).all())
    assert {(row.tenant, row.sha256, row.kind) for row in rows} == {
        ("default", message.attachments[0].sha256, kind) for kind in ("model", "thumbnail")
    }
    for row in rows:
        assert site.blobs.exists("default", row.rendition_sha256)


async def test_documents_are_text_and_others_are_a_line(site: Site) -> None:
    message = await site.message(
        ("a.xlsx", xlsx({"Sales": [["n", 1]]})), ("a.webm", b"\x1a\x45\xdf\xa3" + bytes(20)), ("a.md", b"# Hi")
    )

    sheet, film, note = await site.texts(message)

    assert sheet == '--- sheet "Sales" ---\nn\t1'
    assert film == "[video/webm, 24 bytes: its content cannot be shown; a tool may open it.]"
    assert note == "# Hi"


async def test_a_model_without_eyes_is_told_what_the_picture_is(site: Site) -> None:
    content = picture((30, 20))

    (told,) = await site.texts(await site.message(("a.png", content)), takes=Capabilities(images=False))

    reason = "you cannot see it; people can; text in it was not read"
    assert told == f"[image/png, 30 x 20 pixels, {len(content)} bytes: {reason}.]"


async def test_text_that_ocr_read_in_a_picture_is_shown_to_a_model_without_eyes_alone(site: Site) -> None:
    async def read(content: bytes, media_type: str) -> PreparationResult:
        prepared = await prepare_file(content, media_type)
        return replace(prepared, text=f"{prepared.text}\n\nA warranty", note="It was read by OCR.")

    site.files = FileReader(site.blobs, site.database, FilePreparer(site.blobs, site.database, read).prepare)
    site.reader = AttachmentParts(site.files)
    message = await site.message(("a.png", picture((30, 20))))

    (seen,) = await site.parts(message)
    told = await site.texts(message, takes=Capabilities(images=False))

    assert seen["type"] == "image_url"
    assert told == ["30 x 20 pixels\n\nA warranty\n[It was read by OCR.]"]


async def test_sound_goes_to_a_model_that_takes_it_and_is_a_line_for_others(site: Site) -> None:
    message = await site.message(("a.wav", WAV))

    (heard,) = await site.parts(message, takes=Capabilities(audio=True))
    (told,) = await site.texts(message)

    assert heard["input_audio"] == {"data": base64.b64encode(WAV).decode(), "format": "wav"}
    assert told.startswith("[audio/wav, 44 bytes: its content cannot be shown")


async def test_a_picture_that_a_tool_brings_is_a_line_and_its_text_is_shown(site: Site) -> None:
    content = picture((30, 20))
    message = await site.message(("a.png", content), ("a.txt", b"words"), role="tool")

    reason = "you cannot see it; people can; text in it was not read"
    line = f"[image/png, 30 x 20 pixels, {len(content)} bytes: {reason}.]"
    assert await site.texts(message) == [line, "words"]


async def test_a_damaged_picture_is_told_and_never_sent(site: Site) -> None:
    (told,) = await site.texts(await site.message(("a.jpg", noise((90, 90), "JPEG")[:-500])))

    assert "it cannot be shown. The picture could not be read: it is damaged or incomplete." in told


async def test_newer_files_have_the_room_and_older_ones_a_line_that_says_how_to_open_them(site: Site) -> None:
    older = await site.message(("old.txt", b"old " * 500))
    newer = await site.message(("new.txt", b"new " * 500))

    old, new = await site.texts(older, newer, room=500)

    assert new == ("new " * 500)
    assert old.startswith("[text/plain, 2.0 kB: left out, since newer files take the room; to see it")


async def test_a_file_that_does_not_fit_is_cut_and_says_what_is_missing(site: Site) -> None:
    content = xlsx({name: [["word " * 20]] * 20 for name in ("A", "B", "C")})

    (told,) = await site.texts(await site.message(("a.xlsx", content)), room=400)

    assert told.startswith('--- sheet "A" ---\nword')
    assert '[Cut here: sheets "B", "C" were left out, about ' in told


async def test_the_same_file_is_made_ready_once_and_shown_once(site: Site) -> None:
    messages = [await site.message(("note.txt", b"the words")) for _ in range(100)]

    shown = await site.texts(*messages)
    await site.parts(*messages)

    assert site.made == ["text/plain"]
    assert shown[-1] == "the words"
    assert set(shown[:-1]) == {"[text/plain, 9 bytes: the same file stands further down.]"}
    stored = site.database.run(lambda connection: connection.execute(select(blobs.c.sha256)).all())
    assert len(stored) == 1
    assert len(list(site.blobs.list("default"))) == 1


async def test_two_turns_that_need_a_file_at_once_make_it_ready_once(site: Site) -> None:
    message = await site.message(("a.png", picture((3136, 10))))

    first, *others = await asyncio.gather(*(site.parts(message) for _ in range(5)))

    assert site.made == ["image/png"]
    assert all(other == first for other in others)


async def test_many_files_cost_as_many_statements_as_few(site: Site) -> None:
    few = [await site.message(("a.txt", b"one"))]
    many = [await site.message(*((f"{n}-{m}.txt", f"{n} {m}".encode()) for m in range(10))) for n in range(10)]
    await site.parts(*few, *many)

    with statements(site.database) as of_few:
        await site.parts(*few)
    with statements(site.database) as of_many:
        await site.parts(*many)

    assert len(of_few) == len(of_many) == 2


async def test_the_same_window_gives_the_same_bytes_whoever_builds_it(site: Site, tmp_path: Path) -> None:
    messages = [
        await site.message(("a.xlsx", xlsx({"A": [["word " * 500]]})), ("b.png", picture((3136, 10)))),
        await site.message(("c.txt", b"c " * 3000), ("d.zip", packed({"x": "y"}))),
    ]
    first = await site.parts(*messages, room=3000)

    another = Site(site.database, tmp_path / "files")

    assert json.dumps(await another.parts(*messages, room=3000)) == json.dumps(first)
    assert another.made == []


async def test_a_file_that_is_gone_is_told(site: Site) -> None:
    message = await site.message(("a.png", picture((30, 20))), ("b.png", picture((40, 20))))
    await site.parts(message)
    for file in message.attachments:
        site.blobs.delete("default", str(file.sha256))
    never_ready = await site.message(("c.txt", b"c"))
    site.blobs.delete("default", str(never_ready.attachments[0].sha256))

    told = await site.texts(message, never_ready)

    assert len(told) == 3
    assert all("no longer stored" in one for one in told)


async def test_an_infected_file_is_told_neither_read_nor_opened(site: Site) -> None:
    message = await site.message(("a.txt", b"evil words"))
    await site.parts(message)
    site.database.run(lambda connection: connection.execute(update(blobs).values(scan="infected")))
    site.blobs.delete("default", str(message.attachments[0].sha256))

    (told,) = await site.texts(message)
    with pytest.raises(FileRejected, match=r"'a\.txt' cannot be opened: a virus scanner found"):
        await site.reader.open("default", message.attachments[0])

    assert told == "[text/plain, 10 bytes: a virus scanner found something harmful in it.]"


async def test_a_store_that_is_away_passes_through_and_nothing_is_kept(site: Site, monkeypatch) -> None:
    message = await site.message(("a.txt", b"words"))

    def away(tenant: str, sha256: str) -> bytes:
        raise FileStoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(site.blobs, "get", away)
        with pytest.raises(FileStoreUnavailable):
            await site.parts(message)

    assert await site.texts(message) == ["words"]


async def test_a_crash_before_the_row_leaves_the_work_to_the_next(site: Site, monkeypatch) -> None:
    message = await site.message(("a.png", picture((3136, 10))))

    with monkeypatch.context() as patch:
        patch.setattr("store.files.prepared_rows.write", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await site.parts(message)
    (part,) = await site.parts(message)

    assert part["type"] == "image_url"
    assert site.made == ["image/png", "image/png"]


async def test_what_may_go_better_next_time_is_not_kept(site: Site) -> None:
    message = await site.message(("a.docx", docx("Hello")))

    async def busy(content: bytes, media_type: str) -> PreparationResult:
        return PreparationResult(note="The document could not be read now: no more processes.", is_final=False)

    site.files = FileReader(site.blobs, site.database, FilePreparer(site.blobs, site.database, busy).prepare)
    site.reader = AttachmentParts(site.files)
    (told,) = await site.texts(message)
    (later,) = await Site(site.database, site.blobs.base).texts(message)

    assert "could not be read now" in told
    assert later == "Hello"


async def test_no_part_names_a_path_or_an_address(site: Site, tmp_path: Path) -> None:
    message = await site.message(
        ("a.xlsx", xlsx({"A": [[1]]})), ("b.png", picture((30, 20))), ("c.zip", packed({"x": "y"}))
    )

    said = json.dumps([await site.parts(message), await site.parts(message, room=0)])

    assert str(tmp_path) not in said
    assert "http" not in said


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        *((0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (12_345, "12 kB"), (999_600, "1.0 MB")),
        *((3_210_000, "3.2 MB"), (2_500_000_000, "2.5 GB"), (2_500_000_000_000, "2500 GB")),
    ],
)
def test_a_size_is_told_as_people_say_it(size: int, shown: str) -> None:
    assert human_size(size) == shown
