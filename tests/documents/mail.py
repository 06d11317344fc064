"""E-mail as the standard library writes it: with parts, pages, attachments, in old encodings, forwarded."""

from collections.abc import Iterator, Sequence
from email.message import EmailMessage
from email.policy import SMTP
from html import escape

from tests.documents import Document, Fact, say
from tests.documents.matters import Matter
from tests.documents.pictures import draw_picture

MEDIA_TYPE = "message/rfc822"
#: What mail programs of the time before UTF-8 wrote, by language.
_OLD_CHARSETS = {
    "ru": "koi8-r", "ja": "iso-2022-jp", "zh": "gb18030", "el": "iso-8859-7", "pl": "iso-8859-2", "he": "iso-8859-8",
}  # fmt: skip


def build(matters: Sequence[Matter]) -> Iterator[Document]:
    """Build the messages."""
    for matter in matters:
        message, facts = _write(matter)
        facts += _WAYS[matter.number % len(_WAYS)](message, matter)
        yield Document(f"mail/stdlib/{matter.name}", MEDIA_TYPE, message.as_bytes(policy=SMTP), tuple(facts))


def _write(matter: Matter) -> tuple[EmailMessage, list[Fact]]:
    message = EmailMessage()
    message["From"] = f'"{matter.person}" <sender@example.com>'
    message["To"] = "desk@example.org"
    message["Subject"] = matter.title
    message["Date"] = f"{matter.date:%a, %d %b %Y} 09:30:00 +0000"
    charset = _OLD_CHARSETS.get(matter.language, "utf-8")
    message.set_content("\n\n".join(_lines_of(matter)), charset=charset)
    rows = [say(f"{item.name}: {item.count}") for item in matter.items]
    return message, [say(matter.person), say("desk@example.org"), *matter.say_body(), *rows]


def _lines_of(matter: Matter) -> list[str]:
    return [*matter.paragraphs, *(f"{item.name}: {item.count}" for item in matter.items)]


def _leave_plain(message: EmailMessage, matter: Matter) -> list[Fact]:
    message["Cc"] = "chief@example.org"
    return [say("chief@example.org")]


def _add_page(message: EmailMessage, matter: Matter) -> list[Fact]:
    """The same again as a page, of which one form is enough."""
    text = "".join(f"<p>{escape(line)}</p>" for line in _lines_of(matter))
    message.add_alternative(f"<html><body><h1>{escape(matter.title)}</h1>{text}</body></html>", subtype="html")
    return []


def _attach(message: EmailMessage, matter: Matter) -> list[Fact]:
    name = f"{matter.columns[0]}.csv"
    content = f"{matter.note};1\n".encode()
    message.add_attachment(content, maintype="text", subtype="csv", filename=name)
    message.add_attachment(draw_picture(9), maintype="image", subtype="png", filename="photo.png")
    return [say(name), say("photo.png")]


def _forward(message: EmailMessage, matter: Matter) -> list[Fact]:
    inner = EmailMessage()
    inner["From"], inner["Subject"] = "first@example.net", matter.header
    inner.set_content(matter.note)
    message.add_attachment(inner)
    return [say(matter.header), say(matter.note)]


_WAYS = (_leave_plain, _add_page, _attach, _forward)
