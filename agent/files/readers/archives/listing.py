"""The list of what is in an archive: a line for each entry, with its size and its date.

What stays true: nothing is unpacked; a name is shown so that it can do nothing: on one line, and never as a path that
somebody opens. What the entries hold is counted as not shown.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent.files.readers.sections import TextSections

#: Entries that have a line of their own.
ENTRIES_MAX = 2000
#: Entries that are counted.
_COUNTED_MAX = 1_000_000

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069]")
_ARCHIVE = re.compile(r"\.(zip|tar|tgz|gz|bz2|xz|7z|rar|jar|zst|tbz2?|txz)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of an archive."""

    name: str
    #: In bytes, unpacked; None where the archive does not say.
    size: int | None = None
    modified: datetime | None = None
    is_folder: bool = False
    is_encrypted: bool = False
    #: What else is said of it: where a link goes, a comment.
    note: str = ""

    @property
    def line(self) -> str:
        """The entry as a line."""
        notes = [
            "folder" if self.is_folder else "" if self.size is None else f"{self.size:,} bytes",
            f"{self.modified:%Y-%m-%d %H:%M}" if self.modified else "",
            "encrypted" if self.is_encrypted else "",
            "archive, not opened" if _ARCHIVE.search(self.name) and not self.is_folder else "",
            clean(self.note),
        ]
        return f"- {clean(self.name) or '(no name)'} ({', '.join(filter(None, notes))})".removesuffix(" ()")


def clean(name: str) -> str:
    """A name on one line, without what turns text around."""
    return " ".join(_UNPRINTABLE.sub("?", name).split())


def add_listing(entries: Iterable[Entry], sections: TextSections, heading: str, comment: str = "") -> dict[str, Any]:
    """Add the list of entries, with what the archive says of itself."""
    lines, count, files, size, is_late = list[str](), 0, 0, 0, False
    for entry in entries:
        count += 1
        files += not entry.is_folder
        size += entry.size or 0
        if count <= ENTRIES_MAX:
            lines.append(entry.line)
        if count >= _COUNTED_MAX or sections.is_late:
            is_late = True
            break
    total = f"{heading} of {files:,} {'file' if files == 1 else 'files'}, {size:,} bytes unpacked. It is not unpacked."
    comments = [f"Comment of the archive: {comment.strip()}"] if comment.strip() else []
    sections.add("", "\n".join([total, *comments, *lines]))
    if count > ENTRIES_MAX:
        sections.remark(f"The first {ENTRIES_MAX:,} of {count:,} entries of the archive are listed.")
    if is_late:
        sections.remark("The archive goes on; the rest of its entries was not counted.")
    sections.leave_out("packed file", files)
    return sections.result()
