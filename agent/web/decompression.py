"""Decompression of bodies, chunk by chunk.

What stays true: no call gives more than it is asked for, so a small body that decompresses to gigabytes
costs no more than its limit.
"""

import zlib
from typing import Protocol

#: Sent to servers: the encoding that they may use.
ACCEPTED_ENCODING = "gzip"
#: Both of the forms, gzip and zlib, that servers send: zlib tells them apart by their heads.
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32


class DamagedBody(ValueError):
    """The body is not what its encoding says, or ends too early."""


class Decompressor(Protocol):
    """The decompressor of one body."""

    def feed(self, chunk: bytes, *, max_bytes: int) -> bytes:
        """Decompress a chunk, to `max_bytes` at most. Raises `DamagedBody`."""
        ...

    def close(self) -> None:
        """End the body. Raises `DamagedBody` if it is incomplete."""
        ...


def decompressor_for(encoding: str) -> Decompressor | None:
    """The decompressor for a `Content-Encoding`; None for one that is not known."""
    match encoding.strip().lower():
        case "" | "identity":
            return _Identity()
        case "gzip" | "x-gzip" | "deflate":
            return _Inflate()
    return None


class _Identity:
    def feed(self, chunk: bytes, *, max_bytes: int) -> bytes:
        return chunk[:max_bytes]

    def close(self) -> None:
        pass


class _Inflate:
    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._has_input = False

    def feed(self, chunk: bytes, *, max_bytes: int) -> bytes:
        output = bytearray()
        self._has_input = self._has_input or bool(chunk)
        try:
            while chunk and len(output) < max_bytes:
                if self._stream.eof:  # gzip may hold several members, one after the other
                    self._stream = zlib.decompressobj(_GZIP_OR_ZLIB)
                output += self._stream.decompress(chunk, max_bytes - len(output))
                chunk = self._stream.unused_data
        except zlib.error:
            raise DamagedBody from None
        return bytes(output)

    def close(self) -> None:
        if self._has_input and not self._stream.eof:
            raise DamagedBody
