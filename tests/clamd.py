"""A scanner for tests: a server that speaks clamd's `INSTREAM`, and finds one thing."""

import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: The test file of the antivirus industry, put together here so that no scanner takes this file for one.
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
FINDING = "Eicar-Test-Signature"
STREAM_MAX = 1_000_000


class Clamd(socketserver.StreamRequestHandler):
    """Answers `zINSTREAM` as clamd(8) says: pieces behind their lengths, and one of length 0 at the end."""

    def handle(self) -> None:
        if self.rfile.read(10) != b"zINSTREAM\0":
            self.wfile.write(b"UNKNOWN COMMAND\0")
            return
        content = b""
        while length := struct.unpack("!L", self.rfile.read(4))[0]:
            content += self.rfile.read(length)
            if len(content) > STREAM_MAX:
                self.wfile.write(b"INSTREAM size limit exceeded. ERROR\0")
                return
        self.wfile.write(f"stream: {self.decide(content)}\0".encode())

    def decide(self, content: bytes) -> str:
        """The verdict, in clamd's words."""
        return f"{FINDING} FOUND" if EICAR in content else "OK"


class _Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True


@contextmanager
def scanning(handler: type[socketserver.BaseRequestHandler] = Clamd) -> Iterator[str]:
    """A server on a port of its own; gives what THREADMILL_SCANNER_URL names."""
    with _Tcp(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"clamd://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
