"""Text boxes, shapes, charts, diagrams, pictures and objects beside the paragraphs of a Word document.

What stays true: the text of each is shown, and what is not text is counted by its kind.
"""

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

from agent.files.readers.attached import DEPTH_MAX
from agent.files.readers.office.chart import read_chart
from agent.files.readers.office.embedded import find_kind
from agent.files.readers.office.xml_names import attribute_of, descendants_of, name_of
from agent.files.readers.word.walk import WordWalk


def read_inserted_file(text: WordWalk, element: Any) -> Iterator[str]:
    """Yield the lines of a file that is part of the document's text, if it is a page or a text; else count it."""
    relationship = text.relationship_of(element)
    ending = relationship.target.rpartition(".")[2].lower() if relationship is not None else ""
    content = text.document.package.read_part(relationship.target) if relationship is not None else b""
    inserted = ""
    if content and ending in ("htm", "html", "xhtml"):
        inserted = _read_inserted("page.html", content, text)
    elif content and ending in ("mht", "mhtml"):
        inserted = _read_inserted("page.html", _page_of(content), text)
    elif content and ending == "docx" and text.sections.depth < DEPTH_MAX:
        inserted = _read_inserted("word.document", content, text)
    elif content and ending == "txt":
        inserted = content.decode("utf-8", "replace")
    if inserted:
        yield from inserted[: text.sections.max_chars].splitlines()
    else:
        text.leave_out("inserted file")


def _read_inserted(module: str, content: bytes, text: WordWalk) -> str:
    """Read a file in a document with a reader of its own; "" for one that cannot be read."""
    reader = import_module(f"agent.files.readers.{module}")
    try:
        result = reader.read(content, text.sections.open_inner())
    except (ImportError, MemoryError):
        raise
    except Exception:  # noqa: BLE001 - a damaged file raises anything
        return ""
    for kind, count in result["left_out"].items():
        text.leave_out(kind, count)
    for sentence in result["remarks"]:
        text.sections.remark(sentence)
    return str(result["text"])


def _page_of(content: bytes) -> bytes:
    """The page of a web archive."""
    from email import message_from_bytes

    for part in message_from_bytes(content).walk():
        if part.get_content_type() == "text/html":
            return part.get_payload(decode=True) or b""  # type: ignore[return-value]
    return b""


def _take_drawing(text: WordWalk, element: Any) -> None:
    outer, text.alternative_texts = text.alternative_texts, set()
    text.walk(element)
    text.alternative_texts = outer


def _take_properties(text: WordWalk, element: Any) -> None:
    """Show the alternative text of a drawing or of a picture in it, and where it links to."""
    words = [attribute_of(element, name).strip() for name in ("title", "descr")]
    alternative = ". ".join(filter(None, words))
    if alternative and alternative not in text.alternative_texts:
        text.alternative_texts.add(alternative)
        drawing = element.getparent()
        pictures = [drawing] if name_of(drawing) == "pic:nvPicPr" else list(descendants_of(drawing, "pic:pic"))
        text.emit(f"[{'picture' if pictures else 'drawing'}: {alternative}]")
    for link in descendants_of(element, "a:hlinkClick", "a:hlinkHover"):
        text.sections.leave_out("link tooltip", bool(attribute_of(link, "tooltip")))
        relationship = text.relationship_of(link)
        address = relationship.target if relationship is not None and relationship.is_external else ""
        if address and address not in text.alternative_texts:
            text.alternative_texts.add(address)
            text.emit(f" ({address})")


def _take_picture(text: WordWalk, element: Any) -> None:
    text.leave_out("picture")
    text.walk(element)


def _take_box(text: WordWalk, element: Any) -> None:
    for line in list(text.read_blocks(element)):
        text.add_box(line)


def _take_shape_paragraph(text: WordWalk, element: Any) -> None:
    text.add_box("".join(piece.text or "" for piece in descendants_of(element, "a:t")))


def _take_chart(text: WordWalk, element: Any) -> None:
    relationship = text.relationship_of(element)
    gain, part = text.gain, relationship.target if relationship is not None else ""
    for line in read_chart(text.document.package, part):
        text.add_box(line)
    text.gain = max(text.gain, gain + 1)  # one that cannot be read is counted


def _take_diagram(text: WordWalk, element: Any) -> None:
    relationship = text.relationship_of(element, "dm")
    root = text.document.package.parse(relationship.target) if relationship is not None else None
    if root is None:
        text.leave_out("diagram")
        return
    gain = text.gain
    _add_texts(text, root, "a:p", "a:t")
    if text.gain == gain:
        text.leave_out("diagram")


def _add_texts(text: WordWalk, root: Any, block: str, piece: str) -> None:
    for paragraph in descendants_of(root, block) if root is not None else ():
        text.add_box("".join(part.text or "" for part in descendants_of(paragraph, piece)))


def _take_old_shape(text: WordWalk, element: Any) -> None:
    alternative = attribute_of(element, "alt").strip() or attribute_of(element, "title").strip()
    if alternative:
        text.emit(f"[drawing: {alternative}]")
    text.walk(element)
    if attribute_of(element, "href"):
        text.emit(f" ({attribute_of(element, 'href')})")


def _take_old_picture(text: WordWalk, element: Any) -> None:
    if any(name_of(ancestor) == "w:object" for ancestor in element.iterancestors()):
        return  # the picture of an embedded object, which is counted
    text.leave_out("picture")
    if attribute_of(element, "title").strip():
        text.emit(f"[picture: {attribute_of(element, 'title').strip()}]")


def _take_word_art(text: WordWalk, element: Any) -> None:
    text.add_box(attribute_of(element, "string"))


def _take_object(text: WordWalk, element: Any) -> None:
    if attribute_of(element, "Type") == "Link":
        text.leave_out("linked object")
        return
    relationship = text.relationship_of(element)
    part = relationship.target if relationship is not None else ""
    text.leave_out(find_kind(part, attribute_of(element, "ProgID")))


def _count(kind: str) -> Callable[[WordWalk, Any], None]:
    return lambda text, _: text.leave_out(kind)


_OLD_SHAPES = ("shape", "rect", "roundrect", "oval", "line", "polyline", "curve", "arc", "group", "image")
#: By the name of an element: what to do with it.
DRAWING_HANDLERS: Mapping[str, Callable[[WordWalk, Any], None]] = {
    "w:drawing": _take_drawing,
    **dict.fromkeys(("wp:docPr", "pic:cNvPr", "wps:cNvPr", "wpg:cNvPr", "a:cNvPr"), _take_properties),
    "pic:pic": _take_picture,
    "w:txbxContent": _take_box,
    "a:p": _take_shape_paragraph,
    "c:chart": _take_chart,
    "cx:chart": _take_chart,
    "dgm:relIds": _take_diagram,
    **dict.fromkeys((f"v:{name}" for name in _OLD_SHAPES), _take_old_shape),
    "v:imagedata": _take_old_picture,
    "v:textpath": _take_word_art,
    "o:OLEObject": _take_object,
    "w:objectEmbed": _take_object,
    "w:objectLink": _count("linked object"),
    "w:control": _count("form control"),
    **dict.fromkeys(("w14:contentPart", "w:contentPart", "wpi:contentPart"), _count("ink drawing")),
    "am3d:model3d": _count("3D model"),
    "wp15:webVideoPr": _count("video"),
}
