"""E-mail: messages as they travel, and several of them in one file as mail programs store them.

What stays true: a mail that a mail program shows is shown, however broken it is; each part of it is shown, or named
as left out. Of versions of the same text the one that a person sees is shown.
"""

import re
from collections.abc import Iterator
from typing import Any

from agent.files.readers.attached import add_files
from agent.files.readers.decode import decode
from agent.files.readers.mail.letter import Letter
from agent.files.readers.mail.mime_part import MimePart
from agent.files.readers.sections import TextSections
from conversation.charset import split_byte_order_mark

#: Mails within mails that are shown.
NESTED_MAX = 10
#: Mails of one file, or within one mail, that are shown.
_MAILS_MAX = 1000
_SHOWN_FIELDS = {
    "from", "sender", "reply-to", "to", "cc", "bcc", "date", "subject", "comments", "keywords", "organization",
    "importance", "newsgroups", "resent-from", "resent-to", "resent-date", "snapshot-content-location",
}  # fmt: skip
#: They say how the mail is written, not what.
_SILENT_FIELDS = {"mime-version", "content-type", "content-transfer-encoding", "content-disposition", "content-length"}
#: What stands above each mail of a file of several.
_SEPARATOR = re.compile(rb"(?:\A|(?<=\n\n)|(?<=\n\r\n))From [^\r\n]*\r?\n(?=(?:>?From |[!-9;-~]+[ \t]*:))")
#: What Apple's program writes before a mail: how many bytes it has.
_LENGTH_LINE = re.compile(rb"\s*(\d{1,10})[ \t]*\r?\n(?=[!-9;-~]+[ \t]*:)")


def read(content: bytes, sections: TextSections) -> dict[str, Any]:
    """Read the mails of a file: their senders and receivers, their text, their attachments."""
    mails = list(_mails(_unwrap(content)))
    for number, mail in enumerate(mails, start=1):
        if sections.is_over:
            return sections.result(goes_on=True)
        add_mail(MimePart(mail), sections, f"message {number}" if len(mails) > 1 else "")
    return sections.result()


def add_mail(part: MimePart, sections: TextSections, mark: str, nested: int = 0) -> None:
    """Add a mail as a section, and after it the files and mails within it."""
    letter = Letter(sections)
    head = "\n".join(_head(part, sections))
    letter.add(part)
    text = "\n\n".join(filter(None, [head, *letter.texts]))
    if mark and not text:
        text = "(empty)"
    sections.add(mark, text)
    add_files(letter.files, sections)
    for number, (filename, mail) in enumerate(letter.mails, start=1):
        if nested >= NESTED_MAX:
            sections.remark(f"Mails within mails are shown {NESTED_MAX} levels deep.")
        if nested >= NESTED_MAX or number > _MAILS_MAX or sections.is_over:
            sections.leave_out("attached mail", len(letter.mails) - number + 1)
            return
        name = f"{mark}.{number}" if nested else f"{mark and mark + ', '}attached mail {number}"
        add_mail(mail, sections, f'{name} "{filename}"' if filename else name, nested + 1)


def _head(part: MimePart, sections: TextSections) -> Iterator[str]:
    sections.leave_out("header field", part.stray_lines)
    for name, value in part.fields:
        if name.lower() in _SHOWN_FIELDS and value:
            yield f"{name}: {value}"
        elif name.lower() not in _SILENT_FIELDS and value:
            sections.leave_out("header field")


def _mails(content: bytes) -> Iterator[bytes]:
    separators = list(_SEPARATOR.finditer(content))
    if len(separators) < 2:
        yield content
        return
    starts = [match.end() for match in separators]
    for start, end in zip(starts, [*(match.start() for match in separators[1:]), len(content)], strict=True):
        # A line of text that begins like a separator was changed when it was stored.
        yield re.sub(rb"^>(>*From )", rb"\1", content[start:end], flags=re.MULTILINE)


def _unwrap(content: bytes) -> bytes:
    """The bytes of a mail without what some programs put around them."""
    encoding, unmarked = split_byte_order_mark(content)
    if encoding not in (None, "utf-8"):
        unmarked = decode(content).encode("utf-8", "replace")
    length = _LENGTH_LINE.match(unmarked)
    if length:
        return unmarked[length.end() : length.end() + int(length[1])]
    return unmarked.lstrip(b"\r\n \t")
