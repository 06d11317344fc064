"""The gate for files: their type by their bytes, and whether that type is accepted.

What stays true: the type that comes out is what the bytes are, whatever name or type the file came
with; a file that is refused is refused before anything of it is kept, with the file, the reason
and what to do about it. A file too large to hold is judged by its two ends, by the same rules.
"""

import mimetypes
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from conversation.attachment import Attachment
from conversation.charset import has_text
from conversation.errors import FileRejected
from conversation.media_types import IMAGE_TYPES, MACRO_SUFFIX, UNKNOWN_TYPE
from store.media_types import text_macros
from store.media_types.image_size import pixel_size
from store.media_types.sample import HEAD_BYTES, Sample
from store.media_types.signatures import (
    BINARY_TYPES,
    KNOWN_TYPES,
    disk_type,
    guessed_type,
    is_runnable,
    known_type,
    ole_type,
    plain_type,
    polyglot_kind,
    runnable_type,
)
from store.media_types.structured import MAIL, NOTEBOOK, RICH_TEXT, STRUCTURED_TEXTS, structured_type
from store.media_types.text_types import INERT_TYPES, decode, is_textual, may_name_text, resembles_json, text_type
from store.media_types.zip_contents import (
    DOCUMENTS,
    OFFICE_CLAIMS,
    ZIP,
    container_type,
    contents_of,
    is_too_large_unpacked,
)
from store.media_types.zip_parts import UnreadableParts

#: Pixels of one picture, by its header: what a camera takes passes, what would fill a reader does not.
IMAGE_PIXELS_MAX = 120_000_000

#: Types by the ending of a name, for the endings that are worth a contradiction.
_BY_ENDING = {
    ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif",
    ".webp": "image/webp", ".pdf": "application/pdf", ".svg": "image/svg+xml",
    ".html": "text/html", ".htm": "text/html", ".txt": "text/plain",
    ".md": "text/markdown", ".markdown": "text/markdown", ".csv": "text/csv",
    ".tsv": "text/tab-separated-values", ".json": "application/json", ".xml": "text/xml",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".docm": "application/vnd.ms-word.document.macroenabled.12",
    ".dotm": "application/vnd.ms-word.template.macroenabled.12",
    ".xlsm": "application/vnd.ms-excel.sheet.macroenabled.12",
    ".xltm": "application/vnd.ms-excel.template.macroenabled.12",
    ".xlam": "application/vnd.ms-excel.addin.macroenabled.12",
    ".xlsb": "application/vnd.ms-excel.sheet.binary.macroenabled.12",
    ".pptm": "application/vnd.ms-powerpoint.presentation.macroenabled.12",
    ".potm": "application/vnd.ms-powerpoint.template.macroenabled.12",
    ".ppsm": "application/vnd.ms-powerpoint.slideshow.macroenabled.12",
    ".ppam": "application/vnd.ms-powerpoint.addin.macroenabled.12",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odp": "application/vnd.oasis.opendocument.presentation",
    ".doc": "application/msword", ".xls": "application/vnd.ms-excel",
    ".ppt": "application/vnd.ms-powerpoint",
    ".zip": "application/zip", ".gz": "application/gzip", ".tgz": "application/gzip",
    ".tar": "application/x-tar", ".7z": "application/x-7z-compressed",
    ".msg": "application/vnd.ms-outlook", ".epub": "application/epub+zip",
}  # fmt: skip
#: Other names under which clients send the types that we know.
_ALIASES = {
    "image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png",
    "application/x-pdf": "application/pdf", "text/x-markdown": "text/markdown",
    "text/json": "application/json", "application/csv": "text/csv", "text/x-csv": "text/csv",
    "application/xml": "text/xml", "application/xhtml+xml": "text/html",
    "application/x-zip-compressed": "application/zip", "application/x-zip": "application/zip",
    "application/x-gzip": "application/gzip", "application/x-gtar": "application/x-tar",
    "application/tar": "application/x-tar", "application/x-compressed-tar": "application/gzip",
    "application/x-bzip": "application/x-bzip2", "application/x-rar-compressed": "application/vnd.rar",
    "application/x-rar": "application/vnd.rar", "application/bzip2": "application/x-bzip2",
    "application/x-epub+zip": "application/epub+zip", "application/eml": MAIL, "application/mbox": MAIL,
    "application/x-mimearchive": MAIL, "multipart/related": MAIL, "application/x-msg": "application/vnd.ms-outlook",
    "application/ipynb": NOTEBOOK, "application/rtf": RICH_TEXT,
    "image/x-ms-bmp": "image/bmp", "image/x-bmp": "image/bmp", "image/vnd.microsoft.icon": "image/x-icon",
    "application/x-sqlite3": "application/vnd.sqlite3", "image/x-dwg": "image/vnd.dwg",
}  # fmt: skip
#: What browsers claim by a table of endings in which a template of Office has the name of another program's text.
_OLD_OFFICE = {"application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint"}
#: Endings under which to save documents that may hold macros, by their type.
_SAFE_ENDINGS = {
    "application/msword": ".docx", "application/vnd.ms-word.document.macroenabled.12": ".docx",
    "application/vnd.ms-excel": ".xlsx", "application/vnd.ms-excel.sheet.macroenabled.12": ".xlsx",
    "application/vnd.ms-powerpoint": ".pptx",
    "application/vnd.ms-powerpoint.presentation.macroenabled.12": ".pptx",
    "application/vnd.ms-excel.sheet.binary.macroenabled.12": ".xlsx",
    f"{RICH_TEXT}{MACRO_SUFFIX}": ".docx", f"{MAIL}{MACRO_SUFFIX}": ".docx",
}  # fmt: skip
#: Claims that are true as well: a notebook is JSON, and Windows calls rich text by the name of its program.
_OTHER_CLAIMS = {(NOTEBOOK, "application/json"), (RICH_TEXT, "application/msword")}
#: Types that clients declare that do not know.
_NO_CLAIM = {"", UNKNOWN_TYPE, "binary/octet-stream", "application/unknown", "*/*"}


def examine_file(file: Attachment, *, max_bytes: int, allowed: Sequence[str]) -> Attachment:
    """Examine a file; returns it with the type that its bytes have. One without bytes is stored already.

    What attaches that one checks that it is stored. Raises `FileRejected`, as `examine`.
    """
    if file.content is None:
        return file
    media_type = examine(file.filename, file.content, file.media_type, max_bytes=max_bytes, allowed=allowed)
    return replace(file, media_type=media_type)


def examine(filename: str, content: bytes, declared: str | None, *, max_bytes: int, allowed: Sequence[str]) -> str:
    """Tell the media type of the bytes. `allowed` holds types and patterns like `image/*`.

    Raises `FileRejected` for a file that is empty, too large, of no accepted type, other than it is called, broken off,
    a bomb, or two things at once. JSON above `JSON_BUILT_MAX_CHARS` is believed by its first and last character.
    """
    return examine_sample(filename, Sample.from_content(content), declared, max_bytes=max_bytes, allowed=allowed)


def examine_sample(
    filename: str, sample: Sample, declared: str | None, *, max_bytes: int, allowed: Sequence[str]
) -> str:
    """As `examine`, of a file by its two ends.

    JSON is believed by its first character, and text by its two ends: a parser has to expect that the rest is none.
    """
    name = repr(filename)
    if not sample.size:
        raise FileRejected(f"{name} is empty; send a file with content")
    if sample.size > max_bytes:
        raise FileRejected(
            f"{name} has {sample.size} bytes, at most {max_bytes} are accepted; "
            "send a smaller file, or raise THREADMILL_ATTACHMENT_MAX_BYTES"
        )
    ending = _BY_ENDING.get(PurePosixPath(filename.lower()).suffix)
    claim = _claim(declared, ending)
    try:
        media_type = _recognise_type(filename, sample, claim, ending)
    except UnreadableParts as reason:
        raise FileRejected(f"{name} {reason}") from None
    _check_single(name, sample, media_type)
    for each_claim in _claims(claim, ending, media_type):
        _check_claim(name, each_claim, media_type, sample)
    check_allowed(name, media_type, allowed)
    _check_pixels(name, sample, media_type)
    return media_type


def is_searched_whole(head: bytes) -> bool:
    """Whether a file that begins like this has to be at hand as a whole, since macros may stand anywhere in it."""
    return head.startswith((b"PK", b"\xd0\xcf\x11\xe0")) or text_macros.is_searched(head)


def _claim(declared: str | None, ending: str | None) -> str | None:
    name = (declared or "").partition(";")[0].strip().lower()
    if name in _NO_CLAIM:
        return None
    if name == "application/vnd.ms-excel" and ending in ("text/csv", "text/tab-separated-values", "text/plain"):
        return ending  # what browsers on Windows say of a table
    if name in _OLD_OFFICE and ending is None:
        return None  # such as .pot of gettext and .dot of Graphviz; an old document shows what it is
    claim = _ALIASES.get(name, name)
    return ending if claim == ZIP and ending in DOCUMENTS else claim  # such as of a system without Office


def _claims(claim: str | None, ending: str | None, media_type: str) -> Sequence[str]:
    """The types that a file is said to have: by its declaration, and by its name where that says nothing of text."""
    name_claim = _name_claim(ending, media_type)
    if claim is None or (media_type in INERT_TYPES and not is_textual(claim)):
        return [each for each in (claim, name_claim) if each is not None]
    return [claim]


def _name_claim(ending: str | None, media_type: str) -> str | None:
    """The type that the name alone claims. A name is a weaker claim than a declaration.

    A photo called .jpg that is a PNG is as good an image; JSON with comments in it is still text.
    """
    same_kind = (
        ending and ending in KNOWN_TYPES and media_type in KNOWN_TYPES and ending[:6] == media_type[:6] == "image/"
    )
    both_text = is_textual(ending) and media_type in INERT_TYPES | STRUCTURED_TEXTS
    return None if same_kind or both_text else ending


def _recognise_type(filename: str, sample: Sample, claim: str | None, ending: str | None) -> str:
    hint = claim or ending or mimetypes.guess_type(filename)[0]
    media_type = structured_type(sample) or known_type(sample)
    if media_type in STRUCTURED_TEXTS:
        return _name_macros(sample, media_type)
    if media_type and media_type != "image/gif":
        return media_type
    text, encoding = decode(sample) or (None, None)
    if media_type and text is None:  # a script can open with GIF89a
        return media_type
    if encoding is None or (encoding.is_guess and not is_textual(hint)):
        signed_type = (
            runnable_type(sample.head)
            or ole_type(sample)
            or _archive_type(filename, sample)
            or disk_type(sample)
            or plain_type(sample.head)
        )  # fmt: skip
        if signed_type:
            return signed_type
    if text is not None:
        claims = (claim if claim != "text/plain" else None, ending)
        return _name_macros(sample, text_type(text, claims, is_whole=sample.is_whole))
    _check_encoding(filename, sample, claim or ending)
    guess = guessed_type(sample.head, hint)
    return _ALIASES.get(guess, guess)


def _name_macros(sample: Sample, media_type: str) -> str:
    """The type of a text, which is another one where the text has macros."""
    return f"{media_type}{MACRO_SUFFIX}" if text_macros.has_macros(sample, media_type) else media_type


def _check_encoding(filename: str, sample: Sample, claim: str | None) -> None:
    """Raise `FileRejected` for bytes that look like text of no encoding that is known."""
    is_text_like = has_text(sample.head[:HEAD_BYTES].decode("latin-1")) and b"\x00" not in sample.tail
    if is_text_like and (claim is None or may_name_text(claim)):
        raise FileRejected(f"{filename!r} may be text, but its encoding could not be told; save it as UTF-8")


def _archive_type(filename: str, sample: Sample) -> str | None:
    """The type of a ZIP archive; None for others. Raises `FileRejected` where a reader could not hold it."""
    contents = contents_of(sample)
    if contents is None:
        # It begins as one, and its table of contents is missing.
        return UNKNOWN_TYPE if sample.head.startswith(b"PK\x03\x04") else None
    media_type = container_type(sample, contents)
    if is_too_large_unpacked(media_type, contents):
        raise FileRejected(f"{filename!r} unpacks to {contents.unpacked} bytes; send it with less in it, or as text")
    return media_type


def _check_pixels(name: str, sample: Sample, media_type: str) -> None:
    if media_type not in IMAGE_TYPES:
        return
    size = pixel_size(sample.head, media_type)
    if size is None:
        raise FileRejected(
            f"{name} is {media_type}, but its header does not say how many pixels it has; "
            "save it again from a program that shows it"
        )
    if size[0] * size[1] > IMAGE_PIXELS_MAX:
        raise FileRejected(
            f"{name} has {size[0]} x {size[1]} pixels, at most {IMAGE_PIXELS_MAX} are accepted; scale it down"
        )


def _check_single(name: str, sample: Sample, media_type: str) -> None:
    other = polyglot_kind(sample, media_type)
    if other:
        raise FileRejected(
            f"{name} is {media_type}, but opens as {other} too; save it again from a program that shows it"
        )


def _check_claim(name: str, claim: str, media_type: str, sample: Sample) -> None:
    if _agrees(claim, media_type):
        return
    if claim == "application/json" and media_type == "text/plain":
        decoded = decode(sample)
        if decoded is not None and sample.is_whole and resembles_json(decoded[0]):
            return
    if media_type == UNKNOWN_TYPE:
        raise FileRejected(f"{name} is called {claim}, {_describe_unknown(claim)}")
    raise FileRejected(
        f"{name} is called {claim}, but its bytes are {media_type}; give it the name and type of what it is"
    )


def _describe_unknown(claim: str) -> str:
    """Describe bytes of no known type that are called `claim`: damaged only where they would be known undamaged."""
    if is_textual(claim):
        return (
            "but its bytes are not: they hold zeros or commands, as no text does; "
            "give it the name and type of what it is, or save it as UTF-8"
        )
    if claim in BINARY_TYPES or claim in DOCUMENTS:
        return "but its bytes are not; send the whole, undamaged file"
    return "and its bytes are of no type that is known here; send it in another format"


def _agrees(claim: str, media_type: str) -> bool:
    media_type = media_type.removesuffix(MACRO_SUFFIX)
    if (
        claim == media_type
        or (media_type, claim) in _OTHER_CLAIMS
        or claim.startswith(OFFICE_CLAIMS.get(media_type, ()))
    ):
        return True
    if media_type in INERT_TYPES | STRUCTURED_TEXTS:
        # JSON is a promise to its parser; other texts are read as text anyway.
        return may_name_text(claim) and claim != "application/json"
    if media_type == ZIP:
        return _may_name_zip(claim)
    if media_type == "text/html":
        # What begins as a page may be a program that writes one.
        return may_name_text(claim) and claim.startswith(("text/x-", "application/x-"))
    family = claim.partition("/")[0]
    # Sound and film have many names for one format, and none of them runs.
    return family in ("audio", "video") and media_type.startswith(("audio/", "video/"))


def _may_name_zip(claim: str) -> bool:
    """Whether a claim may be of a format that is made of a ZIP archive, such as those of Apple's programs."""
    has_own_type = claim in BINARY_TYPES or claim in DOCUMENTS or is_textual(claim)
    return not has_own_type and not claim.startswith(("image/", "audio/", "video/", "font/"))


def check_allowed(name: str, media_type: str, allowed: Sequence[str]) -> None:
    """Check that a file of this type is accepted. Raises `FileRejected`."""
    if any(_matches(pattern.strip().lower(), media_type) for pattern in allowed):
        return
    if media_type in _SAFE_ENDINGS or media_type.endswith(MACRO_SUFFIX):
        form = f"save it as {_SAFE_ENDINGS[media_type]}" if media_type in _SAFE_ENDINGS else "save it without them"
        raise FileRejected(f"{name} is {media_type}, which may hold macros; {form} and send that")
    is_picture = media_type.startswith("image/") and not is_runnable(media_type)
    if is_picture and any(_matches(pattern, "image/jpeg") for pattern in allowed):
        raise FileRejected(
            f"{name} is {media_type}, which is not accepted; save it as .jpg or .png and send that, "
            "or add its type to THREADMILL_ATTACHMENT_TYPES"
        )
    raise FileRejected(
        f"{name} is {media_type}, which is not accepted; "
        f"send one of {', '.join(allowed) or 'no files at all'}, "
        "or add its type to THREADMILL_ATTACHMENT_TYPES"
    )


def _matches(pattern: str, media_type: str) -> bool:
    if pattern == media_type:
        return True
    if is_runnable(media_type):
        return False  # what runs has to be named
    return pattern in ("*", "*/*") or (pattern.endswith(("/*", ".*")) and media_type.startswith(pattern[:-1]))
