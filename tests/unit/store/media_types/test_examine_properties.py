"""What holds for every file, whatever somebody makes up."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from conversation.errors import FileRejected
from store.media_types.examine import examine

NAMES = st.sampled_from(
    ["a", "a.png", "a.pdf", "a.txt", "a.csv", "a.md", "a.json", "a.xml", "a.html", "a.svg", "a.zip"]
)
TYPES = st.sampled_from([None, "", "image/png", "application/pdf", "text/plain", "application/json", "text/html", "x"])
BEGINNINGS = st.sampled_from(
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"%PDF-1.4",
        b"\xff\xd8\xff\xe0",
        b"RIFF",
        b"PK\x03\x04",
        b"<",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"MZ",
        b"<!--",
    ]
)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)


@given(NAMES, TYPES, BEGINNINGS, st.binary(max_size=200))
def test_every_file_is_named_a_welcome_type_or_refused_by_name(
    name: str, declared: str | None, head: bytes, rest: bytes
) -> None:
    allowed = ("image/png", "application/pdf", "text/*")

    try:
        found = examine(name, head + rest, declared, max_bytes=150, allowed=allowed)
    except FileRejected as refused:
        outcome = str(refused)
    else:
        outcome = f"{name!r} is {found}"
        assert found in allowed or found.startswith("text/")
        assert 0 < len(head + rest) <= 150

    assert repr(name) in outcome


@given(TEXT.filter(lambda text: "<" not in text and not text.startswith("%PDF-")))
@example("GIF89a and more than thirteen")
@example("\ufeff")
def test_any_text_without_markup_is_plain_text(text: str) -> None:
    for content in (text.encode(), text.encode("utf-8-sig"), text.encode("utf-16"), text.encode("utf-32")):
        assert examine("notes.txt", content, "text/plain", max_bytes=10**6, allowed=("text/*",)) == "text/plain"


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_any_json_is_json_when_it_is_called_that(value: object) -> None:
    content = json.dumps(value).encode()

    assert examine("a.json", content, None, max_bytes=10**6, allowed=("application/json",)) == "application/json"


@given(st.binary(min_size=1, max_size=100), st.sampled_from(["html", "SVG", "script", "Body", "iframe"]))
def test_a_page_is_no_plain_text_whatever_comment_comes_first(comment: bytes, element: str) -> None:
    safe = comment.hex()
    page = f" \n<!-- {safe} --><?{safe}?>\t<{element}>".encode()

    with pytest.raises(FileRejected, match="its bytes are"):
        examine("notes.txt", page, "text/plain", max_bytes=10**6, allowed=("*/*",))
