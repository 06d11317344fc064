"""The answers of a web server: to a fetch, and to a POST."""

from dataclasses import dataclass


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


@dataclass(frozen=True, slots=True, kw_only=True)
class PostAnswer:
    """The answer to a POST."""

    status: int
    #: The pause that the server asked for, in seconds; None without one.
    retry_after_seconds: float | None


def accept_any_type(_media_type: str) -> str | None:
    """Accept any media type: an `objection` that never has one."""
    return None
