"""A connection to the broker for commands whose reply is one line, as that of LPUSH.

What stays true: no command takes longer than its timeout, however slowly the server sends. redis-py is not used
here: to import it takes a backend as long as its first send may take, and each command twice the processor time.
"""

import socket
import ssl
import time

from store.live.broker_address import BrokerAddress

#: More than any reply that is read here.
_READ_BYTES = 4096


class BrokerRefusal(Exception):
    """The broker answered a command with an error."""


class BrokerConnection:
    """One connection, for one thread at a time. What fails leaves it unusable: close it then."""

    def __init__(self, address: BrokerAddress, *, timeout_seconds: float) -> None:
        """Connect and log in. Raises `OSError`, of which TLS errors and timeouts are, or `BrokerRefusal`."""
        self._timeout_seconds = timeout_seconds
        self._socket = socket.create_connection((address.host, address.port), timeout=timeout_seconds)
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if address.tls is not None:
                self._socket = address.tls.make_context().wrap_socket(self._socket, server_hostname=address.host)
            self._log_in(address)
        except BaseException:
            self.close()
            raise

    def call(self, *words: str) -> None:
        """Send a command and wait for its reply. Raises `OSError`, or `BrokerRefusal` for an error as reply."""
        give_up_at = time.monotonic() + self._timeout_seconds
        encoded_words = [word.encode() for word in words]
        parts = [b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded_words]
        self._socket.settimeout(self._timeout_seconds)
        self._socket.sendall(b"*%d\r\n%b" % (len(parts), b"".join(parts)))
        reply = b""
        while not reply.endswith(b"\r\n"):
            # Never zero, which would mean not to wait at all.
            self._socket.settimeout(max(0.001, give_up_at - time.monotonic()))
            received_bytes = self._socket.recv(_READ_BYTES)
            if not received_bytes or time.monotonic() > give_up_at:
                raise ConnectionError("the broker closed the connection, or did not end its reply in time")
            reply += received_bytes
        if reply.startswith(b"-"):
            # Its first word is the kind; the others may repeat what was sent.
            raise BrokerRefusal(reply[1:].split()[0].decode("ascii", "replace"))

    def is_usable(self) -> bool:
        """Whether the server neither closed the connection nor said what nobody asked for. Does not wait."""
        self._socket.settimeout(0)
        try:
            self._socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        self._socket.close()

    def _log_in(self, address: BrokerAddress) -> None:
        # Nothing else: a user of the broker who may only push to lists is enough.
        if address.username or address.password:
            self.call("AUTH", *([address.username] if address.username else []), address.password or "")
        if address.db:
            self.call("SELECT", str(address.db))
