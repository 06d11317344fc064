"""The catalog of a PDF, which describes it as a whole: title, layers, attached files, texts that stand for pictures.

What stays true: a part that cannot be read costs none of the others.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from agent.files.readers.pdf.annotations import count_scripts, describe_file
from agent.files.readers.pdf.objects import identity_of, items_of, mapping_of, resolve, text_of
from agent.files.readers.sections import TextSections

if TYPE_CHECKING:  # imported under the limits, below
    from pypdf import PdfReader

#: Elements of the structure that are looked at for alternative texts: a large book has a million.
ELEMENTS_MAX = 100_000
#: Names in the tree of attached files.
NAMES_MAX = 10_000

#: What programs write of themselves, and where they were told nothing.
_PLACEHOLDERS = {"untitled", "anonymous", "unspecified"}
_TECHNICAL = {"/Producer", "/Creator", "/CreationDate", "/ModDate", "/Trapped", "/PTEX.Fullbanner"}
_DUBLIN_CORE = "{http://purl.org/dc/elements/1.1/}"
_RIGHTS = "{http://ns.adobe.com/xap/1.0/rights/}"
_FORMATS = {f"{_DUBLIN_CORE}format", f"{_DUBLIN_CORE}date", f"{_DUBLIN_CORE}identifier", f"{_RIGHTS}Marked"}


def read_properties(reader: "PdfReader") -> list[str]:
    """Read the document's title, author and the like, a line for each."""
    info = mapping_of(reader.trailer.get("/Info"))
    properties = [(str(key)[1:], text_of(value)) for key, value in info.items() if key not in _TECHNICAL]
    for thread in items_of(reader.root_object.get("/Threads")):
        story = mapping_of(mapping_of(thread).get("/I"))
        properties += [(f"Article, {str(key)[1:].lower()}", text_of(value)) for key, value in story.items()]
    known_text = "\n".join(value for _, value in properties)
    properties += [pair for pair in _iterate_metadata(reader) if pair[1] not in known_text]
    return [f"{name}: {value}" for name, value in dict.fromkeys(properties) if value not in ("", *_PLACEHOLDERS)]


def _iterate_metadata(reader: "PdfReader") -> Iterator[tuple[str, str]]:
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring
    from pypdf.generic import StreamObject

    stream = resolve(reader.root_object.get("/Metadata"))
    if not isinstance(stream, StreamObject):
        return
    try:
        root = fromstring(stream.get_data().strip(b"\x00 \r\n"))
    except (ParseError, DefusedXmlException, ValueError):
        return
    for element in root.iter():
        pairs = [(element.tag, " ".join(" ".join(element.itertext()).split())), *element.attrib.items()]
        for tag, text in pairs:
            if str(tag).startswith((_DUBLIN_CORE, _RIGHTS)) and tag not in _FORMATS and text:
                yield str(tag).rpartition("}")[2].capitalize(), text


def read_layers(reader: "PdfReader", sections: TextSections) -> list[str]:
    """Read the names of layers; which of them are hidden at first is remarked, since their text is shown."""
    properties = mapping_of(reader.root_object.get("/OCProperties"))
    default = mapping_of(properties.get("/D"))
    is_off = default.get("/BaseState") == "/OFF"
    switched = {identity_of(layer) for layer in items_of(default.get("/ON" if is_off else "/OFF"))}
    names, hidden_names = list[str](), list[str]()
    for layer in items_of(properties.get("/OCGs")):
        name = text_of(mapping_of(layer).get("/Name"))
        names.append(name)
        if (identity_of(layer) in switched) != is_off:
            hidden_names.append(name)
    if hidden_names:
        sections.remark(f"Layers that people do not see at first are shown, too: {', '.join(hidden_names)}.")
    return [f"Layers: {', '.join(names)}"] if names else []


def read_attached_files(reader: "PdfReader", sections: TextSections) -> list[str]:
    """Read the names of the files in the document, which are counted as left out."""
    catalog = reader.root_object
    names = mapping_of(catalog.get("/Names"))
    files = [*_iterate_names(names.get("/EmbeddedFiles")), *items_of(catalog.get("/AF"))]
    unique = {identity_of(file): file for file in files}
    sections.leave_out("attachment", len(unique))
    if mapping_of(catalog.get("/Collection")):
        sections.remark(
            "The PDF is a portfolio: what it brings are the attached files, of which only the names are shown."
        )
    return [f"Attached file: {describe_file(file)}" for file in unique.values()]


def count_document_scripts(reader: "PdfReader") -> int:
    """The scripts of the document as a whole."""
    names = mapping_of(reader.root_object.get("/Names"))
    return count_scripts(reader.root_object) + sum(1 for _ in _iterate_names(names.get("/JavaScript")))


def _iterate_names(tree: Any) -> Iterator[Any]:
    """The values of a name tree."""
    pending, seen = [tree], set[object]()
    while pending and len(seen) < NAMES_MAX:
        node = pending.pop()
        if identity_of(node) in seen:
            continue
        seen.add(identity_of(node))
        entries = mapping_of(node)
        yield from items_of(entries.get("/Names"))[1::2]
        pending.extend(reversed(items_of(entries.get("/Kids"))))


def read_alternative_texts(reader: "PdfReader", sections: TextSections) -> list[str]:
    """Read what the structure says of pictures, and the words that it has instead of drawn ones."""
    lines = list[str]()
    pending, seen = [reader.root_object.get("/StructTreeRoot")], set[object]()
    while pending:
        if sections.is_late or len(seen) > ELEMENTS_MAX:
            sections.remark("Alternative texts of pictures were not read to their end.")
            break
        node = pending.pop()
        resolved = resolve(node)
        if isinstance(resolved, list):
            pending.extend(reversed(resolved))
        elif isinstance(resolved, dict) and identity_of(node) not in seen:
            seen.add(identity_of(node))
            lines += _describe_element(resolved)
            pending.append(resolved.get("/K"))
    return list(dict.fromkeys(lines))


def _describe_element(element: Mapping[str, Any]) -> list[str]:
    labels = {"/T": "Title of a part", "/Alt": "Alternative text", "/ActualText": "Text", "/E": "In full"}
    return [f"{label}: {text_of(element[key])}" for key, label in labels.items() if text_of(element.get(key))]
