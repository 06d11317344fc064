"""The name of a downloaded file.

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

from conversation.filename import RESERVED_CHARS, is_hidden, shorten_filename
from conversation.storable_text import make_storable

#: UTF-8 bytes: file systems hold 255, and a program may put a number in front.
NAME_MAX_BYTES = 200
DEFAULT_NAME = "download"
#: Characters of what a server or a model wrote that are read for a name.
READ_MAX_CHARS = 2_000

#: RFC 5987, the form for names beyond ASCII; it goes before the plain one.
_EXTENDED = re.compile(r"""filename\*\s*=\s*([\w-]{1,40})'[^']{0,40}'([^;\s"]+)""", re.IGNORECASE)


def file_name(requested_name: str | None, *, disposition: str, url: str, media_type: str) -> str:
    """The file's name: the requested one, else the server's, else the end of the URL."""
    candidates = (requested_name or "", _parse_disposition(disposition), unquote(urlsplit(url).path))
    name = next(filter(None, map(clean_file_name, candidates)), DEFAULT_NAME)
    if PurePosixPath(name).suffix or not media_type:
        return name
    return shorten_filename(name + (mimetypes.guess_extension(media_type) or ""), NAME_MAX_BYTES)


def clean_file_name(text: str) -> str:
    """The last part of a path, without what no file's name should hold; "" if nothing is left."""
    # Normalizing takes the square of a run of accents, and the end alone has the ending.
    last_segment = re.split(r"[/\\]", text[-READ_MAX_CHARS:])[-1]
    printable = "".join(char for char in last_segment if not is_hidden(char))
    # A leading dot hides a file; one at the end is dropped by some systems.
    name = RESERVED_CHARS.sub("_", unicodedata.normalize("NFC", printable)).strip(" .")
    return shorten_filename(name, NAME_MAX_BYTES)


def _parse_disposition(disposition: str) -> str:
    match = _EXTENDED.search(disposition)
    if match is not None:
        try:
            return unquote_to_bytes(match[2]).decode(match[1], "replace")
        except (LookupError, UnicodeError):
            pass
    header = Message()
    header["Content-Disposition"] = make_storable(disposition).replace("\r", " ").replace("\n", " ")
    return header.get_filename() or ""
