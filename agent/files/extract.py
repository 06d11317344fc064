"""Extraction of text from files, and of pictures in a form that models take.

What stays true: no file can hang, crash or fill the process that asks. Text is decoded here, and no
more of it than is asked for; what has a structure is read by a child process with limits of its own
(`extract_worker.py`), which is gone when the call is over, however it ends. What goes wrong with a
file is a sentence in the result, for the model, never an exception.
"""

import asyncio
import base64
import json
import math
import os
import re
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
from conversation.charset import decide
from conversation.exhaustion import is_exhaustion
from conversation.media_types import IMAGE_TYPES, MACRO_SUFFIX
from conversation.prepared_file import Picture
from conversation.storable_text import make_storable

#: Of a child's address space: a Python with a large PDF needs about a third of it.
MEMORY_BYTES = 768 * 1024 * 1024
#: Children of one process at once. More would only share the cores that the workers use.
CHILDREN_MAX = 2
#: Part of the timeout after which the child hands over what it has read.
SOFT_TIMEOUT_FRACTION = 0.75
#: For a file that has pictures of text: each takes tesseract seconds.
OCR_TIMEOUT_SECONDS = 60.0
#: Characters that are kept of one file, at most: for a model it is truncated again, by tokens.
TEXT_MAX_CHARS = 400_000

_log = structlog.get_logger(__name__)
_WORKER = Path(__file__).with_name("extract_worker.py")
#: All that a child gets of the environment: no key and no password.
_ENVIRONMENT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR", "TESSDATA_PREFIX")
_OOXML = "application/vnd.openxmlformats-officedocument"
_ODF = "application/vnd.oasis.opendocument"
#: By media type: what to call such a file in a sentence, and its reader in the child.
_READERS = {
    "application/pdf": ("PDF", "pdf.document:read"),
    f"{_OOXML}.wordprocessingml.document": ("document", "word.document:read"),
    f"{_OOXML}.spreadsheetml.sheet": ("workbook", "workbook.sheets:read"),
    "application/vnd.ms-excel.sheet.macroenabled.12": ("workbook", "workbook.sheets:read"),
    f"{_OOXML}.presentationml.presentation": ("presentation", "presentation.slides:read"),
    f"{_ODF}.text": ("document", "open_document.text:read"),
    f"{_ODF}.spreadsheet": ("workbook", "open_document.sheets:read"),
    f"{_ODF}.presentation": ("presentation", "open_document.slides:read"),
    "text/html": ("page", "page.html:read"),
    "message/rfc822": ("mail", "mail.messages:read"),
    "application/vnd.ms-outlook": ("mail", "mail.outlook:read"),
    "application/x-ipynb+json": ("notebook", "notebook:read"),
    "application/epub+zip": ("book", "book:read"),
    "application/zip": ("archive", "archives.archive:read_zip"),
    "application/x-tar": ("archive", "archives.archive:read_tar"),
    **dict.fromkeys(
        ("application/gzip", "application/x-bzip2", "application/x-xz"), ("archive", "archives.compressed_file:read")
    ),
    "application/x-7z-compressed": ("archive", "archives.seven_zip:read"),
    "application/vnd.rar": ("archive", "archives.archive:read_rar"),
    **dict.fromkeys(("text/rtf", "application/rtf"), ("document", "rich_text:read")),
    **dict.fromkeys(IMAGE_TYPES, ("picture", "picture:read")),
}
#: What reads a file that crashed its reader, in a child of its own.
_SECOND_READERS = {"pdf.document:read": "pdf.document:read_without_pdfium"}
#: What may have pictures of text.
_OCR_TYPES = {"application/pdf", *IMAGE_TYPES}
#: What ends a child that used up its time: by its own clocks.
_OUT_OF_TIME = (-signal.SIGXCPU, -signal.SIGALRM)
#: What ends a child for reasons of the host. Its own limits end it in other ways.
_HOST_FAILURES = {
    -signal.SIGKILL: "its reader was killed, as hosts do that run out of memory",
    NOT_INSTALLED: "its reader is not installed",
}
_CHARSET = re.compile(r"""charset\s*=\s*["']?([^\s;"']+)""", re.IGNORECASE)
_NO_ENCODING = "The text could not be read: its encoding could not be told. Save it as UTF-8, and send it again."
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
    content: bytes,
    media_type: str,
    *,
    timeout_seconds: float = 20,
    max_chars: int = TEXT_MAX_CHARS,
    ocr_languages: str = "",
) -> Extracted:
    """Read the text of a file, as far as there is any; of a picture, its size in pixels and what OCR reads.

    With `ocr_languages`, such as `eng+deu`, text in pictures is read, which takes longer. The time counts from
    when its child starts; a file waits before that while `CHILDREN_MAX` others are read.
    """
    charset = match[1] if (match := _CHARSET.search(media_type)) else None
    # Macros change nothing of what is read.
    media_type = media_type.partition(";")[0].strip().lower().removesuffix(MACRO_SUFFIX)
    if media_type in _READERS:
        if ocr_languages and media_type in _OCR_TYPES:
            timeout_seconds = max(timeout_seconds, OCR_TIMEOUT_SECONDS)
        options = {"max_chars": max_chars, "ocr_languages": ocr_languages}
        return await _read(content, media_type, timeout_seconds, options)
    if _is_text(media_type):
        # Milliseconds, but on the event loop they would hold up every task.
        return await asyncio.to_thread(decode_text, content, max_chars=max_chars, declared=charset)
    return Extracted("", problem=f"A file of type {media_type} has no text that can be read.")


def is_readable(media_type: str) -> bool:
    """Whether files of this media type can be read."""
    media_type = media_type.removesuffix(MACRO_SUFFIX)
    return media_type in _READERS or _is_text(media_type)


def _is_text(media_type: str) -> bool:
    return media_type.startswith("text/") or media_type.endswith(("/json", "+json", "+xml"))


def decode_text(content: bytes, *, max_chars: int, declared: str | None = None) -> Extracted:
    """Decode text in the encoding that the gate accepted it in; `declared` is what a sender says of that."""
    # One character more than fits, so that a truncation is noticed.
    head = content[: (max_chars + 2) * _BYTES_PER_CHAR]
    is_whole = len(head) == len(content)
    encoding = decide(content, declared)
    if encoding is None:
        return Extracted("", problem=_NO_ENCODING)
    text = encoding.decode(head, is_whole=is_whole)
    remarks = (encoding.remark, encoding.describe_broken(text[:max_chars], head))
    return Extracted(
        make_storable(text[:max_chars]),
        truncated=len(text) > max_chars or not is_whole,
        remarks=tuple(filter(None, remarks)),
    )


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


async def _read(content: bytes, media_type: str, timeout_seconds: float, options: Mapping[str, Any]) -> Extracted:
    noun, reader = _READERS[media_type]
    for name in filter(None, (reader, _SECOND_READERS.get(reader))):
        extracted = await _read_with(name, content, media_type, timeout_seconds, options)
        if extracted is not None:
            return extracted
    return Extracted("", problem=f"The {noun} could not be read: it crashed its reader, as a damaged file may.")


async def _read_with(
    reader: str, content: bytes, media_type: str, timeout_seconds: float, options: Mapping[str, Any]
) -> Extracted | None:
    """Read a file with one reader; None where the file crashes it."""
    noun, _ = _READERS[media_type]
    options = {**options, "reader": reader, "noun": noun, "readers": _READERS}
    failure = f"The {noun} could not be read"
    try:
        output, returncode = await read_in_child(_WORKER, content, timeout_seconds=timeout_seconds, options=options)
    except TimeoutError:
        return Extracted("", problem=f"{failure}: it takes too much time.")
    except OSError as error:
        if is_exhaustion(error):
            raise
        return Extracted("", problem=f"{failure} now: {error.strerror}.", is_final=False)
    if returncode == 0:
        return await asyncio.to_thread(_parse_result, output)
    if returncode in _OUT_OF_TIME:
        return Extracted("", problem=f"{failure}: it takes too much time.")
    _log.warning("reader_failed", media_type=media_type, returncode=returncode)
    if returncode in _HOST_FAILURES:
        return Extracted("", problem=f"{failure} now: {_HOST_FAILURES[returncode]}.", is_final=False)
    return None


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
