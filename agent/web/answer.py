"""What a web server answered, and how a host's name becomes addresses."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

#: All addresses of a host, in the order in which to try them. Raises `socket.gaierror`.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server sent, once nothing was left to follow."""

    #: Where it came from in the end, and the same without its query.
    url: str
    shown_url: str
    #: As the server declares it, in lower case; "" where it does not.
    media_type: str
    charset: str | None
    #: The `Content-Disposition` header.
    disposition: str
    #: Decompressed.
    body: bytes


def any_type(_media_type: str) -> str | None:
    """No objection to any type."""
    return None
