"""Plain text as programs in China write it. What stays true: the letters around a word say the encoding."""

from tests.marked_files import MarkedFile, mark_of

_PLACES = {"the first line": "", "a word within a line": "", "the last line": ""}


def build() -> MarkedFile:
    """Build the text, in GB18030."""
    first, middle, last = map(mark_of, _PLACES)
    content = f"{first} 九月份的发票已经寄出\r\n请在十天之内 {middle} 付款\r\n谢谢您的合作 {last}"
    return MarkedFile("text/plain", content.encode("gb18030"), _PLACES)
