"""The size of a picture in pixels: read off its header, without decoding anything.

What stays true: what a header says costs little to read, however large it is, and no library reads
it; where a reader could find another size further on, the largest counts.
"""

import re
import struct

#: A JPEG has a few dozen before its pixels; one with a large colour profile or a preview, some hundred.
JPEG_SEGMENTS_MAX = 10_000
#: Bytes within which the first frame of a GIF has to begin: comments and the like before it are small.
GIF_FRAME_WITHIN_BYTES = 1024 * 1024

#: The next marker, found as readers do: past fill bytes and what does not belong there.
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff])")
#: Markers that no length follows: TEM, RST0 to RST7, and the image's begin and end.
_JPEG_BARE = {0x01, *range(0xD0, 0xDA)}
#: Start of frame: all of this row but tables of Huffman, of arithmetic coding, and one that is reserved.
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_JPEG_SCAN = 0xDA


def pixel_size(head: bytes, media_type: str) -> tuple[int, int] | None:
    """Width and height by the header of a PNG, JPEG, GIF or WebP; None where it says none."""
    reader = {"image/png": _png_size, "image/jpeg": _jpeg_size, "image/gif": _gif_size, "image/webp": _webp_size}[
        media_type
    ]
    try:
        width, height = reader(head)
    except (struct.error, IndexError, ValueError):  # it is broken off, or says nothing
        return None
    return (width, height) if width and height else None


def _png_size(head: bytes) -> tuple[int, int]:
    """The size in IHDR, which has a fixed offset: checksums and other chunks are none of our business."""
    width, height = struct.unpack_from(">II", head, 16)
    return width, height


def _jpeg_size(head: bytes) -> tuple[int, int]:
    sizes: list[tuple[int, int]] = []
    at = 0
    for _ in range(JPEG_SEGMENTS_MAX):
        marker = _JPEG_MARKER.search(head, at)
        if marker is None or marker[1][0] == _JPEG_SCAN:
            return max(sizes, key=lambda size: size[0] * size[1])
        at = marker.end()
        if marker[1][0] in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", head, at + 3)
            sizes.append((width, height))
        if marker[1][0] not in _JPEG_BARE:
            at += int(struct.unpack_from(">H", head, at)[0])
    raise ValueError("there is no end of segments")


def _gif_size(head: bytes) -> tuple[int, int]:
    """The size of the screen, extended to the first frame: readers make space for a larger one."""
    head = head[:GIF_FRAME_WITHIN_BYTES]
    width, height, flags = struct.unpack_from("<HHB", head, 6)
    at = 13 + (3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0)
    while head[at] != ord(","):
        at = _gif_block_end(head, at)
    left, top, frame_width, frame_height = struct.unpack_from("<HHHH", head, at + 1)
    return max(width, left + frame_width), max(height, top + frame_height)


def _gif_block_end(head: bytes, at: int) -> int:
    """The end of the extension that begins at `at`. Raises `ValueError` or `IndexError` where none does."""
    if head[at] != ord("!"):
        raise ValueError("there is neither a frame nor an extension")
    at += 2
    while head[at]:
        at += 1 + head[at]
    return at + 1


def _webp_size(head: bytes) -> tuple[int, int]:
    match head[12:16]:
        case b"VP8X":
            canvas = struct.unpack_from("<HBHB", head, 24)
            return 1 + canvas[0] + (canvas[1] << 16), 1 + canvas[2] + (canvas[3] << 16)
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", head, 21)
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", head, 26)
    return width & 0x3FFF, height & 0x3FFF
