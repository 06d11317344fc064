"""The name of a file, made plain: what people and programs see of it is all that there is.

The names that files have on the web and in downloads are made of the same rules, more leniently: there
a name that is refused here is mended.

What stays true: a name that `clean_filename` returns has no folders, no control characters, no
invisible marks that turn it around, and is one that every file system takes. The same name always
comes out the same, and a name that came out passes unchanged.
"""

import re
import unicodedata
from pathlib import PurePosixPath

from conversation.errors import InvalidInput
from conversation.invisible import HIDING, JOINERS
from conversation.validation import check_text

FILENAME_MAX_CHARS = 255
#: What file systems hold, in UTF-8; what other encodings take is no longer.
FILENAME_MAX_BYTES = 255

#: Characters of an ending, with its dot, that stays when a name is shortened.
ENDING_MAX_CHARS = 16

#: Refused by one file system or another.
RESERVED_CHARS = re.compile(r'[/\\:*?"<>|]')
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
    name = _protect_device(name)
    if len(name.encode()) > FILENAME_MAX_BYTES:
        raise InvalidInput(
            field, f"has {len(name.encode())} bytes in UTF-8", f"at most {FILENAME_MAX_BYTES} fit: shorten it"
        )
    return name


def safe_filename(filename: str) -> str:
    """The name as one file in one folder, at most 255 bytes long, and reading as what it is.

    Control characters, marks that turn the direction of writing, and what is no character become `_`.
    """
    printable = "".join("_" if is_hidden(character) else character for character in filename)
    name = RESERVED_CHARS.sub("_", printable).strip(". ")
    return shorten_filename(_protect_device(name)) or "file"


def is_hidden(char: str) -> bool:
    """Whether a character does not show: a control, a mark of direction, a line separator, none at all."""
    category = unicodedata.category(char)
    return category.startswith("C") or category in ("Zl", "Zp")


def shorten_filename(name: str, max_bytes: int = FILENAME_MAX_BYTES) -> str:
    """Shorten a name without folders to `max_bytes` in UTF-8; its ending stays."""
    encoded_name = name.encode()
    if len(encoded_name) <= max_bytes:
        return name
    ending = PurePosixPath(name).suffix
    ending = ending if len(ending) <= ENDING_MAX_CHARS else ""
    stem = encoded_name[: max_bytes - len(ending.encode())].decode(errors="ignore")
    return stem.rstrip(". ") + ending


def _protect_device(name: str) -> str:
    return f"_{name}" if _DEVICE.match(name) else name


def _strip_invisible(char: str) -> str:
    kind = unicodedata.category(char)
    if kind in ("Zl", "Zp") or char.isspace():
        return " "
    # Controls, marks of direction, tags, fillers; unassigned and private characters are kept: they show.
    return "" if kind == "Cc" or HIDING.match(char) or (kind == "Cf" and char not in JOINERS) else char
