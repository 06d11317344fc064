"""Headers of a download, for a file that another user sent: its name, its type, and to save it.

What stays true: nothing that a name or a type says becomes a header of its own, a path, or a
program that runs in the page. A file is saved, not shown, unless its type is one of few that cannot
hold a program and the caller asks for it.
"""

import re
from urllib.parse import quote

from conversation.download_name import make_download_name
from conversation.filename import safe_filename
from conversation.media_types import IMAGE_TYPES, UNKNOWN_TYPE

__all__ = ["INLINE_TYPES", "content_disposition", "safe_filename", "served_type"]

#: Types that a browser may show in its page. SVG is no picture here: it can hold a program; nor is a PDF.
INLINE_TYPES = frozenset(IMAGE_TYPES)

_UNSAFE_IN_QUOTES = re.compile(r"[^ !#-\[\]-~]")
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")
_ACTIVE = re.compile(
    r"html|[/+-]xml|svg|xsl|javascript|ecmascript|jscript|livescript|vbscript|wasm|flash|cache-manifest"
    r"|^multipart/|^message/|^application/hta$"
)


def content_disposition(filename: str, media_type: str, *, inline: bool) -> str:
    """The header that names the file as no program, in plain ASCII and in UTF-8 (RFC 6266)."""
    kind = "inline" if inline and served_type(media_type) in INLINE_TYPES else "attachment"
    name = make_download_name(filename, media_type)
    plain = _UNSAFE_IN_QUOTES.sub("_", name)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def served_type(media_type: str) -> str:
    """The type that a browser may be told: without parameters; `UNKNOWN_TYPE` for one that it would run."""
    essence = media_type.partition(";")[0].strip().lower()
    if not _TYPE.fullmatch(essence) or _ACTIVE.search(essence):
        return UNKNOWN_TYPE
    return essence
