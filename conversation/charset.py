"""The encoding of a text, decided once: for the gate that accepts it, and for all that read it.

What stays true: it depends on the bytes alone, or on what a sender says of them, and of a long text on its
beginning, so that gate and readers come to the same. What cannot be told with enough confidence is not
read: a wrong guess is worse than a question. The time is bounded, and the detector is imported only where a
text does not say or show its encoding.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

from conversation.charset_labels import find_codec, find_declared

#: Each mark with the encoding of what follows it. The mark of UTF-32 begins like the one of UTF-16, so that it is
#: asked for first.
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
#: Of a text's beginning, by which its encoding is decided.
DECISION_BYTES = 1024 * 1024
#: Below this confidence a guess is none: above it, one text in a hundred is read wrongly, and refusing more would
#: refuse more right ones. Measured in `docs/decisions/0024-text-encodings-are-detected-once.md`.
MIN_CONFIDENCE = 0.12

#: Of control characters, in text that is plainly some: formats with separators of their own have one in six or so.
CONTROLS_MAX_SHARE = 0.2
#: Of control characters, in a text whose encoding has to be believed: more are binary data.
_GUESS_CONTROLS_MAX_SHARE = 0.02
#: Control characters that programs write into no text, but for a few that use them as separators or commands.
_CONTROLS = re.compile("[\x01-\x06\x0e-\x19\x1c-\x1f]")
#: Sequences of 7-bit encodings of Asia: into two bytes a character.
_ESCAPES = ((b"\x1b$)C", "iso2022_kr"), (b"\x1b$", "iso2022_jp_ext"))
#: Those of HZ, which are in programs, too: there, none is closed.
_HZ = re.compile(rb"~\{(?:[!-w][!-~])+~\}")
_WIDE_SAMPLE_BYTES = 64 * 1024
#: How people call an encoding, where its codec's name is another.
_LABELS = {
    "big5hkscs": "Big5", "cp932": "Shift-JIS", "euc_jis_2004": "EUC-JP", "cp949": "EUC-KR", "gb18030": "GB18030",
    "johab": "Johab", "iso2022_jp_ext": "ISO-2022-JP", "iso2022_kr": "ISO-2022-KR", "hz": "HZ", "cp874": "Windows-874",
    "mac-roman": "Mac Roman", "mac-cyrillic": "Mac Cyrillic", "mac-greek": "Mac Greek", "mac-latin2": "Mac Latin 2",
    "mac-turkish": "Mac Turkish", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16",
    "utf-32-le": "UTF-32", "utf-32-be": "UTF-32",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TextEncoding:
    """An encoding of a text."""

    #: Of Python's codec.
    name: str
    #: From 0 to 1; 1 for what a text says or shows.
    confidence: float = 1.0
    #: Whether neither the text nor its sender says so.
    is_guess: bool = False

    @property
    def label(self) -> str:
        """The encoding as people call it."""
        name = self.name.replace("cp125", "Windows-125") if self.name.startswith("cp125") else self.name.upper()
        return _LABELS.get(self.name) or name.replace("ISO8859", "ISO-8859")

    @property
    def remark(self) -> str | None:
        """A sentence that tells of a guess; None where there was none."""
        return f"The text was read as {self.label}, which is a guess." if self.is_guess else None

    def decode(self, content: bytes, *, is_whole: bool = True) -> str:
        """Decode a text or its beginning, without its mark; what cannot be decoded is replaced by U+FFFD."""
        mark, unmarked = split_byte_order_mark(content)
        decoder = codecs.getincrementaldecoder(self.name)("replace")
        return decoder.decode(unmarked if mark == self.name else content, final=is_whole)

    def describe_broken(self, text: str, content: bytes) -> str | None:
        """Describe what of `content` could not be decoded; None for a text whose own characters these are."""
        own_mark = "\ufffd".encode(self.name, "ignore")
        count = text.count("\ufffd") - (content.count(own_mark) if own_mark else 0)
        if count <= 0:
            return None
        return f"{count} {'character is' if count == 1 else 'characters are'} broken, and shown as \ufffd."


def split_byte_order_mark(content: bytes) -> tuple[str | None, bytes]:
    """Split a text's bytes: the encoding that its mark names, None without a mark, and what follows it."""
    for mark, encoding in BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return encoding, content[len(mark) :]
    return None, content


def decide(content: bytes, declared: str | None = None, *, is_whole: bool = True) -> TextEncoding | None:
    """Decide the encoding of a text, or of its beginning; None for bytes whose encoding cannot be told, or no text.

    `declared` is what a sender says, as in `text/csv; charset=windows-1250`. It is believed, as is what the text
    says of itself, where it gives a text; the bytes of UTF-8 are believed before either.
    """
    head, is_whole = content[:DECISION_BYTES], is_whole and len(content) <= DECISION_BYTES
    mark, _ = split_byte_order_mark(head)
    if mark is not None:
        return TextEncoding(mark)
    if b"\x00" in head[:_WIDE_SAMPLE_BYTES]:
        return _guess_wide(head)
    if head.isascii():
        return _decide_ascii(head, declared, is_whole=is_whole)
    if _is_utf8(head, is_whole=is_whole):
        return TextEncoding("utf-8") if has_text(TextEncoding("utf-8").decode(head), share=CONTROLS_MAX_SHARE) else None
    for name in _declared_names(head, declared):
        text = _read_strictly(head, name, is_whole=is_whole)
        if text is not None and has_text(text):
            return TextEncoding(name)
    return _guess(head)


def has_text(text: str, *, share: float = _GUESS_CONTROLS_MAX_SHARE) -> bool:
    """Whether a text has no more control characters, by their share, than texts have, and no NUL."""
    return "\x00" not in text and len(_CONTROLS.findall(text)) <= len(text) * share


def _decide_ascii(head: bytes, declared: str | None, *, is_whole: bool) -> TextEncoding | None:
    for escape, name in _ESCAPES:
        text = _read_strictly(head, name, is_whole=is_whole) if escape in head else None
        if text is not None and not text.isascii():
            return TextEncoding(name)
    if _HZ.search(head) and b"~{" not in _HZ.sub(b"", head):
        return TextEncoding("hz", is_guess=find_codec(declared) != "hz")
    text = head.decode("ascii")
    if not has_text(text, share=0):
        wide = _guess_wide(head)
        if wide is not None:
            return wide
    return TextEncoding("utf-8") if has_text(text, share=CONTROLS_MAX_SHARE) else None


def _is_utf8(head: bytes, *, is_whole: bool) -> bool:
    """Whether the bytes are UTF-8, with a few that are broken or with a last character that is cut off."""
    text = TextEncoding("utf-8").decode(head, is_whole=False)
    broken = text.count("\ufffd") - head.count("\ufffd".encode())
    others = len(text) - len(text.encode("ascii", "ignore")) - broken
    if not broken:
        is_cut_off = is_whole and _read_strictly(head, "utf-8", is_whole=True) is None
        return others > is_cut_off
    return others >= 2 * broken


def _declared_names(head: bytes, declared: str | None) -> Iterator[str]:
    name = find_codec(declared)
    if name is not None and not name.startswith("utf"):
        yield name
    yield from (name for name in find_declared(head) if name != "utf-8")


def _read_strictly(head: bytes, encoding: str, *, is_whole: bool) -> str | None:
    try:
        return codecs.getincrementaldecoder(encoding)("strict").decode(head, final=is_whole)
    except (UnicodeDecodeError, LookupError):
        return None


def _guess(head: bytes) -> TextEncoding | None:
    from conversation.charset_guess import guess_encoding

    wide = _guess_wide(head)
    if wide is not None or not has_text(head.decode("latin-1")):
        return wide
    guess = guess_encoding(head)
    if guess is None or guess.confidence < MIN_CONFIDENCE:
        return None
    encoding = TextEncoding(guess.name, guess.confidence, is_guess=True)
    # It was guessed by a part of them; a few bytes may be broken, and a last character may be cut off.
    return encoding if encoding.decode(head).count("\ufffd") <= 1 + len(head) / 10_000 else None


def _guess_wide(head: bytes) -> TextEncoding | None:
    """The wide encoding of bytes that say none; those of a text in Latin letters show it by their zeros."""
    from conversation.charset_wide import guess_wide

    guess = guess_wide(head)
    if guess is None:
        return None
    name, confidence = guess
    return TextEncoding(name, confidence, is_guess=head.count(0) * 4 < len(head))
