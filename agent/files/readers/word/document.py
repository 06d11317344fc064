"""The text of a .docx: its body in pages, with what stands around it: headers, notes, comments, properties.

What stays true: what is not shown is counted; a part that is damaged costs itself alone, and is named.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from agent.files.readers.office.package import Package, Relationship
from agent.files.readers.office.pages import Pages
from agent.files.readers.office.properties import read_properties
from agent.files.readers.office.xml_names import attribute_of, name_of
from agent.files.readers.sections import TextSections
from agent.files.readers.word.bindings import Bindings
from agent.files.readers.word.lists import Lists
from agent.files.readers.word.styles import Styles
from agent.files.readers.word.text import WordText
from agent.files.readers.word.walk import WordDocument

_MAIN_TYPE = "wordprocessingml.document.main+xml"
_USUAL_NAME = re.compile(r"(styles|numbering|footnotes|endnotes|comments|header|footer|settings)\d*\.xml")
#: What the parts are that a document is told to have, in words for a remark. Others are not worth one.
_PARTS = {
    "header": "A header",
    "footer": "A footer",
    "footnotes": "The part with the footnotes",
    "endnotes": "The part with the endnotes",
    "comments": "The part with the comments",
    "styles": "The part with the styles, and with them the headings,",
    "numbering": "The part with the numbers of lists",
    "chart": "A chart",
    "diagramData": "A diagram",
    "settings": "The part with the settings",
    "customXml": "A custom XML part",
    "glossaryDocument": "The part with the building blocks",
    "core-properties": "The part with the title",
}
#: Relationships to what has no text, and to what the text itself refers to.
_KNOWN = frozenset({
    *_PARTS,
    *("stylesWithEffects", "webSettings", "fontTable", "theme", "image", "chartEx", "hyperlink", "oleObject"),
    *("package", "aFChunk", "diagramLayout", "diagramQuickStyle", "diagramColors", "diagramDrawing", "control"),
    *("people", "commentsExtended", "commentsIds", "commentsExtensible", "subDocument"),
    *("attachedTemplate", "keyMapCustomizations", "printerSettings", "activeXControlBinary", "ink", "model3d"),
    *("mailMergeSource", "transform", "extended-properties", "custom-properties", "extendedProperties", "thumbnail"),
    *("customProperties", "metadata", "officeDocument", "classificationlabels", "webextensiontaskpanes"),
})  # fmt: skip

#: What is counted in parts without a text: by the local names of its elements.
_COUNTED: Mapping[str, Mapping[str, str]] = {
    "glossaryDocument": {"docPart": "building block"},
    "settings": {"docVar": "document variable", "mailMerge": "mail merge source"},
    "webSettings": {"sourceFileName": "linked document"},
}


def read(content: bytes, sections: TextSections) -> dict[str, Any]:
    """Read a .docx, in pages as they were when it was last saved, if its program wrote that down."""
    package = Package(content, sections)
    of_package = package.relationships_of("")
    main = _find_main(package, of_package)
    relationships = _relate(package, main)
    by_kind = {relationship.kind: relationship.target for relationship in reversed([*relationships.values()])}
    styles = Styles(package, by_kind.get("styles", ""))
    lists = Lists(package, by_kind.get("numbering", ""), styles)
    document = WordDocument(package, sections, styles, lists, Bindings(package, main))

    lead = [*read_properties(package, of_package), *_read_headers(document, relationships)]
    sections.add("", "\n".join(lead))
    pages = _read_body(document, main)
    if not pages.goes_on:
        for kind in ("footnote", "endnote"):
            _read_notes(document, by_kind.get(f"{kind}s", ""), kind)
        _read_comments(document, by_kind)
    others = [*relationships.values(), *of_package.values()]
    _count_others(package, others)
    _remark_damage(package, main, {other.target: other.kind for other in others})
    return pages.result()


def _find_main(package: Package, of_package: Mapping[str, Relationship]) -> str:
    """The name of the part with the body: by its relationship, else by its type, else by the usual name."""
    for relationship in of_package.values():
        if relationship.kind == "officeDocument" and relationship.target in package.names:
            return relationship.target
    types = package.parse("[Content_Types].xml")
    for element in types.iterchildren("*") if types is not None else ():
        if element.get("ContentType", "").endswith(_MAIN_TYPE):
            return str(element.get("PartName", "")).lstrip("/").lower()
    return "word/document.xml"


def _relate(package: Package, main: str) -> Mapping[str, Relationship]:
    """The relationships of the body; where they are damaged or missing, the parts with the usual names as well."""
    relationships = dict(package.relationships_of(main))
    folder, _, file = main.rpartition("/")
    table = f"{folder}/_rels/{file}.rels".lstrip("/")
    if table in package.damaged or table not in package.names:
        targets = {relationship.target for relationship in relationships.values()}
        for name in sorted(set(package.names) - targets):
            match = _USUAL_NAME.fullmatch(name.removeprefix(f"{folder}/"))
            if match:
                relationships[name] = Relationship(match[1], name, is_external=False)
    return relationships


def _read_headers(document: WordDocument, relationships: Mapping[str, Relationship]) -> Iterator[str]:
    lines: dict[str, None] = {}
    for relationship in relationships.values():
        if relationship.kind in ("header", "footer"):
            texts = (" ".join(line.split()) for line in WordText(document, relationship.target).read())
            text = " / ".join(filter(None, texts))
            lines |= {f"{relationship.kind.capitalize()}: {text}": None} if text else {}
    yield from sorted(lines, key=lambda line: not line.startswith("Header"))


def _read_body(document: WordDocument, main: str) -> Pages:
    pages = Pages(document.sections)
    pages.fill(WordText(document, main).read())
    has_body = pages.has_lines or _has_body(document.package, main)
    pages.check_damage(is_damaged=main in document.package.damaged, has_body=has_body)
    return pages


def _has_body(package: Package, main: str) -> bool:
    return any(name_of(element) == "w:body" for _, element in package.stream(main, (), others=("body",)))


def _read_notes(document: WordDocument, part: str, kind: str) -> None:
    if not part:
        return
    walk = WordText(document, part)
    notes: dict[int, str] = {}
    for _, element in document.package.stream(part, (kind,)):
        text, note_id = _join(walk.read_note(element)), attribute_of(element, "id")
        if attribute_of(element, "type") not in ("", "normal"):
            document.sections.leave_out("note separator", bool(text))
        elif text:
            notes[document.number_of(kind, note_id)] = f"{document.mark_of(kind, note_id)}: {text}"
    document.sections.add(f"{kind}s", "\n".join(notes[number] for number in sorted(notes)))


def _read_comments(document: WordDocument, by_kind: Mapping[str, str]) -> None:
    part = by_kind.get("comments", "")
    if not part:
        return
    parents, resolved = _read_threads(document.package, by_kind.get("commentsExtended", ""))
    walk = WordText(document, part)
    comments: dict[int, str] = {}
    by_paragraph: dict[str, int] = {}
    for _, element in document.package.stream(part, ("comment",)):
        paragraphs = [attribute_of(child, "paraId") for child in element.iter("{*}p")]
        number = document.number_of("comment", attribute_of(element, "id"))
        by_paragraph |= dict.fromkeys(filter(None, paragraphs), number)
        parent = next((by_paragraph.get(parents[name]) for name in paragraphs if name in parents), None)
        notes = [attribute_of(element, "author"), f"reply to comment {parent}" if parent else ""]
        notes.append("resolved" if resolved & set(paragraphs) else "")
        author = ", ".join(filter(None, notes))
        comments[number] = f"[comment {number}] {author}: {_join(walk.read_note(element))}"
    document.sections.add("comments", "\n".join(comments[number] for number in sorted(comments)))


def _read_threads(package: Package, part: str) -> tuple[Mapping[str, str], set[str]]:
    """Read which comment is a reply to which, and which are resolved, by the ids of their last paragraphs."""
    parents, resolved = {}, set()
    for event, element in package.stream(part, (), others=("commentEx",)) if part else ():
        if event == "end":
            parents[attribute_of(element, "paraId")] = attribute_of(element, "paraIdParent")
            if attribute_of(element, "done") in ("1", "true"):
                resolved.add(attribute_of(element, "paraId"))
    return {name: parent for name, parent in parents.items() if parent}, resolved


def _join(lines: Iterable[str]) -> str:
    return " ".join(" ".join(lines).split())


def _count_others(package: Package, relationships: Iterable[Relationship]) -> None:
    """Count what the document keeps beside its text."""
    for relationship in relationships:
        if relationship.kind == "subDocument":
            package.sections.leave_out("linked document")
        if relationship.is_external or relationship.target not in package.names:
            continue
        if relationship.kind in _COUNTED:
            kinds = _COUNTED[relationship.kind]
            for _, element in package.stream(relationship.target, tuple(kinds)):
                package.sections.leave_out(kinds[name_of(element).partition(":")[2]])
        elif relationship.kind == "customXml":
            root = package.parse(relationship.target)
            has_text = root is not None and any(text.strip() for text in root.itertext())
            package.sections.leave_out("custom XML part", has_text)
        elif relationship.kind == "origin":
            package.sections.leave_out("signature")
        elif relationship.kind not in _KNOWN:
            package.sections.leave_out("unknown part")


def _remark_damage(package: Package, main: str, kinds: Mapping[str, str]) -> None:
    for name in sorted(package.damaged - {main}) if not package.sections.is_late else ():
        noun = _PARTS.get(kinds.get(name, ""), "A part of the document")
        package.sections.remark(f"{noun} is damaged: some of it may be missing.")
