"""ClamAV, over the socket protocol of its daemon: `INSTREAM`, as clamd(8) describes it.

What stays true: one connection a file, for a bounded time; whatever is neither `OK` nor `FOUND` nor a
refusal of the file's size is no verdict.
"""

import errno
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

from conversation.errors import ScannerUnavailable
from store.antivirus.protocol import Verdict

#: Bytes of one piece: clamd takes any size below its StreamMaxLength.
PIECE_BYTES = 64 * 1024
#: The longest answer that is read: it is one short line.
ANSWER_BYTES = 4096
#: The answer of clamd to a file above its StreamMaxLength, the same each time.
TOO_LARGE = "INSTREAM size limit exceeded. ERROR"

Address = tuple[str, int] | str


class ClamAV:
    """A clamd at a host and port, or behind a Unix socket."""

    def __init__(self, address: Address, *, timeout_seconds: float) -> None:
        """The timeout is that of a whole scan, with the time in which the file is read."""
        self._address = address
        self._timeout_seconds = timeout_seconds

    def scan(self, chunks: Iterable[bytes]) -> Verdict:
        ends_at = time.monotonic() + self._timeout_seconds
        try:
            with self._connect(ends_at) as connection:
                _send(connection, b"zINSTREAM\0", ends_at)
                # clamd hangs up in mid-stream on a file that is too large, and says so first.
                with suppress(ConnectionError):
                    for piece in _split(chunks):
                        _send(connection, struct.pack("!L", len(piece)) + piece, ends_at)
                    _send(connection, struct.pack("!L", 0), ends_at)
                answer = _receive_answer(connection, ends_at)
        except OSError as error:
            raise self._unavailable_error(error.strerror or type(error).__name__) from None
        return self._parse_verdict(answer)

    def _connect(self, ends_at: float) -> socket.socket:
        if isinstance(self._address, tuple):
            return socket.create_connection(self._address, timeout=_remaining_seconds(ends_at))
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(_remaining_seconds(ends_at))
        try:
            connection.connect(self._address)
        except OSError:
            connection.close()
            raise
        return connection

    def _parse_verdict(self, answer: str) -> Verdict:
        text = answer.removeprefix("stream: ")
        if text == "OK":
            return Verdict()
        if text.endswith(" FOUND"):
            return Verdict(finding=text.removesuffix(" FOUND"))
        if text == TOO_LARGE:
            return Verdict(refusal="it is larger than the StreamMaxLength of clamd")
        raise self._unavailable_error(text or "it hung up")

    def _unavailable_error(self, reason: str) -> ScannerUnavailable:
        return ScannerUnavailable(
            f"the scanner at {self._address} gave no verdict: {reason}; "
            "check THREADMILL_SCANNER_URL, THREADMILL_SCANNER_TIMEOUT_SECONDS, and that clamd runs"
        )


def _split(chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        for start in range(0, len(chunk), PIECE_BYTES):
            yield chunk[start : start + PIECE_BYTES]


def _send(connection: socket.socket, content: bytes, ends_at: float) -> None:
    connection.settimeout(_remaining_seconds(ends_at))
    connection.sendall(content)


def _receive_answer(connection: socket.socket, ends_at: float) -> str:
    answer = b""
    while b"\0" not in answer and len(answer) < ANSWER_BYTES:
        connection.settimeout(_remaining_seconds(ends_at))
        received = connection.recv(ANSWER_BYTES)
        if not received:
            break
        answer += received
    return answer.partition(b"\0")[0].decode("utf-8", "replace").strip()


def _remaining_seconds(ends_at: float) -> float:
    """Seconds until `ends_at`. Raises `TimeoutError` when there are none."""
    seconds = ends_at - time.monotonic()
    if seconds <= 0:
        raise TimeoutError(errno.ETIMEDOUT, "it took too long")
    return seconds
