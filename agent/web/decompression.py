"""Bodies as they are sent, unpacked piece by piece.

What stays true: no call gives more than it is asked for, so a small body that unpacks to gigabytes
costs no more than its limit.
"""

import zlib
from typing import Protocol

#: Told to servers: what they may pack with.
ACCEPTED = "gzip"
#: Both of the forms, gzip and zlib, that servers send: zlib tells them apart by their heads.
_EITHER_FORM = zlib.MAX_WBITS | 32


class Damaged(ValueError):
    """The body is not what its encoding says, or ends too early."""


class Unpacker(Protocol):
    """Takes a body apart."""

    def feed(self, piece: bytes, *, at_most: int) -> bytes:
        """What a piece unpacks to, as far as it fits. Raises `Damaged`."""
        ...

    def close(self) -> None:
        """The body is over. Raises `Damaged` if it cannot be."""
        ...


def unpacker(encoding: str) -> Unpacker | None:
    """For a `Content-Encoding`; None for one that is not known."""
    match encoding.strip().lower():
        case "" | "identity":
            return _AsItIs()
        case "gzip" | "x-gzip" | "deflate":
            return _Inflate()
    return None


class _AsItIs:
    def feed(self, piece: bytes, *, at_most: int) -> bytes:
        return piece[:at_most]

    def close(self) -> None:
        pass


class _Inflate:
    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_EITHER_FORM)
        self._fed = False

    def feed(self, piece: bytes, *, at_most: int) -> bytes:
        unpacked = bytearray()
        self._fed = self._fed or bool(piece)
        try:
            while piece and len(unpacked) < at_most:
                if self._stream.eof:  # gzip may hold several members, one after the other
                    self._stream = zlib.decompressobj(_EITHER_FORM)
                unpacked += self._stream.decompress(piece, at_most - len(unpacked))
                piece = self._stream.unused_data
        except zlib.error:
            raise Damaged from None
        return bytes(unpacked)

    def close(self) -> None:
        if self._fed and not self._stream.eof:
            raise Damaged
