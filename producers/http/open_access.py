"""Access without a key, for development: whoever reaches the gateway may do everything in the tenant `default`.

What stays true: it is given on this machine alone. The gateway listens on a loopback address, and the page that asks
must be one of this machine, too: a page of another host would reach it through the browser of whoever opens it, by a
name that it points at 127.0.0.1 (`Host`), or by a form or script of its own (`Origin`).
"""

import re
from collections.abc import Mapping
from ipaddress import ip_address

import structlog

from conversation.errors import InvalidInput
from producers.http.credentials import values_of
from producers.http.principal import SCOPES, Principal
from producers.http.problems import Problem

#: The tenant of whoever asks.
TENANT = "default"
#: What whoever starts an open gateway is told.
WARNING = "THE GATEWAY IS OPEN: whoever reaches it may do everything in the tenant 'default', without a key."
#: A host of this machine, as `Host` has it.
_LOCAL_HOST = r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?"
_HOST = re.compile(_LOCAL_HOST, re.IGNORECASE)
_ORIGIN = re.compile(rf"https?://{_LOCAL_HOST}", re.IGNORECASE)

log = structlog.get_logger(__name__)


class OpenAccess:
    """An authenticator that asks for no credential, and reads none."""

    def __init__(self, host: str) -> None:
        """`host` is what the gateway listens on. Raises `InvalidInput` where others reach it than this machine."""
        if not _is_loopback(host):
            raise InvalidInput(
                "open", f"lets everybody in, and {host!r} is reached by others", "listen on 127.0.0.1, or make keys"
            )
        log.warning("gateway_is_open", host=host)

    async def authenticate(self, headers: Mapping[str, str], query: Mapping[str, str]) -> Principal | None:
        """The one bearer that there is. Raises `Problem` for a request of another machine's page."""
        del query
        hosts, origins = values_of(headers, "host"), values_of(headers, "origin")
        if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
            raise Problem(403, "Forbidden", "an open gateway answers to localhost, 127.0.0.1 and [::1] alone")
        if not all(map(_ORIGIN.fullmatch, origins)):
            raise Problem(403, "Forbidden", "an open gateway answers to pages of this machine alone")
        return Principal(tenant=TENANT, scopes=frozenset(SCOPES), credential="open")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
