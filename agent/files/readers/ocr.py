"""Text in pictures, read by tesseract.

What stays true: its process has the limits of the reader that starts it, and dies with it.
"""

import ctypes
import io
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from agent.files.readers.sections import TextSections

if TYPE_CHECKING:  # imported under the limits, below
    from PIL.Image import Image

#: From <sys/prctl.h>.
_PR_SET_PDEATHSIG = 1
#: Of the time for a file: pages that have a text of their own are read in it.
RESERVED_SECONDS = 8.0
_NOT_READ = "Text in pictures was not read"
_TOO_SLOW = f"{_NOT_READ} to its end: it takes too much time."


class Unavailable(Exception):
    """A picture cannot be read; the message is a sentence for the model."""


def recognize(image: "Image", sections: TextSections) -> str:
    """Read the text in a picture, in the time that is left. Raises `Unavailable`."""
    program = shutil.which("tesseract")
    if program is None:
        raise Unavailable(f"{_NOT_READ}: the program tesseract is not installed here.")
    seconds = sections.seconds_left - RESERVED_SECONDS
    if seconds <= 0:
        raise Unavailable(_TOO_SLOW)
    buffer = io.BytesIO()
    image.convert("L").save(buffer, "PNG", compress_level=1)
    try:
        process = subprocess.run(  # noqa: S603 - the languages are a setting, and match a pattern
            [program, "stdin", "stdout", "-l", sections.ocr_languages],
            input=buffer.getvalue(),
            capture_output=True,
            timeout=seconds,
            check=False,
            env={**os.environ, "OMP_THREAD_LIMIT": "1"},
            preexec_fn=_die_with_parent,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(_TOO_SLOW) from None
    except OSError as error:
        raise Unavailable(f"{_NOT_READ}: tesseract could not be started ({error.strerror}).") from None
    is_unknown = b"Failed loading language" in process.stderr
    lack = f"tesseract has no data here for all of {sections.ocr_languages!r}"
    if process.returncode:
        raise Unavailable(f"{_NOT_READ}: {lack if is_unknown else 'tesseract failed'}.")
    if is_unknown:
        sections.remark(f"OCR may have missed words: {lack}.")
    return process.stdout.decode("utf-8", "replace").replace("\f", "").strip()


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
