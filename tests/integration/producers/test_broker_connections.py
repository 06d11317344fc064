"""Connections to the broker: encrypted ones, slow servers, refusals."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from conversation.task_contract import WakeUp
from store.live.broker_connection import BrokerRefusal
from store.live.direct_publisher import DirectPublisher
from tests.certificates import make_certificate

WAKE_UP = WakeUp(tenant="default", thread_id="user-123", turn_id="0190")


@contextmanager
def serve(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that answers each of its connections in a thread; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer_one(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            answer(connection)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer_one, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield int(listener.getsockname()[1])
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_a_server_that_sends_drop_by_drop_is_waited_for_once() -> None:
    def trickle(connection: socket.socket) -> None:
        while True:
            connection.sendall(b":")

    with serve(trickle) as port:
        url = f"redis://127.0.0.1:{port}"
        publisher = DirectPublisher.open(url, {}, timeout_seconds=0.3)
        assert publisher is not None
        started = time.monotonic()
        with pytest.raises((TimeoutError, ConnectionError)):
            publisher.publish(WAKE_UP)

    assert time.monotonic() - started < 10
    assert not publisher.publish_at_once(WAKE_UP)


@pytest.mark.parametrize("end", ["timeout", "cancel"])
async def test_a_server_that_falls_silent_holds_no_event_loop_up(end: str) -> None:
    """Its late answer is nobody's: the connection is not used again."""

    def answer_once(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b":1\r\n")
        while connection.recv(65536):
            pass

    with serve(answer_once) as port:
        timeout_seconds = 0.3 if end == "timeout" else 30.0
        publisher = DirectPublisher.open(f"redis://127.0.0.1:{port}", {}, timeout_seconds=timeout_seconds)
        assert publisher is not None
        publisher.publish(WAKE_UP)
        publishing = asyncio.create_task(publisher.publish_at_once_async(WAKE_UP))
        await asyncio.sleep(0.05)
        assert not publishing.done()

        if end == "cancel":
            publishing.cancel()
        with pytest.raises((TimeoutError, asyncio.CancelledError)):
            await publishing

        assert not await publisher.publish_at_once_async(WAKE_UP)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return make_certificate(tmp_path / "broker.pem")


@pytest.mark.parametrize(
    ("query", "is_trusted"),
    [
        ("", True),
        ("?ssl_cert_reqs=none", True),
        ("?ssl_cert_reqs=required", False),
        ("?ssl_cert_reqs=required&ssl_ca_certs={file}", True),
        ("?ssl_cert_reqs=required&ssl_ca_certs={file}&ssl_certfile={file}", True),
    ],
)
async def test_a_broker_behind_tls_is_reached(certificate: Path, query: str, is_trusted: bool) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    received_bytes: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as encrypted:
            while request := encrypted.recv(65536):
                received_bytes.append(request)
                encrypted.sendall(b":1\r\n")

    with serve(answer) as port:
        url = f"rediss://127.0.0.1:{port}{query.format(file=certificate)}"
        publisher = DirectPublisher.open(url, {}, timeout_seconds=10)
        assert publisher is not None
        if is_trusted:
            publisher.publish(WAKE_UP)
            # The same connection: what TLS itself sends after its handshake is no sign of trouble.
            assert publisher.publish_at_once(WAKE_UP)
            assert await publisher.publish_at_once_async(WAKE_UP)
        else:
            with pytest.raises(ssl.SSLCertVerificationError):
                publisher.publish(WAKE_UP)
        publisher.close()

    assert len(received_bytes) == (3 if is_trusted else 0)


def test_an_error_as_reply_is_raised_by_its_kind() -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"-OOM command not allowed when used memory > 'maxmemory'.\r\n")
        connection.recv(1)

    with serve(refuse) as port:
        publisher = DirectPublisher.open(f"redis://127.0.0.1:{port}", {}, timeout_seconds=10)
        assert publisher is not None
        with pytest.raises(BrokerRefusal, match=r"^OOM$"):
            publisher.publish(WAKE_UP)
