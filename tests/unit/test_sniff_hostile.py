"""Files that are made to fill, fool or run something: refused, or stored and never opened at the gate."""

import time
import tracemalloc

import pytest

from conversation.errors import FileRefused
from store.files import examine
from store.files.containers import DOCUMENT_UNPACKED_MAX
from store.settings import Settings
from tests.unit.documents import (
    billion_laughs,
    docx,
    gif_header,
    jpeg_header,
    packed,
    png,
    webp_header,
)

ALLOWED = Settings.model_fields["attachment_types"].default


def sniff(filename: str, content: bytes, allowed: tuple[str, ...] = ALLOWED) -> str:
    return examine(filename, content, None, max_bytes=50_000_000, allowed=allowed)


def refusal(filename: str, content: bytes) -> str:
    with pytest.raises(FileRefused) as refused:
        sniff(filename, content)
    return str(refused.value)


@pytest.mark.parametrize(
    ("filename", "content"),
    [
        ("a.png", png(50_000, 50_000)),
        ("a.jpg", jpeg_header(50_000, 50_000)),
        ("a.gif", gif_header(50_000, 50_000)),
        ("a.webp", webp_header(50_000, 50_000)),
    ],
)
def test_a_picture_with_more_pixels_than_any_camera_has_is_refused(filename: str, content: bytes) -> None:
    tracemalloc.start()

    told = refusal(filename, content)

    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "has 50000 x 50000 pixels, at most 120000000 are accepted; scale it down" in told
    assert most < 20_000_000


@pytest.mark.parametrize(
    "content",
    [
        png(12_000, 9_000),
        jpeg_header(12_000, 9_000),
        gif_header(10_000, 10_000),
        webp_header(12_000, 9_000),
        webp_header(10_000, 10_000, b"VP8L"),
        webp_header(10_000, 10_000, b"VP8 "),
    ],
)
def test_a_large_photo_is_accepted(content: bytes) -> None:
    assert sniff("upload", content).startswith("image/")


@pytest.mark.parametrize("kind", [b"VP8L", b"VP8 "])
def test_every_kind_of_webp_is_measured(kind: bytes) -> None:
    assert "has 16000 x 16000 pixels" in refusal("a.webp", webp_header(16_000, 16_000, kind))


def test_a_document_that_unpacks_to_gigabytes_is_refused_without_unpacking_it() -> None:
    zeros = bytes(DOCUMENT_UNPACKED_MAX // 40)
    parts: dict[str, bytes | str] = {"[Content_Types].xml": "<Types/>", "word/document.xml": zeros}
    bomb = packed(parts | {f"word/media/{number}": zeros for number in range(41)})

    started = time.monotonic()
    told = refusal("a.docx", bomb)

    assert "unpacks to" in told
    assert time.monotonic() - started < 1


def test_an_archive_of_archives_is_stored_and_not_opened() -> None:
    content = packed({"a": bytes(1_000_000)})
    for _ in range(20):
        content = (
            packed({f"{n}.zip": content for n in range(10)})[:2_000_000]
            if len(content) < 100_000
            else content
        )

    assert sniff("a.zip", packed({"inner.zip": content})) == "application/zip"


def test_entities_in_a_document_are_not_expanded_at_the_gate() -> None:
    laughs = billion_laughs("<w:document>…</w:document>")
    bomb = packed({"[Content_Types].xml": "<Types/>", "word/document.xml": laughs})

    started = time.monotonic()
    assert sniff("a.docx", bomb).endswith("wordprocessingml.document")
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    "drawing",
    [
        '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        '<svg xmlns="http://www.w3.org/2000/svg"><circle r="1"/></svg>',
        billion_laughs("<svg>…</svg>"),
    ],
)
@pytest.mark.parametrize("filename", ["a.svg", "upload"])
def test_an_svg_is_refused_whatever_is_in_it_unless_it_is_named(filename: str, drawing: str) -> None:
    assert "image/svg+xml, which is not accepted" in refusal(filename, drawing.encode())

    with pytest.raises(FileRefused):
        sniff(filename, drawing.encode(), ("image/*", "*/*"))
    assert sniff(filename, drawing.encode(), ("image/svg+xml",)) == "image/svg+xml"


@pytest.mark.parametrize(
    ("content", "outcome"),
    [
        (b"GIF89a=1/*" + bytes(20) + b"*/;alert(1)", "image/gif"),
        (b"GIF89a/*aaaaaaaaaa*/=1;alert(1)//", "text/plain"),
        (b"GIF89a<script>alert(1)</script>" + bytes(20), None),
        (jpeg_header(10, 10)[:20] + b"<html><body onload=alert(1)>" + jpeg_header(10, 10)[20:], None),
        (b"%PDF-1.4\n" + packed({"a": "b"}), None),
        (png(1, 1) + packed({"a": "b"}), None),
    ],
)
def test_what_is_two_things_at_once_is_refused_or_the_harmless_one(
    content: bytes, outcome: str | None
) -> None:
    """A GIF that is also a script is a GIF: it is never served as anything else, nor shown in a page."""
    if outcome is None:
        assert "too; save it again" in refusal("upload", content)
    else:
        assert sniff("upload", content) == outcome


def test_a_document_behind_other_bytes_is_no_document() -> None:
    assert "is called" in refusal("a.docx", b"#!/bin/sh\nexit\n\x00" + docx("hi"))
