"""Files of Outlook, written for tests: properties in streams of an OLE file, as the format has them.

What stays true: it is the least that is valid: entries of a storage are a list, where programs write a tree.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_END, _FAT, _NONE = 0xFFFFFFFE, 0xFFFFFFFD, 0xFFFFFFFF


@dataclass
class Storage:
    """A folder of an OLE file: streams and storages by their names."""

    streams: dict[str, bytes] = field(default_factory=dict)
    storages: dict[str, "Storage"] = field(default_factory=dict)


def properties(
    texts: Mapping[int, str | bytes],
    numbers: Mapping[int, bytes] | None = None,
    *,
    head: int = 32,
    inner: Mapping[str, Storage] | None = None,
) -> Storage:
    """A message, receiver or attachment with these texts (of a text or bytes) and numbers (of eight bytes)."""
    streams = {}
    for number, value in texts.items():
        kind, content = ("001F", value.encode("utf-16-le")) if isinstance(value, str) else ("0102", value)
        streams[f"__substg1.0_{number:04X}{kind}"] = content
    fixed = b"".join(struct.pack("<HHI", 3, number, 6) + value for number, value in (numbers or {}).items())
    streams["__properties_version1.0"] = bytes(head) + fixed
    return Storage(streams, dict(inner or {}))


class _Sectors:
    """Sectors of one size with the chains that they make."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.content: list[bytes] = []
        self.links: list[int] = []

    def store(self, content: bytes) -> int:
        """Store bytes; returns the first of their sectors."""
        start, count = len(self.links), -(-len(content) // self.size)
        self.content += [
            content[at : at + self.size].ljust(self.size, b"\0") for at in range(0, len(content), self.size)
        ]
        self.links += [*range(start + 1, start + count), _END][:count]
        return start if count else _END


def write(root: Storage) -> bytes:
    """The bytes of an OLE file."""
    entries: list[list[Any]] = []
    _add_entry(entries, "Root Entry", 5, root)
    large, small = _Sectors(512), _Sectors(64)
    starts = [(small if len(entry[4]) < 4096 else large).store(entry[4]) for entry in entries]
    entries[0][4] = b"".join(small.content)
    starts[0] = large.store(entries[0][4])
    directory = b""
    for (name, kind, right, child, content), start in zip(entries, starts, strict=True):
        encoded = name.encode("utf-16-le")
        directory += encoded.ljust(64, b"\0") + struct.pack("<HBB", len(encoded) + 2, kind, 1)
        directory += struct.pack("<III", _NONE, right, child) + bytes(36) + struct.pack("<IQ", start, len(content))
    first_directory = large.store(directory)
    small_links = b"".join(struct.pack("<I", link) for link in small.links)
    first_small, small_count = (
        large.store(small_links + b"\xff" * (-len(small_links) % 512)),
        -(-len(small_links) // 512),
    )
    fat_count = 1
    while len(large.links) + fat_count > fat_count * 128:
        fat_count += 1
    fat_at = len(large.links)
    fat = b"".join(struct.pack("<I", link) for link in [*large.links, *[_FAT] * fat_count])
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    header += struct.pack("<IIIIIIIII", 0, fat_count, first_directory, 0, 4096, first_small, small_count, _END, 0)
    header += b"".join(struct.pack("<I", fat_at + number) for number in range(fat_count)).ljust(436, b"\xff")
    return header + b"".join(large.content) + fat.ljust(fat_count * 512, b"\xff")


def _add_entry(entries: list[list[Any]], name: str, kind: int, storage: Storage) -> list[Any]:
    """Add a storage and what is in it, each linked to the one after it: name, kind, next, first inner, content."""
    own = [name, kind, _NONE, _NONE, b""]
    entries.append(own)
    previous, link = own, 3
    children: list[tuple[str, bytes | Storage]] = [*storage.streams.items(), *storage.storages.items()]
    for child_name, child in children:
        previous[link] = len(entries)
        previous, link = [child_name, 2, _NONE, _NONE, child], 2
        if isinstance(child, bytes):
            entries.append(previous)
        else:
            previous = _add_entry(entries, child_name, 1, child)
    return own
