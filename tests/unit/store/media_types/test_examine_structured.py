"""Mails, notebooks, books and Outlook's files are told by their bytes, and accepted as they come."""

import io
import zipfile

import pytest

from conversation.errors import FileRejected
from store.media_types.examine import examine, examine_sample
from store.media_types.sample import HEAD_BYTES, TAIL_BYTES, Sample
from store.settings import Settings
from tests.outlook_file import properties, write

ALLOWED = Settings.model_fields["attachment_types"].default
MAIL = b"From: a@e.org\r\nTo: b@e.org\r\nSubject: x\r\nMIME-Version: 1.0\r\n\r\nbody \xe9\xff\x00"
NOTEBOOK = b'{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
RTF = rb"{\rtf1\ansi text}"
OLD_WORD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "WordDocument\0".encode("utf-16-le")
DOCUMENT = properties({0x3707: "old.doc", 0x3701: OLD_WORD}, head=8)
OUTLOOK = write(properties({0x1000: "x"}, inner={"__attach_version1.0_#00000000": DOCUMENT}))


def epub(first: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        for name in (first, "mimetype", "META-INF/container.xml", "b.opf")[not first :]:
            packed.writestr(name, "application/epub+zip" if name == "mimetype" else "x")
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "declared", "media_type"),
    [
        *[("a.eml", MAIL, declared, "message/rfc822") for declared in (
            None, "text/plain", "application/octet-stream", "message/rfc822", "multipart/related", "application/mbox",
        )],
        ("a.txt", MAIL, "text/plain", "message/rfc822"),
        ("saved.mht", MAIL, None, "message/rfc822"),
        ("a.eml", b"\r\n" + MAIL, None, "message/rfc822"),
        ("a.mbox", b"From a@e.org Mon Jan 1\n" + MAIL, None, "message/rfc822"),
        ("a.emlx", b"100  \n" + MAIL, None, "message/rfc822"),
        ("a.eml", b"Received: by x;\n  now\nSubject: x\n\nbody", None, "message/rfc822"),
        ("a.eml", "\ufeffFrom: a\r\nDate: b\r\nSubject: c\r\n\r\nd".encode("utf-16-le"), None, "message/rfc822"),
        *[("a.ipynb", NOTEBOOK, declared, "application/x-ipynb+json") for declared in (
            None, "application/json", "text/plain", "application/x-ipynb+json", "application/octet-stream",
        )],
        ("a.json", NOTEBOOK, "application/json", "application/x-ipynb+json"),
        ("a.json", b'{"cells": []}', "application/json", "application/json"),
        ("a.rtf", RTF, "application/rtf", "text/rtf"),
        ("a.rtf", RTF, "application/msword", "text/rtf"),
        ("a.msg", OUTLOOK, None, "application/vnd.ms-outlook"),
        ("a.msg", OUTLOOK, "application/octet-stream", "application/vnd.ms-outlook"),
        ("a.epub", epub(""), "application/epub+zip", "application/epub+zip"),
        ("a.epub", epub("other"), "application/epub+zip", "application/epub+zip"),
        ("a.txt", b"Title: x\nDate: y\nAuthor: z\n\ntext", "text/plain", "text/plain"),
        ("a.txt", b"From: me\nTo: you\n\nlunch?", "text/plain", "text/plain"),
        ("a.http", b"Date: x\nContent-Type: text/html\nServer: y\n\nbody", "text/plain", "message/rfc822"),
    ],
)  # fmt: skip
def test_a_file_with_a_structure_of_its_own_is_accepted_as_it_comes(
    name: str, content: bytes, declared: str | None, media_type: str
) -> None:
    assert examine(name, content, declared, max_bytes=10**6, allowed=ALLOWED) == media_type


@pytest.mark.parametrize(
    ("name", "content", "declared"),
    [
        ("a.png", MAIL, "image/png"),
        ("a.json", MAIL, "application/json"),
        ("a.pdf", NOTEBOOK, None),
        ("a.msg", OLD_WORD, None),
        ("a.doc", OUTLOOK, None),
        ("a.zip", epub(""), "application/zip"),
    ],
)
def test_a_file_that_is_called_something_else_is_refused(name: str, content: bytes, declared: str | None) -> None:
    with pytest.raises(FileRejected, match="is called"):
        examine(name, content, declared, max_bytes=10**6, allowed=ALLOWED)


def test_a_large_notebook_and_a_large_mail_are_told_by_their_ends() -> None:
    notebook = b'{"cells": [' + b"1, " * 10**6 + b'1], "nbformat": 4}'
    for content, media_type in ((notebook, "application/x-ipynb+json"), (MAIL + b"x" * 3 * 10**6, "message/rfc822")):
        sample = Sample.from_ends(content[:HEAD_BYTES], content[-TAIL_BYTES:], len(content))

        assert examine_sample("a", sample, None, max_bytes=10**8, allowed=ALLOWED) == media_type
