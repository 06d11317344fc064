"""Text out of files: whatever a file does to its reader, the caller gets an answer and goes on."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pypdf import PdfReader, PdfWriter

from agent.files import extract
from agent.files.extract import Extracted, extract_text

PDF = "application/pdf"


def pdf(*pages: bytes) -> bytes:
    """A PDF with these content streams, one a page, compressed."""
    kids = b" ".join(b"%d 0 R" % (4 + 2 * index) for index in range(len(pages)))
    parts = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, len(pages)),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for index, page in enumerate(pages):
        parts.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % (5 + 2 * index)
        )
        packed = zlib.compress(page)
        parts.append(b"<< /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream" % (len(packed), packed))
    return with_table(parts)


def with_table(parts: list[bytes]) -> bytes:
    written = b"%PDF-1.4\n"
    places = []
    for number, part in enumerate(parts, start=1):
        places.append(len(written))
        written += b"%d 0 obj\n%s\nendobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return (
        written
        + b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(parts) + 1, table)
        + b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(parts) + 1, len(written))
    )


def page(text: str) -> bytes:
    return b"BT /F1 12 Tf 72 700 Td (%s) Tj ET" % text.encode("latin-1")


def encrypted(password: str) -> bytes:
    writer = PdfWriter(clone_from=PdfReader(BytesIO(pdf(page("Top secret")))))
    writer.encrypt(password, owner_password="owner", algorithm="RC4-128")
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


#: Small to send, and minutes of work for its reader.
SLOW = pdf(b"BT /F1 12 Tf " + b"(A) Tj\n" * 900_000 + b"ET")


def readers(parent: int) -> list[int]:
    """The process ids of the readers that this process started and that still live."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        # Whoever reads its source has its name, too, and no limits.
        limits = [json.loads(part) for part in command if part.startswith(b"{")]
        if limits and any(part.endswith(b"extract_worker.py") for part in command):
            found += [int(folder.name)] if limits[0]["parent"] == parent else []
    return found


@pytest.fixture(autouse=True)
def nobody_is_left() -> Iterator[None]:
    """Every test ends without a reader of its own: none hangs, none is orphaned."""
    yield
    assert readers(os.getpid()) == []


async def test_the_pages_of_a_pdf_are_read_in_order() -> None:
    content = pdf(page("First page"), page("Second page"))

    assert await extract_text(content, PDF) == Extracted("--- page 1 ---\nFirst page\n\n--- page 2 ---\nSecond page")


async def test_text_beyond_the_limit_is_cut_and_said_to_be() -> None:
    content = pdf(*[page(f"This is page {number}") for number in range(100)])

    found = await extract_text(content, PDF, max_chars=50)

    assert found == Extracted("--- page 1 ---\nThis is page 0\n\n--- page 2 ---\nThis", truncated=True)


@pytest.mark.parametrize("length", [0, 10, 300, 700])
async def test_a_pdf_cut_short_is_a_problem_or_what_is_left_of_it(length: int) -> None:
    content = pdf(page("First page"), page("Second page"))

    found = await extract_text(content[:length], PDF)

    assert found.problem or found.text
    assert found.problem is None or "damaged" in found.problem or "no text" in found.problem


async def test_bytes_that_are_no_pdf_are_called_damaged() -> None:
    found = await extract_text(b"\x00\xff" * 1000, PDF)

    assert found == Extracted("", problem="The PDF could not be read: it is damaged or incomplete.")


async def test_a_pdf_under_a_password_asks_for_one_without() -> None:
    found = await extract_text(encrypted("secret"), PDF)

    assert found == Extracted("", problem="The PDF is protected by a password; ask for a copy without one.")


async def test_a_pdf_that_only_its_owner_may_change_is_read() -> None:
    assert await extract_text(encrypted(""), PDF) == Extracted("--- page 1 ---\nTop secret")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"q 612 0 0 792 0 0 cm BI /W 1 /H 1 /CS /G /BPC 8 ID \x7f EI Q", "its pages are probably scanned images."),
        (b"", "its pages are blank."),
    ],
)
async def test_a_scan_is_called_one_and_a_blank_page_another(content: bytes, problem: str) -> None:
    found = await extract_text(pdf(content), PDF)

    assert found.text == ""
    assert found.problem == f"The PDF holds no text: {problem}"


async def test_one_damaged_page_does_not_cost_the_others() -> None:
    content = pdf(page("First page"), bytes(80_000_000), page("Third page"))

    found = await extract_text(content, PDF)

    assert found.text == "--- page 1 ---\nFirst page\n\n--- page 3 ---\nThird page"
    assert found.problem == "Some pages of the PDF could not be read: 2."


async def test_a_page_tree_that_goes_in_circles_is_a_problem() -> None:
    catalog = b"<< /Type /Catalog /Pages 2 0 R >>"
    content = with_table([catalog, b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 9 >>"])

    found = await extract_text(content, PDF)

    assert found.text == ""
    assert found.problem


@pytest.mark.endurance
async def test_a_bomb_of_a_gigabyte_is_a_problem_and_fills_nobody() -> None:
    packer = zlib.compressobj()
    packed = b"".join([*(packer.compress(bytes(2**20)) for _ in range(1024)), packer.flush()])
    content = pdf(b"").replace(zlib.compress(b""), packed).replace(b"/Length 8", b"/Length %d" % len(packed))
    assert len(content) < 2_000_000

    found = await extract_text(content, PDF)

    assert found.text == ""
    assert found.problem


async def test_a_reader_that_needs_too_much_memory_is_stopped(monkeypatch) -> None:
    monkeypatch.setattr(extract, "MEMORY_BYTES", 128 * 2**20)

    found = await extract_text(SLOW, PDF)

    # PDFium aborts where pypdf is told that there is no more.
    reasons = ("it needs too much memory", "it crashed its reader, as a damaged file may")
    assert found in [Extracted("", problem=f"The PDF could not be read: {reason}.") for reason in reasons]


async def test_a_reader_that_takes_too_long_is_killed_on_time() -> None:
    started = time.monotonic()

    found = await extract_text(SLOW, PDF, timeout_seconds=1)

    assert found == Extracted("", problem="The PDF could not be read: it takes too much time.")
    assert time.monotonic() - started < 20


async def test_a_long_pdf_gives_the_pages_that_time_allows() -> None:
    content = pdf(*[b"BT /F1 12 Tf " + b"(A) Tj\n" * 2_000 + b"ET"] * 2000)

    found = await extract_text(content, PDF, timeout_seconds=3, max_chars=10**8)

    assert found.text.startswith("--- page 1 ---\nAAA")
    assert found.truncated
    assert found.problem is not None
    assert "of 2000 pages of the PDF were read: it takes too much time" in found.problem


async def test_the_loop_goes_on_while_a_file_is_read() -> None:
    reading = asyncio.create_task(extract_text(SLOW, PDF, timeout_seconds=1))
    ticks = 0
    while not reading.done():
        await asyncio.sleep(0.01)
        ticks += 1

    assert ticks > 50


async def test_a_cancelled_call_leaves_no_reader_behind() -> None:
    reading = asyncio.create_task(extract_text(SLOW, PDF))
    assert await asyncio.to_thread(wait_until, lambda: readers(os.getpid()))

    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading

    assert readers(os.getpid()) == []


async def test_only_so_many_files_are_read_at_once() -> None:
    reading = [asyncio.create_task(extract_text(SLOW, PDF, timeout_seconds=0.7)) for _ in range(5)]
    most = 0
    while not all(task.done() for task in reading):
        most = max(most, len(readers(os.getpid())))
        await asyncio.sleep(0.02)

    assert most == extract.CHILDREN_MAX
    assert all(task.result().problem for task in reading)


def test_a_loop_in_a_thread_of_a_worker_can_read_files_too() -> None:
    found: list[Extracted] = []

    thread = threading.Thread(target=lambda: found.append(asyncio.run(extract_text(pdf(page("Hello")), PDF))))
    thread.start()
    thread.join(30)

    assert found == [Extracted("--- page 1 ---\nHello")]


READS_FOR_LONG = """
import asyncio, sys
from agent.files.extract import extract_text
asyncio.run(extract_text(sys.stdin.buffer.read(), "application/pdf"))
"""


def test_a_reader_dies_with_the_worker_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", READS_FOR_LONG], stdin=subprocess.PIPE) as worker:
        assert worker.stdin
        worker.stdin.write(SLOW)
        worker.stdin.close()
        # Deep in its file, long after it looked whether its worker lives.
        assert wait_until(lambda: any(cpu_seconds(reader) > 1 for reader in readers(worker.pid)))
        worker.send_signal(signal.SIGKILL)

    assert wait_until(lambda: not readers(worker.pid), seconds=2)


def cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / os.sysconf("SC_CLK_TCK")


def wait_until(holds, seconds: float = 20) -> bool:
    until = time.monotonic() + seconds
    while not holds() and time.monotonic() < until:
        time.sleep(0.02)
    return bool(holds())
