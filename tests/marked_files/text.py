"""Plain text, of which all is shown. What stays true: no line is one that a program would write for another."""

from tests.marked_files import MarkedFile, mark_of

_PLACES = {"the first line": "", "a line behind a form feed": "", "the last line": ""}


def build() -> MarkedFile:
    """Build the text, with the end that programs of DOS write."""
    first, middle, last = map(mark_of, _PLACES)
    content = f"\ufeff{first}\r\n\x0c{middle}\r\n{last}\x1a"
    return MarkedFile("text/plain", content.encode(), _PLACES)
