"""Markdown. What stays true: it is shown as it is written, comments and front matter too."""

from tests.marked_files import MarkedFile, mark_of

_PLACES = {
    "the front matter": "", "a heading": "", "a paragraph": "", "a cell of a table": "", "code": "", "a footnote": "",
    "a comment": "", "the text of a link": "", "the address of a link": "",
}  # fmt: skip


def build() -> MarkedFile:
    """Build the text."""
    front, heading, paragraph, cell, code, note, comment, link, address = map(mark_of, _PLACES)
    content = (
        f"---\ntitle: {front}\n---\n\n# {heading}\n\n{paragraph}[^1] and [{link}](https://example.org/{address})\n\n"
        f"| a |\n|---|\n| {cell} |\n\n```sh\n{code}\n```\n\n<!-- {comment} -->\n\n[^1]: {note}\n"
    )
    return MarkedFile("text/markdown", content.encode(), _PLACES)
