"""Files that are made to fill, fool or run something: refused, or stored and never opened at the gate."""

import io
import subprocess
import sys
import time
import tracemalloc
import zlib

import pytest
from PIL import Image

from conversation.errors import FileRejected
from store.media_types.examine import examine
from store.media_types.image_size import pixel_size
from store.media_types.zip_contents import DOCUMENT_UNPACKED_MAX
from store.settings import Settings
from tests.unit.documents import billion_laughs, docx, gif_header, jpeg_header, packed, png, png_chunk, webp_header

ALLOWED = Settings.model_fields["attachment_types"].default


def sniff(filename: str, content: bytes, allowed: tuple[str, ...] = ALLOWED) -> str:
    return examine(filename, content, None, max_bytes=50_000_000, allowed=allowed)


def refusal(filename: str, content: bytes) -> str:
    with pytest.raises(FileRejected) as refused:
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


HUGE = (60_000, 60_000)
SEGMENT = b"\xff\xe2\xff\xff" + bytes(0xFFFF - 2)


def with_chunk(content: bytes, chunk: bytes) -> bytes:
    """Right behind IHDR."""
    return content[:33] + chunk + content[33:]


@pytest.mark.parametrize(
    ("filename", "content"),
    [
        ("checksum.png", png(*HUGE)[:29] + b"\0\0\0\0" + png(*HUGE)[33:]),
        ("chunk.png", with_chunk(png(*HUGE), b"\0\0\0\x01tEXtx\0\0\0\0")),
        ("bomb.png", with_chunk(png(*HUGE), png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(80_000_000))))),
        ("segments.jpg", jpeg_header(*HUGE)[:20] + SEGMENT * 20 + jpeg_header(*HUGE)[20:]),
        ("padded.jpg", jpeg_header(*HUGE)[:20] + b"junk" + b"\xff" * 2_000_000 + jpeg_header(*HUGE)[20:]),
        ("second.jpg", jpeg_header(1, 1)[:39] + jpeg_header(*HUGE)[20:]),
        ("frame.gif", gif_header(1, 1)[:6] + b"\1\0\1\0" + gif_header(*HUGE)[10:]),
        ("comment.gif", gif_header(1, 1)[:19] + b"!\xfe\2hi\0" + gif_header(*HUGE)[19:]),
    ],
)
def test_pixels_are_counted_behind_what_stops_or_fills_a_reader(filename: str, content: bytes) -> None:
    tracemalloc.start()

    told = refusal(filename, content)

    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "has 60000 x 60000 pixels" in told
    assert most < 20_000_000


def test_a_jpeg_with_its_size_behind_a_megabyte_of_profile_is_accepted() -> None:
    assert sniff("a.jpg", jpeg_header(400, 300)[:20] + SEGMENT * 20 + jpeg_header(400, 300)[20:]) == "image/jpeg"


@pytest.mark.parametrize(
    ("filename", "content"),
    [
        ("cut.png", png(10, 10)[:20]),
        ("empty.png", png(0, 10)),
        ("no-frame.jpg", jpeg_header(10, 10)[:20] + b"\xff\xd9"),
        ("cut.jpg", jpeg_header(10, 10)[:26]),
        ("height-comes-later.jpg", jpeg_header(10, 0)),
        ("segments.jpg", jpeg_header(10, 10)[:20] + b"\xff\xe2\0\2" * 5_000_000 + jpeg_header(10, 10)[20:]),
        ("no-frame.gif", gif_header(10, 10)[:19] + b";"),
        ("extensions.gif", gif_header(10, 10)[:19] + b"!\xfe\0" * 6_000_000 + gif_header(10, 10)[19:]),
        ("comment.gif", gif_header(10, 10)[:19] + b"!\xfe" + b"\1x" * 9_000_000 + b"\0" + gif_header(10, 10)[19:]),
        ("cut.webp", b"RIFF\x0c\0\0\0WEBPVP8X\x0a\0\0\0"),
    ],
)
def test_a_picture_whose_header_says_no_size_is_refused_in_no_time(filename: str, content: bytes) -> None:
    started = time.process_time()

    told = refusal(filename, content)

    assert "its header does not say how many pixels it has; save it again from a program" in told
    assert time.process_time() - started < 2


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_pictures_of_a_common_program_are_measured(kind: str) -> None:
    options = {"JPEG": {"progressive": True, "icc_profile": bytes(200_000), "exif": b"Exif\0\0" + bytes(1000)}}
    out = io.BytesIO()
    Image.new("RGB", (300, 200)).save(out, kind, comment=b"a picture", **options.get(kind, {}))

    assert pixel_size(out.getvalue(), f"image/{kind.lower()}") == (300, 200)


@pytest.mark.soak
def test_a_document_that_unpacks_to_gigabytes_is_refused_without_unpacking_it() -> None:
    zeros = bytes(DOCUMENT_UNPACKED_MAX // 40)
    parts: dict[str, bytes | str] = {"[Content_Types].xml": "<Types/>", "word/document.xml": zeros}
    bomb = packed(parts | {f"word/media/{number}": zeros for number in range(41)})

    started = time.process_time()
    told = refusal("a.docx", bomb)

    assert "unpacks to" in told
    assert time.process_time() - started < 2


EXAMINES_JSON = """
import resource
from store.media_types.examine import examine

content = b"[" + b"[]," * 6_600_000 + b"[]]"
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = examine("a.json", content, "application/json", max_bytes=10**8, allowed=("application/json",))
print(found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_json_that_would_fill_its_parser_is_not_built_at_the_gate() -> None:
    run = subprocess.run([sys.executable, "-c", EXAMINES_JSON], capture_output=True, check=True, text=True)

    found, kilobytes = run.stdout.split()
    assert found == "application/json"
    assert int(kilobytes) < 100_000


@pytest.mark.parametrize("content", [b"word " * 300_000, b"[" + b"[]," * 400_000, b"{" + b" " * 1_100_000])
def test_large_text_that_does_not_begin_and_end_as_json_is_none(content: bytes) -> None:
    with pytest.raises(FileRejected, match="is called application/json, but its bytes are text/plain"):
        examine("a.json", content, "application/json", max_bytes=50_000_000, allowed=ALLOWED)


def test_an_archive_of_archives_is_stored_and_not_opened() -> None:
    content = packed({"a": bytes(1_000_000)})
    for _ in range(20):
        content = packed({f"{n}.zip": content for n in range(10)})[:2_000_000] if len(content) < 100_000 else content

    assert sniff("a.zip", packed({"inner.zip": content})) == "application/zip"


def test_entities_in_a_document_are_not_expanded_at_the_gate() -> None:
    laughs = billion_laughs("<w:document>…</w:document>")
    bomb = packed({"[Content_Types].xml": "<Types/>", "word/document.xml": laughs})

    started = time.process_time()
    assert sniff("a.docx", bomb).endswith("wordprocessingml.document")
    assert time.process_time() - started < 2


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

    with pytest.raises(FileRejected):
        sniff(filename, drawing.encode(), ("image/*", "*/*"))
    assert sniff(filename, drawing.encode(), ("image/svg+xml",)) == "image/svg+xml"


@pytest.mark.parametrize(
    ("content", "outcome"),
    [
        (b"GIF89a/*\x01" + gif_header(1, 1)[9:] + b"*/=1;alert(1)", "image/gif"),
        (b"GIF89a/*aaaaaaaaaa*/=1;alert(1)//", "text/plain"),
        (b"GIF89a<script>alert(1)</script>" + bytes(20), None),
        (jpeg_header(10, 10)[:20] + b"<html><body onload=alert(1)>" + jpeg_header(10, 10)[20:], None),
        (b"%PDF-1.4\n" + packed({"a": "b"}), None),
        (png(1, 1) + packed({"a": "b"}), None),
    ],
)
def test_what_is_two_things_at_once_is_refused_or_the_harmless_one(content: bytes, outcome: str | None) -> None:
    """A GIF that is also a script is a GIF: it is never served as anything else, nor shown in a page."""
    if outcome is None:
        assert "too; save it again" in refusal("upload", content)
    else:
        assert sniff("upload", content) == outcome


def test_a_document_behind_other_bytes_is_no_document() -> None:
    assert "is called" in refusal("a.docx", b"#!/bin/sh\nexit\n\x00" + docx("hi"))
