"""An e-mail with a word in every place where one can stand. What stays true: no two places share a part."""

from tests.marked_files import MarkedFile, mark_of

_FIELDS = ("From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Subject", "Comments", "Keywords", "Organization")
_PLACES = {
    **{f"the field {name}": "" for name in _FIELDS},
    "a field of machines": "header field",
    "text before the parts": "stray text",
    "text after the parts": "stray text",
    "the text as a page": "",
    "the same text without a page": "other version",
    "plain text": "",
    "text that was broken to be sent": "",
    "the name of an attachment": "",
    "text of an attachment": "",
    "a page that is attached": "",
    "a table that is attached": "",
    "the name of a picture": "",
    "the name of a program": "",
    "bytes of a program's file": "attachment",
    "the summary of an invitation": "",
    "the place of an invitation": "",
    "an attendee of an invitation": "",
    "another field of an invitation": "calendar field",
    "the name on a card": "",
    "a note on a card": "",
    "the subject of an attached mail": "",
    "the text of an attached mail": "",
    "the name of an attached mail": "",
    "a field of a part": "header field",
    "a mail of a digest": "",
    "why it was not delivered": "",
    "the description of a part": "",
    "old rich text": "",
    "a file of an old program": "",
    "a signature": "signature",
    "an encrypted part": "encrypted part",
    "Outlook's packed file": "winmail.dat file",
    "text under a name of its own": "",
    "a version for watches": "other version",
}  # fmt: skip


def build() -> MarkedFile:
    """Build the mail, part by part, as no library would."""
    mark = mark_of
    head = "".join(f"{name}: {mark(f'the field {name}')}@example.org\r\n" for name in _FIELDS)
    head += f"X-Machine: {mark('a field of machines')}\r\nDate: Mon, 1 Jan 2024 10:00:00 +0000\r\n"
    inner = f"Subject: {mark('the subject of an attached mail')}\r\n\r\n{mark('the text of an attached mail')}"
    card = f"BEGIN:VCARD\r\nFN:{mark('the name on a card')}\r\nNOTE:{mark('a note on a card')}\r\nEND:VCARD"
    parts = [
        _several("alternative", "a", [
            _part("text/plain", mark("the same text without a page")),
            _part("text/watch-html", f"<p>{mark('a version for watches')}</p>"),
            _part("text/html", f"<p>{mark('the text as a page')}</p>"),
        ]),
        _part("text/plain", mark("plain text")),
        _part("text/plain; format=flowed", f"broken \r\n{mark('text that was broken to be sent')}"),
        _file("text/plain", f"{mark('the name of an attachment')}.txt", mark("text of an attachment")),
        _file("text/html", "page.html", f"<p>{mark('a page that is attached')}</p>"),
        _file("application/octet-stream", "table.csv", mark("a table that is attached")),
        _file("image/png", f"{mark('the name of a picture')}.png", "x"),
        _file("application/octet-stream", f"{mark('the name of a program')}.exe", mark("bytes of a program's file")),
        _part("text/calendar", _calendar()),
        _part("text/vcard", card),
        _file("message/rfc822", f"{mark('the name of an attached mail')}.eml", inner),
        _part(f"text/plain\r\nX-Own: {mark('a field of a part')}", "x"),
        _several("digest", "d", [f"\r\nSubject: digest\r\n\r\n{mark('a mail of a digest')}"]),
        _part("message/delivery-status", f"Action: failed\r\nDiagnostic-Code: {mark('why it was not delivered')}"),
        _part(f"text/plain\r\nContent-Description: {mark('the description of a part')}", "x"),
        _part("text/enriched", f"<bold>{mark('old rich text')}</bold>"),
        _part("text/plain", f"x\r\nbegin 644 {mark('a file of an old program')}.bin\r\n#0V%T\r\n`\r\nend\r\n"),
        _several("signed", "s", [_part("text/plain", "x"), _part("application/pgp-signature", mark("a signature"))]),
        _several("encrypted", "e", [_part("application/octet-stream", mark("an encrypted part"))]),
        _part("application/ms-tnef", mark("Outlook's packed file")),
        _part("text/x-unheard-of", mark("text under a name of its own")),
    ]  # fmt: skip
    body = _several("mixed", "m", parts, mark("text before the parts"), mark("text after the parts"))
    content = f"{head}MIME-Version: 1.0\r\n{body}"
    return MarkedFile("message/rfc822", content.encode(), _PLACES)


def _part(kind: str, text: str) -> str:
    return f"Content-Type: {kind}\r\n\r\n{text}"


def _file(kind: str, name: str, text: str) -> str:
    return f'Content-Type: {kind}\r\nContent-Disposition: attachment; filename="{name}"\r\n\r\n{text}'


def _several(kind: str, boundary: str, parts: list[str], before: str = "", after: str = "") -> str:
    inner = "".join(f"--{boundary}\r\n{part}\r\n" for part in parts)
    return (
        f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n\r\n{before}\r\n{inner}--{boundary}--\r\n{after}\r\n'
    )


def _calendar() -> str:
    return (
        f"BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nDTSTART:20240102T100000Z\r\n"
        f"SUMMARY:{mark_of('the summary of an invitation')}\r\nLOCATION:{mark_of('the place of an invitation')}\r\n"
        f'ATTENDEE;CN="{mark_of("an attendee of an invitation")}":mailto:x@example.org\r\n'
        f"X-OTHER:{mark_of('another field of an invitation')}\r\nEND:VEVENT\r\nEND:VCALENDAR"
    )
