"""What a browser is told about a file that somebody else sent."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.blobs.download_headers import content_disposition, safe_filename, served_type

PNG = "image/png"


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("report.pdf", "report.pdf"),
        ("grüße 1.txt", "grüße 1.txt"),
        ("報告.pdf", "報告.pdf"),
        ('a"; filename="b.exe', "a_; filename=_b.exe"),
        ("a.txt\r\nSet-Cookie: x=1", "a.txt__Set-Cookie_ x=1"),
        ("invoice\u202efdp.exe", "invoice_fdp.exe"),
        ("\u200e\u2066a.txt", "__a.txt"),
        ("a\u2028b.txt", "a_b.txt"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..\\..\\boot.ini", "_.._boot.ini"),
        ("C:\\temp\\a.txt", "C__temp_a.txt"),
        ("a\x00.png", "a_.png"),
        ("a\ud800.png", "a_.png"),
        (".htaccess", "htaccess"),
        ("a.txt. . ", "a.txt"),
        ("", "file"),
        ("...", "file"),
    ],
)
def test_a_hostile_name_becomes_one_that_harms_nobody(name: str, safe: str) -> None:
    assert safe_filename(name) == safe


@pytest.mark.parametrize("stem", ["a" * 300, "ü" * 300, "報" * 255])
def test_a_long_name_is_cut_before_its_ending(stem: str) -> None:
    name = safe_filename(f"{stem}.pdf")

    assert 250 <= len(name.encode()) <= 255
    assert name.endswith(f"{stem[0]}.pdf")


def test_an_ending_that_is_none_is_cut_too() -> None:
    assert safe_filename("a." + "b" * 400) == "a." + "b" * 253


@given(st.text(max_size=400), st.sampled_from([PNG, "text/html", "text/plain"]), st.booleans())
def test_no_name_becomes_more_than_a_name(name: str, media_type: str, inline: bool) -> None:
    header = content_disposition(name, media_type, inline=inline)

    assert re.fullmatch(
        r"""(attachment|inline); filename="[ !#-\[\]-~]+"; filename\*=UTF-8''[A-Za-z0-9%._~-]+""", header
    )


@given(st.text(max_size=400))
def test_every_name_fits_a_folder_and_says_what_it_is(name: str) -> None:
    safe = safe_filename(name)

    assert 1 <= len(safe.encode()) <= 255
    assert not set(safe) & set('/\\:*?"<>|')
    assert not safe.startswith((".", " "))
    assert not any(unicodedata.category(character).startswith("C") for character in safe)


@pytest.mark.parametrize("media_type", ["image/png", "image/jpeg", "image/gif", "image/webp", "IMAGE/PNG"])
def test_a_picture_is_shown_if_asked_for(media_type: str) -> None:
    assert content_disposition("a", media_type, inline=True).startswith("inline;")
    assert content_disposition("a", media_type, inline=False).startswith("attachment;")


@pytest.mark.parametrize(
    "media_type",
    ["text/html", "image/svg+xml", "text/xml", "application/pdf", "text/plain", "application/json", "", "image/*"],
)
def test_nothing_else_is_ever_shown(media_type: str) -> None:
    assert content_disposition("a", media_type, inline=True).startswith("attachment;")


@pytest.mark.parametrize(
    "media_type",
    [
        "text/html", "TEXT/HTML; charset=utf-8", " text/html", "application/xhtml+xml", "image/svg+xml",
        "text/xml",
        "application/xml", "application/rss+xml", "application/xml-dtd", "text/xsl", "text/javascript",
        "application/javascript", "application/x-javascript", "application/ecmascript", "text/vbscript",
        "application/wasm", "application/x-shockwave-flash", "text/cache-manifest", "application/hta",
        "multipart/x-mixed-replace", "message/rfc822", "", "text", "text/", "/html", "a/b/c",
        "image/png\r\nX: y",
        "image/png, text/html", "*/*",
    ],
)  # fmt: skip
def test_a_type_that_a_browser_would_run_or_that_is_none_is_just_bytes(media_type: str) -> None:
    assert served_type(media_type) == "application/octet-stream"


@pytest.mark.parametrize(
    ("media_type", "served"),
    [
        ("image/png", "image/png"),
        ("Text/CSV; charset=latin-1", "text/csv"),
        ("application/json", "application/json"),
        (
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ),
    ],
)
def test_any_other_type_is_told(media_type: str, served: str) -> None:
    assert served_type(media_type) == served
