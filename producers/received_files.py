"""Files that come to a backend as open files, as a form's do: examined, and stored without being held in memory.

What stays true: a file is read in pieces, however large it is; it is refused before anything of it is stored.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import BinaryIO

from conversation.attachment import Attachment
from conversation.errors import FileRejected
from store.media_types.examine import examine_sample
from store.media_types.sample import HEAD_BYTES, TAIL_BYTES, Sample
from store.settings import Settings

#: Bytes that are read at once.
PIECE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """An examined file, and where its bytes are."""

    attachment: Attachment
    content: BinaryIO


def examine_received(content: BinaryIO, filename: str, media_type: str | None, settings: Settings) -> ReceivedFile:
    """Examine an open file, blocking. Raises `FileRejected`, and `InvalidInput` for its name."""
    max_bytes = settings.attachment_max_bytes
    sample, sha256 = _read(content, filename, max_bytes)
    file = Attachment(filename=filename, media_type=media_type, size=sample.size, sha256=sha256)
    examined_type = examine_sample(
        file.filename, sample, media_type, max_bytes=max_bytes, allowed=settings.attachment_types
    )
    return ReceivedFile(replace(file, media_type=examined_type), content)


def _read(content: BinaryIO, filename: str, max_bytes: int) -> tuple[Sample, str]:
    """Read a file once from end to end: its two ends, its size and its hash."""
    digest, size, head, tail = hashlib.sha256(), 0, b"", b""
    content.seek(0)
    while piece := content.read(PIECE_BYTES):
        digest.update(piece)
        size += len(piece)
        head += piece[: HEAD_BYTES - len(head)]
        tail = (tail + piece)[-TAIL_BYTES:]
        if size > max_bytes:
            raise FileRejected(
                f"{filename!r} has more than {max_bytes} bytes; send a smaller file, "
                "or raise THREADMILL_ATTACHMENT_MAX_BYTES"
            )
    return Sample.from_ends(head, tail, size, content), digest.hexdigest()
