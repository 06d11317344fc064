"""Headers of a download, for a file that another user sent: its name, its type, and to save it.

What stays true: nothing that a name or a type says becomes a header of its own, a path, or a
program that runs in the page. A file is saved, not shown, unless its type is one of few that cannot
hold a program and the caller asks for it.
"""

import re
from urllib.parse import quote

from conversation.filename import RESERVED_CHARS, is_hidden, shorten_filename
from conversation.media_types import IMAGE_TYPES, UNKNOWN_TYPE

#: Types that a browser may show in its page. SVG is no picture here: it can hold a program; nor is a PDF.
INLINE_TYPES = frozenset(IMAGE_TYPES)

_UNSAFE_IN_QUOTES = re.compile(r"[^ !#-\[\]-~]")
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")
_ACTIVE = re.compile(
    r"html|[/+-]xml|svg|xsl|javascript|ecmascript|jscript|livescript|vbscript|wasm|flash|cache-manifest"
    r"|^multipart/|^message/|^application/hta$"
)


def content_disposition(filename: str, media_type: str, *, inline: bool) -> str:
    """The header that names the file, in plain ASCII and in UTF-8 (RFC 6266)."""
    kind = "inline" if inline and served_type(media_type) in INLINE_TYPES else "attachment"
    name = safe_filename(filename)
    plain = _UNSAFE_IN_QUOTES.sub("_", name)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def served_type(media_type: str) -> str:
    """The type that a browser may be told: without parameters; `UNKNOWN_TYPE` for one that it would run."""
    essence = media_type.partition(";")[0].strip().lower()
    if not _TYPE.fullmatch(essence) or _ACTIVE.search(essence):
        return UNKNOWN_TYPE
    return essence


def safe_filename(filename: str) -> str:
    """The name as one file in one folder, at most 255 bytes long, and reading as what it is.

    Control characters, marks that turn the direction of writing, and what is no character become `_`.
    """
    printable = "".join("_" if is_hidden(character) else character for character in filename)
    name = RESERVED_CHARS.sub("_", printable).strip(". ")
    return shorten_filename(name) or "file"
