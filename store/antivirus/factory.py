"""From settings to a scanner."""

from urllib.parse import unquote, urlsplit

from conversation.errors import InvalidSettings
from store.antivirus.clamav import ClamAV
from store.antivirus.protocol import Scanner
from store.settings import Settings

CLAMD_PORT = 3310


def open_scanner(settings: Settings) -> Scanner | None:
    """The scanner that THREADMILL_SCANNER_URL names; None where it is empty. Raises `InvalidSettings`."""
    if not settings.scanner_url:
        return None
    parts = urlsplit(settings.scanner_url)
    try:
        port = parts.port or CLAMD_PORT
    except ValueError:
        port = 0
    if parts.scheme != "clamd" or not port or not (parts.hostname or parts.path.strip("/")):
        raise InvalidSettings(
            "THREADMILL_SCANNER_URL: is no address of a scanner; write clamd://host:3310 or clamd:///path/of/its/socket"
        )
    address = (parts.hostname, port) if parts.hostname else unquote(parts.path)
    return ClamAV(address, timeout_seconds=settings.scanner_timeout_seconds)
