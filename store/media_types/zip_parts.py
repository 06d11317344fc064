"""The parts of a ZIP archive, read one at a time and within bounds.

What stays true: what a part unpacks to is counted while it is unpacked, whatever the archive says of it, and is never
in memory as a whole unless it is small. Each entry of the table of contents is read, also a second one of a name.
"""

import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from urllib.parse import unquote

from store.media_types.sample import PIECE_BYTES

#: Bytes that the parts of one document unpack to while they are searched, at most: a workbook of a million rows has
#: fewer.
SEARCHED_MAX_BYTES = 256 * 1024 * 1024
#: Of all parts that say which parts there are: those of a presentation with a thousand slides have two.
HELD_MAX_BYTES = 8 * 1024 * 1024
#: Of these parts: a slide has one.
HELD_MAX_PARTS = 5_000

#: Reads a part from its beginning.
OpenPart = Callable[[], Iterator[bytes]]


class UnreadableParts(Exception):
    """A document of which it cannot be told what is in it; the message says why, behind the file's name."""


class ZipParts:
    """The parts of one archive, by what office programs make of their names."""

    def __init__(self, archive: zipfile.ZipFile | None, names: frozenset[str]) -> None:
        """Of an archive that is not at hand, only the plain `names` of its parts are told."""
        self._archive = archive
        self._searched = self._held = self._held_parts = 0
        self.names = names
        self.entries = [(plain_name(entry.filename), entry) for entry in archive.infolist()] if archive else []

    @property
    def begins_at(self) -> int:
        """Where in the file the first part begins: at 0, unless something else stands before the archive."""
        return min((entry.header_offset for _, entry in self.entries), default=0)

    def read(self, is_wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
        """Read all small parts whose names are wanted. Raises `UnreadableParts`."""
        for part_name, entry in self.entries:
            if is_wanted(part_name):
                self._held_parts += 1
                if self._held_parts > HELD_MAX_PARTS:
                    raise UnreadableParts("has more parts than are searched for macros; send it with less in it")
                content = b"".join(self._unpack(entry, HELD_MAX_BYTES - self._held))
                self._held += len(content)
                yield part_name, content

    def list_openers(self, is_wanted: Callable[[str], bool]) -> Iterator[tuple[str, OpenPart]]:
        """List all parts whose names are wanted, each with what reads it piece by piece, raising `UnreadableParts`."""
        for part_name, entry in self.entries:
            if is_wanted(part_name):
                yield part_name, partial(self._unpack, entry, SEARCHED_MAX_BYTES)

    def _unpack(self, entry: zipfile.ZipInfo, max_bytes: int) -> Iterator[bytes]:
        assert self._archive is not None  # it has the entry
        unpacked = 0
        try:
            with self._archive.open(entry) as part:
                while piece := part.read(PIECE_BYTES):
                    unpacked += len(piece)
                    self._searched += len(piece)
                    self._check_size(unpacked, max_bytes)
                    yield piece
        except UnreadableParts:
            raise
        except Exception as error:  # a damaged archive raises anything
            raise UnreadableParts("is damaged or encrypted; save it again, without a password") from error

    def _check_size(self, unpacked: int, max_bytes: int) -> None:
        if unpacked > max_bytes or self._searched > SEARCHED_MAX_BYTES:
            raise UnreadableParts("unpacks to more than is searched for macros; send it with less in it")


def plain_name(name: str) -> str:
    """The name of a part as office programs compare it: they mind neither case nor the direction of slashes."""
    return unquote(name.replace("\\", "/")).lower().lstrip("/")
