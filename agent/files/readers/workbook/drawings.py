"""Drawings of an .xlsx: text in shapes, pictures by their descriptions, charts by their titles and values.

What stays true: a picture is counted and never decoded; a chart shows the values that were stored with it.
"""

from collections.abc import Iterator, Mapping
from xml.etree.ElementTree import Element

from agent.files.readers.office.chart import describe_chart
from agent.files.readers.office.package import Relationship
from agent.files.readers.workbook.parts import Book, links_of, read_links


def describe_drawings(book: Book, links: Mapping[str, Relationship]) -> Iterator[str]:
    """Yield a line for each thing that is drawn on a sheet."""
    for part in links_of(links, "drawing"):
        yield from _describe_drawing(book, part)
    for part in links_of(links, "vmlDrawing"):
        yield from _describe_old_drawing(book.read(part))
    for link in links.values():
        if link.kind == "image":  # behind the cells
            book.sections.leave_out("picture")
            book.parts.mark_read(link.target)


def _describe_drawing(book: Book, part: str) -> Iterator[str]:
    root, links = book.read(part), read_links(book.parts, part)
    for element in root.iter() if root is not None else ():
        if element.tag in ("sp", "cxnSp"):
            yield from _describe_shape(element, links)
        elif element.tag == "pic":
            yield from _describe_picture(book, element, links)
        elif element.tag == "graphicFrame":
            yield from _describe_frame(book, element, links)


def _describe_shape(shape: Element, links: Mapping[str, Relationship]) -> Iterator[str]:
    text = " / ".join(filter(None, (_join_text(paragraph) for paragraph in shape.iterfind("txBody/p"))))
    words = " ".join(filter(None, (text, *_describe_properties(shape, links))))
    if words or _is_named(shape):
        yield f"Shape{_name_of(shape)}: {words}".removesuffix(": ")


def _describe_picture(book: Book, picture: Element, links: Mapping[str, Relationship]) -> Iterator[str]:
    book.sections.leave_out("picture")
    for element in picture.iter():
        for key in (":embed", ":link"):
            link = links.get(element.get(key, ""))
            if link and not link.is_external:
                book.parts.mark_read(link.target)
    words = " ".join(_describe_properties(picture, links))
    if words or _is_named(picture):
        yield f"Picture{_name_of(picture)}: {words}".removesuffix(": ")


def _describe_frame(book: Book, frame: Element, links: Mapping[str, Relationship]) -> Iterator[str]:
    words = " ".join(_describe_properties(frame, links))
    for element in frame.iter():
        target = links.get(element.get(":id", "")) if element.tag == "chart" else None
        if target is not None:
            yield from _describe_chart(book, target.target, _name_of(frame).strip(), words)
        data = links.get(element.get(":dm", "")) if element.tag == "relIds" else None
        diagram = book.read(data.target) if data else None
        if diagram is not None:
            texts = (_join_text(paragraph) for paragraph in diagram.iter("p"))
            yield f"Diagram{_name_of(frame)}: {'; '.join(filter(None, (words, *texts)))}"


def _properties(element: Element) -> Element:
    found = next(element.iter("cNvPr"), None)
    return found if found is not None else Element("cNvPr")


def _name_of(element: Element) -> str:
    name = _properties(element).get("name", "").strip()
    return f' "{name}"' if name else ""


def _is_named(element: Element) -> bool:
    """Whether somebody gave it a name: those of programs end in a number."""
    name = _properties(element).get("name", "").strip()
    return bool(name) and not name[-1].isdigit()


def _describe_properties(element: Element, links: Mapping[str, Relationship]) -> Iterator[str]:
    """Yield the alternative text of something that is drawn, and the address that it leads to."""
    properties = _properties(element)
    yield from filter(None, (" ".join(properties.get(key, "").split()) for key in ("title", "descr")))
    for click in properties:
        link = links.get(click.get(":id", ""))
        words = [f"<{link.target}>" if link else "", click.get("tooltip", "")]
        yield from filter(None, words)


def _describe_old_drawing(root: Element | None) -> Iterator[str]:
    """Yield the texts of old shapes and buttons; comments are drawn in the same way and shown elsewhere."""
    for shape in root.iter("shape") if root is not None else ():
        data, box = shape.find("ClientData"), shape.find("textbox")
        is_comment = data is not None and data.get("ObjectType") == "Note"
        text = " ".join("".join(box.itertext()).split()) if box is not None and not is_comment else ""
        words = " ".join(filter(None, (text, "" if is_comment else shape.get("alt", ""))))
        if words:
            yield f"Shape: {words}"


def _describe_chart(book: Book, part: str, name: str, words: str) -> Iterator[str]:
    root = book.read(part)
    if root is None:
        return
    first, *lines = describe_chart(root, book.sections, name=name, words=words)
    for drawing in links_of(read_links(book.parts, part), "chartUserShapes"):
        lines += _describe_drawing(book, drawing)
    yield first
    yield from (f"  {line}" for line in lines)


def _join_text(paragraph: Element) -> str:
    return " ".join("".join(text.text or "" for text in paragraph.iter("t")).split())
