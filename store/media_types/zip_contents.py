"""The type of a ZIP archive by what is in it: a document of an office program, a program, an archive.

What stays true: of a document, what tells of macros is unpacked within bounds; of other archives, nothing. An archive
is what its table of contents says, whatever it is called; a document with macros is another type than one without
(`office_macros`, `open_document_macros`).
"""

import io
import re
import zipfile
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from conversation.media_types import MACRO_SUFFIX
from store.media_types import open_document_macros
from store.media_types.office_macros import OfficePackage, is_content_types
from store.media_types.sample import HEAD_BYTES, TAIL_BYTES, Sample
from store.media_types.zip_parts import UnreadableParts, ZipParts, plain_name

ZIP = "application/zip"
#: Bytes that the parts of one document may unpack to, as its table of contents says: far above any
#: that people write. Other archives are not unpacked here, and may say what they like.
DOCUMENT_UNPACKED_MAX = 1024 * 1024 * 1024

#: Of a table of contents: about 20,000 entries, more than any document has.
TABLE_MAX_BYTES = 2 * 1024 * 1024

_OOXML = "application/vnd.openxmlformats-officedocument"
_ODF = "application/vnd.oasis.opendocument"
_OOXML_MARKER = "[content_types].xml"
#: By the part that holds the document itself: its type, and its type with macros.
_OFFICE = {
    "word/": (f"{_OOXML}.wordprocessingml.document", "application/vnd.ms-word.document.macroenabled.12"),
    "xl/": (f"{_OOXML}.spreadsheetml.sheet", "application/vnd.ms-excel.sheet.macroenabled.12"),
    "ppt/": (f"{_OOXML}.presentationml.presentation", "application/vnd.ms-powerpoint.presentation.macroenabled.12"),
}
_MAIN_PARTS = {"word/": "document.xml", "xl/": "workbook.xml", "ppt/": "presentation.xml"}
#: Types whose first part, stored uncompressed, names the type.
_DECLARED_TYPES = frozenset({f"{_ODF}.text", f"{_ODF}.spreadsheet", f"{_ODF}.presentation", "application/epub+zip"})
#: A workbook in a form of its own, in which it may hold macros as the old one does.
_BINARY_WORKBOOK = "application/vnd.ms-excel.sheet.binary.macroenabled.12"
#: Of a package of no known program.
_UNKNOWN_PACKAGE = f"application/vnd.openxmlformats-package{MACRO_SUFFIX}"
#: How claims begin that are true of a document, by its type: those of its older form, of a template, and of one that
#: may hold macros.
OFFICE_CLAIMS = {
    f"{_OOXML}.wordprocessingml.document": (
        f"{_OOXML}.wordprocessingml",
        "application/vnd.ms-word",
        "application/msword",
    ),
    f"{_OOXML}.spreadsheetml.sheet": (f"{_OOXML}.spreadsheetml", "application/vnd.ms-excel"),
    f"{_OOXML}.presentationml.presentation": (f"{_OOXML}.presentationml", "application/vnd.ms-powerpoint"),
    "application/vnd.ms-word.document.macroenabled.12": ("application/vnd.ms-word", "application/msword"),
    "application/vnd.ms-excel.sheet.macroenabled.12": ("application/vnd.ms-excel",),
    "application/vnd.ms-powerpoint.presentation.macroenabled.12": ("application/vnd.ms-powerpoint",),
}
#: Documents that are ZIP archives, and are read as text.
DOCUMENTS = frozenset({plain for plain, _ in _OFFICE.values()} | _DECLARED_TYPES)

_MIMETYPE = re.compile(rb"PK\x03\x04.{22}\x08\x00.{2}mimetype([a-z0-9.+/-]{1,80})", re.DOTALL)
_LOCAL_HEADER = re.compile(rb"PK\x03\x04.{26}", re.DOTALL)
_DIRECTORY_HEADER = re.compile(rb"PK\x01\x02.{42}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Contents:
    """A ZIP archive's table of contents, as far as it was at hand."""

    names: frozenset[str]
    #: In bytes, all parts together, as the table says.
    unpacked: int = 0
    #: Whether the table was read from its beginning.
    is_complete: bool = True


def contents_of(sample: Sample) -> Contents | None:
    """The table of contents of a ZIP archive; None for other bytes and for an archive that breaks off."""
    if not sample.head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return None
    try:
        # A table that reaches further back than this is not worth its memory.
        with zipfile.ZipFile(io.BytesIO(sample.read_tail(TABLE_MAX_BYTES))) as archive:
            parts = archive.infolist()
            return Contents(frozenset(part.filename for part in parts), sum(p.file_size for p in parts))
    except Exception:  # noqa: BLE001 - a damaged archive raises anything
        return _read_ends(sample.head[:HEAD_BYTES], sample.tail[-TAIL_BYTES:])


def container_type(sample: Sample, contents: Contents) -> str:
    """The media type of a ZIP archive. Raises `UnreadableParts` for a document of which its parts cannot be told."""
    match = _MIMETYPE.match(sample.head)
    declared = match[1].decode() if match else None
    names = frozenset(map(plain_name, contents.names))
    macro_type = _macro_type(sample, contents, names, declared)
    if macro_type is not None:
        return macro_type
    if declared in _DECLARED_TYPES:
        return declared
    folder = _office_folder(names) if _OOXML_MARKER in names else None
    if folder is not None:
        return _OFFICE[folder][0]
    if "META-INF/container.xml" in contents.names and any(name.endswith(".opf") for name in contents.names):
        return "application/epub+zip"  # whose first part is not where it should be
    if contents.names & {"META-INF/MANIFEST.MF", "AndroidManifest.xml"}:
        return "application/java-archive"
    return ZIP


def _macro_type(sample: Sample, contents: Contents, names: frozenset[str], declared: str | None) -> str | None:
    """The type of a document with macros; None for one without, and for what is no document."""
    is_package = any(map(is_content_types, names))
    is_open_document = declared != "application/epub+zip" and (
        open_document_macros.MANIFEST in names
        or ("mimetype" in names and ("content.xml" in names or any(map(open_document_macros.is_code, names))))
        or (declared or "").startswith((_ODF, "application/vnd.sun."))
    )
    if not (is_package or is_open_document):
        return None
    with _open_archive(sample, contents) as archive:
        parts = ZipParts(archive, names)
        if parts.begins_at:
            raise UnreadableParts("has something else before it; save it again from a program that shows it")
        if is_package and OfficePackage(parts).has_macros():
            folder = _office_folder(names)
            binary_type = _BINARY_WORKBOOK if "xl/workbook.bin" in names else None
            return binary_type or (_OFFICE[folder][1] if folder else _UNKNOWN_PACKAGE)
        if is_open_document and open_document_macros.has_macros(parts):
            return f"{declared or f'{_ODF}.text'}{MACRO_SUFFIX}"
    return None


def _open_archive(sample: Sample, contents: Contents) -> AbstractContextManager[zipfile.ZipFile | None]:
    """Open an archive; None where only its ends are at hand. Raises `UnreadableParts`."""
    file = sample.open()
    if file is None:
        return nullcontext()
    if not contents.is_complete:
        raise UnreadableParts("has a table of contents that is damaged, or longer than any document's; save it again")
    try:
        return zipfile.ZipFile(file)
    except Exception as error:  # a damaged archive raises anything
        raise UnreadableParts("is damaged; save it again") from error


def is_too_large_unpacked(media_type: str, contents: Contents) -> bool:
    """Whether a document would unpack to more than its reader can hold."""
    return media_type in DOCUMENTS and contents.unpacked > DOCUMENT_UNPACKED_MAX


def _office_folder(names: frozenset[str]) -> str | None:
    """The folder that Office keeps such a document in; programs may keep it elsewhere, by the name of its main part."""
    for folder in _OFFICE:
        if any(name.startswith(folder) for name in names):
            return folder
    main_parts = {name.rpartition("/")[2] for name in names}
    return next((folder for folder, main_part in _MAIN_PARTS.items() if main_part in main_parts), None)


def _read_ends(head: bytes, tail: bytes) -> Contents | None:
    """The names in the ends of an archive whose table of contents begins before what was read."""
    if b"PK\x05\x06" not in tail:
        return None
    sizes_by_name = {**_entries(_LOCAL_HEADER, head, 22, 26), **_entries(_DIRECTORY_HEADER, tail, 24, 28)}
    return Contents(frozenset(sizes_by_name), sum(sizes_by_name.values()), is_complete=False)


def _entries(pattern: re.Pattern[bytes], piece: bytes, size_at: int, length_at: int) -> Mapping[str, int]:
    sizes_by_name = {}
    for entry in pattern.finditer(piece):
        length = int.from_bytes(entry[0][length_at : length_at + 2], "little")
        name = piece[entry.end() : entry.end() + length].decode("utf-8", "replace")
        sizes_by_name[name] = int.from_bytes(entry[0][size_at : size_at + 4], "little")
    return sizes_by_name
