"""ClamAV, over the socket protocol of its daemon: `INSTREAM`, as clamd(8) describes it.

What stays true: one connection a file; whatever is neither `OK` nor `FOUND` is no verdict.
"""

import socket
import struct
from collections.abc import Iterable
from contextlib import suppress

from conversation.errors import ScannerUnavailable
from store.scanning.scanner import Verdict

#: Bytes of one piece: clamd takes any size below its StreamMaxLength.
PIECE_BYTES = 64 * 1024
#: The longest answer that is read: it is one short line.
ANSWER_BYTES = 4096

Address = tuple[str, int] | str


class ClamAV:
    """A clamd at a host and port, or behind a Unix socket."""

    def __init__(self, address: Address, *, timeout_seconds: float) -> None:
        self._address = address
        self._timeout_seconds = timeout_seconds

    def scan(self, chunks: Iterable[bytes]) -> Verdict:
        try:
            with self._connected() as connection:
                connection.sendall(b"zINSTREAM\0")
                # It hangs up in mid-stream on a file that is too large, and says so first.
                with suppress(ConnectionError):
                    for chunk in chunks:
                        _send(connection, chunk)
                    connection.sendall(struct.pack("!L", 0))
                answer = _answer(connection)
        except OSError as error:
            raise self._unavailable(error.strerror or type(error).__name__) from None
        return self._verdict(answer)

    def _connected(self) -> socket.socket:
        if isinstance(self._address, tuple):
            return socket.create_connection(self._address, timeout=self._timeout_seconds)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self._timeout_seconds)
        try:
            connection.connect(self._address)
        except OSError:
            connection.close()
            raise
        return connection

    def _verdict(self, answer: str) -> Verdict:
        said = answer.removeprefix("stream: ")
        if said == "OK":
            return Verdict()
        if said.endswith(" FOUND"):
            return Verdict(finding=said.removesuffix(" FOUND"))
        raise self._unavailable(said or "it hung up")

    def _unavailable(self, reason: str) -> ScannerUnavailable:
        return ScannerUnavailable(
            f"the scanner at {self._address} gave no verdict: {reason}; "
            "check THREADMILL_SCANNER_URL, that clamd runs, and its StreamMaxLength"
        )


def _send(connection: socket.socket, chunk: bytes) -> None:
    for start in range(0, len(chunk), PIECE_BYTES):
        piece = chunk[start : start + PIECE_BYTES]
        connection.sendall(struct.pack("!L", len(piece)) + piece)


def _answer(connection: socket.socket) -> str:
    answer = b""
    while b"\0" not in answer and len(answer) < ANSWER_BYTES:
        received = connection.recv(ANSWER_BYTES)
        if not received:
            break
        answer += received
    return answer.partition(b"\0")[0].decode("utf-8", "replace").strip()
