"""The shapes of a slide, layout, master or page of notes, as lines of text.

What stays true: shapes are read in their order, groups and what has several forms included; what has no text is
counted.
"""

import re
from collections.abc import Iterator
from typing import Any

from agent.files.readers.office.chart import read_chart
from agent.files.readers.office.embedded import find_kind
from agent.files.readers.office.package import Package
from agent.files.readers.office.xml_names import attribute_of, first_named, iterate_named, local_name
from agent.files.readers.presentation.text import choose_alternative, describe_link, read_paragraphs
from agent.files.readers.sections import TextSections

#: Groups within groups, at most.
DEPTH_MAX = 60

_PROPERTIES = ("nvSpPr", "nvPicPr", "nvGrpSpPr", "nvGraphicFramePr", "nvCxnSpPr")
_MEDIA = {
    "videoFile": "video",
    "audioFile": "sound",
    "wavAudioFile": "sound",
    "audioCd": "sound",
    "quickTimeFile": "video",
}
#: Placeholders that the masters of printed pages print by themselves; others hold prompts, or stand on each slide.
_PRINTED = {"notesMaster": ("hdr", "ftr"), "handoutMaster": ("hdr", "ftr")}
#: What stands for a footer or header: `<footer>`.
_PROMPT = re.compile(r"<[\w /-]+>")
#: Text that stands on every page of notes, and says nothing.
_NUMBERS = ("sldNum", "sldImg", "dt")


class SlideShapes:
    """The shapes of one part."""

    def __init__(self, package: Package, part: str, sections: TextSections, *, is_master: bool = False) -> None:
        self._package = package
        self._sections = sections
        self._is_master = is_master
        self._root = package.parse(part)
        self._relationships = package.relationships_of(part)

    def read(self) -> list[str]:
        """Read all shapes."""
        slide = first_named(self._root, "cSld")
        name = attribute_of(slide, "name") if slide is not None and not self._is_master else ""
        background = first_named(slide, "bg")
        self._sections.leave_out("picture", sum(1 for _ in iterate_named(background, "blip")))
        lines = list(self._walk(first_named(slide, "spTree"), DEPTH_MAX))
        lines = [line for line in lines if not _PROMPT.fullmatch(line)]
        return [f"Name: {name}", *lines] if name else lines

    def read_notes(self) -> list[str]:
        """Read a page of notes, without the picture and number of its slide."""
        tree = first_named(self._root, "cSld", "spTree")
        shapes = [shape for shape in (tree if tree is not None else ()) if _placeholder_of(shape) not in _NUMBERS]
        return [line for shape in shapes for line in self._walk([shape], DEPTH_MAX)]

    def _walk(self, shapes: Any, depth: int) -> Iterator[str]:
        for shape in shapes if shapes is not None and depth else ():
            name = local_name(shape)
            if name == "AlternateContent":
                yield from self._walk(choose_alternative(shape), depth - 1)
            elif name in ("sp", "cxnSp", "pic", "graphicFrame", "grpSp", "contentPart"):
                placeholder = _placeholder_of(shape)
                if not self._is_master or not placeholder or placeholder in _PRINTED.get(local_name(self._root), ()):
                    yield from self._read_shape(shape, name, depth)
            elif name not in (*_PROPERTIES, "grpSpPr"):
                yield from self._walk(shape, depth - 1)

    def _read_shape(self, shape: Any, name: str, depth: int) -> Iterator[str]:
        properties = next((first_named(child, "cNvPr") for child in shape if local_name(child) in _PROPERTIES), None)
        lines: list[str] = []
        if name == "grpSp":
            lines += self._walk(shape, depth - 1)
        elif name == "graphicFrame":
            lines += self._read_graphic(first_named(shape, "graphic", "graphicData"), depth)
        elif name == "contentPart":
            self._sections.leave_out("ink drawing")
        else:
            lines += read_paragraphs(first_named(shape, "txBody"), self._relationships)
        self._count_media(shape, name)
        if properties is not None:
            lines += self._describe(properties, name, "\n".join(lines))
        yield from lines

    def _count_media(self, shape: Any, name: str) -> None:
        media = (
            next((_MEDIA[local_name(each)] for each in iterate_named(shape, *_MEDIA)), None) if name == "pic" else None
        )
        fill = first_named(shape, "spPr", "blipFill")
        if media:
            self._sections.leave_out(media)
        elif name == "pic" or fill is not None:
            self._sections.leave_out("picture")

    def _describe(self, properties: Any, name: str, text: str) -> Iterator[str]:
        """The properties of a shape that people read: its alternative text, its link, and that it is hidden."""
        noun = "Picture" if name == "pic" else "Alternative text"
        for key in ("title", "descr"):
            words = " ".join(attribute_of(properties, key).split())
            if words and words not in text:
                yield f"{noun}: {words}"
        for link in iterate_named(properties, "hlinkClick", "hlinkHover"):
            address = describe_link(link, self._relationships, text).strip()
            if address:
                yield f"Link: {address[1:-1]}"
        if attribute_of(properties, "hidden") in ("1", "true"):
            self._sections.remark("Shapes that are hidden on their slides are shown here, too.")

    def _read_graphic(self, data: Any, depth: int) -> Iterator[str]:
        for child in data if data is not None else ():
            name = local_name(child)
            if name == "tbl":
                yield from self._read_table(child)
            elif name == "chart":
                relationship = self._relationships.get(attribute_of(child, "id"))
                yield from read_chart(self._package, relationship.target if relationship else "")
            elif name == "relIds":
                yield from self._read_diagram(child)
            elif name == "AlternateContent":
                yield from self._read_graphic(choose_alternative(child), depth)
            elif name == "oleObj":
                self._count_object(child)
                facts = filter(None, (attribute_of(child, "name"), attribute_of(child, "progId")))
                yield f"Embedded object: {', '.join(facts)}"
                yield from self._describe_picture_of_object(child)
            elif name == "model3d":
                self._sections.leave_out("3D model")
            else:
                yield from self._walk([child], depth - 1)

    def _count_object(self, element: Any) -> None:
        relationship = self._relationships.get(attribute_of(element, "id"))
        is_linked = relationship is not None and relationship.is_external
        part = relationship.target if relationship is not None else ""
        kind = find_kind(part, attribute_of(element, "progId"))
        self._sections.leave_out("linked object" if is_linked else kind)

    def _describe_picture_of_object(self, embedded_object: Any) -> Iterator[str]:
        for properties in iterate_named(embedded_object, "cNvPr"):
            yield from self._describe(properties, "pic", "")

    def _read_table(self, table: Any) -> Iterator[str]:
        for row in table:
            if local_name(row) == "tr":
                cells = [cell for cell in row if local_name(cell) == "tc" and not _is_merged(cell)]
                yield " | ".join(
                    " ".join(read_paragraphs(cell, self._relationships)).replace("\n", " ") for cell in cells
                )

    def _read_diagram(self, ids: Any) -> Iterator[str]:
        """The texts of a diagram (SmartArt), in the order of its points."""
        relationship = self._relationships.get(attribute_of(ids, "dm"))
        root = self._package.parse(relationship.target) if relationship else None
        if root is None:
            self._sections.leave_out("diagram")
            return
        links = self._package.relationships_of(relationship.target) if relationship else {}
        for point in iterate_named(root, "pt"):
            if point.get("type") not in ("pres", "parTrans", "sibTrans") or first_named(point, "t") is not None:
                yield from read_paragraphs(first_named(point, "t"), links)


def _placeholder_of(shape: Any) -> str:
    """The kind of a placeholder; "" for a shape that is none."""
    for child in shape:
        if local_name(child) in _PROPERTIES:
            placeholder = first_named(child, "nvPr", "ph")
            return "" if placeholder is None else placeholder.get("type") or "body"
    return ""


def _is_merged(cell: Any) -> bool:
    """Whether a cell is covered by the one that it is merged with."""
    return any(cell.get(name) in ("1", "true") for name in ("hMerge", "vMerge"))
