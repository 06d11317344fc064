"""The parts of an Office Open XML package, and what they point to.

What stays true: entities are not expanded and nothing outside of the file is fetched; a part or relationship that is
missing is None; names are compared without their namespace, of which there are two (transitional and strict).
"""

import io
import posixpath
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

#: Bytes of one part, unpacked.
PART_MAX_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True)
class Relationship:
    """A pointer of a part to another, or to an address."""

    #: The last word of its type: `slide`, `notesSlide`, `hyperlink`.
    kind: str
    #: The name of another part, or an address.
    target: str
    is_external: bool = False


class Package:
    """An opened package."""

    def __init__(self, content: bytes) -> None:
        """Open it. Raises `BadZipFile`."""
        self._archive = zipfile.ZipFile(io.BytesIO(content))
        #: The names of parts that are broken: what can be read of them is.
        self.broken_parts: set[str] = set()
        #: The parts' names in the archive, by the name as one asks for it.
        self._names = {name.lstrip("/").lower(): name for name in self._archive.namelist()}

    @property
    def names(self) -> list[str]:
        """The names of all parts."""
        return list(self._names.values())

    def read_part(self, name: str) -> Any:
        """The root element of a part; None where it is missing or is no XML."""
        from lxml import etree

        stored_name = self._names.get(name.lstrip("/").lower())
        if stored_name is None:
            return None
        try:
            with self._archive.open(stored_name) as part:
                content = part.read(PART_MAX_BYTES)
        except (zipfile.BadZipFile, zlib.error, OSError, NotImplementedError):
            self.broken_parts.add(stored_name)
            return None
        for recover in (False, True):
            parser = etree.XMLParser(
                resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True, recover=recover
            )
            try:
                return etree.fromstring(content, parser)
            except (etree.XMLSyntaxError, ValueError):
                self.broken_parts.add(stored_name)
        return None

    def read_relationships(self, name: str) -> Mapping[str, Relationship]:
        """The relationships of a part, by id; "" is the package itself."""
        folder, base = posixpath.split(name)
        root = self.read_part(posixpath.join(folder, "_rels", f"{base}.rels"))
        relationships = {}
        for element in root if root is not None else ():
            target = element.get("Target") or ""
            is_external = element.get("TargetMode") == "External"
            if not is_external:
                target = posixpath.normpath(posixpath.join("/", folder, unquote(target))).lstrip("/")
            kind = (element.get("Type") or "").rpartition("/")[2]
            relationships[element.get("Id") or ""] = Relationship(kind, target, is_external)
        return relationships


def local_name(element: Any) -> str:
    """The name of an element without its namespace; "" for a comment."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def attribute_of(element: Any, name: str) -> str:
    """An attribute, in whatever namespace; "" where there is none."""
    value = element.get(name)
    if value is None:
        value = next((text for key, text in element.attrib.items() if key.rpartition("}")[2] == name), "")
    return str(value)


def iterate_named(element: Any, *names: str) -> Iterator[Any]:
    """The elements of these names below an element, and itself, in their order."""
    for each in element.iter() if element is not None else ():
        if local_name(each) in names:
            yield each


def first_named(element: Any, *path: str) -> Any:
    """The element that a path of child names leads to; None where it ends."""
    for name in path:
        element = next((child for child in element if local_name(child) == name), None) if element is not None else None
    return element
