"""Files of messages as the model sees them: pictures as pictures, documents as their text, others in a line.

What stays true: a file that cannot be shown is told to the model in a sentence; it never fails the
turn. The same files and the same room give the same parts. No part names a path or an address.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, assert_never

from agent.files.token_budget import FileRoom
from agent.files.truncate import cut, tokens_in
from agent.models.capabilities import Capabilities
from agent.models.parts import audio_part, image_part, text_part
from conversation.attachment import Attachment
from conversation.errors import FileNotStored, FileRejected
from conversation.message import Message
from conversation.prepared_file import PreparedFile

#: Files that are read at once: each holds its bytes.
READ_AT_ONCE = 4
#: Of a picture of the size that providers scale down to.
IMAGE_TOKENS = 1_600
#: A request holds no more than providers take: tens of megabytes.
IMAGE_BYTES_PER_TOKEN = 1_000
#: Providers count about ten tokens a second; an MP3 of good quality has this many bytes for each.
AUDIO_BYTES_PER_TOKEN = 1_600

_IMAGE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_AUDIO_KINDS: Mapping[str, Literal["wav", "mp3"]] = {"audio/wav": "wav", "audio/mpeg": "mp3"}
_GONE = "this file is no longer stored"
_NO_ROOM = "left out, since newer files take the room; to see it, have a tool open it, or attach it again"
_AGAIN = "the same file stands further down"


class FileReader(Protocol):
    """Where the bytes are, and what was made of them."""

    async def read(self, tenant: str, sha256: str) -> bytes:
        """Raises `FileNotStored` and `FileStoreUnavailable`."""
        ...

    async def save(self, tenant: str, file: Attachment) -> Attachment:
        """Raises `FileRefused`, `LimitReached` and `FileStoreUnavailable`."""
        ...

    async def prepared(self, tenant: str, files: Sequence[Attachment]) -> Mapping[str, PreparedFile]:
        """By hash, each of them; what nobody has made ready yet is made so now.

        Raises `FileStoreUnavailable`.
        """
        ...

    async def texts(self, tenant: str, hashes: Sequence[str]) -> Mapping[str, str]:
        """The texts of files that are ready, by hash."""
        ...

    async def thread_files(self, tenant: str, thread_id: str) -> Sequence[Attachment]:
        """The files of the thread's history, the newest first."""
        ...


@dataclass(frozen=True, slots=True)
class FileLimits:
    """What the files of one message may be together: the defaults are those of the settings."""

    max_count: int = 20
    max_bytes: int = 50 * 1024 * 1024

    def check(self, files: Sequence[Attachment]) -> None:
        """Raises `FileRefused` for more files or bytes than fit in one message."""
        if len(files) > self.max_count:
            raise FileRejected(
                f"these are {len(files)} files, at most {self.max_count} fit in one message; "
                "bring fewer, or raise THREADMILL_ATTACHMENTS_MAX_COUNT"
            )
        together = sum(file.size or 0 for file in files)
        if together > self.max_bytes:
            raise FileRejected(
                f"these files have {together} bytes together, at most {self.max_bytes} fit in one message; "
                "bring less, or raise THREADMILL_MESSAGE_MAX_BYTES"
            )


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a file is shown as, if there is room for it."""

    file: Attachment
    prepared: PreparedFile
    kind: Literal["picture", "sound", "text", "line"]
    #: About how many it takes.
    tokens: int = 0
    #: Why there is nothing but a line.
    reason: str = ""


class AttachmentParts:
    """Makes content parts of attachments, for one process."""

    def __init__(self, files: FileReader, limits: FileLimits | None = None) -> None:
        self._files = files
        self._limits = limits or FileLimits()
        self._slots = asyncio.Semaphore(READ_AT_ONCE)

    async def store_all(self, tenant: str, files: Sequence[Attachment]) -> Sequence[Attachment]:
        """Keep what one call of a tool brought, without its bytes: nothing of it where it is too much.

        Raises `FileRefused`, `LimitReached` and `FileStoreUnavailable`.
        """
        self._limits.check(files)
        return [await self._files.save(tenant, file) for file in files]

    async def of_thread(self, tenant: str, thread_id: str) -> Sequence[Attachment]:
        """The files of the thread's history, the newest first."""
        return await self._files.thread_files(tenant, thread_id)

    async def open(self, tenant: str, file: Attachment) -> bytes:
        """The bytes of a file, for a tool. Raises `FileRefused`, `FileNotStored`, `FileStoreUnavailable`."""
        assert file.sha256 is not None
        prepared = await self._files.prepared(tenant, [file])
        blocked = prepared[file.sha256].blocked_reason
        if blocked:
            raise FileRejected(f"{file.filename!r} cannot be opened: {blocked}")
        return await self._files.read(tenant, file.sha256)

    async def parts(
        self, tenant: str, messages: Sequence[Message], capabilities: Capabilities, room: FileRoom
    ) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """By message id, a part for each of its files. Raises `FileStoreUnavailable`."""
        newest_first = [message for message in reversed(messages) if message.attachments]
        if not newest_first:
            return {}
        files = {file.sha256: file for message in newest_first for file in message.attachments}
        prepared = await self._files.prepared(tenant, list(files.values()))
        shown = _all_shown(newest_first, prepared, capabilities)
        given = _shares(newest_first, shown, room)
        texts = await self._texts(tenant, [shown[number] for number in given])
        built = await asyncio.gather(
            *(self._part(tenant, one, given.get(number), texts) for number, one in enumerate(shown))
        )
        remaining = iter(built)
        return {message.id: [next(remaining) for _ in message.attachments] for message in newest_first}

    async def _texts(self, tenant: str, shown: Sequence[_Shown]) -> Mapping[str, str]:
        hashes = [str(one.file.sha256) for one in shown if one.kind == "text"]
        return await self._files.texts(tenant, hashes) if hashes else {}

    async def _part(
        self, tenant: str, shown: _Shown, tokens: int | None, texts: Mapping[str, str]
    ) -> Mapping[str, Any]:
        file, prepared = shown.file, shown.prepared
        if shown.kind == "line" or tokens is None:
            return _line(file, prepared, shown.reason or _NO_ROOM)
        try:
            match shown.kind:
                case "text":
                    return _text(file, prepared, texts.get(str(file.sha256), ""), tokens)
                case "sound":
                    kind = _AUDIO_KINDS[file.mime_type or ""]
                    return audio_part(await self._read(tenant, file.sha256), kind)
                case "picture":
                    content = await self._read(tenant, prepared.picture or file.sha256)
                    return image_part(content, prepared.picture_type or file.mime_type or "")
                case _:
                    assert_never(shown.kind)
        except FileNotStored:
            return _line(file, prepared, _GONE)

    async def _read(self, tenant: str, sha256: str | None) -> bytes:
        assert sha256 is not None
        async with self._slots:
            return await self._files.read(tenant, sha256)


def _all_shown(
    messages: Sequence[Message], prepared: Mapping[str, PreparedFile], capabilities: Capabilities
) -> list[_Shown]:
    """Each file of each message in turn; one that was seen before is only named."""
    seen: set[str] = set()
    shown: list[_Shown] = []
    for message in messages:
        # Providers take pictures and sound from users only.
        takes = capabilities if message.role == "user" else Capabilities(images=False)
        for file in message.attachments:
            assert file.sha256 is not None
            known = prepared[file.sha256]
            is_again = file.sha256 in seen and not known.blocked_reason
            one = _Shown(file, known, "line", reason=_AGAIN) if is_again else _shown(file, known, takes)
            shown.append(one)
            if one.kind != "line":
                seen.add(file.sha256)
    return shown


def _shown(file: Attachment, prepared: PreparedFile, takes: Capabilities) -> _Shown:
    if prepared.blocked_reason:
        return _Shown(file, prepared, "line", reason=prepared.blocked_reason)
    if file.mime_type in _IMAGE_TYPES:
        return _shown_picture(file, prepared, takes)
    if file.mime_type in _AUDIO_KINDS and takes.audio:
        return _Shown(file, prepared, "sound", (file.size or 0) // AUDIO_BYTES_PER_TOKEN + 1)
    if prepared.text_chars:
        return _Shown(file, prepared, "text", tokens_in(prepared.text_chars))
    return _Shown(file, prepared, "line", reason="its content cannot be shown; a tool may open it")


def _shown_picture(file: Attachment, prepared: PreparedFile, takes: Capabilities) -> _Shown:
    if prepared.size_px is None:  # it was not decoded to its end, and would fail the whole request
        return _Shown(file, prepared, "line", reason="it cannot be shown")
    if not takes.images:
        return _Shown(file, prepared, "line", reason="you cannot see it; people can")
    size = (prepared.picture_size if prepared.picture else file.size) or 0
    return _Shown(file, prepared, "picture", max(IMAGE_TOKENS, size // IMAGE_BYTES_PER_TOKEN))


def _shares(messages: Sequence[Message], shown: Sequence[_Shown], room: FileRoom) -> Mapping[int, int]:
    numbers = iter(range(len(shown)))
    by_message = [[next(numbers) for _ in message.attachments] for message in messages]
    return room.shares(
        [{n: shown[n].tokens for n in own if shown[n].kind != "line"} for own in by_message],
        frozenset(n for n, one in enumerate(shown) if one.kind in ("picture", "sound")),
    )


def _text(file: Attachment, prepared: PreparedFile, whole: str, tokens: int) -> Mapping[str, Any]:
    text = cut(whole, tokens)
    return text_part(file.filename, f"{text}\n[{prepared.problem}]" if prepared.problem else text)


def _line(file: Attachment, prepared: PreparedFile, reason: str) -> Mapping[str, Any]:
    """What the file is, in one line: its type, its size, and why there is no more of it."""
    said = [file.mime_type or "unknown type"]
    if prepared.size_px is not None:
        said.append(prepared.size_px)
    if file.size is not None:
        said.append(human_size(file.size))
    why = prepared.problem if prepared.problem and not prepared.blocked_reason else None
    return text_part(file.filename, f"[{', '.join(said)}: {reason}.{f' {why}' if why else ''}]")


def human_size(size: int) -> str:
    """Bytes as people say them: `12 kB`, `3.2 MB`."""
    if size < 1000:
        return f"{size} bytes"
    amount, units = size / 1000, ["kB", "MB", "GB"]
    while amount >= 999.5 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    return f"{amount:.1f} {units[0]}" if amount < 9.95 else f"{amount:.0f} {units[0]}"
