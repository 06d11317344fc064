"""The gate for files: what they are by their bytes, and whether that is welcome.

What stays true: the type that comes out is what the bytes are, whatever name or type the file came
with; a file that is refused is refused before anything of it is kept, with the file, the reason
and what to do about it.
"""

import mimetypes
from collections.abc import Sequence
from pathlib import PurePosixPath

from conversation.errors import FileRefused
from store.files.plain_text import INERT, decoded, is_textual, text_type
from store.files.signatures import KNOWN, RUNNABLE, guessed_type, known_type, runnable_type, second_nature

UNKNOWN = "application/octet-stream"

#: What a name says about a file's bytes, for the endings that are worth a contradiction.
_BY_ENDING = {
    ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif",
    ".webp": "image/webp", ".pdf": "application/pdf", ".svg": "image/svg+xml",
    ".html": "text/html", ".htm": "text/html", ".txt": "text/plain",
    ".md": "text/markdown", ".markdown": "text/markdown", ".csv": "text/csv",
    ".tsv": "text/tab-separated-values", ".json": "application/json", ".xml": "text/xml",
}  # fmt: skip
#: Other names under which clients send the types that we know.
_ALIASES = {
    "image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png",
    "application/x-pdf": "application/pdf", "text/x-markdown": "text/markdown",
    "text/json": "application/json", "application/csv": "text/csv", "text/x-csv": "text/csv",
    "application/xml": "text/xml", "application/xhtml+xml": "text/html",
}  # fmt: skip
#: Said by clients that do not know.
_NO_CLAIM = {"", UNKNOWN, "binary/octet-stream", "application/unknown", "*/*"}


def examine(
    filename: str,
    content: bytes,
    declared: str | None,
    *,
    max_bytes: int,
    allowed: Sequence[str],
) -> str:
    """The media type that the bytes are. `allowed` holds types and patterns like `image/*`.

    Raises `FileRefused` for a file that is empty, too large, of no welcome type, other than it is
    called, or two things at once.
    """
    shown = repr(filename)
    if not content:
        raise FileRefused(f"{shown} is empty; send a file with content")
    if len(content) > max_bytes:
        raise FileRefused(
            f"{shown} has {len(content)} bytes, at most {max_bytes} are accepted; "
            "send a smaller file, or raise THREADMILL_ATTACHMENT_MAX_BYTES"
        )
    ending = _BY_ENDING.get(PurePosixPath(filename.lower()).suffix)
    claim = _claim(declared, ending)
    found = _recognised(filename, content, claim, ending)
    _check_single(shown, content, found)
    _check_claim(shown, claim or _firm(ending, found), found)
    _check_allowed(shown, found, allowed)
    return found


def _claim(declared: str | None, ending: str | None) -> str | None:
    name = (declared or "").partition(";")[0].strip().lower()
    if name in _NO_CLAIM:
        return None
    if name == "application/vnd.ms-excel" and ending == "text/csv":
        return ending  # what browsers on Windows say of a table
    return _ALIASES.get(name, name)


def _firm(ending: str | None, found: str) -> str | None:
    """What the name alone claims. A name is a weaker word than a declaration.

    A photo called .jpg that is a PNG is as good an image; JSON with comments in it is still text.
    """
    same_kind = ending and ending in KNOWN and found in KNOWN and ending[:6] == found[:6] == "image/"
    both_text = is_textual(ending) and found in INERT
    return None if same_kind or both_text else ending


def _recognised(filename: str, content: bytes, claim: str | None, ending: str | None) -> str:
    hint = claim or ending or mimetypes.guess_type(filename)[0]
    text = decoded(content, is_called_text=is_textual(hint))
    found = known_type(content)
    if found and not (found == "image/gif" and text is not None):  # a script can open with GIF89a
        return found
    if text is not None:
        return text_type(text, (claim if claim != "text/plain" else None, ending))
    return runnable_type(content) or guessed_type(content, hint)


def _check_single(shown: str, content: bytes, found: str) -> None:
    other = second_nature(content, found)
    if other:
        raise FileRefused(
            f"{shown} is {found}, but opens as {other} too; save it again from a program that shows it"
        )


def _check_claim(shown: str, claim: str | None, found: str) -> None:
    if claim is None or _agrees(claim, found):
        return
    if found == UNKNOWN:
        raise FileRefused(f"{shown} is called {claim}, but its bytes are not; send the whole, undamaged file")
    raise FileRefused(
        f"{shown} is called {claim}, but its bytes are {found}; give it the name and type of what it is"
    )


def _agrees(claim: str, found: str) -> bool:
    if claim == found:
        return True
    if found in INERT:
        # JSON is a promise to whoever parses it; other texts are read as text anyway.
        return is_textual(claim) and claim != "application/json"
    family = claim.partition("/")[0]
    # Sound and film have many names for one format, and none of them runs.
    return family in ("audio", "video") and found.startswith(f"{family}/")


def _check_allowed(shown: str, found: str, allowed: Sequence[str]) -> None:
    if any(_matches(pattern.strip().lower(), found) for pattern in allowed):
        return
    raise FileRefused(
        f"{shown} is {found}, which is not accepted; send one of {', '.join(allowed) or 'no files at all'}, "
        "or add its type to THREADMILL_ATTACHMENT_TYPES"
    )


def _matches(pattern: str, found: str) -> bool:
    if pattern == found:
        return True
    if found in RUNNABLE:
        return False  # what runs has to be named
    return pattern in ("*", "*/*") or (pattern.endswith("/*") and found.startswith(pattern[:-1]))
