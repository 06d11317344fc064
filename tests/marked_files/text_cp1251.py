"""Plain text as programs in Russia write it. What stays true: the letters around a word say the encoding."""

from tests.marked_files import MarkedFile, mark_of

_PLACES = {"the first line": "", "a word within a line": "", "the last line": ""}


def build() -> MarkedFile:
    """Build the text, in Windows-1251."""
    first, middle, last = map(mark_of, _PLACES)
    content = f"{first} Счёт на оплату за сентябрь\r\nотправлен вам {middle} по почте\r\nС уважением {last}"
    return MarkedFile("text/plain", content.encode("cp1251"), _PLACES)
