"""A file that is too large to hold is judged by its two ends, as it would be whole."""

import gzip
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversation.errors import FileRejected
from store.media_types.examine import examine, examine_sample
from store.media_types.sample import HEAD_BYTES, TAIL_BYTES, Sample
from store.settings import Settings
from tests.unit.documents import docx, gif_header, jpeg_header, odf, packed, png, webp_header, xlsx

ALLOWED = Settings.model_fields["attachment_types"].default
NOISE = os.urandom(2 * HEAD_BYTES)
DOCX = packed({"[Content_Types].xml": "<Types/>", "word/media/a": NOISE, "word/document.xml": "<x/>"})
MANY_PARTS = packed(
    {"[Content_Types].xml": "<Types/>", "word/document.xml": "<x/>", "word/media/a": NOISE}
    | {f"word/media/{number}": "x" for number in range(3000)}
)


def sampled(filename: str, content: bytes, declared: str | None = None, allowed: tuple[str, ...] = ALLOWED) -> str:
    sample = Sample.from_ends(content[:HEAD_BYTES], content[-TAIL_BYTES:], len(content))
    return examine_sample(filename, sample, declared, max_bytes=50_000_000, allowed=allowed)


@pytest.mark.parametrize(
    ("filename", "content"),
    [
        ("a.docx", DOCX),
        ("a.docx", MANY_PARTS),
        ("a.odt", packed({"mimetype": "application/vnd.oasis.opendocument.text", "a": NOISE}, stored=("mimetype",))),
        ("a.zip", packed({"a": NOISE})),
        ("a.gz", gzip.compress(NOISE, mtime=0)),
        ("a.png", png(1000, 1000, pixels=NOISE)),
        ("a.pdf", b"%PDF-1.4\n" + NOISE),
        ("a.mp4", b"\0\0\0\x20ftypisom" + NOISE),
        ("a.txt", "grüße 你好 🎉 ".encode() * 100_000),
        ("a.txt", "wide ✓ ".encode("utf-16") * 100_000),
        ("a.csv", b"a,b\n" * 500_000),
        ("a.json", b"[" + b"1, " * 500_000 + b"1]"),
    ],
)
def test_the_two_ends_of_a_file_say_the_same_as_all_of_it(filename: str, content: bytes) -> None:
    assert len(content) > HEAD_BYTES

    whole = examine(filename, content, None, max_bytes=50_000_000, allowed=ALLOWED)

    assert sampled(filename, content) == whole


@pytest.mark.parametrize(
    ("filename", "content", "told"),
    [
        ("a.pdf", NOISE, "its bytes are not"),
        ("a.docx", packed({"a": NOISE}), "is called"),
        ("a.docx", DOCX[:-100], "is called"),
        ("a.png", png(50_000, 50_000, pixels=NOISE), "50000 x 50000 pixels"),
        ("a.png", png(10, 10, pixels=NOISE) + packed({"a": "b"}), "opens as a ZIP archive too"),
        ("a.png", png(10, 10, pixels=NOISE) + MANY_PARTS, "opens as a ZIP archive too"),
        ("a.txt", b"text " * 300_000 + bytes(100), "is called text/plain"),
        ("a.txt", b"<html>" + b"text " * 300_000, "is called text/plain"),
    ],
)
def test_a_large_file_that_pretends_is_refused(filename: str, content: bytes, told: str) -> None:
    with pytest.raises(FileRejected, match=told):
        sampled(filename, content)


def test_a_large_jpeg_with_its_size_behind_the_beginning_is_refused() -> None:
    picture = jpeg_header(400, 300)
    segments = (b"\xff\xe2\xff\xff" + bytes(0xFFFF - 2)) * 20

    with pytest.raises(FileRejected, match="does not say how many pixels"):
        sampled("a.jpg", picture[:20] + segments + picture[20:])
    assert sampled("a.jpg", picture + segments) == "image/jpeg"


def test_a_large_file_that_is_declared_json_has_to_begin_as_json() -> None:
    with pytest.raises(FileRejected, match="is called application/json"):
        sampled("a.json", b"text " * 300_000, "application/json")


def test_a_large_file_beyond_the_limit_is_refused_by_its_size() -> None:
    with pytest.raises(FileRejected, match=r"has 60000000 bytes, at most 50000000"):
        examine_sample("a.txt", Sample.from_ends(b"x", b"x", 60_000_000), None, max_bytes=50_000_000, allowed=ALLOWED)


SMALL = st.sampled_from(
    [
        *(docx("a"), xlsx({"a": [[1]]}), odf("text", ""), packed({"a": "b"}), png(1, 1), jpeg_header(9, 9)),
        *(gif_header(9, 9), webp_header(9, 9), b"text", b"{}", b"<html>", b"\0\1", b"PK\x03\x04"),
    ]
)


@given(SMALL, st.integers(0, 300), st.sampled_from(["a", "a.docx", "a.png", "a.txt", "a.json", "a.zip"]))
def test_a_small_file_comes_out_the_same_by_both_ways(content: bytes, cut: int, name: str) -> None:
    content = content[: max(1, len(content) - cut)]

    def outcome(judge) -> str:
        try:
            return judge()
        except FileRejected as refused:
            return str(refused)

    assert outcome(lambda: sampled(name, content)) == outcome(
        lambda: examine(name, content, None, max_bytes=50_000_000, allowed=ALLOWED)
    )
