"""What bytes are by their signature, and what else they could be taken for.

What stays true: a signature counts only when it is complete and stands at the very beginning; a
type that this module knows is never guessed by the library behind it, which asks for less.
"""

import re
import struct

IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
#: Types that are recognised here, strictly, and nowhere else.
KNOWN = IMAGES | {"application/pdf"}
#: What an operating system or a browser would run. A wildcard among the accepted types never means these.
RUNNABLE = {
    "application/vnd.microsoft.portable-executable": (b"MZ",),
    "application/x-executable": (b"\x7fELF",),
    "application/x-mach-binary": (
        b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe",
    ),
    "application/java-vm": (b"\xca\xfe\xba\xbe",),
    "application/wasm": (b"\x00asm",),
    "image/svg+xml": (),
}  # fmt: skip

#: Where viewers of PDF look for its header, and browsers for markup: further in than they should.
LENIENT_READ_BYTES = 1024
#: The furthest that the end record of a ZIP archive can be from the end of the file.
ZIP_END_BYTES = 22 + 0xFFFF

_MARKUP = re.compile(rb"<\s*(?:!doctype|html|head|body|script|iframe|svg|\?php)|<\?php", re.IGNORECASE)
_PDF = re.compile(rb"%PDF-\d\.\d")


def known_type(content: bytes) -> str | None:
    """The accepted binary type whose complete signature opens these bytes; None where none does."""
    if content.startswith(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"):
        return "image/png"
    if len(content) > 3 and content.startswith(b"\xff\xd8\xff") and content[3] >= 0xC0:
        return "image/jpeg"
    if content.startswith((b"GIF87a", b"GIF89a")) and len(content) > 13:
        return "image/gif"
    if _is_webp(content):
        return "image/webp"
    return "application/pdf" if _PDF.match(content) else None


def runnable_type(content: bytes) -> str | None:
    """The kind of program that these bytes are; None where they are none."""
    return next((name for name, magic in RUNNABLE.items() if magic and content.startswith(magic)), None)


def second_nature(content: bytes, media_type: str) -> str | None:
    """What another program could take this image or PDF for, in words; None where it is only itself."""
    if media_type not in KNOWN:
        return None
    is_image = media_type in IMAGES
    head = content[:LENIENT_READ_BYTES]
    if is_image and b"%PDF-" in head:
        return "a PDF"
    if is_image and _MARKUP.search(head):
        return "a web page"
    return "a ZIP archive" if _ends_as_zip(content, anything_after=is_image) else None


def guessed_type(content: bytes, hint: str | None) -> str:
    """The library's guess for types beyond the known ones; `application/octet-stream` without one.

    The file's name is not passed on: newer versions open the local file of that name.
    """
    import puremagic

    try:
        names = [match.mime_type for match in puremagic.magic_string(content)]
    except puremagic.PureError:
        return "application/octet-stream"
    # What is known is recognised strictly, and text is no binary type.
    names = [name for name in names if name and name not in KNOWN and not name.startswith("text/")]
    if hint in names:
        return str(hint)
    return str(names[0]) if names else "application/octet-stream"


def _is_webp(content: bytes) -> bool:
    if len(content) < 20 or content[:4] != b"RIFF" or content[8:12] != b"WEBP":
        return False
    (declared,) = struct.unpack_from("<I", content, 4)
    # Chunks are padded to even lengths; some writers leave out the last pad byte.
    return content[12:16] in (b"VP8 ", b"VP8L", b"VP8X") and declared + 8 in (len(content), len(content) + 1)


def _ends_as_zip(content: bytes, *, anything_after: bool) -> bool:
    """Whether an archiver finds an archive at the end.

    A PDF may well carry one whole inside; there it counts only when it reaches to the file's end.
    """
    start = max(0, len(content) - ZIP_END_BYTES)
    at = content.rfind(b"PK\x05\x06", start)
    while at >= 0:
        record = content[at : at + 22]
        if len(record) == 22:
            directory_size, comment_length = struct.unpack_from("<I4xH", record, 12)
            directory = at - directory_size
            listed = directory >= 0 and content[directory : directory + 4] == b"PK\x01\x02"
            if listed and (anything_after or at + 22 + comment_length == len(content)):
                return True
        at = content.rfind(b"PK\x05\x06", start, at)
    return False
