"""Names of files: what is hostile is refused or made plain, and what is only unusual is kept."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversation.attachment import Attachment
from conversation.errors import InvalidInput
from conversation.message import Message
from conversation.parts import FilePart


def named(filename: str) -> str:
    return Attachment(filename=filename, content=b"x").filename


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("report.pdf", "report.pdf"),
        (".env", ".env"),
        ("résumé final (2).docx", "résumé final (2).docx"),
        ("报告.pdf", "报告.pdf"),
        ("👩‍👧 🎉.png", "👩‍👧 🎉.png"),
        ("a\nb\r\n.txt", "a b .txt"),
        ("a\tb\x1b[31m.txt", "a b[31m.txt"),
        ("a\u2028b\u2029.txt", "a b .txt"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("\u200fملف\u200e.pdf", "ملف.pdf"),
        ("a\u200b\ufeffb.txt", "ab.txt"),
        ("trailing. . ", "trailing"),
        ("  leading.txt", "leading.txt"),
        ("CON.txt", "_CON.txt"),
        ("nul", "_nul"),
        ("LPT1.tar.gz", "_LPT1.tar.gz"),
        ("CON .txt", "_CON .txt"),
        ("console.txt", "console.txt"),
        ("a..b...txt", "a..b...txt"),
    ],
)
def test_a_name_is_cleaned_of_what_people_cannot_see(given_name: str, kept: str) -> None:
    assert named(given_name) == kept


@pytest.mark.parametrize(
    "hostile", ["../a.txt", "..\\a.txt", "/etc/passwd", "a/b", "C:\\a.txt", "", ".", "..", "...", " . ", "\u202e", "\n"]
)
def test_a_path_and_a_name_of_which_nothing_is_left_are_refused(hostile: str) -> None:
    with pytest.raises(InvalidInput, match=r"attachments\.filename: is no plain file name; pass a name"):
        named(hostile)


@pytest.mark.parametrize(
    ("hostile", "told"),
    [
        ("a\x00.txt", "holds a NUL character"),
        ("a\ud800.txt", "is not valid Unicode"),
        ("x" * 4096, "has 4096 characters"),
        ("é" * 200, "has 400 bytes in UTF-8; at most 255 fit"),
    ],
)
def test_a_name_that_no_file_system_takes_is_refused_with_the_reason(hostile: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        named(hostile)


def test_a_name_is_the_same_however_its_letters_are_composed() -> None:
    composed = unicodedata.normalize("NFC", "Änderung.txt")

    assert named(unicodedata.normalize("NFD", composed)) == named(composed) == composed


def test_a_part_that_speaks_of_a_file_finds_it_by_the_name_it_was_given() -> None:
    name = unicodedata.normalize("NFD", "Änderung\u202e.txt")

    message = Message(
        role="user",
        content=[{"type": "file", "file": {"filename": name}}],
        attachments=[Attachment(filename=name, content=b"x")],
    )

    assert message.parts == (FilePart(message.attachments[0].filename),)


@given(st.text(max_size=60))
def test_a_name_that_came_out_passes_unchanged_and_shows_all_that_it_holds(text: str) -> None:
    try:
        name = named(text)
    except InvalidInput:
        return

    assert named(name) == name
    assert not any(unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in name)
    assert not any(0x202A <= ord(char) <= 0x202E or 0x2066 <= ord(char) <= 0x2069 for char in name)
