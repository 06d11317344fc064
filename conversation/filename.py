"""The name of a file, made plain: what people and programs see of it is all that there is.

What stays true: a name has no folders, no control characters, no invisible marks that turn it
around, and is one that every file system takes. The same name always comes out the same, and a
name that came out passes unchanged.
"""

import re
import unicodedata

from conversation.errors import InvalidInput
from conversation.validation import check_text

FILENAME_MAX_CHARS = 255
#: What file systems hold, in UTF-8; what other encodings take is no longer.
FILENAME_MAX_BYTES = 255

#: Joins the parts of one emoji, and letters of some scripts; it hides nothing.
_JOINERS = "\u200c\u200d"
#: Windows opens a device by this name, whatever ending follows.
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])\s*(\.|$)", re.IGNORECASE)


def clean_filename(field: str, value: object) -> str:
    """The name without what people cannot see; composed (NFC), so that it is one name on every system.

    Raises `InvalidInput` for a path, a name that is too long, and one of which nothing is left.
    """
    text = check_text(field, value, max_chars=FILENAME_MAX_CHARS)
    if "/" in text or "\\" in text:
        raise InvalidInput(field, "is no plain file name", "pass a name without folders")
    name = unicodedata.normalize("NFC", "".join(map(_strip_invisible, text)))
    # Windows drops dots and spaces at the end, so that two names would be one.
    name = " ".join(name.split()).rstrip(". ")
    if not name:
        raise InvalidInput(field, "is no plain file name", "pass a name with letters or digits")
    if _DEVICE.match(name):
        name = f"_{name}"
    if len(name.encode()) > FILENAME_MAX_BYTES:
        raise InvalidInput(
            field, f"has {len(name.encode())} bytes in UTF-8", f"at most {FILENAME_MAX_BYTES} fit: shorten it"
        )
    return name


def _strip_invisible(char: str) -> str:
    kind = unicodedata.category(char)
    if kind in ("Zl", "Zp") or char.isspace():
        return " "
    # Controls, marks of direction, tags; unassigned and private characters are kept: they show.
    return "" if kind == "Cc" or (kind == "Cf" and char not in _JOINERS) else char
