"""Drawings on the sheets of an .ods: shapes, pictures, charts and the controls of forms.

What stays true: a picture is counted and never decoded; an object that is no chart is counted.
"""

from collections.abc import Iterable, Iterator
from posixpath import normpath
from xml.etree.ElementTree import Element

from agent.files.readers.office.embedded import IN_FRAMES, find_kind_of_open
from agent.files.readers.office.zip_parts import DamagedPart, ZipParts
from agent.files.readers.open_document.chart import describe_chart, find_chart
from agent.files.readers.sections import TextSections

#: Spaces that one element may stand for.
SPACES_MAX = 100

#: Fields whose text differs from page to page, or is asked for when it is printed.
_FIELDS = {
    "sheet-name": "[sheet]", "page-number": "[page]", "page-count": "[pages]", "date": "[date]", "time": "[time]",
    "title": "[title]", "file-name": "[file]",
}  # fmt: skip
#: What stands within a text and is no part of it.
_APART = {"annotation", "annotation-end", "ruby-text"}


class Objects:
    """The things that are drawn in one workbook."""

    def __init__(self, parts: ZipParts, sections: TextSections) -> None:
        self._parts, self._sections = parts, sections

    def describe(self, shapes: Iterable[Element]) -> Iterator[str]:
        """Yield a line for each thing that is drawn and says something, and count the others."""
        for shape in shapes:
            if shape.tag in ("g", "a"):
                yield from self._describe_words(shape)
                yield from self.describe(shape)
            elif shape.tag not in ("detective", "title", "desc", "glue-point", "cell-range-source"):
                yield from self._describe_shape(shape)

    def describe_controls(self, table: Element) -> Iterator[str]:
        """Yield the labels and values of a sheet's form."""
        for control in (control for forms in table.iterfind("forms") for control in forms.iter()):
            keys = (":label", ":title", ":value", ":current-value")
            words = dict.fromkeys(" ".join(control.get(key, "").split()) for key in keys)
            if any(words):
                yield f"Form control: {' '.join(filter(None, words))}"

    def count_picture(self, image: Element) -> None:
        """Count a picture, whose part is not another one."""
        self._sections.leave_out("picture")
        self._parts.mark_read(image.get(":href", ""))

    def _describe_words(self, shape: Element, kind: str = "Shape", text: str = "") -> Iterator[str]:
        words = [text, *(" ".join((shape.findtext(tag) or "").split()) for tag in ("title", "desc"))]
        link = shape.get(":href", "") if shape.tag == "a" else ""
        name = shape.get(":name", "")
        is_named = bool(name) and not name[-1].isdigit()  # names that programs give end in a number
        if any(words) or link or is_named:
            label = f'{kind} "{name}"' if name else kind
            yield f"{label}: {' '.join(filter(None, (*words, f'<{link}>' if link else '')))}".removesuffix(": ")

    def _describe_shape(self, shape: Element) -> Iterator[str]:
        objects = list(shape.iter("object"))
        images = list(shape.iter("image"))
        for element in shape.iter():
            self._sections.leave_out(IN_FRAMES.get(element.tag, ""), element.tag in IN_FRAMES)
        for element in objects:
            yield from self._describe_object(shape, element)
        if objects:  # its pictures are those of the object
            for image in images:
                self._parts.mark_read(image.get(":href", ""))
            return
        for image in images:
            self.count_picture(image)
        text = " / ".join(filter(None, (join_text(paragraph) for paragraph in shape.iter("p"))))
        yield from self._describe_words(shape, "Picture" if images and not text else "Shape", text)

    def _describe_object(self, shape: Element, element: Element) -> Iterator[str]:
        folder = normpath(element.get(":href", ""))
        is_inside = any(child.tag in ("document", "math") for child in element)
        root = element if is_inside else self._read_object(f"{folder}/content.xml")
        chart = find_chart(root)
        if chart is None:
            self._sections.leave_out(find_kind_of_open(root))
            yield from self._describe_words(shape, "Object")
            return
        words = " ".join(f"{shape.findtext('title') or ''} {shape.findtext('desc') or ''}".split())
        name = shape.get(":name", "")
        lines = describe_chart(chart, self._sections, name=name and f'"{name}"', words=words)
        yield next(lines)
        yield from (f"  {line}" for line in lines)

    def _read_object(self, part: str) -> Element:
        try:
            return self._parts.read_xml(part) if part in self._parts else Element("none")
        except DamagedPart:
            return Element("none")


def join_text(element: Element) -> str:
    """Join the text of an element, in one line, with the addresses of its links."""
    return " ".join("".join(_pieces(element)).split())


def _pieces(element: Element) -> Iterator[str]:
    yield element.text or ""
    for child in element:
        if child.tag == "s":
            count = child.get(":c", "1")
            yield " " * (min(int(count), SPACES_MAX) if count.isdecimal() else 1)
        elif child.tag in ("tab", "line-break"):
            yield " "
        elif child.tag in _FIELDS and not len(child):
            yield _FIELDS[child.tag]
        elif child.tag not in _APART:
            yield from _pieces(child)
            address = child.get(":href", "") if child.tag == "a" else ""
            yield f" <{address}>" if address else ""
        if child.tag in ("p", "h", "list-item"):
            yield " "
        yield child.tail or ""
