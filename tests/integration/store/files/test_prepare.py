"""Making files ready: once for each blob, past a scanner, and whatever dies on the way."""

import asyncio
import socketserver
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select, text, update

from conversation.attachment import Attachment
from conversation.errors import FileStoreUnavailable
from conversation.prepared_file import Picture, PreparationResult, PreparedFile
from store import tables
from store.blobs import LocalBlobs
from store.database.engine import Database
from store.files import file_queue, prepare, prepared_rows
from store.files.ingest import FileIngest
from store.files.prepare import FilePreparer
from store.files.reader import FileReader
from store.settings import load
from tests.clamd import EICAR, scanning

FILE = Attachment(filename="a.txt", content=b"the bytes", media_type="text/plain")
SHA256 = str(FILE.sha256)
INFECTED = Attachment(filename="b.txt", content=b"x" + EICAR, media_type="text/plain")


class Reader:
    """Stands for the programs that read files, and counts how often they do."""

    def __init__(self, prepared: PreparationResult | None = None) -> None:
        self.prepared = prepared or PreparationResult(text="what it says")
        self.read: list[bytes] = []

    async def __call__(self, content: bytes, _media_type: str) -> PreparationResult:
        self.read.append(content)
        await asyncio.sleep(0.05)
        return self.prepared


class Site:
    """An installation whose settings a test may change."""

    def __init__(self, url: str, folder: Path, **values: Any) -> None:
        self.database = Database(load(database_url=url, prepare_timeout_seconds=5, **values))
        self.blobs = LocalBlobs(folder / "files")

    def files(self, reader: Reader) -> FileReader:
        """As in a process of its own."""
        return FileReader(self.blobs, self.database, FilePreparer(self.blobs, self.database, reader).prepare)

    async def keep(self, file: Attachment = FILE) -> None:
        await FileIngest(self.database, self.blobs).store_async("default", [file])

    async def prepared(self, reader: Reader, file: Attachment = FILE) -> PreparedFile:
        found = await self.files(reader).load_prepared("default", [file])
        return found[str(file.sha256)]

    async def text(self, file: Attachment = FILE) -> str | None:
        found = await self.files(Reader()).load_texts("default", [str(file.sha256)])
        return found.get(str(file.sha256))

    async def row(self, sha256: str = SHA256) -> Any:
        statement = select(tables.blobs).where(tables.blobs.c.sha256 == sha256)
        return await self.database.run_async(lambda connection: connection.execute(statement).one())

    async def write(self, **values: Any) -> None:
        await self.database.run_async(lambda c: c.execute(update(tables.blobs).values(**values)))


Opened = Callable[..., Site]


@pytest.fixture
async def opened(database_url: str, tmp_path: Path) -> AsyncIterator[Opened]:
    sites: list[Site] = []

    def open_site(**values: Any) -> Site:
        sites.append(Site(database_url, tmp_path, **values))
        return sites[-1]

    yield open_site
    for site in sites:
        await site.database.close_async()


@pytest.fixture
def clamd() -> Iterator[str]:
    with scanning() as url:
        yield url


async def test_a_file_is_read_once_whoever_asks_and_however_many_at_once(opened: Opened) -> None:
    site, reader = opened(), Reader()
    await site.keep()

    found = await asyncio.gather(*(site.prepared(reader) for _ in range(8)))
    again = await site.prepared(Reader(PreparationResult(text="something else")))

    assert reader.read == [b"the bytes"]
    assert {file.text_chars for file in (*found, again)} == {len("what it says")}
    assert await site.text() == "what it says"
    assert (await site.row()).prepare_attempts == 1


async def test_what_its_text_does_not_show_is_stored_by_kind(opened: Opened) -> None:
    site = opened()
    await site.keep()

    found = await site.prepared(Reader(PreparationResult(text="a", note="Not shown: 2 charts.", left_out={"chart": 2})))

    assert (found.note, found.left_out) == ("Not shown: 2 charts.", {"chart": 2})


async def test_its_pictures_are_blobs_of_the_same_tenant(opened: Opened) -> None:
    site = opened()
    await site.keep()
    reader = Reader(
        PreparationResult(
            text="4000 x 3000 pixels",
            picture=Picture(b"scaled", "image/png", "1568 x 1176 pixels"),
            thumbnail=Picture(b"small", "image/png", "320 x 240 pixels"),
        )
    )

    found = await site.prepared(reader)

    assert found.picture is not None
    assert site.blobs.get("default", found.picture) == b"scaled"
    assert found.picture_size == len(b"scaled")
    assert (await site.row(found.picture)).state == "stored"


async def test_a_file_that_kills_its_readers_is_given_up(opened: Opened) -> None:
    site, reader = opened(), Reader()
    await site.keep()
    for _ in range(prepared_rows.ATTEMPTS_MAX):
        begin = partial(prepared_rows.begin, tenant="default", sha256=SHA256)
        assert await site.database.run_async(begin) is not None  # and the process dies
        await site.write(preparing_until=(await site.row()).created_at)

    found = await site.prepared(reader)

    assert reader.read == []
    assert found.note == "The file could not be read: it ended its reader each time."


async def test_who_comes_second_waits_for_the_first(opened: Opened) -> None:
    site, reader = opened(), Reader()
    await site.keep()
    begin = partial(prepared_rows.begin, tenant="default", sha256=SHA256)
    assert await site.database.run_async(begin) is not None  # by another process

    waiting = asyncio.create_task(site.prepared(reader))
    await asyncio.sleep(0.3)
    write = partial(
        prepared_rows.write, sha256=SHA256, prepared=PreparationResult(text="by the other"), rendition_hashes={}
    )
    await site.database.run_async(write, tenant="default")

    assert (await waiting).text_chars == len("by the other")
    assert reader.read == []


async def test_a_file_stays_reserved_for_as_long_as_it_is_read(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared_rows, "RESERVED_SECONDS", 1.0)
    monkeypatch.setattr(prepare, "RENEW_SECONDS", 0.1)
    site, finished = opened(), asyncio.Event()
    await site.keep()

    class Slow(Reader):
        async def __call__(self, content: bytes, media_type: str) -> PreparationResult:
            await finished.wait()
            return await super().__call__(content, media_type)

    reading = asyncio.create_task(site.prepared(Slow()))
    await asyncio.sleep(2)
    assert await site.database.run_async(prepared_rows.begin, tenant="default", sha256=SHA256) is None
    finished.set()

    assert (await reading).text_chars == len("what it says")
    assert (await site.row()).prepare_attempts == 1


async def test_a_file_is_released_once_a_database_that_was_away_is_back(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, release, outages = opened(), prepared_rows.release, iter([True, True, False])
    await site.keep()

    class Broken(Reader):
        async def __call__(self, *_: object) -> PreparationResult:  # type: ignore[override]
            raise RuntimeError("out of something")

    def release_after_outage(connection: Connection, *args: Any, **kwargs: Any) -> None:
        if next(outages):
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        release(connection, *args, **kwargs)

    monkeypatch.setattr(prepared_rows, "release", release_after_outage)

    with pytest.raises(RuntimeError):
        await site.prepared(Broken())

    assert (await site.row()).prepare_attempts == 0


async def test_a_file_that_nobody_makes_ready_is_not_waited_for_without_end(opened: Opened) -> None:
    site = opened()
    site.database.settings = site.database.settings.model_copy(update={"prepare_timeout_seconds": 0.3})
    await site.keep()

    async def nobody(_tenant: str, _sha256: str) -> None:
        return None

    with pytest.raises(FileStoreUnavailable, match="a worker hears the queue files"):
        await FileReader(site.blobs, site.database, nobody).load_prepared("default", [FILE])


async def test_a_file_whose_bytes_are_lost_is_not_waited_for(opened: Opened) -> None:
    site, reader = opened(), Reader()
    await site.keep()
    site.blobs.delete("default", SHA256)

    assert (await site.prepared(reader)).note == "This file is no longer stored."
    assert reader.read == []


async def test_a_reader_that_could_not_work_is_not_kept_and_tried_again(opened: Opened) -> None:
    site = opened()
    await site.keep()

    found = await site.prepared(Reader(PreparationResult(note="No program could be started.", is_final=False)))
    assert found.note == "No program could be started."
    row = await site.row()
    assert (row.prepared_at, row.prepare_attempts) == (None, 1)
    await site.write(preparing_until=row.created_at)  # a while later

    assert (await site.prepared(Reader())).text_chars == len("what it says")


async def test_a_file_that_is_too_large_is_not_taken_into_memory(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "READ_MAX_BYTES", len(b"the bytes") - 1)
    site, reader = opened(), Reader()
    await site.keep()

    assert "too large to be read" in str((await site.prepared(reader)).note)
    assert reader.read == []


# Past a scanner


async def test_an_infected_file_is_not_read_and_not_shown(opened: Opened, clamd: str) -> None:
    site, reader = opened(scanner_url=clamd), Reader()
    await site.keep(INFECTED)
    assert (await site.row(str(INFECTED.sha256))).scan == "pending"

    found = await site.prepared(reader, INFECTED)

    assert found.blocked_reason is not None
    assert await site.text(INFECTED) is None
    assert reader.read == []
    row = await site.row(str(INFECTED.sha256))
    assert (row.scan, row.scan_finding) == ("infected", "Eicar-Test-Signature")


async def test_a_clean_file_is_scanned_and_read(opened: Opened, clamd: str) -> None:
    site, reader = opened(scanner_url=clamd), Reader()
    await site.keep()

    assert (await site.prepared(reader)).text_chars == len("what it says")
    assert (await site.row()).scan == "clean"


async def test_a_file_waits_for_a_scanner_that_is_away(opened: Opened, clamd: str) -> None:
    class Away(socketserver.StreamRequestHandler):
        pass

    with scanning(Away) as silent:
        site, reader = opened(scanner_url=silent), Reader()
        await site.keep()
        with pytest.raises(FileStoreUnavailable, match="gave no verdict"):
            await site.prepared(reader)

    row = await site.row()
    assert (row.scan, row.prepare_attempts) == ("pending", 0)
    assert reader.read == []
    await site.write(preparing_until=row.created_at)  # a while later
    assert (await opened(scanner_url=clamd).prepared(reader)).text_chars == len("what it says")


async def test_a_file_from_before_there_was_a_scanner_is_scanned_when_it_is_used(opened: Opened, clamd: str) -> None:
    before, reader = opened(), Reader()
    await before.keep(INFECTED)
    assert (await before.prepared(reader, INFECTED)).text_chars == len("what it says")

    found = await opened(scanner_url=clamd).prepared(reader, INFECTED)

    assert found.blocked_reason is not None
    assert len(reader.read) == 1


# What beat notifies for


async def test_files_that_nobody_asked_for_are_found(opened: Opened) -> None:
    site = opened()
    await site.keep()
    find = partial(file_queue.load_waiting, limit=10)

    assert await site.database.run_async(find, older_than_seconds=60) == []
    assert await site.database.run_async(find, older_than_seconds=0) == [("default", SHA256)]
    await site.prepared(Reader())
    assert await site.database.run_async(find, older_than_seconds=0) == []


async def test_files_from_before_there_was_a_scanner_are_found_by_one(opened: Opened) -> None:
    site = opened()
    await site.keep()
    await site.prepared(Reader())
    find = partial(file_queue.load_waiting, limit=10, older_than_seconds=0)

    assert await site.database.run_async(find, scans=True) == [("default", SHA256)]
    await site.write(scan="clean")
    assert await site.database.run_async(find, scans=True) == []


async def test_what_happens_to_its_maker_is_no_fault_of_the_file(opened: Opened) -> None:
    class Broken(Reader):
        async def __call__(self, *_: object) -> PreparationResult:  # type: ignore[override]
            raise RuntimeError("out of something")

    site = opened()
    await site.keep()
    for _ in range(prepared_rows.ATTEMPTS_MAX + 1):
        with pytest.raises(RuntimeError):
            await site.prepared(Broken())
        await site.write(preparing_until=(await site.row()).created_at)

    assert (await site.row()).prepare_attempts == 0
    assert (await site.prepared(Reader())).text_chars == len("what it says")


async def test_pictures_that_we_make_do_not_count_against_the_tenant(opened: Opened) -> None:
    site = opened(tenant_max_bytes=len(b"the bytes"))
    await site.keep()
    made = PreparationResult(text="1 x 1 pixels", thumbnail=Picture(b"a small picture", "image/png", "1 x 1 pixels"))

    assert (await site.prepared(Reader(made))).size_px is None  # of a text, it is its text
    assert (await site.row()).prepared_at is not None


async def test_a_file_that_kills_its_scanner_each_time_is_never_shown(opened: Opened, clamd: str) -> None:
    site, reader = opened(scanner_url=clamd), Reader()
    await site.keep()
    begin = partial(prepared_rows.begin, tenant="default", sha256=SHA256, scans=True)
    for _ in range(prepared_rows.ATTEMPTS_MAX):
        assert await site.database.run_async(begin) is not None  # and the process dies
        await site.write(preparing_until=(await site.row()).created_at)

    assert (await site.prepared(reader)).blocked_reason == "no virus scanner could look into it"
    assert reader.read == []
    assert (await site.row()).scan == "refused"


async def test_files_that_waited_for_a_scanner_that_is_no_more_are_read(opened: Opened, clamd: str) -> None:
    await opened(scanner_url=clamd).keep()

    assert (await opened().prepared(Reader())).text_chars == len("what it says")
    assert await opened(scanner_url=clamd).database.run_async(
        file_queue.load_waiting, older_than_seconds=-60, limit=9, scans=True
    ) == [("default", SHA256)]


async def test_a_late_maker_takes_nothing_back(opened: Opened) -> None:
    site = opened()
    await site.keep()
    begin = partial(prepared_rows.begin, tenant="default", sha256=SHA256)
    late = await site.database.run_async(begin)
    assert late is not None
    await site.write(preparing_until=(await site.row()).created_at)
    assert await site.database.run_async(begin) is not None  # by another one
    await site.database.run_async(prepared_rows.release, preparation=late)

    assert (await site.row()).prepare_attempts == 2
    assert await site.database.run_async(begin) is None


async def test_files_that_nobody_makes_ready_hold_up_no_others(opened: Opened) -> None:
    site, reader = opened(), Reader()
    stuck = [Attachment(filename="s", content=bytes([n]) * 3, media_type="text/plain") for n in range(12)]
    for file in [*stuck, FILE]:
        await site.keep(file)
    maker = FilePreparer(site.blobs, site.database, reader)

    async def make(tenant: str, sha256: str) -> PreparedFile | None:
        return await maker.prepare(tenant, sha256) if sha256 == SHA256 else None

    files = FileReader(site.blobs, site.database, make)
    waiting = asyncio.create_task(files.load_prepared("default", stuck))
    await asyncio.sleep(0.2)

    async with asyncio.timeout(2):
        assert (await files.load_prepared("default", [FILE]))[SHA256].text_chars > 0
    waiting.cancel()
