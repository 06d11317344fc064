"""Files within a file, such as the attachments of a mail: each named, and read where there is a reader for it.

What stays true: a file is read in a process of its own, so that what it does to its reader costs nothing but its own
text; how many are read, how large and how deep is bounded.
"""

import ctypes
import json
import mimetypes
import os
import select
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from agent.files.readers.decode import decode
from agent.files.readers.sections import TextSections, Unreadable

#: Files of one file that are read.
FILES_MAX = 20
#: Larger ones are named alone.
BYTES_MAX = 20 * 1024 * 1024
#: Files within files within files.
DEPTH_MAX = 3
#: Of the time that is left, the part that one file may take.
_TIME_SHARE = 0.5
#: From <sys/prctl.h>.
_PR_SET_PDEATHSIG = 1

#: Types by the ending of a name, beyond those that Python knows.
_BY_ENDING = {
    ".eml": "message/rfc822", ".msg": "application/vnd.ms-outlook", ".ipynb": "application/x-ipynb+json",
    ".md": "text/markdown", ".log": "text/plain", ".yaml": "text/yaml", ".yml": "text/yaml", ".ics": "text/calendar",
    ".vcf": "text/vcard", ".csv": "text/csv", ".rtf": "text/rtf", ".toml": "text/plain", ".ini": "text/plain",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".odt": "application/vnd.oasis.opendocument.text", ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odp": "application/vnd.oasis.opendocument.presentation", ".epub": "application/epub+zip",
    ".zip": "application/zip", ".tar": "application/x-tar", ".gz": "application/gzip", ".tgz": "application/gzip",
    ".7z": "application/x-7z-compressed", ".rar": "application/vnd.rar",
}  # fmt: skip
_TEXTUAL_ENDINGS = ("/json", "+json", "/xml", "+xml", "/yaml", "/x-yaml", "/javascript", "/sql", "/x-sh", "/toml")


@dataclass(frozen=True, slots=True)
class AttachedFile:
    """A file within a file."""

    name: str
    #: As its sender called it.
    media_type: str
    content: bytes
    #: What else is said of it.
    description: str = ""

    @property
    def mark(self) -> str:
        """The line above the text of the file."""
        name = f'attachment "{self.name}"' if self.name else "attachment without a name"
        return f"{name} ({self.media_type}, {len(self.content):,} bytes{self.description and ', ' + self.description})"


def add_files(files: list[AttachedFile], sections: TextSections) -> None:
    """Add files to what they came with: all are named, some are read."""
    readings = 0
    for file in files:
        reader, is_text = _find_reader(file, sections.readers)
        if file.media_type.startswith("image/") or reader == "picture:read":
            sections.add_result(file.mark, {"text": "", "left_out": {"picture": 1}})
            continue
        is_beyond = readings >= FILES_MAX or sections.is_over or sections.depth >= DEPTH_MAX
        if not (reader or is_text) or not 0 < len(file.content) <= BYTES_MAX or is_beyond:
            sections.add_result(file.mark, {"text": "", "left_out": {"attachment": 1}})
        else:
            readings += 1
            sections.add_result(file.mark, _read(file.content, reader, sections))


def _find_reader(file: AttachedFile, readers: Mapping[str, Any]) -> tuple[str | None, bool]:
    """The reader of a file by its type, else by its name, and whether it is a text that needs none."""
    ending = f".{file.name.rpartition('.')[2].lower()}"
    by_name = _BY_ENDING.get(ending) or mimetypes.guess_type(file.name)[0] or ""
    for media_type in (file.media_type, by_name):
        if media_type in readers:
            return readers[media_type][1], False
    is_text = any(name.startswith("text/") or name.endswith(_TEXTUAL_ENDINGS) for name in (file.media_type, by_name))
    return None, is_text and b"\x00" not in file.content[:1024]


def _read(content: bytes, reader: str | None, sections: TextSections) -> Mapping[str, Any]:
    inner = sections.open_inner()
    if reader is None:
        inner.add("", decode(content[: 4 * inner.max_chars], sections=inner))
        return inner.result()
    return _run_apart(content, reader, inner)


def _run_apart(content: bytes, reader: str, sections: TextSections) -> Mapping[str, Any]:
    """Run a reader in a process of its own, for a part of the time that is left."""
    seconds = max(0.0, sections.seconds_left) * _TIME_SHARE
    reading_end, writing_end = os.pipe()
    parent, child = os.getpid(), os.fork()
    if not child:
        os.close(reading_end)
        _restrain(parent, seconds)
        _serve(content, reader, sections, writing_end)
    os.close(writing_end)
    try:
        output = _receive(reading_end, sections, seconds)
    finally:
        os.close(reading_end)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if output is None:
        return _problem("It takes too much time.")
    return dict(json.loads(output)) if output else _problem("It crashed its reader, as a damaged file may.")


def _receive(reading_end: int, sections: TextSections, seconds: float) -> bytes | None:
    """All that a process writes; None where it takes too much time."""
    output, until = bytearray(), sections.seconds_left - seconds
    while True:
        readable, _, _ = select.select([reading_end], [], [], max(0.0, sections.seconds_left - until))
        if not readable:
            return None
        piece = os.read(reading_end, 1 << 16)
        if not piece:
            return bytes(output)
        output += piece


def _restrain(parent: int, seconds: float) -> None:
    """Have this process end after its time, and with its parent, as `extract_worker.py` does."""
    signal.setitimer(signal.ITIMER_REAL, seconds + 1)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before it could be watched
            os._exit(1)


def _serve(content: bytes, reader: str, sections: TextSections, writing_end: int) -> None:
    """Read the file and end this process."""
    try:
        output = memoryview(json.dumps(_call(content, reader, sections)).encode())
        while output:
            output = output[os.write(writing_end, output) :]
    finally:
        os._exit(0)


def _call(content: bytes, reader: str, sections: TextSections) -> Mapping[str, Any]:
    module, _, function = reader.partition(":")
    try:
        result: dict[str, Any] = getattr(import_module(f"agent.files.readers.{module}"), function)(content, sections)
    except Unreadable as reason:
        return _problem(str(reason))
    except MemoryError:
        return _problem("It needs too much memory.")
    except ImportError:
        return _problem("Its reader is not installed.")
    except Exception:  # noqa: BLE001 - a damaged file raises anything
        return _problem("It could not be read: it is damaged or incomplete.")
    if result["truncated"] and not result.get("problem"):
        result["remarks"] = [*result.get("remarks", ()), "It goes on; only its beginning was read."]
    return result


def _problem(sentence: str) -> Mapping[str, Any]:
    return {"text": "", "problem": sentence, "left_out": {"attachment": 1}}
