"""Macros in OpenDocument files and those of OpenOffice before it: libraries in the package, and what calls macros.

What stays true: a script is found by its place and by its entry in the manifest; a call of a macro by the address it
calls, since a document may call those of its reader's program. Honest documents have empty lists of scripts, and events
that turn the page.
"""

from collections.abc import Mapping

from store.media_types.office_macros import is_elsewhere
from store.media_types.xml_tags import TagSearch, may_hold
from store.media_types.zip_parts import OpenPart, UnreadableParts, ZipParts

MANIFEST = "meta-inf/manifest.xml"
#: Folders of a package whose files are code, or windows that belong to it; also of a document within the document.
_CODE_FOLDERS = frozenset({"basic", "scripts", "dialogs"})
#: Media types in a manifest, of extensions and their parts.
_CODE_TYPES = (
    "uno-component",
    "uno-typelibrary",
    "basic-library",
    "dialog-library",
    "package-bundle",
    "framework-script",
)
#: Addresses that run something when they are opened.
_CALLS = ("vnd.sun.star.script:", "vnd.sun.star.expand:", "vnd.libreoffice.command:", "macro:", "service:")
#: Words without which a part calls no macro.
WORDS = (b"event-listener", b"macro", b"script:", b"command:", b"expand:", b"service:", b"execute", b"source-code",
         b"library-linked", b"floating-frame", b"<!entity")  # fmt: skip


def has_macros(parts: ZipParts) -> bool:
    """Whether a package has macros or calls some. Raises `UnreadableParts`."""
    if any(map(is_code, parts.names)):
        return True
    manifest = _Manifest()
    for _, content in parts.read(lambda name: name == MANIFEST):
        if content.strip() and TagSearch(manifest.is_code_entry).run([content]):
            return True
    openers = parts.list_openers(_may_call)
    return any(_calls_macro(open_part) for name, open_part in openers if name not in manifest.encrypted_names)


def is_call(name: str, attributes: Mapping[str, str]) -> bool:
    """Whether a tag calls a macro or a program, holds the text of one, or opens a document from another machine."""
    if name in ("source-code", "library-linked") or attributes.get("macro-name", "").strip():
        return True
    if name == "floating-frame" and is_elsewhere(attributes.get("href", "")):
        return True
    if attributes.get("action", "").strip().lower() in ("macro", "execute"):
        return True
    return any(value.strip().lower().startswith(_CALLS) for value in attributes.values())


class _Manifest:
    """The list of a package's files, read entry by entry."""

    def __init__(self) -> None:
        self._name = ""
        #: They cannot be searched; whoever has the password is asked for it first.
        self.encrypted_names: set[str] = set()

    def is_code_entry(self, name: str, attributes: Mapping[str, str]) -> bool:
        if name == "encryption-data":
            self.encrypted_names.add(self._name)
        if name != "file-entry":
            return False
        self._name = attributes.get("full-path", "").replace("\\", "/").lower().lstrip("/")
        media_type = attributes.get("media-type", "").lower()
        return is_code(self._name) or any(word in media_type for word in _CODE_TYPES)


def is_code(name: str) -> bool:
    """Whether a part stands where code does."""
    return not _CODE_FOLDERS.isdisjoint(name.split("/")[:-1])


def _may_call(name: str) -> bool:
    """Whether a part is shown, or is bound to what is shown, to a key or to a button."""
    return name.endswith(".xml") and name != MANIFEST


def _calls_macro(open_part: OpenPart) -> bool:
    if not may_hold(WORDS, open_part()):
        return False
    search = TagSearch(is_call)
    # A program shows what stands before the damage.
    is_found = search.run(open_part(), is_lenient=True)
    if not (is_found or search.has_begun) and any(piece.strip() for piece in open_part()):
        raise UnreadableParts("is damaged: a part of it is no XML; save it again")
    return is_found
