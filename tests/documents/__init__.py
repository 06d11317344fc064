"""Two hundred documents as people bring them, made by other programs' writers: a module of this package a family.

What stays true: each has a list of facts, and each fact is in the prepared text or is named as left out. A module
of a family has `build`, which yields the documents of these matters; none is stored.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a matter is told by facts
    from tests.documents.matters import Matter

#: The families that are written by what `make .venv/.dev` installs.
FAMILIES = ("mail", "open_document", "pdf", "plain", "sheets", "slides", "word")


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that a document says."""

    #: One of these has to be shown. None of them: the fact has no words, and has to be named.
    forms: tuple[str, ...]
    #: The kind that may stand for it among what is left out; "" where it has to be shown.
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A document and what it says."""

    #: Family, writer and matter: `word/python-docx/invoice-en`.
    name: str
    media_type: str
    content: bytes
    facts: tuple[Fact, ...]

    def find_lost(self, text: str, left_out: set[str]) -> list[Fact]:
        """The facts that are neither in the text, however its lines break, nor among the kinds left out."""
        words = " ".join(text.split())
        return [
            fact
            for fact in self.facts
            if fact.kind not in left_out and not any(" ".join(form.split()) in words for form in fact.forms)
        ]


def build_all(matters: "Sequence[Matter]") -> Iterator[Document]:
    """Build the documents of all families about these matters, one after the other."""
    for name in FAMILIES:
        yield from import_module(f"{__name__}.{name}").build(matters)


def say(*forms: str, kind: str = "") -> Fact:
    """A fact that is shown in one of these forms."""
    return Fact(forms, kind)


def say_number(value: float, *forms: str) -> Fact:
    """The fact of a number: as it is stored, or as a person sees it; or one of these forms."""
    whole = [str(round(value))] if value % 1 == 0 else []
    return say(f"{value:,.2f}", f"{value:.2f}", f"{value:.12g}", *whole, *forms)
