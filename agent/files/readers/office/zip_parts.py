"""The parts of a workbook, which is a ZIP archive, found as office programs find them.

A sheet may have millions of cells, so its XML is read by expat into as few elements as will do; the parts of other
documents are read by `package.py`, which goes on behind damage.

What stays true: a part that cannot be read costs nothing but itself; parts that no reader asked for are known.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from xml.etree.ElementTree import Element
from xml.parsers.expat import ExpatError

from agent.files.readers.office.package import normalize
from agent.files.readers.office.xml_part import ForbiddenXml, XmlPart

#: What reading one part of an archive raises where it is damaged.
_DAMAGES = (ExpatError, ForbiddenXml, KeyError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError)

_PIECE_BYTES = 1024 * 1024


class DamagedPart(Exception):
    """A part of the archive is missing or cannot be read to its end."""


class ZipParts:
    """The parts of one archive, by names in which neither case nor the direction of slashes matters."""

    def __init__(self, content: bytes) -> None:
        """Raises what `zipfile` raises for an archive without a table of contents."""
        self._archive = zipfile.ZipFile(io.BytesIO(content))
        self._members = {
            normalize(member.filename): member for member in self._archive.infolist() if not member.is_dir()
        }
        self._read_keys: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return normalize(name) in self._members

    @property
    def names(self) -> Sequence[str]:
        """The names of all parts, in lower case."""
        return tuple(self._members)

    @property
    def unread_names(self) -> Sequence[str]:
        """The names of the parts that nobody asked for, in lower case."""
        return tuple(name for name in self._members if name not in self._read_keys)

    def mark_read(self, name: str) -> None:
        """Count a part as read, whose content is shown or named otherwise."""
        self._read_keys.add(normalize(name))

    @contextmanager
    def open_xml(
        self, name: str, cut: str = "", *, heads: Sequence[str] = (), empty: re.Pattern[bytes] | None = None
    ) -> Iterator[XmlPart]:
        """Open an XML part, to be read in pieces. Raises `DamagedPart`, as do the reads within."""
        self.mark_read(name)
        try:
            with self._archive.open(self._members[normalize(name)]) as stream:
                yield XmlPart(stream, cut, heads=heads, empty=empty)
        except _DAMAGES as damage:
            raise DamagedPart(name) from damage

    def find_all(self, name: str, pattern: re.Pattern[bytes]) -> Iterator[re.Match[bytes]]:
        """Yield the matches of a pattern in the bytes of a part, each within one tag. Raises `DamagedPart`."""
        kept = b""
        try:
            with self._archive.open(self._members[normalize(name)]) as stream:
                while piece := stream.read(_PIECE_BYTES):
                    piece = kept + piece
                    end = max(piece.rfind(b"<"), 0)
                    yield from pattern.finditer(piece, 0, end)
                    kept = piece[end:]
        except _DAMAGES as damage:
            raise DamagedPart(name) from damage

    def read_xml(self, name: str) -> Element:
        """Read an XML part as a tree with plain names. Raises `DamagedPart`."""
        with self.open_xml(name) as part:
            return part.read()
