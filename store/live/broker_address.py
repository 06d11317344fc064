"""The address of a broker, read from its URL as kombu reads it.

What stays true: what is not known here is not guessed. Such a URL is left to Celery itself.
"""

import ssl
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

#: The port of a Redis or Valkey, where the URL names none.
DEFAULT_PORT = 6379

#: How a certificate is checked, by both spellings that kombu takes.
_CERTIFICATE_CHECKS = {
    **{mode.name: mode for mode in ssl.VerifyMode},
    **{mode.name.removeprefix("CERT_").lower(): mode for mode in ssl.VerifyMode},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerTls:
    """How a connection is encrypted."""

    certificate_check: ssl.VerifyMode
    checks_hostname: bool = True
    #: Files: authorities beside the system's, and the client's own certificate with its key.
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None

    def make_context(self) -> ssl.SSLContext:
        """Make the context of a connection. Raises `OSError` for files that cannot be read."""
        context = ssl.create_default_context()
        context.check_hostname = self.checks_hostname and self.certificate_check is not ssl.CERT_NONE
        context.verify_mode = self.certificate_check
        if self.certificate_file is not None:
            context.load_cert_chain(self.certificate_file, self.key_file)
        if self.ca_file is not None:
            context.load_verify_locations(self.ca_file)
        return context


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAddress:
    """Where a broker listens, and who asks."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: BrokerTls | None = None


def read_address(url: str) -> BrokerAddress | None:
    """Read a broker's URL; None where Celery alone knows what it means."""
    try:
        parts = urlsplit(url)
        return BrokerAddress(
            host=unquote(parts.hostname or "") or "127.0.0.1",
            port=parts.port or DEFAULT_PORT,
            db=int(unquote(parts.path).lstrip("/") or 0),
            username=unquote(parts.username or "") or None,
            password=unquote(parts.password or "") or None,
            tls=_read_tls(parts),
        )
    except (ValueError, KeyError):
        return None


def _read_tls(parts: SplitResult) -> BrokerTls | None:
    """The encryption that a URL asks for. Raises `ValueError` or `KeyError` for what Celery alone knows."""
    options = dict(parse_qsl(parts.query))
    if parts.scheme not in ("redis", "rediss"):
        raise ValueError(f"{parts.scheme} is no scheme that is known here")
    if parts.scheme == "redis" and not options:
        return None
    # Without options a worker's own connection to rediss:// checks no certificate either.
    checks_by_default = "CERT_REQUIRED" if options else "CERT_NONE"
    tls = BrokerTls(
        certificate_check=_CERTIFICATE_CHECKS[options.pop("ssl_cert_reqs", checks_by_default)],
        checks_hostname=options.pop("ssl_check_hostname", "true").lower() != "false",
        ca_file=options.pop("ssl_ca_certs", None),
        certificate_file=options.pop("ssl_certfile", None),
        key_file=options.pop("ssl_keyfile", None),
    )
    if options:
        raise ValueError(f"{', '.join(options)} are no options that are known here")
    return tls
