"""Texts and OLE files with a structure of their own, which readers need to know: mails and notebooks.

What stays true: a type is told by what such a file cannot be without, never by its name. A mail is told before its
bytes are decoded, since each of its parts may be in another encoding.
"""

import re

from conversation.charset import split_byte_order_mark
from store.media_types.sample import Sample

MAIL, NOTEBOOK, OUTLOOK, RICH_TEXT = (
    "message/rfc822", "application/x-ipynb+json", "application/vnd.ms-outlook", "text/rtf",
)  # fmt: skip
#: Types told here that are texts, and do nothing when they are opened.
STRUCTURED_TEXTS = frozenset({MAIL, NOTEBOOK, RICH_TEXT})

#: Bytes in which the header fields of a mail are searched.
_HEAD_BYTES = 64 * 1024
#: Fields of which a text that is no mail has hardly two.
_TELLING_FIELDS = frozenset({
    b"from", b"to", b"cc", b"subject", b"date", b"message-id", b"mime-version", b"received", b"return-path",
    b"content-type", b"delivered-to", b"reply-to", b"dkim-signature", b"x-mailer", b"x-received", b"sender",
    b"content-transfer-encoding", b"in-reply-to", b"references", b"bcc", b"resent-from", b"user-agent",
})  # fmt: skip
#: Fields that nobody writes by hand.
_MACHINE_FIELDS = _TELLING_FIELDS - {b"from", b"to", b"cc", b"subject", b"date", b"sender", b"references", b"bcc"}
_FIELD = re.compile(rb"([!-9;-~]{1,100})[ \t]*:[^\r\n]*(?:\r\n|\r|\n|\Z)(?:[ \t]+[^\s][^\r\n]*(?:\r\n|\r|\n|\Z))*")
_BEFORE_FIELDS = re.compile(rb"\s*(?:\d{1,10}\s*\r?\n)?(?:>?From [^\r\n]+\r?\n)?")
_NOTEBOOK_FORMAT = re.compile(rb'"nbformat"\s*:\s*[1-9]')
_NOTEBOOK_CELLS = re.compile(rb'"(?:cells|worksheets)"\s*:\s*\[')
#: Folders in which Office keeps macros in its old files, in lower case.
_MACRO_STORAGES = {"macros", "vba", "_vba_project_cur", "_vba_project", "encryptedpackage"}
#: The stream that every file of Outlook has at its top.
_OUTLOOK_STREAM = "__properties_version1.0"


def structured_type(sample: Sample) -> str | None:
    """The mail, notebook or rich text that these bytes are; None where they are none."""
    encoding, content = split_byte_order_mark(sample.head)
    if encoding not in (None, "utf-8"):
        content = content[:_HEAD_BYTES].decode(encoding or "utf-8", "replace").encode("utf-8", "replace")
    if content.startswith(b"{\\rtf"):
        return RICH_TEXT
    if content.lstrip()[:1] == b"{":
        return NOTEBOOK if _is_notebook(sample) else None
    return MAIL if _is_mail(content[:_HEAD_BYTES]) else None


def is_outlook_file(sample: Sample, other_streams: "tuple[str, ...]") -> bool:
    """Whether an OLE file is a mail of Outlook at its top, and none of what `other_streams` name.

    Files of other programs may well be attached to it, further in.
    """
    file = sample.open()
    if file is None:
        return _encode(_OUTLOOK_STREAM) in sample.head and not any(_encode(s) in sample.head for s in other_streams)
    from olefile import OleFileIO

    try:
        with OleFileIO(file) as ole_file:
            names = {path[0].lower() for path in ole_file.listdir(storages=True)}
    except Exception:  # noqa: BLE001 - a damaged file raises anything
        return False
    # Whoever opens the file by another program's name finds its macros there.
    return _OUTLOOK_STREAM in names and names.isdisjoint({name.lower() for name in other_streams} | _MACRO_STORAGES)


def _encode(stream: str) -> bytes:
    return f"{stream}\0".encode("utf-16-le")


def _is_notebook(sample: Sample) -> bool:
    ends = (sample.head, sample.tail)
    return all(any(pattern.search(end) for end in ends) for pattern in (_NOTEBOOK_FORMAT, _NOTEBOOK_CELLS))


def _is_mail(content: bytes) -> bool:
    """Whether bytes begin with the header fields of a mail: three of them, or two that only programs write."""
    before = _BEFORE_FIELDS.match(content)
    at, names = before.end() if before else 0, set[bytes]()
    while match := _FIELD.match(content, at):
        names.add(match[1].lower())
        at = match.end()
    telling = names & _TELLING_FIELDS
    is_enough = len(telling) > 2 or (len(telling) > 1 and bool(telling & _MACHINE_FIELDS))
    # A web server's answer, and a template with fields of its own, have other lines in between.
    return is_enough and bool(telling & {b"from", b"to", b"subject", b"date", b"received", b"return-path"})
