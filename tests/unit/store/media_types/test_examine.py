"""The gate for files: the type is what the bytes are, and what pretends is refused."""

import base64
import io
import struct
import zipfile
import zlib

import pytest

from conversation.errors import FileRejected
from store.media_types.examine import examine
from store.settings import Settings
from tests.unit.documents import jpeg_header

ALLOWED = Settings.model_fields["attachment_types"].default


def png() -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\xff\0\0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def archive() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as writer:
        writer.writestr("Main.class", b"\xca\xfe\xba\xbe")
    return packed.getvalue()


PNG = png()
JPEG = jpeg_header(1, 1)
GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
WEBP = base64.b64decode("UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==")
PDF = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF\n"
SVG = b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>'
HTML = b"<!DOCTYPE html>\n<html><body><script>alert(1)</script></body></html>"
WINDOWS_PROGRAM = b"MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff" + b"\0" * 60
LINUX_PROGRAM = b"\x7fELF\x02\x01\x01\x00" + b"\0" * 60
MAC_PROGRAM = b"\xcf\xfa\xed\xfe\x07\x00\x00\x01" + b"\0" * 60


def sniff(filename: str, content: bytes, declared: str | None = None, allowed: tuple[str, ...] = ALLOWED) -> str:
    return examine(filename, content, declared, max_bytes=1_000_000, allowed=allowed)


def refusal(filename: str, content: bytes, declared: str | None = None, allowed: tuple[str, ...] = ALLOWED) -> str:
    with pytest.raises(FileRejected) as refused:
        sniff(filename, content, declared, allowed)
    return str(refused.value)


@pytest.mark.parametrize(
    ("filename", "content", "declared", "found"),
    [
        ("a.png", PNG, "image/png", "image/png"),
        ("a.jpg", JPEG, "image/jpg", "image/jpeg"),
        ("a.gif", GIF, "IMAGE/GIF", "image/gif"),
        ("a.webp", WEBP, None, "image/webp"),
        ("a.pdf", PDF, "application/x-pdf", "application/pdf"),
        ("a.pdf", b"%PDF-2.0 nothing but ASCII", None, "application/pdf"),
        ("upload", PNG, "application/octet-stream", "image/png"),
        ("photo.jpg", PNG, None, "image/png"),
        ("a.txt", "grüß Gott 你好".encode(), "text/plain; charset=utf-8", "text/plain"),
        ("a.txt", "\ufeffwith a mark".encode(), None, "text/plain"),
        ("a.txt", "wide".encode("utf-16"), None, "text/plain"),
        ("a.txt", "wider".encode("utf-32"), None, "text/plain"),
        ("a.txt", "déjà vu, with an old encoding".encode("latin-1"), None, "text/plain"),
        ("run.py", b"#!/usr/bin/env python\nprint('hi')\n", "text/x-python", "text/plain"),
        ("Makefile", b"all:\n\ttrue\n", None, "text/plain"),
        ("GIF89a.txt", b"GIF89a was a good year", None, "text/plain"),
        ("MZ.txt", b"MZ is how programs of DOS begin", None, "text/plain"),
        ("table.csv", b"a;b\n1;2\n", "application/vnd.ms-excel", "text/csv"),
        ("table.csv", b"a,b\n1,2\n", "text/plain", "text/csv"),
        ("README.md", b'<h1 align="center">Title</h1>\n\nText.', None, "text/markdown"),
        ("README", b"# Title", "text/x-markdown", "text/markdown"),
        ("data.json", b'{"a": [1, 2]}', None, "application/json"),
        ("data.json", b'{"a": [1, 2]}', "text/json", "application/json"),
        ("tsconfig.json", b"{ // with a comment\n}", None, "text/plain"),
        ("deep.json", b"[" * 100_000, None, "text/plain"),
        ("notes.txt", b'{"a": 1}', None, "text/plain"),
        ("feed.xml", b"<?xml version='1.0'?><feed/>", "application/xml", "text/xml"),
        ("page.html", HTML, "text/html", "text/html"),
        ("part.html", b"<div>part of a page</div>", "text/html", "text/plain"),
    ],
)  # fmt: skip
def test_the_type_is_what_the_bytes_are(filename: str, content: bytes, declared: str | None, found: str) -> None:
    assert sniff(filename, content, declared) == found


@pytest.mark.parametrize(
    ("filename", "content", "declared"),
    [
        ("a.pdf", PNG, "application/pdf"),
        ("a.pdf", PNG, None),
        ("a.jpg", PNG, "image/jpeg"),
        ("a.png", HTML, "image/png"),
        ("a.png", SVG, "image/png"),
        ("a.png", WINDOWS_PROGRAM, "image/png"),
        ("a.txt", PNG, "text/plain"),
        ("a.txt", HTML, "text/plain"),
        ("a.txt", HTML, None),
        ("a.txt", HTML.decode().encode("utf-16"), "text/plain"),
        ("a.txt", b"<!-- harmless -->\n\n<?php ?>\n<ScRiPt>alert(1)</ScRiPt>", "text/plain"),
        ("a.txt", b"<!DOCTYPE other [<!ENTITY a 'b'>]>\n<html>", "text/plain"),
        ("a.md", b"<html><body>", "text/markdown"),
        ("a.txt", SVG, "text/plain"),
        ("a.xml", SVG, "text/xml"),
        ("a.txt", WINDOWS_PROGRAM, "text/plain"),
        ("a.txt", LINUX_PROGRAM, "text/plain"),
        ("a.txt", MAC_PROGRAM, None),
        ("a.json", b"not json", "application/json"),
        ("a.json", PNG, None),
        ("a.pdf", b"plain text", "application/pdf"),
        ("a.pdf", b"\n\n%PDF-1.4 not at its beginning", "application/pdf"),
    ],
)
def test_a_file_that_is_not_what_it_is_called_is_refused(filename: str, content: bytes, declared: str | None) -> None:
    told = refusal(filename, content, declared, ("*/*", "image/svg+xml", "application/x-mach-binary"))

    assert f"'{filename}' is called" in told
    assert "its bytes are" in told


@pytest.mark.parametrize(
    "whole", [PNG[:24], JPEG[:29], GIF[:36], WEBP[:-1], b"%PDF-1.4"], ids=["png", "jpeg", "gif", "webp", "pdf"]
)
def test_a_signature_that_is_cut_short_counts_for_nothing(whole: bytes) -> None:
    kind = sniff("upload", whole)

    for length in range(1, len(whole)):
        with pytest.raises(FileRejected, match="'upload'"):
            examine("upload", whole[:length], kind, max_bytes=100, allowed=ALLOWED)


@pytest.mark.parametrize(
    ("content", "other"),
    [
        (PNG + archive(), "a ZIP archive"),
        (PNG + archive() + b"and more", "a ZIP archive"),
        (JPEG + archive(), "a ZIP archive"),
        (PDF + archive(), "a ZIP archive"),
        (GIF[:13] + b"/*%PDF-1.4\n*/" + GIF[13:], "a PDF"),
        (JPEG[:20] + b"<script>alert(1)</script>" + JPEG[20:], "a web page"),
        (PNG + b"<?php system($_GET['c']); ?>", "a web page"),
    ],
)
def test_a_file_that_is_two_things_at_once_is_refused(content: bytes, other: str) -> None:
    told = refusal("upload", content)

    assert f"opens as {other} too" in told


def test_a_pdf_may_carry_an_archive_inside() -> None:
    content = PDF + b"stream\n" + archive() + b"\nendstream\n%%EOF\n"

    assert sniff("portfolio.pdf", content) == "application/pdf"


def test_an_empty_file_is_refused_with_its_name() -> None:
    assert refusal("empty.txt", b"") == "'empty.txt' is empty; send a file with content"


def test_the_largest_accepted_file_passes_and_one_byte_more_is_refused() -> None:
    assert examine("a.txt", b"x" * 100, None, max_bytes=100, allowed=ALLOWED) == "text/plain"

    with pytest.raises(FileRejected, match=r"'a\.txt' has 101 bytes, at most 100 .*THREADMILL_ATTACHMENT_MAX_BYTES"):
        examine("a.txt", b"x" * 101, None, max_bytes=100, allowed=ALLOWED)


@pytest.mark.parametrize(
    ("filename", "content", "found"),
    [
        ("a.bin", bytes(range(256)), "application/octet-stream"),
        ("a", LINUX_PROGRAM, "application/x-executable"),
        ("a.svg", SVG, "image/svg+xml"),
    ],
)
def test_a_type_that_is_not_accepted_is_refused_with_what_is(filename: str, content: bytes, found: str) -> None:
    told = refusal(filename, content)

    assert f"'{filename}' is {found}, which is not accepted" in told
    assert "image/png" in told
    assert "THREADMILL_ATTACHMENT_TYPES" in told


def test_an_accepted_pattern_covers_its_whole_family_and_no_other() -> None:
    assert sniff("a.png", PNG, allowed=("image/*",)) == "image/png"
    assert sniff("a.csv", b"a,b", allowed=(" TEXT/* ",)) == "text/csv"
    assert sniff("a.zip", archive(), allowed=("*/*",)) == "application/zip"

    assert "not accepted" in refusal("a.pdf", PDF, allowed=("image/*", "application/json"))
    assert "no files at all" in refusal("a.pdf", PDF, allowed=())


@pytest.mark.parametrize(("filename", "content"), [("a.svg", SVG), ("a.exe", WINDOWS_PROGRAM), ("a", LINUX_PROGRAM)])
def test_what_runs_is_accepted_only_by_its_name(filename: str, content: bytes) -> None:
    assert "not accepted" in refusal(filename, content, allowed=("image/*", "application/*", "*/*"))

    named = ("image/svg+xml", "application/vnd.microsoft.portable-executable", "application/x-executable")
    assert sniff(filename, content, allowed=named) in named


def test_a_type_beyond_the_known_ones_is_recognised_when_it_is_accepted() -> None:
    sound = b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00" + b"\0" * 20

    assert sniff("a.wav", sound, "audio/wav", allowed=("audio/*",)).startswith("audio/")
    assert "its bytes are" in refusal("a.pdf", sound, "application/pdf", allowed=("*/*",))


def test_the_local_file_of_that_name_is_never_opened(tmp_path, monkeypatch) -> None:
    (tmp_path / "a.zip").write_bytes(PDF)
    monkeypatch.chdir(tmp_path)

    assert sniff("a.zip", archive(), allowed=("*/*",)) == "application/zip"
