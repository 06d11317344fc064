"""The text of an .odp: its slides in their order, with notes and comments, and what stands behind them.

What stays true: entities of its XML are not expanded; a part that is missing or damaged costs no other.
"""

from collections.abc import Iterator
from typing import Any

from agent.files.readers.office.package import Package
from agent.files.readers.office.properties import describe_open_properties
from agent.files.readers.office.remarks import BROKEN, HIDDEN_SLIDES
from agent.files.readers.office.xml_names import attribute_of, first_named, iterate_named, local_name
from agent.files.readers.open_document.shapes import OpenShapes, read_text
from agent.files.readers.sections import TextSections, Unreadable

_ENCRYPTED = "The presentation is protected by a password; ask for a copy without one."
_NO_TEXT = "The presentation holds no text."
#: What is declared once, and shown on the slides that ask for it.
_DECLARATIONS = {"header-decl": "Header", "footer-decl": "Footer", "date-time-decl": "Date"}


def read(content: bytes, sections: TextSections) -> dict[str, Any]:
    """Read an .odp. Raises `Unreadable`, and `BadZipFile` where it is no archive."""
    package = Package(content, sections)
    manifest = package.parse("META-INF/manifest.xml")
    if next(iterate_named(manifest, "encryption-data", "encrypted-key"), None) is not None:
        raise Unreadable(_ENCRYPTED)
    document = package.parse("content.xml")
    body = first_named(document, "body", "presentation")
    if body is None:
        raise ValueError("no presentation")
    shapes = OpenShapes(package, sections)
    sections.add("", "\n".join(describe_open_properties(package.parse("meta.xml"), sections)))
    hidden_styles = _find_hidden_styles(document)
    slides = [element for element in body if local_name(element) == "page"]
    for number, slide in enumerate(slides, start=1):
        if sections.is_over:
            return sections.result(goes_on=True)
        is_hidden = attribute_of(slide, "style-name") in hidden_styles
        if is_hidden:
            sections.remark(HIDDEN_SLIDES)
        sections.add(f"slide {number}{' (hidden)' if is_hidden else ''}", "\n".join(shapes.read_slide(slide)))
    sections.add("", "\n".join(_iterate_rest(package, body, shapes)))
    macros = (name for name in package.names if name.startswith(("basic/", "scripts/")) and "/script-l" not in name)
    sections.leave_out("macro", sum(1 for _ in macros))
    events = (each for each in iterate_named(document, "script", "event-listener") if attribute_of(each, "language"))
    sections.leave_out("script", sum(1 for _ in events))
    if package.damaged and not sections.is_late:
        sections.remark(BROKEN)
    result = sections.result(goes_on=sections.is_late)
    return result if result["text"] else result | {"problem": _NO_TEXT}


def _find_hidden_styles(document: Any) -> set[str]:
    return {
        attribute_of(style, "name")
        for style in iterate_named(document, "style")
        if any(attribute_of(each, "visibility") == "hidden" for each in iterate_named(style, "drawing-page-properties"))
    }


def _iterate_rest(package: Package, body: Any, shapes: OpenShapes) -> Iterator[str]:
    """The content that belongs to no slide alone: declared headers and footers, named shows, the masters."""
    for element in body:
        label = _DECLARATIONS.get(local_name(element))
        text = read_text(element).strip() if label else ""
        if text:
            yield f"{label}: {text}"
    for show in iterate_named(body, "show"):
        yield f"Custom show: {attribute_of(show, 'name')}"
    styles = package.parse("styles.xml")
    masters = iterate_named(styles, "master-page", "handout-master")
    for line in dict.fromkeys(line for master in masters for line in shapes.read_master(master)):
        yield f"Slide master: {line}"
    for layer in iterate_named(styles, "layer"):
        if attribute_of(layer, "display") in ("none", "printer"):
            yield f"Layer that people do not see: {attribute_of(layer, 'name')}"
