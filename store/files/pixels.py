"""How many pixels a picture says it has: read off its header, without decoding anything.

What stays true: what a header says costs nothing to read, however large it is; a header that
cannot be read is no error here.
"""

import struct
from io import BytesIO


def pixel_size(head: bytes, media_type: str) -> tuple[int, int] | None:
    """Width and height by the header of a PNG, JPEG, GIF or WebP; None where it cannot be read."""
    try:
        return _webp(head) if media_type == "image/webp" else _by_library(head, media_type)
    except Exception:  # noqa: BLE001 - a damaged header raises anything, from deep inside its parser
        return None


def _by_library(head: bytes, media_type: str) -> tuple[int, int]:
    # Named one by one: the library's own `open` warns of large ones, and tries formats we do not take.
    from PIL import GifImagePlugin, ImageFile, JpegImagePlugin, PngImagePlugin

    readers: dict[str, type[ImageFile.ImageFile]] = {
        "image/png": PngImagePlugin.PngImageFile,
        "image/jpeg": JpegImagePlugin.JpegImageFile,
        "image/gif": GifImagePlugin.GifImageFile,
    }
    return readers[media_type](BytesIO(head)).size


def _webp(head: bytes) -> tuple[int, int]:
    """The library would set up a decoder with room for all pixels."""
    match head[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", head, 21)
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", head, 26)
    return width & 0x3FFF, height & 0x3FFF
