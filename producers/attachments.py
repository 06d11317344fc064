"""Attachments of callers, turned into files that may be stored: read, measured and examined.

What stays true: a file is refused before anything of its message is stored, and a path is not read
before its size is known to be welcome.
"""

from collections.abc import Iterable
from pathlib import Path

from conversation.arguments import take_items
from conversation.attachment import Attachment
from conversation.errors import FileRejected, InvalidInput
from conversation.quotation import quote_path
from conversation.validation import check_text
from store.file_store import PATH_MAX_CHARS
from store.media_types.examine import examine_file
from store.settings import Settings

#: An attachment, or the path of a file to attach.
Attachable = Attachment | str | Path


def examine_attachments(attachments: Iterable[Attachable] | None, settings: Settings) -> list[Attachment]:
    """Read the files, and check each against its own bytes and the settings' limits.

    Raises `InvalidInput` for what is no list of files, and `FileRejected` for a file that is not welcome.
    """
    if attachments is None:
        return []
    if isinstance(attachments, str | bytes | Path | Attachment):
        raise InvalidInput("attachments", "is one file", "pass a list of attachments or paths")
    if not isinstance(attachments, Iterable):
        raise InvalidInput("attachments", f"is {type(attachments).__name__}", "pass a list of attachments or paths")
    items = take_items("attachments", attachments, settings.attachments_max_count)
    max_bytes, allowed = settings.attachment_max_bytes, settings.attachment_types
    files = [examine_file(_read_attachment(file, settings), max_bytes=max_bytes, allowed=allowed) for file in items]
    total_bytes = sum(file.size or 0 for file in files)
    if total_bytes > settings.message_max_bytes:
        raise FileRejected(
            f"attachments: have {total_bytes} bytes together, at most {settings.message_max_bytes} are "
            "accepted; send them in several messages, or raise THREADMILL_MESSAGE_MAX_BYTES"
        )
    return files


def _read_attachment(file: Attachable, settings: Settings) -> Attachment:
    if isinstance(file, Attachment):
        file.check()
        return file
    if not isinstance(file, str | Path):
        raise InvalidInput(
            "attachments", f"holds {type(file).__name__}", "pass Attachment(filename=…, content=…) or a path"
        )
    if isinstance(file, str):
        check_text("attachments", file, max_chars=PATH_MAX_CHARS)
    path = Path(file)
    try:
        # A pipe or a device would be read for ever.
        if not path.is_file():
            problem = "is no regular file" if path.exists() else "does not exist"
            raise InvalidInput("attachments", f"{quote_path(path)} {problem}", "pass the path of a file")
        size = path.stat().st_size
        if size > settings.attachment_max_bytes:
            raise FileRejected(
                f"{path.name!r} has {size} bytes, at most {settings.attachment_max_bytes} are accepted; "
                "send a smaller file, or raise THREADMILL_ATTACHMENT_MAX_BYTES"
            )
        return Attachment.from_path(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InvalidInput(
            "attachments", f"{quote_path(path)} cannot be read ({reason})", "pass a file that this process may read"
        ) from error
