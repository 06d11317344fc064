"""A broker's URL means here what it means to kombu, or it is left to Celery."""

import ssl

import pytest
from kombu import Connection
from kombu.transport.redis import Channel

from store.live.broker_address import read_address


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis:///",
        "redis://broker",
        "redis://broker:7000/3",
        "redis://broker//4",
        "redis://:secret@broker/0",
        "redis://:p%40ss%2Fw%3Ard@broker:6380/12",
        "redis://user:secret@broker",
        "redis://user@broker/1",
        "redis://us%3Aer:@broker/1",
        "redis://[::1]:6379/1",
        "rediss://broker",
        "rediss://:secret@broker:6380/1?ssl_cert_reqs=required",
        "rediss://broker?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs=/etc/ca%20s.pem&ssl_check_hostname=False",
        "rediss://broker?ssl_cert_reqs=optional&ssl_certfile=/c.pem&ssl_keyfile=/k.pem",
        "rediss://broker?ssl_cert_reqs=none",
        "rediss://broker?ssl_ca_certs=/ca.pem",
        "redis://broker?ssl_cert_reqs=required",
    ],
)
def test_a_url_is_read_as_kombu_reads_it(url: str) -> None:
    connection = Connection(url)
    address = read_address(url)

    assert address is not None
    assert (address.host, address.port) == (connection.hostname or "127.0.0.1", connection.port or 6379)
    assert (address.username, address.password) == (connection.userid, connection.password)
    assert address.db == Channel._prepare_virtual_host(None, connection.virtual_host)
    assert (address.tls is None) == (not connection.ssl)
    if address.tls is not None:
        options = connection.ssl
        # What redis-py, which kombu passes them to, takes for missing options.
        assert address.tls.certificate_check is options.get("ssl_cert_reqs", ssl.CERT_REQUIRED)
        assert address.tls.checks_hostname is options.get("ssl_check_hostname", True)
        assert address.tls.ca_file == options.get("ssl_ca_certs")
        assert address.tls.certificate_file == options.get("ssl_certfile")
        assert address.tls.key_file == options.get("ssl_keyfile")


@pytest.mark.parametrize(
    "url",
    [
        "sentinel://broker:26379/0",
        "redis+socket:///tmp/valkey.sock",
        "amqp://broker",
        "redis://a:6379;redis://b:6379",
        "redis://broker/name",
        "redis://broker:port/0",
        "redis://broker?credential_provider=a.b.C",
        "rediss://broker?ssl_ciphers=x",
        "rediss://broker?ssl_cert_reqs=maybe",
    ],
)
def test_what_is_not_known_is_left_to_celery(url: str) -> None:
    assert read_address(url) is None


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(read_address("redis://user:secret@broker"))
