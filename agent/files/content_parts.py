"""Content parts of messages' files: pictures as pictures, documents as their text, others in a line.

What stays true: a file that cannot be shown is described to the model in a sentence; it never fails the
turn. The same files and the same budget give the same parts. No part names a path or an address.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, assert_never

from agent.files.token_budget import FileTokenBudget
from agent.files.truncate import tokens_in, truncate_text
from agent.models.capabilities import Capabilities
from agent.models.parts import audio_part, image_part, text_part
from conversation.attachment import Attachment
from conversation.errors import FileNotStored, FileRejected
from conversation.fair_slots import FairSlots
from conversation.media_types import IMAGE_TYPES
from conversation.message import Message
from conversation.prepared_file import PreparedFile

#: Files that are read at once: each holds its bytes.
CONCURRENT_READS_MAX = 4
#: Of a picture of the size that providers scale down to.
IMAGE_TOKENS = 1_600
#: A request holds no more than providers take: tens of megabytes.
IMAGE_BYTES_PER_TOKEN = 1_000
#: Providers count about ten tokens a second; an MP3 of good quality has this many bytes for each.
AUDIO_BYTES_PER_TOKEN = 1_600

_AUDIO_KINDS: Mapping[str, Literal["wav", "mp3"]] = {"audio/wav": "wav", "audio/mpeg": "mp3"}
_NO_LONGER_STORED = "this file is no longer stored"
_OVER_BUDGET = "left out, since newer files take the room; to see it, have a tool open it, or attach it again"
_UNSEEN = "you cannot see it; people can"
_UNREAD = "text in it was not read"
_REPEATED = "the same file stands further down"


class FileSource(Protocol):
    """The stored files of an installation: their bytes, texts and renditions."""

    async def read(self, tenant: str, sha256: str) -> bytes:
        """Read the bytes of a file. Raises `FileNotStored` and `FileStoreUnavailable`."""
        ...

    async def save(self, tenant: str, file: Attachment) -> Attachment:
        """Store a file. Raises `FileRejected`, `LimitReached` and `FileStoreUnavailable`."""
        ...

    async def load_prepared(self, tenant: str, files: Sequence[Attachment]) -> Mapping[str, PreparedFile]:
        """Load the prepared form of each file, by hash; a file that is not prepared yet is prepared now.

        Raises `FileStoreUnavailable`.
        """
        ...

    async def load_texts(self, tenant: str, hashes: Sequence[str]) -> Mapping[str, str]:
        """Load the texts of prepared files, by hash."""
        ...

    async def load_thread_files(self, tenant: str, thread_id: str) -> Sequence[Attachment]:
        """The files of the thread's history, the newest first."""
        ...


@dataclass(frozen=True, slots=True)
class FileLimits:
    """The limits of the files of one message together: the defaults are those of the settings."""

    max_count: int = 20
    max_bytes: int = 50 * 1024 * 1024

    def check(self, files: Sequence[Attachment]) -> None:
        """Check files of one message. Raises `FileRejected` for more files or bytes than fit in it."""
        if len(files) > self.max_count:
            raise FileRejected(
                f"these are {len(files)} files, at most {self.max_count} fit in one message; "
                "bring fewer, or raise THREADMILL_ATTACHMENTS_MAX_COUNT"
            )
        total_bytes = sum(file.size or 0 for file in files)
        if total_bytes > self.max_bytes:
            raise FileRejected(
                f"these files have {total_bytes} bytes together, at most {self.max_bytes} fit in one "
                "message; bring less, or raise THREADMILL_MESSAGE_MAX_BYTES"
            )


@dataclass(frozen=True, slots=True)
class _PlannedPart:
    """The part that a file gets, if the budget allows it."""

    file: Attachment
    prepared: PreparedFile
    kind: Literal["picture", "sound", "text", "line"]
    #: About how many tokens it takes.
    tokens: int = 0
    #: Why there is nothing but a line.
    reason: str = ""


class AttachmentParts:
    """The builder of content parts for attachments, one for a process."""

    def __init__(self, files: FileSource, limits: FileLimits | None = None) -> None:
        self._files = files
        self._limits = limits or FileLimits()
        self._slots = FairSlots(CONCURRENT_READS_MAX)

    async def store_all(self, tenant: str, files: Sequence[Attachment]) -> Sequence[Attachment]:
        """Store the files of one tool call, and return them without bytes: none of them where it is too much.

        Raises `FileRejected`, `LimitReached` and `FileStoreUnavailable`.
        """
        self._limits.check(files)
        return [await self._files.save(tenant, file) for file in files]

    async def list_thread_files(self, tenant: str, thread_id: str) -> Sequence[Attachment]:
        """The files of the thread's history, the newest first."""
        return await self._files.load_thread_files(tenant, thread_id)

    async def open(self, tenant: str, file: Attachment) -> bytes:
        """The bytes of a file, for a tool. Raises `FileRejected`, `FileNotStored`, `FileStoreUnavailable`."""
        assert file.sha256 is not None
        prepared = await self._files.load_prepared(tenant, [file])
        blocked_reason = prepared[file.sha256].blocked_reason
        if blocked_reason:
            raise FileRejected(f"{file.filename!r} cannot be opened: {blocked_reason}")
        return await self._files.read(tenant, file.sha256)

    async def build_parts(
        self, tenant: str, messages: Sequence[Message], capabilities: Capabilities, budget: FileTokenBudget
    ) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Build a part for each file, by message id. Raises `FileStoreUnavailable`."""
        messages_newest_first = [message for message in reversed(messages) if message.attachments]
        if not messages_newest_first:
            return {}
        files = {file.sha256: file for message in messages_newest_first for file in message.attachments}
        prepared = await self._files.load_prepared(tenant, list(files.values()))
        planned_parts = _plan_parts(messages_newest_first, prepared, capabilities)
        granted_tokens = _allocate_tokens(messages_newest_first, planned_parts, budget)
        texts = await self._load_texts(tenant, [planned_parts[number] for number in granted_tokens])
        content_parts = await asyncio.gather(
            *(
                self._build_part(tenant, one, granted_tokens.get(number), texts)
                for number, one in enumerate(planned_parts)
            )
        )
        remaining_parts = iter(content_parts)
        return {message.id: [next(remaining_parts) for _ in message.attachments] for message in messages_newest_first}

    async def _load_texts(self, tenant: str, planned_parts: Sequence[_PlannedPart]) -> Mapping[str, str]:
        hashes = [str(one.file.sha256) for one in planned_parts if one.kind == "text"]
        return await self._files.load_texts(tenant, hashes) if hashes else {}

    async def _build_part(
        self, tenant: str, planned_part: _PlannedPart, tokens: int | None, texts: Mapping[str, str]
    ) -> Mapping[str, Any]:
        file, prepared = planned_part.file, planned_part.prepared
        if planned_part.kind == "line" or tokens is None:
            return _build_line_part(file, prepared, planned_part.reason or _OVER_BUDGET)
        try:
            match planned_part.kind:
                case "text":
                    return _build_text_part(file, prepared, texts.get(str(file.sha256), ""), tokens)
                case "sound":
                    audio_kind = _AUDIO_KINDS[file.media_type or ""]
                    return audio_part(await self._read(tenant, file.sha256), audio_kind)
                case "picture":
                    content = await self._read(tenant, prepared.picture or file.sha256)
                    return image_part(content, prepared.picture_type or file.media_type or "")
                case _:
                    assert_never(planned_part.kind)
        except FileNotStored:
            return _build_line_part(file, prepared, _NO_LONGER_STORED)

    async def _read(self, tenant: str, sha256: str | None) -> bytes:
        assert sha256 is not None
        async with self._slots.take(tenant):
            return await self._files.read(tenant, sha256)


def _plan_parts(
    messages: Sequence[Message], prepared: Mapping[str, PreparedFile], capabilities: Capabilities
) -> list[_PlannedPart]:
    """Plan a part for each file of each message, in order; a file that was seen before is only named."""
    seen_hashes: set[str] = set()
    planned_parts: list[_PlannedPart] = []
    for message in messages:
        # Providers take pictures and sound from users only.
        role_capabilities = capabilities if message.role == "user" else Capabilities(images=False)
        for file in message.attachments:
            assert file.sha256 is not None
            prepared_file = prepared[file.sha256]
            is_repeated = file.sha256 in seen_hashes and not prepared_file.blocked_reason
            planned_part = (
                _PlannedPart(file, prepared_file, "line", reason=_REPEATED)
                if is_repeated
                else _plan_part(file, prepared_file, role_capabilities)
            )
            planned_parts.append(planned_part)
            if planned_part.kind != "line":
                seen_hashes.add(file.sha256)
    return planned_parts


def _plan_part(file: Attachment, prepared: PreparedFile, capabilities: Capabilities) -> _PlannedPart:
    if prepared.blocked_reason:
        return _PlannedPart(file, prepared, "line", reason=prepared.blocked_reason)
    if file.media_type in IMAGE_TYPES:
        return _plan_picture(file, prepared, capabilities)
    if file.media_type in _AUDIO_KINDS and capabilities.audio:
        return _PlannedPart(file, prepared, "sound", (file.size or 0) // AUDIO_BYTES_PER_TOKEN + 1)
    if prepared.text_chars:
        return _PlannedPart(file, prepared, "text", tokens_in(prepared.text_chars))
    return _PlannedPart(file, prepared, "line", reason="its content cannot be shown; a tool may open it")


def _plan_picture(file: Attachment, prepared: PreparedFile, capabilities: Capabilities) -> _PlannedPart:
    if prepared.size_px is None:  # the picture was not decoded to its end, and would fail the whole request
        return _PlannedPart(file, prepared, "line", reason="it cannot be shown")
    if not capabilities.images:
        if prepared.text_chars:
            return _PlannedPart(file, prepared, "text", tokens_in(prepared.text_chars))
        return _PlannedPart(file, prepared, "line", reason=_UNSEEN if prepared.note else f"{_UNSEEN}; {_UNREAD}")
    size = (prepared.picture_size if prepared.picture else file.size) or 0
    return _PlannedPart(file, prepared, "picture", max(IMAGE_TOKENS, size // IMAGE_BYTES_PER_TOKEN))


def _allocate_tokens(
    messages: Sequence[Message], planned_parts: Sequence[_PlannedPart], budget: FileTokenBudget
) -> Mapping[int, int]:
    numbers = iter(range(len(planned_parts)))
    by_message = [[next(numbers) for _ in message.attachments] for message in messages]
    return budget.allocate(
        [{n: planned_parts[n].tokens for n in own if planned_parts[n].kind != "line"} for own in by_message],
        frozenset(n for n, one in enumerate(planned_parts) if one.kind in ("picture", "sound")),
    )


def _build_text_part(file: Attachment, prepared: PreparedFile, full_text: str, tokens: int) -> Mapping[str, Any]:
    text = truncate_text(full_text, tokens)
    return text_part(file.filename, f"{text}\n[{prepared.note}]" if prepared.note else text)


def _build_line_part(file: Attachment, prepared: PreparedFile, reason: str) -> Mapping[str, Any]:
    """Describe a file in one line: its type, its size, and why there is no more of it."""
    facts = [file.media_type or "unknown type"]
    if prepared.size_px is not None:
        facts.append(prepared.size_px)
    if file.size is not None:
        facts.append(human_size(file.size))
    note = prepared.note if prepared.note and not prepared.blocked_reason else None
    return text_part(file.filename, f"[{', '.join(facts)}: {reason}.{f' {note}' if note else ''}]")


def human_size(size: int) -> str:
    """Bytes as people say them: `12 kB`, `3.2 MB`."""
    if size < 1000:
        return f"{size} bytes"
    amount, units = size / 1000, ["kB", "MB", "GB"]
    while amount >= 999.5 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    return f"{amount:.1f} {units[0]}" if amount < 9.95 else f"{amount:.0f} {units[0]}"
