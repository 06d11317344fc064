"""Mails as Outlook stores them (.msg): the properties of a message, its receivers, its attachments.

What stays true: the text is the one that Outlook shows: HTML, else plain, else rich text. A property with text that is
not shown is counted.
"""

import io
from collections.abc import Iterator
from typing import Any

from agent.files.readers.attached import AttachedFile, add_files
from agent.files.readers.mail.letter import words_of
from agent.files.readers.mail.messages import NESTED_MAX
from agent.files.readers.mail.outlook_properties import Properties
from agent.files.readers.page.html import render as render_page
from agent.files.readers.rich_text import render as render_rich_text
from agent.files.readers.sections import TextSections

#: Receivers that are named one by one.
_RECEIVERS_MAX = 1000
#: Attachments that are looked at.
_ATTACHMENTS_MAX = 300
#: By the number that a receiver has.
_RECEIVER_KINDS = {1: "To", 2: "Cc", 3: "Bcc"}
#: Texts of a message that are shown, or that are another form of what is: by the numbers of MAPI.
_SUBJECT, _BODY, _HTML, _RICH, _HEADERS, _CLASS = 0x0037, 0x1000, 0x1013, 0x1009, 0x007D, 0x001A
_SENDER_NAME, _SENDER_SMTP, _SENDER_ADDRESS = 0x0C1A, 0x5D01, 0x0C1F
_AUTHOR_NAME, _AUTHOR_SMTP, _AUTHOR_ADDRESS = 0x0042, 0x5D02, 0x0065
_DISPLAYED = {1: 0x0E04, 2: 0x0E03, 3: 0x0E02}
_REPLY_NAMES = 0x0050
_SENT_AT, _RECEIVED_AT, _STARTS_AT, _ENDS_AT = 0x0039, 0x0E06, 0x0060, 0x0061
_SHOWN = frozenset({
    _SUBJECT, _BODY, _HTML, _RICH, _CLASS, _SENDER_NAME, _SENDER_SMTP, _SENDER_ADDRESS, _AUTHOR_NAME, _AUTHOR_SMTP,
    _AUTHOR_ADDRESS, _REPLY_NAMES, *_DISPLAYED.values(),
    0x003D, 0x0070, 0x0E1D,  # the subject, in parts
    0x0C1E, 0x0064,  # kinds of addresses
})  # fmt: skip
_FILE_LONG_NAME, _FILE_NAME, _FILE_TYPE, _FILE_BYTES, _FILE_ID, _FILE_TITLE = (
    0x3707, 0x3704, 0x370E, 0x3701, 0x3712, 0x3001,
)  # fmt: skip


def read(content: bytes, sections: TextSections) -> dict[str, Any]:
    """Read a message with all that is attached to it."""
    from olefile import OleFileIO

    with OleFileIO(io.BytesIO(content)) as file:
        _add_message(Properties(file), sections, "")
    return sections.result()


def _add_message(message: Properties, sections: TextSections, mark: str, nested: int = 0) -> None:
    text = _body(message, sections)
    sections.add(mark, "\n\n".join(filter(None, ["\n".join(_head(message)), text])))
    sections.leave_out("Outlook field", message.count_texts(except_for=_SHOWN))
    if "SMIME" in message.text(_CLASS).upper():
        sections.remark("The mail is signed or encrypted; its text may be in its attachment.")
    files, mails = list[AttachedFile](), list[Properties]()
    for number, attachment in enumerate(message.inner("__attach_version1.0_#")):
        if number >= _ATTACHMENTS_MAX:
            sections.remark(f"The mail has more than {_ATTACHMENTS_MAX} attachments; the others are not named.")
            break
        inner = attachment.message(_FILE_BYTES)
        if inner is not None:
            mails.append(inner)
        elif not _is_shown_in(message, attachment):
            files.append(_file(attachment))
    add_files(files, sections)
    for number, inner in enumerate(mails, start=1):
        if nested >= NESTED_MAX or sections.is_over:
            sections.leave_out("attached mail")
            continue
        name = f"{mark}.{number}" if nested else f"attached mail {number}"
        _add_message(inner, sections, name, nested + 1)


def _head(message: Properties) -> Iterator[str]:
    sender = _person(message, _SENDER_NAME, _SENDER_SMTP, _SENDER_ADDRESS)
    author = _person(message, _AUTHOR_NAME, _AUTHOR_SMTP, _AUTHOR_ADDRESS)
    receivers: dict[int, list[str]] = {1: [], 2: [], 3: []}
    for number, receiver in enumerate(message.inner("__recip_version1.0_#")):
        if number < _RECEIVERS_MAX:
            kind = receiver.number(0x0C15)
            receivers.setdefault(kind if kind in receivers else 1, []).append(_person(receiver, 0x3001, 0x39FE, 0x3003))
    times = {"Date": message.time(_SENT_AT) or message.time(_RECEIVED_AT)}
    if not message.text(_CLASS).startswith("IPM.Note"):
        times |= {"Start": message.time(_STARTS_AT), "End": message.time(_ENDS_AT)}
    fields = {
        "Kind": message.text(_CLASS).removeprefix("IPM.").replace("Note", "", 1),
        "From": author or sender,
        "Sender": sender if author and sender != author else "",
        "Reply-To": message.text(_REPLY_NAMES),
        **{
            _RECEIVER_KINDS[kind]: ", ".join(filter(None, names)) or message.text(_DISPLAYED[kind])
            for kind, names in receivers.items()
        },
        **times,
        "Subject": message.text(_SUBJECT),
    }
    for name, value in fields.items():
        if value:
            yield f"{name}: {value}"


def _person(properties: Properties, name_id: int, smtp_id: int, address_id: int) -> str:
    """A person with the address that mail goes to: Exchange has others, of its own."""
    name, address = properties.text(name_id), properties.text(smtp_id)
    other_address = properties.text(address_id)
    if not address and "@" in other_address:
        address = other_address
    if not address or address == name:
        return address or name or other_address
    return f"{name} <{address}>" if name else address


def _body(message: Properties, sections: TextSections) -> str:
    markup, plain = message.markup(_HTML), message.text(_BODY).strip()
    text = render_page(markup, sections) if markup else ""
    if text:
        sections.leave_out("other version", bool(words_of(plain) - words_of(text)))
        return text
    if plain:
        return plain
    packed = message.content(_RICH)
    if not packed:
        return ""
    from compressed_rtf import decompress

    try:
        return render_rich_text(decompress(packed).decode("latin-1"), sections)
    except Exception:  # noqa: BLE001 - a damaged text raises anything
        sections.leave_out("damaged text")
        return ""


def _is_shown_in(message: Properties, attachment: Properties) -> bool:
    """Whether the text of a message shows this picture where it stands, and counts it there."""
    content_id = attachment.text(_FILE_ID)
    return bool(content_id) and f"cid:{content_id}" in message.markup(_HTML)


def _file(attachment: Properties) -> AttachedFile:
    name = attachment.text(_FILE_LONG_NAME) or attachment.text(_FILE_NAME) or attachment.text(_FILE_TITLE)
    media_type = attachment.text(_FILE_TYPE).lower() or "application/octet-stream"
    return AttachedFile(" ".join(name.split()), media_type, attachment.content(_FILE_BYTES))
