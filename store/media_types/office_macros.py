"""Macros in documents of Microsoft's programs since 2007, found by what the parts are to each other.

What stays true: a part is what the document's own tables say it is, whatever its name. What the document is called
makes no difference. What a program would fetch by itself from elsewhere, to run it, counts as well.
"""

import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from store.media_types.xml_tags import TagSearch, TagTest
from store.media_types.zip_parts import ZipParts

_CONTENT_TYPES = "[content_types].xml"
_TELLING_NAMES = ("vbaproject", "vbadata.xml", "attachedtoolbars.bin")
#: Within a content type.
_TELLING_TYPES = (
    "macroenabled", "vbaproject", "vbadata", "macrosheet", "sheet.binary", "attachedtoolbars", "ms-office.activex",
)  # fmt: skip
#: Last segments of a relationship's type.
_TELLING_RELATIONSHIPS = frozenset({
    "vbaproject", "wordvbadata", "xlmacrosheet", "xlintlmacrosheet", "attachedtoolbars", "control",
    "activexcontrol", "activexcontrolbinary", "activex", "extensibility", "vbaprojectsignature",
    "vbaprojectsignatureagile", "vbaprojectsignaturev3", "macrosheet",
})  # fmt: skip
#: Those whose target a program opens without being asked; a link that somebody clicks is none of them.
_OPENED_RELATIONSHIPS = frozenset({"attachedtemplate", "oleobject", "frame", "subdocument", "package", "afchunk"})
_DRIVE = re.compile(r"/*[a-z][:|]", re.IGNORECASE)


class OfficePackage:
    """The tables of a package: which content types its parts have, and how they are related."""

    def __init__(self, parts: ZipParts) -> None:
        self._parts = parts
        self._endings = {name.rpartition("/")[2].rpartition(".")[2].rstrip(" ") for name in parts.names}
        #: In lower case: of parts that are named, and of endings that a part has.
        self.content_types: set[str] = set()

    def has_macros(self) -> bool:
        """Whether there are macros, or what else runs when the document is opened. Raises `UnreadableParts`."""
        is_told = any(map(is_telling_name, self._parts.names))
        for _, content in self._parts.read(is_content_types):
            _search(content, self._note_content_type)
        for name, content in self._parts.read(_is_relationships):
            # Charts name the workbook that their numbers came from, and open it when somebody asks for it.
            is_chart = "/charts/_rels/" in f"/{name}"
            is_told = _search(content, _is_chart_macro if is_chart else is_macro_relationship) or is_told
        return is_told or any(map(is_macro_type, self.content_types))

    def _note_content_type(self, _: str, attributes: Mapping[str, str]) -> bool:
        ending = attributes.get("extension")
        # Libraries write a list of all endings that they know.
        if ending is None or unquote(ending).strip(". ").lower() in self._endings:
            self.content_types.add(attributes.get("contenttype", "").strip().lower())
        return False


def is_content_types(name: str) -> bool:
    """Whether a part makes an archive a package. Its pieces, where it is written interleaved, stand below its name."""
    return name.partition("/")[0] == _CONTENT_TYPES


def is_macro_type(content_type: str) -> bool:
    """Whether a content type is one of macros."""
    return any(word in content_type.lower() for word in _TELLING_TYPES)


def is_telling_name(name: str) -> bool:
    """Whether no other part has such a name: programs that write bad tables are believed to mean what they call it."""
    return name.rpartition("/")[2].startswith(_TELLING_NAMES) or "/macrosheets/" in f"/{name}"


def is_macro_relationship(_: str, attributes: Mapping[str, str]) -> bool:
    """Whether a relationship leads to macros, or to what is opened from another machine."""
    kind = _relationship(attributes)
    return kind in _TELLING_RELATIONSHIPS or (
        kind in _OPENED_RELATIONSHIPS and is_elsewhere(attributes.get("target", ""))
    )


def is_elsewhere(target: str) -> bool:
    """Whether a target is on another machine: not within the document, and not on a disk of its reader."""
    address = unquote(target).strip().replace("\\", "/")
    try:
        scheme = "" if _DRIVE.match(address) else urlsplit(address).scheme
    except ValueError:
        return True
    path = address[len("file:") :] if scheme == "file" else address
    if scheme not in ("", "file") or _DRIVE.match(path):
        return scheme not in ("", "file")
    slashes = len(path) - len(path.lstrip("/"))
    # `file:///home` is a path, `file://host` and `//host` are none, `file:////host` is Windows' way to write it.
    return slashes > 1 and not (scheme == "file" and slashes == len("///"))


def _is_relationships(name: str) -> bool:
    return any(segment.endswith(".rels") for segment in name.split("/"))


def _search(content: bytes, test: TagTest) -> bool:
    # A program that leaves a table empty has nothing to run either.
    return bool(content.strip(b"\0 \t\r\n")) and TagSearch(test).run([content])


def _is_chart_macro(_: str, attributes: Mapping[str, str]) -> bool:
    return _relationship(attributes) in _TELLING_RELATIONSHIPS


def _relationship(attributes: Mapping[str, str]) -> str:
    return re.split(r"[/#?]", unquote(attributes.get("type", "")).strip().rstrip("/").lower())[-1]
