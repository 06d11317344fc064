"""The text of an .odt: its body in pages, with what stands around it: headers, notes, comments, properties.

What stays true: what is not shown is counted; a part that is damaged costs itself alone, and is named.
"""

import re
from collections.abc import Iterator
from typing import Any

from agent.files.readers.office.package import Package
from agent.files.readers.office.pages import PAGE_BREAK, Pages
from agent.files.readers.office.properties import describe_open_properties
from agent.files.readers.office.xml_names import attribute_of, name_of
from agent.files.readers.open_document.frames import DRAWING_NAMES, describe_forms
from agent.files.readers.open_document.paragraphs import OpenParagraphs, is_hidden_part
from agent.files.readers.open_document.styles import OpenStyles
from agent.files.readers.open_document.walk import OpenNotes
from agent.files.readers.sections import TextSections, Unreadable

_ENCRYPTED = "The document is protected by a password; ask for a copy without one."
_MAIN = "content.xml"
_UNITS = ("p", "h", "table-row", *DRAWING_NAMES)
_STYLES = ("style", "list-style", "outline-style")
#: What stands between paragraphs, and says something of them.
_OTHERS = (
    *_STYLES,
    *("list", "list-item", "list-header", "section", "soft-page-break", "text", "tracked-changes", "title", "desc"),
    *("forms", "user-field-decl", "table"),
)
_HEADERS = tuple(f"{kind}{pages}" for kind in ("header", "footer") for pages in ("", "-left", "-first"))
#: Parts without a text of people, and those that the text itself refers to.
_KNOWN_PARTS = re.compile(
    r"mimetype|(content|styles|meta|settings|layout-cache|manifest)\.(xml|rdf)|layout-cache|current\.xml|meta-inf/.*"
    r"|(pictures|media|thumbnails|objectreplacements|configurations2|fonts|object [^/]*|obj[^/]*)(/.*)?"
)
_MACROS = re.compile(
    r"(basic|scripts|dialogs)/.*(?<!script-lc\.xml)(?<!script-lb\.xml)(?<!dialog-lc\.xml)(?<!dialog-lb\.xml)"
)


def read(content: bytes, sections: TextSections) -> dict[str, Any]:
    """Read an .odt, in pages as they were when it was last saved, if its program wrote that down."""
    package = Package(content, sections)
    if "encrypted-package" in package.names or b"encryption-data" in package.read_part("META-INF/manifest.xml"):
        raise Unreadable(_ENCRYPTED)
    styles, notes = OpenStyles(), OpenNotes()
    headers = dict.fromkeys(_read_headers(package, styles, notes))
    properties = describe_open_properties(package.parse("meta.xml"), sections)
    sections.add("", "\n".join([*properties, *sorted(headers, key=lambda line: line[0] == "F")]))
    pages = _Body(package, styles, notes).read()
    for kind, texts in notes.texts.items():
        sections.add(f"{kind}s", "\n".join(texts))
    _count_parts(package)
    if not sections.is_late:
        for name in sorted(package.damaged - {_MAIN}):
            sections.remark(f"The part {name} of the document is damaged: some of it may be missing.")
    return pages.result()


class _Body:
    """The walk through the body, which knows what the paragraphs stand in."""

    def __init__(self, package: Package, styles: OpenStyles, notes: OpenNotes) -> None:
        self._package = package
        self._sections = package.sections
        self._styles = styles
        self._walk = OpenParagraphs(package, styles, notes)
        self._has_pages = self._has_body = self._has_lines = False
        self._deletion: Any = None

    def read(self) -> Pages:
        """Read the body."""
        pages = Pages(self._sections)
        pages.fill(self._mark_pages())
        pages.check_damage(is_damaged=_MAIN in self._package.damaged, has_body=self._has_body)
        return pages

    def _mark_pages(self) -> Iterator[str]:
        for line in self._read_lines():
            self._has_lines = self._has_lines or line != PAGE_BREAK
            if self._has_pages or line != PAGE_BREAK:
                yield line if self._has_pages else line.replace(PAGE_BREAK, "")

    def _read_lines(self) -> Iterator[str]:
        for event, element in self._package.stream(_MAIN, _UNITS, others=_OTHERS):
            name = name_of(element)
            if _is_unit(name):
                yield from self._read_unit(element)
            elif not any(_is_unit(name_of(ancestor)) for ancestor in element.iterancestors()):
                yield from self._meet(event, name, element)

    def _read_unit(self, element: Any) -> Iterator[str]:
        container = next(filter(_is_elsewhere, element.iterancestors()), None)
        if container is None:
            if self._has_lines and self._begins_page(element):
                yield PAGE_BREAK
            yield from self._walk.read_block(element)
        elif name_of(container) == "office:forms":
            yield f"[form field] {' '.join(element.itertext())}"
        elif name_of(container) == "text:changed-region":
            # The first paragraph of a region with text counts for all.
            has_text = bool("".join(element.itertext()).strip()) and container is not self._deletion
            self._deletion = container if has_text else self._deletion
            self._sections.leave_out("deleted passage", has_text)

    def _begins_page(self, element: Any) -> bool:
        return self._styles.begins_page(attribute_of(element, "style-name"))

    def _meet(self, event: str, name: str, element: Any) -> Iterator[str]:
        """Know where an element begins or ends that stands between paragraphs."""
        if event == "start":
            if name == "table:table" and self._has_lines and self._begins_page(element):
                yield PAGE_BREAK
            self._begin(name, element)
        elif name in ("style:style", "text:list-style"):
            self._styles.add(element)
        elif name == "text:list":
            self._walk.lists.end_list()
        elif name == "text:soft-page-break":
            yield PAGE_BREAK
        elif name == "text:tracked-changes":
            self._walk.note_changes(element)
        elif name in ("table:title", "table:desc"):
            yield f"[table: {''.join(element.itertext())}]"
        elif name == "office:forms":
            yield from describe_forms(self._walk, element)
        elif name == "text:user-field-decl":
            self._sections.leave_out("user field", bool(attribute_of(element, "string-value")))

    def _begin(self, name: str, element: Any) -> None:
        if name == "text:list":
            self._walk.lists.begin_list(element)
        elif name in ("text:list-item", "text:list-header"):
            self._walk.lists.begin_item(element)
        elif name == "text:section" and is_hidden_part(element):
            self._walk.count_hidden("a section")
        elif name == "office:text":
            self._has_body = True
            self._has_pages = attribute_of(element, "use-soft-page-breaks") == "true"


_UNIT_NAMES = frozenset({"text:p", "text:h", "table:table-row"})
#: What is shown in another way, or not at all.
_ELSEWHERE = frozenset({"text:changed-region", "office:forms", "office:styles", "office:automatic-styles"})


def _is_unit(name: str) -> bool:
    return name in _UNIT_NAMES or name.startswith(("draw:", "dr3d:"))


def _is_elsewhere(container: Any) -> bool:
    return name_of(container) in _ELSEWHERE or (name_of(container) == "text:section" and is_hidden_part(container))


def _read_headers(package: Package, styles: OpenStyles, notes: OpenNotes) -> Iterator[str]:
    """Read the styles, and the headers and footers of pages among them."""
    walk = OpenParagraphs(package, styles, notes)
    for event, element in package.stream("styles.xml", _HEADERS, others=_STYLES):
        if name_of(element) in ("style:style", "text:list-style", "text:outline-style"):
            if event == "end":
                styles.add(element)
        elif name_of(element).startswith("style:"):
            text = " / ".join(filter(None, (" ".join(line.split()) for line in walk.read_blocks(element))))
            if text and attribute_of(element, "display") == "false":
                walk.count_hidden(text)
            elif text:
                yield f"{name_of(element)[6:12].capitalize()}: {text}"


def _count_parts(package: Package) -> None:
    for name in package.names:
        if _MACROS.fullmatch(name):
            package.sections.leave_out("macro")
        elif name.startswith("versions/"):
            package.sections.leave_out("earlier version")
        elif not _KNOWN_PARTS.fullmatch(name) and not name.startswith(("basic/", "scripts/", "dialogs/")):
            package.sections.leave_out("unknown part", name != "versionlist.xml")
