"""The answer of a web server, and the resolver that turns a host's name into addresses."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

#: All addresses of a host, in the order in which to try them. Raises `socket.gaierror`.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer of a server, after all redirects."""

    #: The URL after all redirects, and the same without its query.
    url: str
    redacted_url: str
    #: As the server declares it, in lower case; "" where it does not.
    media_type: str
    charset: str | None
    #: The `Content-Disposition` header.
    disposition: str
    #: Decompressed.
    body: bytes


def accept_any_type(_media_type: str) -> str | None:
    """Accept any media type: an `objection` that never has one."""
    return None
