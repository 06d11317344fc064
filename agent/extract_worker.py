"""A program that reads one PDF from stdin, under limits, and writes its text as JSON to stdout.

What stays true: it runs alone, imports nothing of ours, writes no file, and is dead after its
limits of time, whether or not anybody is left to kill it. It is started by its path: see `extract.py`.
"""

import ctypes
import io
import json
import os
import resource
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # imported under the limits, below
    from pypdf import PdfReader

#: From <sys/prctl.h>.
_PR_SET_PDEATHSIG = 1

_ENCRYPTED = "The PDF is protected by a password; ask for a copy without one."
_DAMAGED = "The PDF could not be read: it is damaged or incomplete."
_TOO_LARGE = "The PDF could not be read: it needs too much memory."
_TOO_SLOW = "The PDF could not be read: it takes too much time."
_SCAN = "The PDF holds no text: its pages are probably scanned images."


def main() -> None:
    """Read a document from standard input, and write its text or the reason why there is none."""
    limits = json.loads(sys.argv[1])
    restrain(limits)
    try:
        result = read(sys.stdin.buffer.read(), limits["until"], limits["max_chars"])
    except MemoryError:
        result = _problem(_TOO_LARGE)
    sys.stdout.write(json.dumps(result))


def restrain(limits: dict[str, Any]) -> None:
    """Give up the means to do harm, before a byte of the file is seen."""
    for limit, value in (
        (resource.RLIMIT_CPU, limits["cpu_seconds"]),
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    signal.setitimer(signal.ITIMER_REAL, limits["wall_seconds"])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != limits["parent"]:  # it died before it could be watched
            sys.exit(1)


def read(content: bytes, until: float, max_chars: int) -> dict[str, Any]:
    """The text of the pages, as `Extracted` has it."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, FileNotDecryptedError, LimitReachedError

    try:
        reader = PdfReader(io.BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(""):
            return _problem(_ENCRYPTED)
        return _pages(reader, until, max_chars)
    except (DependencyError, FileNotDecryptedError):
        return _problem(_ENCRYPTED)
    except (LimitReachedError, MemoryError):
        return _problem(_TOO_LARGE)
    except Exception:  # noqa: BLE001 - a damaged file raises anything, from deep inside the parser
        return _problem(_DAMAGED)


def _pages(reader: "PdfReader", until: float, max_chars: int) -> dict[str, Any]:
    texts: list[str] = []
    unread: list[int] = []
    length = 0
    total = len(reader.pages)
    for number, page in enumerate(reader.pages, start=1):
        if length > max_chars or time.monotonic() > until:
            break
        try:
            text = page.extract_text().strip()
        except Exception:  # one damaged page does not cost the others
            if total == 1:
                raise
            unread.append(number)
        else:
            texts.append(text)
            length += len(text) + 2
    return _joined(texts, unread, total, max_chars)


def _joined(texts: list[str], unread: list[int], total: int, max_chars: int) -> dict[str, Any]:
    done = len(texts) + len(unread)
    whole = "\n\n".join(filter(None, texts))
    text = whole[:max_chars].replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
    problem = None
    if not done and total:
        return _problem(_TOO_SLOW)
    if unread and not text:
        problem = _DAMAGED
    elif unread:
        problem = f"Some pages of the PDF could not be read: {', '.join(map(str, unread[:20]))}."
    elif done < total and len(whole) <= max_chars:
        problem = f"Only the first {done} of {total} pages of the PDF were read: it takes too much time."
    elif not text:
        problem = _SCAN
    return {"text": text, "truncated": len(whole) > max_chars or done < total, "problem": problem}


def _problem(sentence: str) -> dict[str, Any]:
    return {"text": "", "problem": sentence}


if __name__ == "__main__":
    main()
