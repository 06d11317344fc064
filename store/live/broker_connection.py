"""A connection to the broker for commands whose reply is one line, as those of LPUSH and PUBLISH.

What stays true: no call takes longer than its timeout, however slowly the server sends. What else the server says is
for those who know what they asked for: see `channel_connection`. redis-py is not used
here: to import it takes a backend as long as its first send may take, and each command twice the processor time,
on an event loop four times.
"""

import asyncio
import errno
import socket
import ssl
import time
from contextlib import suppress

from store.live.broker_address import BrokerAddress

#: More than any reply that is read here.
_READ_BYTES = 4096
_END_OF_LINE = b"\r\n"


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

    def call(self, *commands: tuple[str, ...]) -> None:
        """Send commands and wait for their replies. Raises `OSError`, or `BrokerRefusal` for an error as reply."""
        give_up_at = time.monotonic() + self._timeout_seconds
        self._socket.settimeout(self._timeout_seconds)
        self._socket.sendall(_encode(commands))
        replies = b""
        while not _is_complete(replies, commands):
            remaining_seconds = give_up_at - time.monotonic()
            if remaining_seconds <= 0:
                raise TimeoutError("the broker did not end its reply in time")
            self._socket.settimeout(remaining_seconds)
            replies += _check_open(self._socket.recv(_READ_BYTES))
        _check_replies(replies)

    async def call_async(self, *commands: tuple[str, ...]) -> None:
        """As `call`, on the running event loop, whichever it is. Cancelled, it leaves the connection unusable."""
        if isinstance(self._socket, ssl.SSLSocket):
            # The loop's own calls take plain sockets only.
            await asyncio.to_thread(self.call, *commands)
            return
        loop = asyncio.get_running_loop()
        self._socket.settimeout(0)
        async with asyncio.timeout(self._timeout_seconds):
            await loop.sock_sendall(self._socket, _encode(commands))
            replies = b""
            while not _is_complete(replies, commands):
                replies += _check_open(await loop.sock_recv(self._socket, _READ_BYTES))
        _check_replies(replies)

    def send_now(self, *commands: tuple[str, ...]) -> None:
        """Send short commands, whose replies are for `receive`. Does not wait: raises `OSError` for a full socket."""
        self._socket.settimeout(0)
        message = _encode(commands)
        if self._socket.send(message) < len(message):
            raise BlockingIOError("the broker reads nothing any more")

    def receive(self, seconds: float) -> bytes:
        """Some of what the server sends within so many seconds; empty where that is nothing. Raises `OSError`."""
        self._socket.settimeout(max(0.0, seconds))
        try:
            return _check_open(self._socket.recv(_READ_BYTES))
        except (TimeoutError, BlockingIOError, ssl.SSLWantReadError) as error:
            _check_reachable(error)
            return b""

    async def receive_async(self, seconds: float) -> bytes:
        """As `receive`, on the running event loop."""
        self._socket.settimeout(0)
        try:
            async with asyncio.timeout(seconds):
                if not isinstance(self._socket, ssl.SSLSocket):
                    return _check_open(await asyncio.get_running_loop().sock_recv(self._socket, _READ_BYTES))
                while not (received := self.receive(0)):
                    await _wait_readable(self._socket)
                return received
        except TimeoutError as error:
            _check_reachable(error)
            return b""

    def is_usable(self) -> bool:
        """Whether the server neither closed the connection nor said what nobody asked for. Does not wait."""
        try:
            return not self.receive(0)
        except OSError:
            return False

    def close(self) -> None:
        self._socket.close()

    def __del__(self) -> None:
        # A producer that nobody closed, and one whose first connection failed.
        with suppress(AttributeError):
            self.close()

    def _log_in(self, address: BrokerAddress) -> None:
        # Nothing else: a user of the broker who may only push to lists is enough.
        if address.username or address.password:
            self.call(("AUTH", *([address.username] if address.username else []), address.password or ""))
        if address.db:
            self.call(("SELECT", str(address.db)))


def _check_reachable(error: OSError) -> None:
    """Raise the error if it says that the server's machine is gone, and not that nothing has come yet."""
    if error.errno == errno.ETIMEDOUT:
        raise error


async def _wait_readable(a_socket: socket.socket) -> None:
    """Wait for a socket that the loop's own calls do not take."""
    loop, is_readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(a_socket, is_readable.set)
    try:
        await is_readable.wait()
    finally:
        loop.remove_reader(a_socket)


def _encode(commands: tuple[tuple[str, ...], ...]) -> bytes:
    """Commands in the protocol of Redis."""
    parts = []
    for words in commands:
        parts.append(b"*%d\r\n" % len(words))
        encoded_words = [word.encode() for word in words]
        parts += [b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded_words]
    return b"".join(parts)


def _is_complete(replies: bytes, commands: tuple[tuple[str, ...], ...]) -> bool:
    return replies.count(_END_OF_LINE) >= len(commands)


def _check_open(received_bytes: bytes) -> bytes:
    if not received_bytes:
        raise ConnectionError("the broker closed the connection")
    return received_bytes


def _check_replies(replies: bytes) -> None:
    for reply in replies.split(_END_OF_LINE):
        if reply.startswith(b"-"):
            # Its first word is the kind; the others may repeat what was sent.
            raise BrokerRefusal(reply[1:].split()[0].decode("ascii", "replace"))
