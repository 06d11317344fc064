"""The parts of an e-mail: their header fields, their bytes, and the parts within them.

What stays true: nothing here raises for what is broken in a mail; what a header says is believed as far as it can
be, and bytes that are not in the encoding that they claim are taken as they are. A part is taken apart only when its
parts are asked for, so that no depth costs anything before.
"""

import binascii
import quopri
import re
from collections.abc import Iterator
from email.errors import MessageError
from email.header import decode_header
from email.message import Message
from email.parser import BytesHeaderParser

from agent.files.readers.decode import decode, find_codec
from agent.files.readers.sections import TextSections

#: Of the header fields of one part, in bytes: no mail program writes a thousandth of it.
_HEAD_MAX_BYTES = 1024 * 1024
_FIELD = rb"[!-9;-~]{1,200}[ \t]*:"
_HEAD = re.compile(rb"(?:(?:>?From |" + _FIELD + rb"|[ \t])[^\r\n]*(?:\r\n|\r|\n|\Z))*")
#: Lines among the header fields that are none: programs that break mails write a few.
_STRAY_LINES_MAX = 20
_STRAY_LINE = re.compile(
    rb"[^\r\n]+(?:\r\n|\r|\n)(?=(?:From|To|Cc|Subject|Date|Message-ID|MIME-Version|Content-[\w-]+|Received|X-[\w-]+):)",
    re.IGNORECASE,
)
_END_OF_LINE = re.compile(rb"\r\n|\r|\n")
_REST_OF_LINE = rb"(--)?[ \t]*(?:\r\n|\r|\n|\Z)"
#: What mail programs write for those that know no parts.
_USUAL_PREAMBLE = re.compile(rb"multi-?\s*part\s+message|MIME", re.IGNORECASE)
#: A line that can be nothing else than a boundary: header fields follow it.
_GUESSED_BOUNDARY = re.compile(
    rb"^--([^\s][^\r\n]{0,69}?)[ \t]*\r?\n(?=Content-[\w-]+[ \t]*:)", re.MULTILINE | re.IGNORECASE
)
#: What no line of base64 has.
_NO_BASE64 = re.compile(rb"[^A-Za-z0-9+/=\s]|\w[ \t]+\w")
#: Searched one after the other: a file without an end would be read anew from each line that begins one.
_UU_BEGIN, _UU_END = re.compile(rb"^begin \d{3,4} [^\r\n]+\r?\n", re.MULTILINE), re.compile(rb"^end\s*?$", re.MULTILINE)


class MimePart:
    """One part of a mail, or a whole mail."""

    def __init__(self, content: bytes, default_type: str = "text/plain") -> None:
        """`default_type` is what it holds if it does not say so."""
        head, end, self.stray_lines = _split_head(content)
        self._fields: Message = BytesHeaderParser().parsebytes(head.removeprefix(b">"))
        line_end = _END_OF_LINE.match(content, end)
        self._body = content[line_end.end() if line_end else end :]
        self._default_type = default_type

    @property
    def media_type(self) -> str:
        """The media type, in lower case."""
        value = self._raw("Content-Type").partition(";")[0].strip().lower()
        return value if re.fullmatch(r"[\w.+-]+/[\w.+*-]+", value) else self._default_type

    @property
    def fields(self) -> Iterator[tuple[str, str]]:
        """The header fields in their order, readable."""
        for name, value in self._fields.raw_items():
            yield name, decode_field(str(value))

    def field(self, name: str) -> str:
        """A header field, readable; several of them one after the other; "" without it."""
        return ", ".join(value for other, value in self.fields if other.lower() == name.lower())

    def parameter(self, name: str, field: str = "Content-Type") -> str:
        """A parameter of a header field; "" without it."""
        try:
            value = self._fields.get_param(name, "", field.lower())
        except (ValueError, LookupError, TypeError, AttributeError):
            return ""
        if isinstance(value, tuple):
            charset, _, text = value
            return decode(_to_bytes(text, "latin-1"), charset)
        return decode_field(str(value))

    @property
    def is_attachment(self) -> bool:
        """Whether it says that it is a file beside the text."""
        return self._raw("Content-Disposition").strip().lower().startswith("attachment")

    @property
    def filename(self) -> str:
        """The name of the file that it is; "" for none."""
        name = self.parameter("filename", "Content-Disposition") or self.parameter("name")
        return " ".join(name.split())

    @property
    def content(self) -> bytes:
        """The bytes of the part, out of the form in which mail carries them."""
        encoding = self._raw("Content-Transfer-Encoding").partition(";")[0].strip().lower()
        if encoding == "base64":
            return _decode_base64(self._body)
        if encoding == "quoted-printable":
            return quopri.decodestring(self._body)
        if encoding in ("x-uuencode", "uuencode", "x-uue", "uue"):
            begin = _UU_BEGIN.search(self._body)
            end = begin and _UU_END.search(self._body, begin.end())
            return decode_uu(self._body[begin.end() : end.start()]) if begin and end else self._body
        return self._body

    def read_text(self, sections: TextSections) -> str:
        """Read the bytes as text, in lines; a guess at its encoding is told in `sections`."""
        text = decode_text(self.content, self.parameter("charset"), sections)
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def split(self, most: int) -> tuple[list["MimePart"], int, bool]:
        """The parts of a multipart, how many there are beyond `most`, and whether it has text around them.

        There are none where its boundary is not found.
        """
        line = self._boundary_line()
        if line is None:
            return [], 0, False
        default_type = "message/rfc822" if self.media_type == "multipart/digest" else "text/plain"
        parts, start, has_text_around = list[MimePart](), -1, False
        marks = line.finditer(self._body)
        for mark in marks:
            if start < 0:
                has_text_around |= _has_words(self._body[: mark.start()])
            else:
                parts.append(MimePart(_without_last_line_end(self._body[start : mark.start()]), default_type))
            start = mark.end()
            if mark[1]:
                return parts, 0, has_text_around or _has_words(self._body[start:])
            if len(parts) == most:
                return parts, 1 + sum(not other[1] for other in marks), has_text_around
        # A mail that breaks off, or that lost its last line.
        if 0 <= start < len(self._body):
            parts.append(MimePart(self._body[start:], default_type))
        return parts, 0, has_text_around

    def _boundary_line(self) -> "re.Pattern[bytes] | None":
        """The line between its parts, as it says or else as it looks; None for a part that has none."""
        boundary = _to_bytes(self.parameter("boundary").rstrip(), "utf-8")
        if not boundary or b"--" + boundary not in self._body:
            guess = _GUESSED_BOUNDARY.search(self._body)
            if not guess:
                return None
            boundary = guess[1]
        return re.compile(rb"(?:^|(?<=\r))--" + re.escape(boundary) + _REST_OF_LINE, re.MULTILINE)

    def _raw(self, name: str) -> str:
        return str(self._fields.get(name, ""))


def decode_field(value: str) -> str:
    """Decode a header field: folded, with encoded words, or with bytes of any encoding."""
    value = " ".join(value.split())
    if not value.isascii():
        value = decode(_to_bytes(value, "ascii"))
    if "=?" not in value:
        return value
    # A space within a word is against the rules, and usual.
    value = re.sub(r"=\?[^?\s]+\?[qQ]\?[^?]*\?=", lambda word: word[0].replace(" ", "_"), value)
    try:
        pieces = decode_header(value)
    except (ValueError, LookupError, MessageError):  # an encoded word of base64 that is none
        return value
    # A character may begin in one word and end in the next.
    text = "".join(
        piece if isinstance(piece, str) else decode_text(piece, charset) if charset else decode(piece)
        for piece, charset in pieces
    )
    return text if text.strip() else value


def decode_text(content: bytes, charset: str | None, sections: TextSections | None = None) -> str:
    """Decode the text of a part: senders call UTF-8 by the names of its subsets."""
    codec = find_codec((charset or "").partition("*")[0])
    if codec in (None, "ascii", "iso8859-1", "cp1252"):
        try:
            return content.decode()
        except UnicodeDecodeError:
            return decode(content, None if codec == "ascii" else codec, sections=sections)
    return decode(content, codec, sections=sections)


def decode_uu(lines: bytes) -> bytes:
    """Decode lines of uuencode, without those that are none."""
    content = bytearray()
    for line in lines.splitlines():
        try:
            content += binascii.a2b_uu(line)
        except binascii.Error:
            # Some writers count the bytes of a line wrongly.
            with_length = line[: 1 + ((((line[:1] or b" ")[0] - 32) & 63) * 4 + 5) // 3]
            try:
                content += binascii.a2b_uu(with_length)
            except binascii.Error:
                continue
    return bytes(content)


def _decode_base64(body: bytes) -> bytes:
    if _NO_BASE64.search(body.lstrip()[:200].partition(b"\n")[0].strip()):
        return body
    # Lists of addressees write a line of their own below, as it is.
    packed, padding, footer = body.partition(b"=")
    footer = footer.lstrip(b"=\r\n")
    if not padding or not _NO_BASE64.search(footer.strip()):
        packed, footer = body, b""
    letters = re.sub(rb"[^A-Za-z0-9+/]", b"", packed)
    letters = letters[: len(letters) - (len(letters) % 4 == 1)]
    content = binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))
    return content + b"\n" + footer if footer else content


def _split_head(content: bytes) -> tuple[bytes, int, int]:
    """The header fields of a part, where they end, and how many lines among them are none.

    A line that is none ends them, as in mails that lost the empty line, unless fields of mail go on after it.
    """
    match = _HEAD.match(content, 0, _HEAD_MAX_BYTES)
    end, stray_lines = match.end() if match else 0, 0
    head = content[:end]
    while head and stray_lines < _STRAY_LINES_MAX and (stray := _STRAY_LINE.match(content, end)):
        stray_lines += 1
        match = _HEAD.match(content, stray.end(), _HEAD_MAX_BYTES)
        head += content[stray.end() : match.end()] if match else b""
        end = match.end() if match else stray.end()
    return head, end, stray_lines


def _to_bytes(text: str, encoding: str) -> bytes:
    """The bytes of a header, whose parser keeps those beyond ASCII as surrogates."""
    try:
        return text.encode(encoding, "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")


def _has_words(content: bytes) -> bool:
    return bool(content.strip()) and not _USUAL_PREAMBLE.search(content[:500])


def _without_last_line_end(content: bytes) -> bytes:
    for line_end in (b"\r\n", b"\n", b"\r"):
        if content.endswith(line_end):
            return content[: -len(line_end)]
    return content
