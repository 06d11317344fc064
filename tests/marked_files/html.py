"""A web page with a word in every place where one can stand. What stays true: scripts are not content."""

from tests.marked_files import MarkedFile, mark_of

_PLACES = {"a heading": "", "a paragraph": "", "a cell of a table": "", "an entry of a list": ""}


def build() -> MarkedFile:
    """Build the page."""
    heading, paragraph, cell, entry = map(mark_of, _PLACES)
    content = (
        f"<html><body><h1>{heading}</h1><p>{paragraph}</p><table><tr><td>{cell}</td></tr></table>"
        f"<ul><li>{entry}</li></ul></body></html>"
    )
    return MarkedFile("text/html", content.encode(), _PLACES)
