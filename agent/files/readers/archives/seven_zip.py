"""The list of what is in a 7z archive, out of its header alone.

What stays true: the header is all that is unpacked, up to a bound; the names are as the archive has them. The format
is the one of `7zFormat.txt` in the LZMA SDK.
"""

import lzma
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from agent.files.readers.archives.listing import Entry, add_listing
from agent.files.readers.sections import TextSections, Unreadable

#: Of a header, unpacked: about half a million names.
_HEADER_MAX_BYTES = 32 * 1024 * 1024
_FILES_MAX = 1_000_000
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_DIRECTORY_ATTRIBUTE = 0x10

_END, _HEADER, _PROPERTIES, _MAIN, _FILES, _PACKED, _FOLDERS, _STREAMS = 0, 1, 2, 4, 5, 6, 7, 8
_SIZE, _CHECKS, _FOLDER, _FOLDER_SIZES, _STREAM_COUNTS, _EMPTY, _EMPTY_FILE = 9, 10, 11, 12, 13, 14, 15
_NAMES, _MODIFIED, _ATTRIBUTES, _ENCODED_HEADER = 17, 20, 21, 23
_COPY, _LZMA2, _LZMA, _AES = b"\x00", b"\x21", b"\x03\x01\x01", b"\x06\xf1\x07\x01"


@dataclass(slots=True)
class _Folder:
    """Files that are packed together."""

    #: Each method by which it is packed, with its properties.
    coders: list[tuple[bytes, bytes]] = field(default_factory=list)
    #: The size of what comes out of each, and which of them is the last.
    sizes: Sequence[int] = ()
    last: int = 0
    has_check: bool = False
    outputs: int = 1

    @property
    def size(self) -> int:
        return self.sizes[self.last]

    @property
    def is_encrypted(self) -> bool:
        return any(method == _AES for method, _ in self.coders)


@dataclass(slots=True)
class _Streams:
    """The part of a header that says where what is packed."""

    position: int = 0
    packed_sizes: Sequence[int] = ()
    folders: list[_Folder] = field(default_factory=list)
    #: The size of each file that is not empty, with whether it is encrypted.
    files: list[tuple[int, bool]] = field(default_factory=list)


class _Cursor:
    """A place in a header from which it is read on."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def take(self, size: int) -> bytes:
        """The next bytes. Raises `ValueError` where there are not as many."""
        piece = self._content[self._at : self._at + size]
        if len(piece) < size or size < 0:
            raise ValueError("the header ends too early")
        self._at += size
        return piece

    def rest(self) -> bytes:
        """All that follows."""
        return self._content[self._at :]

    def number(self) -> int:
        """The next number: the leading ones of its first byte say how many more it has."""
        first, value, mask = self.take(1)[0], 0, 0x80
        for index in range(8):
            if not first & mask:
                return value | ((first & (mask - 1)) << (8 * index))
            value |= self.take(1)[0] << (8 * index)
            mask >>= 1
        return value

    def count(self) -> int:
        """The next number, of things that are in the archive. Raises `ValueError` for more than there can be."""
        number = self.number()
        if number > _FILES_MAX:
            raise ValueError("too many")
        return number

    def bits(self, count: int) -> list[bool]:
        """So many flags."""
        packed = self.take((count + 7) // 8)
        return [bool(packed[index // 8] & (0x80 >> index % 8)) for index in range(count)]

    def optional_bits(self, count: int) -> list[bool]:
        """So many flags, which are one byte where all of them are set."""
        return [True] * count if self.take(1)[0] else self.bits(count)

    def checks(self, count: int) -> list[bool]:
        """Which of so many things have a checksum; the sums are not used."""
        defined = self.optional_bits(count)
        self.take(4 * sum(defined))
        return defined


def read(content: bytes, sections: TextSections) -> dict[str, Any]:
    """List a 7z archive."""
    offset, size = struct.unpack_from("<QQ", content, 12)
    header = content[32 + offset : 32 + offset + size]
    if len(header) < size:
        raise Unreadable("The archive breaks off; its table of contents was at its end.")
    cursor = _Cursor(header or b"\x01\x00")
    kind = cursor.number()
    for _ in range(4):  # a header may be packed in a packed header
        if kind != _ENCODED_HEADER:
            break
        cursor = _Cursor(_unpack_header(content, _read_streams(cursor)))
        kind = cursor.number()
    return add_listing(_entries(cursor), sections, "7z archive")


def _unpack_header(content: bytes, streams: _Streams) -> bytes:
    folder = streams.folders[0]
    if folder.is_encrypted:
        raise Unreadable("The archive is encrypted with the names in it; ask for one without a password.")
    start = 32 + streams.position
    packed = content[start : start + streams.packed_sizes[0]]
    method, properties = folder.coders[0]
    if folder.size > _HEADER_MAX_BYTES or len(folder.coders) != 1:
        raise Unreadable("The archive has too many names to be listed.")
    if method == _COPY:
        return packed
    if method == _LZMA:
        first, memory = properties[0], int.from_bytes(properties[1:5], "little")
        options = {"id": lzma.FILTER_LZMA1, "lc": first % 9, "lp": first // 9 % 5, "pb": first // 45}
    elif method == _LZMA2:
        options, memory = {"id": lzma.FILTER_LZMA2}, 1 << 26
    else:
        raise Unreadable("The archive packs its table of contents in a way that cannot be read here.")
    options["dict_size"] = max(4096, min(memory, folder.size))
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[options]).decompress(packed, folder.size)


def _read_streams(cursor: _Cursor) -> _Streams:
    streams, counts = _Streams(), None
    while (kind := cursor.number()) != _END:
        if kind == _PACKED:
            _read_packed(cursor, streams)
        elif kind == _FOLDERS:
            _read_folders(cursor, streams)
        elif kind == _STREAMS:
            counts = _read_files_of_folders(cursor, streams)
        else:
            raise ValueError("unknown part")
    if counts is None:
        streams.files = [(folder.size, folder.is_encrypted) for folder in streams.folders]
    return streams


def _read_packed(cursor: _Cursor, streams: _Streams) -> None:
    streams.position, count = cursor.number(), cursor.count()
    while (kind := cursor.number()) != _END:
        if kind == _SIZE:
            streams.packed_sizes = [cursor.number() for _ in range(count)]
        elif kind == _CHECKS:
            cursor.checks(count)


def _read_folders(cursor: _Cursor, streams: _Streams) -> None:
    while (kind := cursor.number()) != _END:
        if kind == _FOLDER:
            count = cursor.count()
            cursor.take(1)
            streams.folders = [_read_folder(cursor) for _ in range(count)]
        elif kind == _FOLDER_SIZES:
            for folder in streams.folders:
                folder.sizes = [cursor.number() for _ in range(folder.outputs)]
        elif kind == _CHECKS:
            for folder, has_check in zip(streams.folders, cursor.checks(len(streams.folders)), strict=True):
                folder.has_check = has_check


def _read_folder(cursor: _Cursor) -> _Folder:
    folder, inputs, outputs = _Folder(), 0, 0
    for _ in range(min(cursor.number(), 32)):
        flags = cursor.take(1)[0]
        method = cursor.take(flags & 0x0F)
        coder_inputs, coder_outputs = (cursor.number(), cursor.number()) if flags & 0x10 else (1, 1)
        folder.coders.append((method, cursor.take(cursor.number()) if flags & 0x20 else b""))
        inputs, outputs = inputs + coder_inputs, outputs + coder_outputs
    if not 0 < outputs <= 32 or inputs > 64:
        raise ValueError("too many streams")
    bound = [(cursor.number(), cursor.number())[1] for _ in range(outputs - 1)]
    if inputs - len(bound) > 1:
        for _ in range(inputs - len(bound)):
            cursor.number()
    folder.outputs = outputs
    folder.last = next((index for index in range(outputs) if index not in bound), 0)
    return folder


def _read_files_of_folders(cursor: _Cursor, streams: _Streams) -> Sequence[int]:
    counts, sizes = [1] * len(streams.folders), None
    while (kind := cursor.number()) != _END:
        if kind == _STREAM_COUNTS:
            counts = [cursor.count() for _ in streams.folders]
        elif kind == _SIZE:
            sizes = [[cursor.number() for _ in range(max(0, count - 1))] for count in counts]
        elif kind == _CHECKS:
            known = zip(streams.folders, counts, strict=True)
            cursor.checks(sum(count for folder, count in known if count != 1 or not folder.has_check))
    sizes = sizes or [[] for _ in counts]
    for folder, count, firsts in zip(streams.folders, counts, sizes, strict=True):
        # The last one has what is left.
        all_sizes = [*firsts, folder.size - sum(firsts)][:count]
        streams.files += [(size, folder.is_encrypted) for size in all_sizes]
    return counts


def _entries(cursor: _Cursor) -> Iterator[Entry]:
    streams = _Streams()
    while (kind := cursor.number()) != _END:
        if kind == _MAIN:
            streams = _read_streams(cursor)
        elif kind == _FILES:
            yield from _read_entries(cursor, iter(streams.files))
        elif kind == _PROPERTIES:
            while cursor.number() != _END:
                cursor.take(cursor.number())
        else:
            raise ValueError("unknown part")


def _read_entries(cursor: _Cursor, files: Iterator[tuple[int, bool]]) -> Iterator[Entry]:
    count = cursor.count()
    names, empty, empty_files = [""] * count, [False] * count, list[bool]()
    times: dict[int, int] = {}
    attributes: dict[int, int] = {}
    while (kind := cursor.number()) != _END:
        part = _Cursor(cursor.take(cursor.number()))
        if kind == _NAMES:
            part.take(1)
            names = part.rest().decode("utf-16-le", "replace").split("\0")
        elif kind == _EMPTY:
            empty = part.bits(count)
        elif kind == _EMPTY_FILE:
            empty_files = part.bits(sum(empty))
        elif kind == _MODIFIED:
            times = _values(part, count, "<Q")
        elif kind == _ATTRIBUTES:
            attributes = _values(part, count, "<I")
    is_file = iter(empty_files)
    for index, name in enumerate(names[:count]):
        is_folder = (empty[index] and not next(is_file, False)) or bool(attributes.get(index, 0) & _DIRECTORY_ATTRIBUTE)
        size, is_encrypted = (0, False) if empty[index] else next(files, (0, False))
        yield Entry(f"{name}/" if is_folder else name, size, _time(times.get(index, 0)), is_folder, is_encrypted)


def _values(part: _Cursor, count: int, form: str) -> dict[int, int]:
    defined = part.optional_bits(count)
    part.take(1)
    size = struct.calcsize(form)
    return {index: struct.unpack(form, part.take(size))[0] for index in range(count) if defined[index]}


def _time(ticks: int) -> datetime | None:
    try:
        return _EPOCH + timedelta(microseconds=ticks // 10) if ticks else None
    except OverflowError:
        return None
