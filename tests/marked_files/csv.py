"""A table as text. What stays true: it is shown as it is, with what is quoted and what runs over a line."""

from tests.marked_files import MarkedFile, mark_of

_PLACES = {"a heading of a column": "", "a cell": "", "a quoted cell of two lines": "", "a comment": ""}


def build() -> MarkedFile:
    """Build the table."""
    heading, cell, quoted, comment = map(mark_of, _PLACES)
    content = f'# {comment}\r\n{heading};price\r\n{cell};"5,20"\r\n"first\n{quoted}";\r\n'
    return MarkedFile("text/csv", content.encode(), _PLACES)
