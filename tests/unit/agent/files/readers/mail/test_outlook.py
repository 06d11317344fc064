"""Mails of Outlook are read whatever their text is kept as; what is missing or broken is no error."""

import struct
import time
from typing import Any

import compressed_rtf
import pytest

from agent.files.readers.mail import outlook
from agent.files.readers.sections import TextSections
from tests.outlook_file import Storage, properties, write


def read(message: Storage) -> dict[str, Any]:
    return outlook.read(write(message), TextSections(time.monotonic() + 30, 100_000))


@pytest.mark.parametrize(
    ("texts", "text"),
    [
        ({0x1000: "plain"}, "plain"),
        ({0x1013: b"<p>page"}, "page"),
        ({0x1013: "<p>page", 0x1000: "page"}, "page"),
        ({0x1013: b"<p>K\xf6ln"}, "Köln"),
        ({0x1013: b"<meta charset=utf-8><p>K\xc3\xb6ln"}, "Köln"),
        ({0x1013: b"<img src=x>", 0x1000: "plain"}, "plain"),
        ({0x1009: compressed_rtf.compress(rb"{\rtf1\ansi K\'f6ln}")}, "Köln"),
        ({0x1009: b"broken"}, ""),
        ({0x1000: "x" * 5000}, "x" * 5000),
        ({}, ""),
    ],
)
def test_the_text_is_found_where_it_is(texts: dict[int, str | bytes], text: str) -> None:
    assert read(properties(texts, {0x3FFD: struct.pack("<q", 1252)}))["text"] == text


@pytest.mark.parametrize(
    ("texts", "line"),
    [
        ({0x0C1A: "Bob", 0x5D01: "bob@e.org", 0x0C1F: "/O=X/CN=bob"}, "From: Bob <bob@e.org>"),
        ({0x0C1A: "Bob", 0x0C1F: "bob@e.org"}, "From: Bob <bob@e.org>"),
        ({0x0C1A: "Bob", 0x0C1F: "/O=X/CN=bob"}, "From: Bob"),
        ({0x0C1F: "/O=X/CN=bob"}, "From: /O=X/CN=bob"),
        ({0x0042: "Ann", 0x5D02: "a@e.org", 0x0C1A: "Bob"}, "From: Ann <a@e.org>\nSender: Bob"),
        ({0x0E04: "Ann; Bob"}, "To: Ann; Bob"),
    ],
)
def test_a_person_is_named_by_the_address_that_mail_goes_to(texts: dict[int, str | bytes], line: str) -> None:
    assert read(properties(texts))["text"] == line


def test_mails_within_mails_are_shown_so_deep_and_then_counted() -> None:
    message = properties({0x1000: "end"}, head=24)
    for _ in range(15):
        attachment = properties({}, head=8, inner={"__substg1.0_3701000D": message})
        message = properties({0x1000: "x"}, head=24, inner={"__attach_version1.0_#00000000": attachment})

    result = read(properties({0x1000: "x"}, inner=message.storages))

    assert result["text"].count("attached mail") == 10
    assert result["left_out"] == {"attached mail": 1}
