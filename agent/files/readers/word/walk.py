"""The document and the walk that the readers of a Word document's elements share.

What stays true: nothing here knows the elements.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent.files.readers.office.package import Package, Relationship
from agent.files.readers.sections import TextSections
from agent.files.readers.word.bindings import Bindings
from agent.files.readers.word.fields import Fields
from agent.files.readers.word.lists import Lists
from agent.files.readers.word.styles import Styles


@dataclass(slots=True)
class WordDocument:
    """The styles, lists and numbers that the parts of one document share."""

    package: Package
    sections: TextSections
    styles: Styles
    lists: Lists
    bindings: Bindings
    #: The numbers of footnotes, endnotes and comments by their ids, in the order in which the text refers to them.
    numbers: Mapping[str, dict[str, int]] = field(
        default_factory=lambda: {"footnote": {}, "endnote": {}, "comment": {}}
    )

    def number_of(self, kind: str, element_id: str) -> int:
        """The number of a note or comment, given to it when it is first met."""
        numbers = self.numbers[kind]
        return numbers.setdefault(element_id, len(numbers) + 1)

    def mark_of(self, kind: str, element_id: str) -> str:
        """The mark by which the text refers to a note or comment."""
        number = self.number_of(kind, element_id)
        return f"[comment {number}]" if kind == "comment" else f"[^{'e' if kind == 'endnote' else ''}{number}]"


class WordWalk(Protocol):
    """A walk through one part of a document."""

    document: WordDocument
    sections: TextSections
    fields: Fields
    #: How often something was shown or counted, by which an alternative without anything is known.
    gain: int
    #: The alternative texts that the drawing at hand has had.
    alternative_texts: set[str]
    #: What the paragraph at hand shows so far.
    pieces: list[str]
    #: The font of the run at hand.
    font: str
    #: Whether readers of the document do not see what stands here.
    is_hidden: bool

    def walk(self, element: Any) -> None:
        """Take what an element shows into the paragraph at hand."""

    def read_blocks(self, element: Any) -> Iterator[str]:
        """Yield the lines of the paragraphs and tables in an element."""

    def emit(self, text: str) -> None:
        """Add text to the paragraph at hand, if it is one that is seen."""

    def add_box(self, line: str) -> None:
        """Add a line that stands beside the paragraph at hand."""

    def leave_out(self, kind: str, count: int = 1) -> None:
        """Count what is not shown."""

    def count_hidden(self) -> None:
        """Count a passage that is hidden, if there was one."""

    def relationship_of(self, element: Any, attribute: str = "id") -> Relationship | None:
        """The relationship that an element names by its id."""
