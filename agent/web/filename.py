"""What a downloaded file is called.

What stays true: whatever a server or a model wrote, the name that comes out is one plain name: no
folder, no control character, nothing that turns the direction of writing, and short enough for any
file system.
"""

import mimetypes
import re
import unicodedata
from email.message import Message
from pathlib import PurePosixPath
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from agent.files.extract import storable

#: UTF-8 bytes: file systems hold 255, and somebody may put a number in front.
NAME_MAX_BYTES = 200
#: Of an ending; what is longer is part of the name.
ENDING_MAX_CHARS = 12
NAMELESS = "download"

#: RFC 5987, the form for names beyond ASCII; it goes before the plain one.
_EXTENDED = re.compile(r"""filename\*\s*=\s*([\w-]{1,40})'[^']{0,40}'([^;\s"]+)""", re.IGNORECASE)
#: Refused by one file system or another.
_UNWELCOME = re.compile(r'[<>:"|?*]')


def file_name(asked: str | None, *, disposition: str, url: str, media_type: str) -> str:
    """The first name that is one: what was asked for, what the server says, the end of the URL."""
    candidates = (asked or "", _said(disposition), unquote(urlsplit(url).path))
    name = next(filter(None, map(plain, candidates)), NAMELESS)
    if PurePosixPath(name).suffix or not media_type:
        return name
    return _shortened(name + (mimetypes.guess_extension(media_type) or ""))


def plain(text: str) -> str:
    """The last part of a path, without what no file's name should hold; "" if nothing is left."""
    last = re.split(r"[/\\]", text)[-1]
    # Categories of "other": control, format (as the marks of direction), surrogate, private.
    kept = "".join(char for char in last if unicodedata.category(char)[0] != "C")
    # A leading dot hides a file; one at the end is dropped by some systems.
    return _shortened(_UNWELCOME.sub("_", unicodedata.normalize("NFC", kept)).strip(" ."))


def _said(disposition: str) -> str:
    extended = _EXTENDED.search(disposition)
    if extended is not None:
        try:
            return unquote_to_bytes(extended[2]).decode(extended[1], "replace")
        except (LookupError, UnicodeError):
            pass
    header = Message()
    header["Content-Disposition"] = storable(disposition).replace("\r", " ").replace("\n", " ")
    return header.get_filename() or ""


def _shortened(name: str) -> str:
    """At most `NAME_MAX_BYTES`, with its ending."""
    encoded = name.encode()
    if len(encoded) <= NAME_MAX_BYTES:
        return name
    ending = PurePosixPath(name).suffix
    ending = ending if len(ending) <= ENDING_MAX_CHARS else ""
    return encoded[: NAME_MAX_BYTES - len(ending.encode())].decode("utf-8", "ignore").rstrip(" .") + ending
