"""The bounds of an import: what one file may bring, and what only its caller may say.

What stays true: files are bounded as those of a message that is sent; a file that a user made says nothing in the
name of the installation, of another user, or of files that this user has not put there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from conversation.attachment import Attachment
from conversation.errors import FileRejected, InvalidInput
from conversation.message import Message
from conversation.quotation import quote
from conversation.user import named_user
from store.files.attachable import FileChoice, resolve_files
from store.files.blob_rows import Reservation, reserve
from store.media_types.examine import check_allowed
from store.settings import Settings

#: Different files of one import, at most.
FILES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class FileBounds:
    """The bounds of files, of one message and of its tenant. Without settings, only how many there are is bounded."""

    settings: Settings | None = None

    def reserve(self, connection: Connection, tenant: str, files: Iterable[Attachment]) -> Mapping[str, Reservation]:
        """Reserve rows for files, as for those of a message that is sent. Raises `LimitReached`."""
        if self.settings is None:
            return reserve(connection, tenant, files)
        scans, max_bytes = bool(self.settings.scanner_url), self.settings.tenant_max_bytes
        return reserve(connection, tenant, files, scans=scans, max_bytes=max_bytes)

    def check(self, message: Message) -> None:
        """Check a message's files. Raises `InvalidInput`."""
        for file in message.attachments:
            if file.size is None or file.media_type is None:
                raise InvalidInput("attachments", "lack size or media_type", "both are stored with the hash")
            if file.content is not None:
                raise InvalidInput("attachments.content", "stands there", "files go by their hash, never as bytes")
        if self.settings is not None:
            _check_limits(message, self.settings)


#: The bounds of files where no settings say more.
ANY_FILES = FileBounds()


def _check_limits(message: Message, settings: Settings) -> None:
    files = message.attachments
    if len(files) > settings.attachments_max_count:
        fix = f"at most {settings.attachments_max_count} fit in one message"
        raise InvalidInput("attachments", f"are {len(files)}", fix)
    # One that a client put by itself may be larger than one that came with a message.
    max_bytes = max(settings.attachment_max_bytes, settings.upload_max_bytes)
    sizes = [file.size or 0 for file in files]
    if max(sizes, default=0) > max_bytes:
        raise InvalidInput("attachments.size", f"is {max(sizes)}", f"at most {max_bytes} bytes are accepted")
    if sum(sizes) > max(settings.message_max_bytes, max_bytes):
        fix = f"at most {settings.message_max_bytes} are accepted in one message"
        raise InvalidInput("attachments", f"have {sum(sizes)} bytes together", fix)
    for file in files:
        try:
            check_allowed(file.filename, str(file.media_type), settings.attachment_types)
        except FileRejected as error:
            raise InvalidInput("attachments.media_type", f"is {quote(file.media_type)}", str(error)) from error


@dataclass(frozen=True, slots=True)
class ImportingUser:
    """The user who made the file; None where it is the tenant's own, and taken at its word."""

    tenant: str
    user: str | None

    def check_thread(self, columns: Mapping[str, Any]) -> None:
        """Check whose thread the header says it is. Raises `InvalidInput`."""
        if self.user is not None:
            self._check_name("owner", columns["owner"])
            self._check_name("metadata.user", named_user(None, columns["metadata"]))

    def check_row(self, kind: str, values: Mapping[str, Any]) -> None:
        """Check a line of context or of a turn. Raises `InvalidInput`."""
        if self.user is not None and kind == "context":
            raise _refuse_system_text("kind")
        if self.user is not None:
            self._check_name("sender", values.get("sender"))

    def check_message(self, connection: Connection, message: Message) -> None:
        """Check a message: no system text, and no file but those that the user put. Raises `InvalidInput`."""
        if self.user is None:
            return
        if message.role == "system":
            raise _refuse_system_text("role")
        choices = [FileChoice(str(file.sha256), file.filename) for file in message.attachments]
        resolve_files(connection, self.tenant, self.user, None, choices)

    def _check_name(self, field: str, name: str | None) -> None:
        if name not in (None, self.user):
            raise InvalidInput(field, f"is {quote(name)}", f"the file is taken for one of {self.user!r} alone")


def _refuse_system_text(field: str) -> InvalidInput:
    return InvalidInput(field, "is a system text", "a user's file sets none: import it without user=, or leave it out")
