"""The parts of an .xlsx and how they refer to each other.

What stays true: a part is found where its reference says, or where programs that write wrong references put it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from posixpath import basename, dirname, join, normpath
from xml.etree.ElementTree import Element

from agent.files.readers.office.number_format import NumberFormat
from agent.files.readers.office.package import Relationship
from agent.files.readers.office.zip_parts import DamagedPart, ZipParts
from agent.files.readers.sections import TextSections
from agent.files.readers.workbook.strings import SharedStrings

#: Breaks of lines as in web pages, which programs write into old drawings and no XML parser takes.
_BREAKS = re.compile(rb"</?br\b[^<>]*>", re.IGNORECASE)


@dataclass(slots=True)
class Book:
    """One workbook, with what all of its sheets need."""

    parts: ZipParts
    sections: TextSections
    #: The texts that cells refer to; None before they are found.
    strings: SharedStrings | None = None
    #: By the index of a style; styles that show a number as it is have none.
    formats: Mapping[str, NumberFormat] = field(default_factory=dict)
    #: The names of those who comment in threads, by their id.
    people: Mapping[str, str] = field(default_factory=dict)
    #: Whether programs are asked to compute all formulas anew, as who has stored no true values does.
    is_recalculated: bool = False

    def read(self, part: str) -> Element | None:
        """Read a part as far as it can be, with a remark where it is damaged; None where there is nothing."""
        root = None
        try:
            with self.parts.open_xml(part, empty=_BREAKS if part.lower().endswith(".vml") else None) as xml:
                try:
                    xml.read()
                finally:
                    root = xml.root
        except DamagedPart:
            self.sections.remark(f"A part of the workbook is damaged or missing: {basename(part)}.")
        return root

    def read_children(self, part: str | None) -> Sequence[Element]:
        """Read the elements right below the root of a part; none of a part that is not there or damaged."""
        root = self.read(part) if part else None
        return () if root is None else tuple(root)


def read_links(parts: ZipParts, part: str) -> Mapping[str, Relationship]:
    """Read what a part refers to, by the ids that it uses; "" is the archive itself."""
    name = join(dirname(part), "_rels", f"{basename(part)}.rels")
    try:
        root = parts.read_xml(name) if name in parts else Element("none")
    except DamagedPart:
        return {}
    links = {}
    for element in root.iter("Relationship"):
        target, is_external = element.get("Target", ""), element.get("TargetMode") == "External"
        kind = element.get("Type", "").rpartition("/")[2]
        links[element.get("Id", "")] = Relationship(
            kind, target if is_external else _find_target(parts, part, target), is_external
        )
    return links


def links_of(links: Mapping[str, Relationship], kind: str) -> list[str]:
    """The parts of one kind among the links, in their order."""
    return [link.target for link in links.values() if link.kind.lower() == kind.lower() and not link.is_external]


def find_part(parts: ZipParts, links: Mapping[str, Relationship], kind: str, ending: str) -> str | None:
    """Find the one part of a kind: by its reference, else by how its name ends; None where there is none."""
    candidates = [*links_of(links, kind), *(name for name in parts.names if name.endswith(ending))]
    return next((name for name in candidates if name in parts), None)


def is_true(value: str | None) -> bool:
    """Whether an attribute's value stands for true."""
    return value in ("1", "true", "on", "True")


def _find_target(parts: ZipParts, part: str, target: str) -> str:
    target = target.partition("#")[0].replace("\\", "/")
    places = (target if target.startswith("/") else normpath(join(dirname(part), target)), target)
    same_name = (name for name in parts.names if target and basename(name) == basename(target).lower())
    return next((name for name in (*places, *same_name) if name in parts), places[0])
