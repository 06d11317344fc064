"""Real servers behind TLS, with the addresses of docs/how-to/encrypt-connections.md."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from celery import Celery
from sqlalchemy import text

from conversation.errors import DatabaseUnavailable, FileStoreUnavailable
from conversation.ids import new_id
from producers.producer import Producer
from store.blobs.s3.bucket import S3Options
from store.blobs.s3.store import S3Blobs
from store.database.engine import Database
from store.live.direct_signals import DirectSignals
from store.live.signals import Signals
from store.settings import Settings, load
from tests.certificates import make_certificate
from tests.conftest import S3
from tests.integration.producers.backend import queued_wake_ups, register_agent


class TlsFront:
    """A port of localhost that ends TLS and passes the bytes on to another one in clear."""

    def __init__(self, certificate: Path, upstream_port: int) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        # What PostgreSQL's client asks for where TLS comes first.
        self._context.set_alpn_protocols(["postgresql"])
        self._upstream_port = upstream_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        asyncio.run(self._pass_on(client))

    async def _pass_on(self, client: socket.socket) -> None:
        client.setblocking(False)
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        with suppress(OSError), client:
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, client, ssl=self._context)
            writer = asyncio.StreamWriter(transport, protocol, reader, loop)
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._upstream_port)
            await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return make_certificate(tmp_path / "server.pem")


@pytest.fixture
def fronts(database_url: str, valkey_url: str, certificate: Path) -> Iterator[dict[str, int]]:
    """The ports at which database and broker are behind TLS."""
    with ExitStack() as stack:
        ports = {}
        for name, url in (("database", database_url), ("broker", valkey_url)):
            front = TlsFront(certificate, urlsplit(url).port or 0)
            stack.callback(front.close)
            ports[name] = front.port
        yield ports


@pytest.fixture
def encrypted(database_url: str, valkey_url: str, fronts: dict[str, int], certificate: Path) -> Settings:
    """Settings with which both servers have to prove who they are."""
    return settings_for(database_url, valkey_url, fronts, certificate)


def settings_for(database_url: str, valkey_url: str, fronts: dict[str, int], authority: Path) -> Settings:
    database, broker = urlsplit(database_url), urlsplit(valkey_url)
    # `sslnegotiation=direct` is for the front, which knows nothing of PostgreSQL's own question before TLS.
    query = f"sslmode=verify-full&sslrootcert={authority}&sslnegotiation=direct"
    host = f"{database.username}:{database.password}@localhost:{fronts['database']}"
    password = broker.netloc.rpartition("@")[0]
    return load(
        database_url=f"postgresql://{host}{database.path}?{query}",
        broker_url=f"rediss://{password}@localhost:{fronts['broker']}/0?ssl_cert_reqs=required&ssl_ca_certs={authority}",
        notify_timeout_seconds=10,
    )


async def test_the_database_is_asked_over_tls(encrypted: Settings) -> None:
    database = Database(encrypted)

    assert database.run(_one) == 1
    assert await database.run_async(_one) == 1
    database.close()
    await database.close_async()


def _one(connection: Any) -> int:
    return int(connection.execute(text("SELECT 1")).scalar_one())


@pytest.mark.parametrize("publish_with_celery", [False, True])
def test_a_message_is_stored_and_its_worker_notified_over_tls(
    encrypted: Settings, valkey_url: str, publish_with_celery: bool
) -> None:
    with closing(Producer(encrypted.model_copy(update={"publish_with_celery": publish_with_celery}))) as producer:
        register_agent(producer.database)
        turn = producer.send("t", "hello")

    assert queued_wake_ups(load(broker_url=valkey_url)) == [turn.id]


def test_celery_itself_consumes_over_tls(encrypted: Settings) -> None:
    """As a worker does, and Flower."""
    app = Celery("encrypted", set_as_current=False)
    app.config_from_object("celeryconfig")
    app.conf.broker_url = encrypted.broker_url.get_secret_value()

    with app.connection_for_read() as connection:
        connection.ensure_connection(max_retries=1, timeout=10)
        assert connection.default_channel.client.ping()


@pytest.mark.parametrize("open_signals", [DirectSignals.open, Signals], ids=["direct", "client"])
def test_signals_are_heard_over_tls(encrypted: Settings, open_signals: Callable[[Settings], Signals]) -> None:
    signals, channel = open_signals(encrypted), f"test:{new_id()}"

    with signals.subscribe(channel, within_seconds=10) as wait:
        # It connects, and returns.
        wait(20)
        signals.publish(channel, "ended")
        started = threading.Event()
        waiter = threading.Thread(target=lambda: (wait(20), started.set()))
        waiter.start()
        assert started.wait(10)


async def test_signals_are_heard_over_tls_on_an_event_loop(encrypted: Settings) -> None:
    signals, channel = DirectSignals.open(encrypted), f"test:{new_id()}"
    assert signals is not None

    for _ in range(2):
        async with signals.subscribe_async(channel, within_seconds=10) as wait:
            # It connects, and returns; the second one waits in vain.
            await wait(0.1)
            waiting = asyncio.create_task(wait(20))
            await asyncio.sleep(0)
            assert not waiting.done()
            await signals.publish_async(channel, "ended")
            async with asyncio.timeout(10):
                await waiting
    signals.close()


def test_a_database_that_cannot_prove_who_it_is_is_refused(
    database_url: str, valkey_url: str, fronts: dict[str, int], tmp_path: Path
) -> None:
    settings = settings_for(database_url, valkey_url, fronts, make_certificate(tmp_path / "stranger.pem"))
    database = Database(settings)

    with pytest.raises(DatabaseUnavailable, match="certificate verify failed"):
        database.run(_one)
    database.close()


def test_a_broker_that_cannot_prove_who_it_is_is_told_nothing_and_no_message_is_lost(
    database_url: str, valkey_url: str, fronts: dict[str, int], tmp_path: Path
) -> None:
    settings = settings_for(database_url, valkey_url, fronts, make_certificate(tmp_path / "stranger.pem"))
    in_clear = settings.model_copy(update={"database_url": load(database_url=database_url).database_url})
    with closing(Producer(in_clear)) as producer:
        register_agent(producer.database)
        assert producer.send("t", "hello").state == "queued"

    assert queued_wake_ups(load(broker_url=valkey_url)) == []


def test_a_bucket_is_used_over_tls_and_a_stranger_refused(
    s3: S3, certificate: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    front = TlsFront(certificate, urlsplit(s3.endpoint).port or 0)
    options = S3Options(
        endpoint_url=f"https://localhost:{front.port}",
        access_key_id=s3.key,
        secret_access_key=s3.secret,
        max_attempts=1,
    )
    monkeypatch.setenv("AWS_CA_BUNDLE", str(make_certificate(tmp_path / "stranger.pem")))
    with pytest.raises(FileStoreUnavailable):
        S3Blobs(s3.bucket, options=options).exists("default", "0" * 64)

    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    assert not S3Blobs(s3.bucket, options=options).exists("default", "0" * 64)
    front.close()
