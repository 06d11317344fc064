"""Extraction of text from files, and of pictures in a form that models take.

What stays true: no file can hang, crash or fill the process that asks. Text is decoded here, and no
more of it than is asked for; what has a structure is read by a child process with limits of its own
(`extract_worker.py`), which is gone when the call is over, however it ends. What goes wrong with a
file is a sentence in the result, for the model, never an exception.
"""

import asyncio
import base64
import codecs
import json
import math
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import structlog

from agent.files.extract_worker import NOT_INSTALLED
from conversation.charset import split_byte_order_mark
from conversation.media_types import IMAGE_TYPES
from conversation.prepared_file import Picture
from conversation.storable_text import make_storable

#: Of a child's address space: a Python with a large PDF needs about a third of it.
MEMORY_BYTES = 768 * 1024 * 1024
#: Children of one process at once. More would only share the cores that the workers use.
CHILDREN_MAX = 2
#: Part of the timeout after which the child hands over what it has read.
SOFT_TIMEOUT_FRACTION = 0.75
#: Characters that are kept of one file, at most: for a model it is truncated again, by tokens.
TEXT_MAX_CHARS = 400_000

_log = structlog.get_logger(__name__)
_WORKER = Path(__file__).with_name("extract_worker.py")
#: All that a child gets of the environment: no key and no password.
_ENVIRONMENT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")
_OOXML = "application/vnd.openxmlformats-officedocument"
_ODF = "application/vnd.oasis.opendocument"
#: By media type: what to call such a file in a sentence, and its reader in the child.
_READERS = {
    "application/pdf": ("PDF", "pdf:read"),
    f"{_OOXML}.wordprocessingml.document": ("document", "office:read_document"),
    f"{_OOXML}.spreadsheetml.sheet": ("workbook", "office:read_workbook"),
    f"{_OOXML}.presentationml.presentation": ("presentation", "office:read_presentation"),
    f"{_ODF}.text": ("document", "open_document:read"),
    f"{_ODF}.spreadsheet": ("workbook", "open_document:read"),
    f"{_ODF}.presentation": ("presentation", "open_document:read"),
    "text/html": ("page", "page:read"),
    "message/rfc822": ("mail", "mail:read"),
    "application/vnd.ms-outlook": ("mail", "outlook:read"),
    "application/x-ipynb+json": ("notebook", "notebook:read"),
    "application/epub+zip": ("book", "book:read"),
    "application/zip": ("archive", "archive:read_zip"),
    "application/x-tar": ("archive", "archive:read_tar"),
    **dict.fromkeys(
        ("application/gzip", "application/x-bzip2", "application/x-xz"), ("archive", "compressed_file:read")
    ),
    "application/x-7z-compressed": ("archive", "seven_zip:read"),
    "application/vnd.rar": ("archive", "archive:read_rar"),
    **dict.fromkeys(("text/rtf", "application/rtf"), ("document", "rich_text:read")),
    **dict.fromkeys(IMAGE_TYPES, ("picture", "picture:read")),
}
#: What ends a child that used up its time: by its own clocks.
_OUT_OF_TIME = (-signal.SIGXCPU, -signal.SIGALRM)
#: What ends a child for reasons of the host. Its own limits end it in other ways.
_HOST_FAILURES = {
    -signal.SIGKILL: "its reader was killed, as hosts do that run out of memory",
    NOT_INSTALLED: "its reader is not installed",
}
#: The longest encoding of one character.
_BYTES_PER_CHAR = 4
#: A semaphore belongs to the event loop on which it first waits, so there is one for each.
_child_slots: "WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]" = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Extracted:
    """The extracted text and pictures of a file."""

    text: str
    #: Whether the file has more text than this.
    truncated: bool = False
    #: Why there is no text, or not all of it, in a sentence for the model.
    problem: str | None = None
    #: What else to tell of the text, in sentences: what was guessed, or is shown in another form.
    remarks: Sequence[str] = ()
    #: The kinds of content that the file has and the text does not show, in the singular, and how many of each.
    left_out: Mapping[str, int] = field(default_factory=dict)
    #: By their use, `picture` and `thumbnail`, as in `PreparationResult`.
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    #: Whether another try would come to the same.
    is_final: bool = True


async def extract_text(
    content: bytes, media_type: str, *, timeout_seconds: float = 20, max_chars: int = TEXT_MAX_CHARS
) -> Extracted:
    """Read the text of a file, as far as there is any; of a picture, its size in pixels.

    The time counts from when its child starts; a file waits before that while `CHILDREN_MAX` others are read.
    """
    media_type = media_type.partition(";")[0].strip().lower()
    if media_type in _READERS:
        return await _read(content, media_type, timeout_seconds, max_chars)
    if _is_text(media_type):
        # Milliseconds, but on the event loop they would hold up every task.
        return await asyncio.to_thread(decode_text, content, max_chars=max_chars)
    return Extracted("", problem=f"A file of type {media_type} has no text that can be read.")


def is_readable(media_type: str) -> bool:
    """Whether files of this media type can be read."""
    return media_type in _READERS or _is_text(media_type)


def _is_text(media_type: str) -> bool:
    return media_type.startswith("text/") or media_type.endswith(("/json", "+json", "+xml"))


def decode_text(content: bytes, *, max_chars: int) -> Extracted:
    """Decode text of any encoding: by its mark, as UTF-8, as UTF-16, else with replacements."""
    # One character more than fits, so that a truncation is noticed.
    head = content[: (max_chars + 2) * _BYTES_PER_CHAR]
    is_whole = len(head) == len(content)
    text = _decode(head, is_whole=is_whole)
    return Extracted(make_storable(text[:max_chars]), truncated=len(text) > max_chars or not is_whole)


def _decode(head: bytes, *, is_whole: bool) -> str:
    encoding, unmarked = split_byte_order_mark(head)
    if encoding is not None:
        return _decode_as(unmarked, encoding, "replace", is_whole=is_whole)
    if b"\x00" in head[:1024]:  # in text, only the zeros of wide characters
        is_little = head[1:1024:2].count(0) >= head[0:1024:2].count(0)
        return _decode_as(head, "utf-16-le" if is_little else "utf-16-be", "replace", is_whole=is_whole)
    try:
        return _decode_as(head, "utf-8", "strict", is_whole=is_whole)
    except UnicodeDecodeError:
        text = _decode_as(head, "utf-8", "replace", is_whole=is_whole)
    # UTF-8 with a few broken bytes has other letters beyond ASCII; an old 8-bit encoding has none.
    is_damaged_utf8 = any(char > "\x7f" for char in text.replace("\ufffd", ""))
    return text if is_damaged_utf8 else _decode_as(head, "cp1252", "replace", is_whole=is_whole)


def _decode_as(head: bytes, encoding: str, errors: str, *, is_whole: bool) -> str:
    """Decode a beginning that may end within a character, which is then left out, not replaced."""
    return codecs.getincrementaldecoder(encoding)(errors).decode(head, final=is_whole)


async def read_in_child(
    program: Path, content: bytes, *, timeout_seconds: float, options: Mapping[str, Any]
) -> tuple[bytes, int | None]:
    """Run a reader program on a file: its output and exit status; `options` are for the program.

    Raises `TimeoutError`, and other `OSError` where no child can be started.
    """
    slots = _child_slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(CHILDREN_MAX))
    async with slots:
        child = await _start_child(program, timeout_seconds, options)
        try:
            async with asyncio.timeout(timeout_seconds):
                output, _ = await child.communicate(content)
        finally:
            if child.returncode is None:
                with suppress(ProcessLookupError):
                    child.kill()
                await child.wait()
    return output, child.returncode


async def _read(content: bytes, media_type: str, timeout_seconds: float, max_chars: int) -> Extracted:
    noun, reader = _READERS[media_type]
    options = {"max_chars": max_chars, "reader": reader, "noun": noun, "readers": _READERS}
    failure = f"The {noun} could not be read"
    try:
        output, returncode = await read_in_child(_WORKER, content, timeout_seconds=timeout_seconds, options=options)
    except TimeoutError:
        return Extracted("", problem=f"{failure}: it takes too much time.")
    except OSError as error:
        return Extracted("", problem=f"{failure} now: {error.strerror}.", is_final=False)
    if returncode == 0:
        return await asyncio.to_thread(_parse_result, output)
    if returncode in _OUT_OF_TIME:
        return Extracted("", problem=f"{failure}: it takes too much time.")
    _log.warning("reader_failed", media_type=media_type, returncode=returncode)
    if returncode in _HOST_FAILURES:
        return Extracted("", problem=f"{failure} now: {_HOST_FAILURES[returncode]}.", is_final=False)
    return Extracted("", problem=f"{failure}: it crashed its reader, as a damaged file may.")


async def _start_child(program: Path, timeout_seconds: float, options: Mapping[str, Any]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # nothing is imported from this folder
        str(program),
        json.dumps({
            "parent": os.getpid(),
            "cpu_seconds": math.ceil(timeout_seconds) + 1,
            "memory_bytes": MEMORY_BYTES,
            "wall_seconds": timeout_seconds + 1,
            # One clock for all processes.
            "until": time.monotonic() + timeout_seconds * SOFT_TIMEOUT_FRACTION,
            **options,
        }),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        start_new_session=True,  # Ctrl-C in a terminal asks the worker to stop, not the file it reads
    )  # fmt: skip


def _parse_result(output: bytes) -> Extracted:
    fields = json.loads(output)
    pictures = {
        use: Picture(base64.b64decode(picture.pop("content")), **picture)
        for use, picture in fields.pop("pictures", {}).items()
    }
    return Extracted(**fields | {"remarks": tuple(fields.get("remarks", ()))}, pictures=pictures)
