"""The parts of a document that is a ZIP archive of XML files.

Word's documents, texts and slides are read by it, with a parser that goes on behind damage; the sheets of workbooks,
of which there are millions of cells, by `zip_parts.py`, which is faster.

What stays true: entities are not expanded, and nothing that a part points to is fetched; a damaged part
costs what is behind its damage, not the others; a part is read as a stream, so that a long one takes no more
memory than its longest paragraph or row.
"""

import io
import posixpath
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote

from agent.files.readers.sections import TextSections, Unreadable

#: Bytes that one part may unpack to: far above any that people write.
PART_MAX_BYTES = 512 * 1024 * 1024

_ENCRYPTED = "The document is protected by a password; ask for a copy without one."
#: What unpacking raises where an archive is damaged.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError)


@dataclass(frozen=True, slots=True)
class Relationship:
    """A pointer from one part of an Office document to another part, or out of it."""

    #: The last word of its type: `header`, `image`.
    kind: str
    #: The name of a part, or an address.
    target: str
    is_external: bool


class Package:
    """A document's archive, whose parts are found whatever the case and slashes of their names are."""

    def __init__(self, content: bytes, sections: TextSections) -> None:
        self.sections = sections
        #: The parts that broke off while they were read.
        self.damaged: set[str] = set()
        self._archive = zipfile.ZipFile(io.BytesIO(content))
        self._parts = {normalize(part.filename): part for part in self._archive.infolist() if not part.is_dir()}

    @property
    def names(self) -> Collection[str]:
        """The names of the parts, in lower case."""
        return self._parts.keys()

    def read_part(self, name: str) -> bytes:
        """Read a part whole, as far as it can be; b"" for one that is not there."""
        reader = self._open(name)
        return b"".join(iter(lambda: reader.read(1 << 16), b"")) if reader else b""

    def stream(
        self, name: str, units: Collection[str], *, others: Collection[str] = ()
    ) -> Iterator[tuple[Literal["start", "end"], Any]]:
        """Yield the elements with the local names `units` that stand in no other, and forget each after its turn.

        Where elements called as in `others` begin and end is told as well, wherever they stand; `units` come at
        their end alone. A part that is not there has none.
        """
        from lxml import etree

        reader = self._open(name)
        if reader is None:
            return
        tags = [f"{{*}}{local_name}" for local_name in (*units, *others)]
        parser = etree.iterparse(
            reader, ("start", "end"), tag=tags, resolve_entities=False, no_network=True, load_dtd=False,
            remove_comments=True, remove_pis=True, huge_tree=False, recover=True,
        )  # fmt: skip
        try:
            yield from _outermost(parser, frozenset(units))
        except etree.XMLSyntaxError:
            reader.is_damaged = True
        if reader.is_damaged or any(entry.level_name == "FATAL" for entry in parser.error_log):
            self.damaged.add(normalize(name))

    def parse(self, name: str) -> Any:
        """Parse a small part into a tree, as far as it is whole; None where there is none."""
        from lxml import etree

        parser = etree.XMLParser(
            resolve_entities=False, no_network=True, load_dtd=False,
            remove_comments=True, remove_pis=True, huge_tree=False, recover=True,
        )  # fmt: skip
        content = self.read_part(name)
        try:
            root = etree.fromstring(content, parser) if content else None
        except (etree.XMLSyntaxError, ValueError):
            root = None
        if content and (root is None or any(entry.level_name == "FATAL" for entry in parser.error_log)):
            self.damaged.add(normalize(name))
        return root

    def relationships_of(self, name: str) -> Mapping[str, Relationship]:
        """The relationships of a part by their ids; "" is the package itself."""
        folder, _, file = name.rpartition("/")
        root = self.parse(f"{folder}/_rels/{file}.rels" if folder else f"_rels/{file}.rels")
        relationships = {}
        for element in root.iterchildren("*") if root is not None else ():
            kind = element.get("Type", "").rstrip("/").rpartition("/")[2]
            target, is_external = element.get("Target", ""), element.get("TargetMode") == "External"
            if not is_external:
                target = self._resolve(target, folder)
            relationships[element.get("Id", "")] = Relationship(kind, target, is_external)
        return relationships

    def _resolve(self, target: str, folder: str) -> str:
        name = normalize(posixpath.join("/", folder, target.replace("\\", "/")))
        return name if name in self._parts else unquote(name)

    def _open(self, name: str) -> "_PartReader | None":
        part = self._parts.get(normalize(name))
        if part is None:
            return None
        if part.flag_bits & 1:
            raise Unreadable(_ENCRYPTED)
        if part.file_size > PART_MAX_BYTES:
            raise MemoryError
        try:
            return _PartReader(self._archive.open(part), self.sections)
        except _DAMAGE:
            self.damaged.add(normalize(name))
            return None


class _PartReader:
    """A part's bytes up to where they are damaged, or the time is over."""

    def __init__(self, stream: Any, sections: TextSections) -> None:
        self.is_damaged = False
        self._stream = stream
        self._sections = sections

    def read(self, size: int) -> bytes:
        if self.is_damaged or self._sections.is_late:
            return b""
        try:
            content: bytes = self._stream.read(size)
        except _DAMAGE:
            self.is_damaged = True
            return b""
        return content


def normalize(name: str) -> str:
    """The name of a part, as office programs compare them: neither case nor the direction of slashes matters."""
    return posixpath.normpath("/" + name.replace("\\", "/")).lstrip("/").lower()


def _outermost(parser: Any, units: frozenset[str]) -> Iterator[tuple[Literal["start", "end"], Any]]:
    depth = 0
    for event, element in parser:
        if element.tag.rpartition("}")[2] not in units:
            yield event, element
            continue
        depth += 1 if event == "start" else -1
        if event == "end" and not depth:
            yield event, element
            element.clear()
            parent = element.getparent()
            while element.getprevious() is not None:
                del parent[0]
