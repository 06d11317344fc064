"""The type of bytes by their signature, and any other that they could be taken for.

What stays true: a signature counts only when it is complete and stands where it belongs; a type
that this module knows is never guessed by the library behind it, which asks for less.
"""

import re
import struct

from conversation.media_types import IMAGE_TYPES, MACRO_SUFFIX, UNKNOWN_TYPE
from store.media_types.sample import Sample
from store.media_types.structured import OUTLOOK, is_outlook_file

#: Types that are recognised here, strictly, and nowhere else.
KNOWN_TYPES = frozenset((*IMAGE_TYPES, "application/pdf"))
#: Types that an operating system, a browser or an office program would run, and that no accepted wildcard
#: means: SVG holds scripts, and files of old Office programs hold macros as a matter of course.
RUNNABLE_TYPES = {
    "application/vnd.microsoft.portable-executable": (b"MZ",),
    "application/x-executable": (b"\x7fELF",),
    "application/x-mach-binary": (
        b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe",
    ),
    "application/java-vm": (b"\xca\xfe\xba\xbe",),
    "application/wasm": (b"\x00asm",),
    "image/svg+xml": (),
    "application/java-archive": (),
    "application/x-ms-shortcut": (b"L\0\0\0\x01\x14\x02\0",),
    "application/vnd.ms-cab-compressed": (b"MSCF\0\0\0\0", b"ISc("),
    "application/vnd.ms-htmlhelp": (b"ITSF",),
    "application/vnd.debian.binary-package": (b"!<arch>\ndebian",),
    "application/x-rpm": (b"\xed\xab\xee\xdb",),
    "application/x-shockwave-flash": (b"FWS", b"CWS", b"ZWS"),
    "application/x-chrome-extension": (b"Cr24",),
    "application/x-dex": (b"dex\n",),
    "application/x-virtual-disk": (b"conectix", b"vhdxfile", b"KDMV", b"QFI\xfb"),
    "application/msword": (b"\xdb\xa5-\0",),
    # Books and macro sheets before there was OLE.
    "application/vnd.ms-excel": (b"\t\0\4\0", b"\t\2\6\0", b"\t\4\6\0", b"\t\x08"),
    "application/vnd.ms-powerpoint": (),
    "application/x-ole-storage": (),
    "application/x-msaccess": (b"\0\1\0\0Standard Jet DB", b"\0\1\0\0Standard ACE DB"),
    "application/onenote": (b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d",),
    "application/winhlp": (b"?_\3\0",),
    "application/vnd.ms-word.document.macroenabled.12": (),
    "application/vnd.ms-excel.sheet.macroenabled.12": (),
    "application/vnd.ms-powerpoint.presentation.macroenabled.12": (),
    "application/vnd.ms-excel.sheet.binary.macroenabled.12": (),
}  # fmt: skip
#: Disks that an operating system mounts: the offset of the signature, from the end if it is negative.
_DISK_SIGNATURES = ((0x8001, b"CD001"), (0x8801, b"CD001"), (0x9001, b"CD001"), (-512, b"conectix"), (-512, b"koly"))

#: Bytes in which viewers of PDF search for its header, and browsers for markup: more than they should.
LENIENT_READ_BYTES = 1024
#: The furthest that the end record of a ZIP archive can be from the end of the file.
ZIP_END_BYTES = 22 + 0xFFFF

_MARKUP = re.compile(rb"<\s*(?:!doctype|html|head|body|script|iframe|svg|\?php)|<\?php", re.IGNORECASE)
_PDF = re.compile(rb"%PDF-\d\.\d")
#: Archives, sound and film: the offset of the signature, the signature, and the type.
_PLAIN_SIGNATURES = (
    (0, b"\x1f\x8b\x08", "application/gzip"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"\xfd7zXZ\x00", "application/x-xz"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (4, b"1AY&SY", "application/x-bzip2"),
    (257, b"ustar", "application/x-tar"),
    (8, b"WAVE", "audio/wav"),
    (8, b"AVI ", "video/x-msvideo"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"\xff\xf3", "audio/mpeg"),
    (0, b"\xff\xf2", "audio/mpeg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"#!AMR", "audio/amr"),
    (0, b"OggS\x00", "audio/ogg"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
    (4, b"ftypM4A ", "audio/mp4"),
    (4, b"ftypqt  ", "video/quicktime"),
    (4, b"ftypheic", "image/heic"),
    (4, b"ftypmif1", "image/heif"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftyp", "video/mp4"),
)
#: Types of which each file is binary, so that no text is called one of them in good faith.
BINARY_TYPES = KNOWN_TYPES | RUNNABLE_TYPES.keys() | {name for _, _, name in _PLAIN_SIGNATURES} | {
    "application/zip", "application/epub+zip", "application/x-rar", "application/x-msdownload",
}  # fmt: skip
#: Types of text that an operating system runs when it is opened; as text that does nothing, it is called text.
LAUNCHED_TYPES = frozenset({
    "application/hta", "application/x-msdos-program", "application/x-dosexec", "application/x-bat", "application/bat",
    "application/x-msdos-batch", "application/x-desktop", "application/x-mswinurl", "application/internet-shortcut",
    "application/x-url", "application/x-vbs", "application/x-vbscript", "application/x-powershell", "application/x-wsf",
    "application/x-ms-regedit", "application/x-java-jnlp-file", "application/x-ms-shortcut", "application/x-msi",
})  # fmt: skip
#: Bytes that must open a file whose signature is further in, by type.
_PREFIXES = {"audio/wav": b"RIFF", "video/x-msvideo": b"RIFF", "application/x-bzip2": b"BZh"}
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
#: The stream that makes an OLE file what it is, by its name in the file's directory.
_OLE_STREAMS = {
    "WordDocument": "application/msword",
    "Workbook": "application/vnd.ms-excel",
    "Book": "application/vnd.ms-excel",
    "PowerPoint Document": "application/vnd.ms-powerpoint",
}


def known_type(sample: Sample) -> str | None:
    """The image or PDF whose complete signature opens these bytes; None where none does."""
    content = sample.head
    if content.startswith(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"):
        return "image/png"
    if len(content) > 3 and content.startswith(b"\xff\xd8\xff") and content[3] >= 0xC0:
        return "image/jpeg"
    if content.startswith((b"GIF87a", b"GIF89a")) and len(content) > 13:
        return "image/gif"
    if _is_webp(sample):
        return "image/webp"
    return "application/pdf" if _PDF.match(content) else None


def runnable_type(content: bytes) -> str | None:
    """The kind of program that these bytes are; None where they are none."""
    return next((name for name, magic in RUNNABLE_TYPES.items() if magic and content.startswith(magic)), None)


def is_runnable(media_type: str) -> bool:
    """Whether files of this type are accepted by its own name alone."""
    return media_type in RUNNABLE_TYPES or media_type.endswith(MACRO_SUFFIX)


def disk_type(sample: Sample) -> str | None:
    """The type of the image of a disk, which may begin as anything; None for other bytes."""
    is_disk = any(
        sample.head.startswith(magic, at) if at >= 0 else sample.tail[at:].startswith(magic)
        for at, magic in _DISK_SIGNATURES
    )
    return "application/x-virtual-disk" if is_disk else None


def ole_type(sample: Sample) -> str | None:
    """The type of a file of an old Office program, or of another OLE file; None where it is none."""
    if not sample.head.startswith(_OLE):
        return None
    if is_outlook_file(sample, tuple(_OLE_STREAMS)):
        return OUTLOOK
    ends = (sample.head.lower(), sample.tail.lower())
    for stream, media_type in _OLE_STREAMS.items():
        name = f"{stream.lower()}\0".encode("utf-16-le")
        if any(name in end for end in ends):
            return media_type
    return "application/x-ole-storage"


def plain_type(content: bytes) -> str | None:
    """The archive, sound or film that these bytes are; None where they are none that is known."""
    for at, magic, name in _PLAIN_SIGNATURES:
        if content.startswith(magic, at) and content.startswith(_PREFIXES.get(name, b"")):
            return name
    return None


def polyglot_kind(sample: Sample, media_type: str) -> str | None:
    """The other kind of file that an image or PDF could be taken for, in words; None where there is none."""
    if media_type not in KNOWN_TYPES:
        return None
    is_image = media_type in IMAGE_TYPES
    head = sample.head[:LENIENT_READ_BYTES]
    if is_image and b"%PDF-" in head:
        return "a PDF"
    if is_image and _MARKUP.search(head):
        return "a web page"
    return "a ZIP archive" if _ends_as_zip(sample, anything_after=is_image) else None


def guessed_type(content: bytes, hint: str | None) -> str:
    """The library's guess for types beyond the known ones; `UNKNOWN_TYPE` without one.

    The file's name is not passed on: newer versions open the local file of that name.
    """
    import puremagic

    try:
        names = [match.mime_type for match in puremagic.magic_string(content)]
    except puremagic.PureError:
        return UNKNOWN_TYPE
    # What is known is recognised strictly, and text is no binary type.
    names = [
        name
        for name in names
        if name and name not in KNOWN_TYPES and name not in RUNNABLE_TYPES and not name.startswith("text/")
    ]
    if hint in names:
        return str(hint)
    return str(names[0]) if names else UNKNOWN_TYPE


def _is_webp(sample: Sample) -> bool:
    content = sample.head
    if len(content) < 20 or content[:4] != b"RIFF" or content[8:12] != b"WEBP":
        return False
    (declared,) = struct.unpack_from("<I", content, 4)
    # Chunks are padded to even lengths; some writers leave out the last pad byte.
    return content[12:16] in (b"VP8 ", b"VP8L", b"VP8X") and declared + 8 in (sample.size, sample.size + 1)


def _ends_as_zip(sample: Sample, *, anything_after: bool) -> bool:
    """Whether an archiver finds an archive at the end.

    A PDF may well carry one whole inside; there it counts only when it reaches to the file's end.
    """
    content = sample.tail
    start = max(0, len(content) - ZIP_END_BYTES)
    at = content.rfind(b"PK\x05\x06", start)
    while at >= 0:
        record = content[at : at + 22]
        if len(record) == 22:
            directory_size, comment_length = struct.unpack_from("<I4xH", record, 12)
            directory = at - directory_size
            # Of a large file, the directory may begin before what was read.
            has_directory = directory < 0 < sample.tail_at or content[directory : directory + 4] == b"PK\x01\x02"
            if (has_directory and directory_size) and (anything_after or at + 22 + comment_length == len(content)):
                return True
        at = content.rfind(b"PK\x05\x06", start, at)
    return False
