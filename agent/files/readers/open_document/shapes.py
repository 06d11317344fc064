"""The shapes of an OpenDocument slide as lines of text.

What stays true: a space, cell or row that says it is there a million times is there a few times; what has no text
is counted.
"""

import re
from collections.abc import Iterator
from typing import Any

from agent.files.readers.office.embedded import IN_FRAMES, find_kind_of_open
from agent.files.readers.office.equation import describe_math
from agent.files.readers.office.package import Package
from agent.files.readers.office.xml_names import attribute_of, first_named, iterate_named, local_name
from agent.files.readers.open_document.chart import describe_chart, find_chart
from agent.files.readers.sections import TextSections

#: How often a repeated space, cell or row is written.
REPEATED_MAX = 100
#: Shapes within shapes, at most.
DEPTH_MAX = 100

#: Links of shapes, of areas of a picture, and what a click on a shape opens.
_LINKS = ("a", "area-rectangle", "area-circle", "area-polygon", "event-listener")
#: Parts of a master that each slide has anew.
_ASKED_FOR = ("title", "outline", "subtitle", "text", "graphic", "object", "chart", "table", "page")
#: What stands for a number, date or footer: `<number>`.
_PROMPT = re.compile(r"<[\w /-]+>")
#: Attributes of controls of a form that people read.
_CONTROL_TEXTS = ("label", "value", "current-value", "title")


class OpenShapes:
    """The reader of the shapes of one package."""

    def __init__(self, package: Package, sections: TextSections) -> None:
        self._package = package
        self._sections = sections

    def read_slide(self, slide: Any) -> list[str]:
        """Read a slide, its notes and comments last."""
        lines = list[str]()
        behind = [child for child in slide if local_name(child) in ("notes", "annotation")]
        for child in slide:
            if child not in behind:
                lines += self._walk(child, DEPTH_MAX)
        for child in behind:
            if local_name(child) == "annotation":
                lines.append(_describe_comment(child))
            else:
                notes = [line for each in child for line in self._walk(each, DEPTH_MAX)]
                lines += [f"Notes: {line}" for line in notes if not _PROMPT.fullmatch(line)]
        name = attribute_of(slide, "name")
        is_numbered = name.lower().startswith(("page", "slide")) and name[-1:].isdecimal()  # as programs name them
        return lines if not name or is_numbered or name in "\n".join(lines) else [f"Name: {name}", *lines]

    def read_master(self, master: Any) -> list[str]:
        """Read what a master shows on its slides: not what it asks people to fill in."""
        shapes = [
            shape
            for shape in master
            if local_name(shape) != "notes"
            and attribute_of(shape, "placeholder") != "true"
            and attribute_of(shape, "class") not in _ASKED_FOR
        ]
        lines = [line for shape in shapes for line in self._walk(shape, DEPTH_MAX)]
        return [line for line in lines if not _PROMPT.fullmatch(line)]

    def _walk(self, element: Any, depth: int) -> Iterator[str]:
        name = local_name(element)
        if not depth or name in ("animations", "par"):
            return
        if name in ("p", "h"):
            yield from self._read_paragraph(element, depth)
        elif name == "frame":
            yield from self._read_frame(element, depth)
        elif name == "table":
            yield from _read_table(element)
        elif name in ("title", "desc"):
            yield from _name_line("Alternative text", " ".join((element.text or "").split()))
        elif name == "annotation":
            yield _describe_comment(element)
        elif name == "forms":
            yield from _read_controls(element)
        else:
            yield from _name_line("Link", _address_of(element)) if name in _LINKS else []
            for child in element:
                yield from self._walk(child, depth - 1)

    def _read_paragraph(self, paragraph: Any, depth: int) -> Iterator[str]:
        text = read_text(paragraph).strip()
        yield from [text] if text else []
        for frame in iterate_named(paragraph, "frame"):
            yield from self._walk(frame, depth - 1)

    def _read_frame(self, frame: Any, depth: int) -> Iterator[str]:
        """Read a frame, whose contents are forms of one thing, the best first: an object, then its picture."""
        contents = {local_name(child): child for child in reversed(frame)}
        kinds = [IN_FRAMES[name] for name in contents if name in IN_FRAMES]
        if "object" in contents:
            yield from self._read_object(contents["object"])
        elif kinds:
            self._sections.leave_out(kinds[0])
        elif "image" in contents and "table" not in contents:
            self._sections.leave_out("picture")
        for child in frame:
            is_replacement = local_name(child) == "image" and "object" in contents
            if local_name(child) not in ("object", *IN_FRAMES) and not is_replacement:
                yield from self._walk(child, depth - 1)

    def _read_object(self, element: Any) -> Iterator[str]:
        folder = attribute_of(element, "href").removeprefix("./").strip("/")
        root = self._package.parse(f"{folder}/content.xml") if folder else element
        chart = find_chart(root)
        if chart is not None:
            yield from describe_chart(chart, self._sections)
            return
        formula = next(iterate_named(root, "math"), None)
        if formula is not None:
            yield f"Formula: {describe_math(formula)}"
            return
        self._sections.leave_out(find_kind_of_open(root))


def read_text(element: Any) -> str:
    """The text of an element, with the spaces, tabs and line breaks that are elements of their own."""
    pieces = [element.text or ""]
    for child in element:
        name = local_name(child)
        if name == "s":
            count = attribute_of(child, "c")
            pieces.append(" " * min(int(count) if count.isdecimal() else 1, REPEATED_MAX))
        elif name == "tab":
            pieces.append("\t")
        elif name == "line-break":
            pieces.append("\n")
        elif name == "annotation":
            pieces.append(f" [{_describe_comment(child)}]")
        elif name not in ("frame", "ruby-text"):
            pieces.append(read_text(child))
        address = _address_of(child) if name == "a" else ""
        pieces.append(f" ({address})" if address not in pieces[-1] else "")
        pieces.append(child.tail or "")
    return "".join(pieces)


def _address_of(link: Any) -> str:
    """The address of a link; "" for a place in the same file."""
    address = attribute_of(link, "href")
    return "" if address.startswith("#") else address


def _name_line(name: str, text: str) -> list[str]:
    return [f"{name}: {text}"] if text else []


def _describe_comment(comment: Any) -> str:
    author = first_named(comment, "creator")
    lines = [read_text(paragraph) for paragraph in iterate_named(comment, "p")]
    by = f" by {author.text}" if author is not None and author.text else ""
    return f"Comment{by}: {' '.join(lines).strip()}"


def _read_table(table: Any) -> Iterator[str]:
    for row in iterate_named(table, "table-row"):
        cells: list[str] = []
        for cell in row:
            if local_name(cell) != "table-cell":
                continue
            text = " ".join(" ".join(read_text(paragraph) for paragraph in iterate_named(cell, "p")).split())
            count = attribute_of(cell, "number-columns-repeated")
            cells += [text] * min(int(count) if count.isdecimal() else 1, REPEATED_MAX if text else 1)
        yield " | ".join(cells)


def _read_controls(forms: Any) -> Iterator[str]:
    for control in forms.iter():
        values = [attribute_of(control, name) for name in _CONTROL_TEXTS]
        if local_name(control) != "form" and any(values):
            yield f"Field: {' '.join(filter(None, values))}"
