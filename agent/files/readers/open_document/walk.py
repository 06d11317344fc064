"""The notes and the walk that the readers of an OpenDocument text's elements share.

What stays true: nothing here knows the elements.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent.files.readers.office.package import Package
from agent.files.readers.sections import TextSections


@dataclass(slots=True)
class OpenNotes:
    """The notes and comments of a document, in the order in which its text refers to them."""

    texts: Mapping[str, list[str]] = field(default_factory=lambda: {"footnote": [], "endnote": [], "comment": []})
    #: The numbers of comments by their names, which replies refer to.
    numbers: dict[str, int] = field(default_factory=dict)


class OpenWalk(Protocol):
    """A walk through one part of a document."""

    package: Package
    sections: TextSections
    notes: OpenNotes
    #: What the paragraph at hand shows so far.
    pieces: list[str]

    def walk(self, element: Any) -> None:
        """Take what an element shows into the paragraph at hand."""

    def take(self, element: Any) -> None:
        """Take an element with what is in it, unless it is hidden."""

    def read_aside(self, element: Any) -> list[str]:
        """Read what stands beside a paragraph."""

    def emit(self, text: str) -> None:
        """Add text to the paragraph at hand, if it is one that is seen."""

    def add_box(self, line: str) -> None:
        """Add a line that stands beside the paragraph at hand."""

    def count_hidden(self, text: str) -> None:
        """Count a passage that is hidden, if there is text in it."""
