"""A wire to PostgreSQL that breaks at the worst moment: after a COMMIT arrived, before its answer did."""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

from sqlalchemy.engine import make_url

CHUNK_BYTES = 65536
#: How a client ends a transaction: a simple query, the first part of an extended one, or a function called alone.
COMMITS = (b"Q\x00\x00\x00\x0bCOMMIT\x00", b"COMMIT\x00", b"SELECT threadmill.")


class CommitLostOnce:
    """Passes everything on, save the answer to the first COMMIT: there it hangs up."""

    def __init__(self, database_url: str) -> None:
        self._upstream = make_url(database_url)
        self.has_struck = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        plain = self._upstream.update_query_dict({"sslmode": "disable", "gssencmode": "disable"})
        port = self._listener.getsockname()[1]
        self.url = plain.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=10)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection((self._upstream.host, self._upstream.port))
            pair = _Pair(self, client, server)
            for target in (pair.to_server, pair.to_client):
                thread = threading.Thread(target=target, daemon=True)
                self._threads.append(thread)
                thread.start()


class _Pair:
    def __init__(self, wire: CommitLostOnce, client: socket.socket, server: socket.socket) -> None:
        self._wire = wire
        self._client = client
        self._server = server
        self._strikes = False

    def to_server(self) -> None:
        while data := _received(self._client):
            if not self._wire.has_struck and any(commit in data for commit in COMMITS):
                self._wire.has_struck = self._strikes = True
            self._server.sendall(data)
        self._hang_up()

    def to_client(self) -> None:
        while data := _received(self._server):
            # The server has answered, so it has committed.
            if self._strikes:
                break
            self._client.sendall(data)
        self._hang_up()

    def _hang_up(self) -> None:
        for side in (self._client, self._server):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()


def _received(side: socket.socket) -> bytes:
    try:
        return side.recv(CHUNK_BYTES)
    except OSError:
        return b""
