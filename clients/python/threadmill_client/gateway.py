"""The gateway as both clients speak to it: its address, the key, the times; and requests as httpx sends them.

What stays true: the key goes to the gateway alone, and stands in no text that is made of these objects. A presigned
address is a secret as well: httpx logs the addresses that it asks, so it sees this one without its query.
"""

import platform
import re
from collections.abc import AsyncIterable, Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import urlencode

import httpx

from threadmill_client.errors import ConnectionLost
from threadmill_client.following import Feed, Follower
from threadmill_client.retries import Retries
from threadmill_client.version import __version__
from threadmill_client.wire import Answer, Request

#: A key, or what gives the one to use now, as a JWT that is renewed.
Key = str | Callable[[], str]

Http = httpx.Client | httpx.AsyncClient
Body = bytes | Iterable[bytes] | AsyncIterable[bytes] | None

_VISIBLE_ASCII = re.compile(r"[!-~]+")
_CONNECT_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """One gateway, as one client speaks to it."""

    base_url: str
    key: Key = field(repr=False)
    timeout_seconds: float
    #: A stream that is silent for so long is dead: the gateway sends a comment more often.
    silence_seconds: float
    #: How long a stream that was heard once tries to come back.
    patience_seconds: float
    retries: Retries
    user_agent: str

    def build(self, http: Http, request: Request, body: Body, *, is_stream: bool = False) -> httpx.Request:
        """A request as httpx sends it."""
        headers = {"User-Agent": self.user_agent, **request.headers}
        url = request.address
        if url is None:
            headers["Authorization"] = f"Bearer {self._read_key()}"
            query = urlencode({name: value for name, value in request.query.items() if value is not None})
            url = f"{self.base_url}{request.path}{'?' if query else ''}{query}"
        seconds = self.timeout_seconds + request.extra_seconds
        built = http.build_request(
            request.method,
            url,
            # As bytes, since the id of an event may have any letters.
            headers={name.encode(): value.encode() for name, value in headers.items()},
            content=body,
            timeout=httpx.Timeout(
                seconds, connect=min(seconds, _CONNECT_SECONDS), read=self.silence_seconds if is_stream else seconds
            ),
        )
        if request.address is not None:
            built.url = SecretURL(built.url)
        return built

    def answer(self, response: httpx.Response, body: bytes) -> Answer:
        """An answer of httpx's as a value."""
        return Answer(
            status=response.status_code, headers=dict(response.headers), body=body, address=str(response.request.url)
        )

    def follower(self, feed: Feed) -> Follower:
        """The state of a new stream."""
        return Follower(feed, self.retries, patience_seconds=self.patience_seconds)

    def _read_key(self) -> str:
        return check_key(self.key if isinstance(self.key, str) else self.key())


class SecretURL(httpx.URL):
    """An address whose query is shown to nobody but the server."""

    def __str__(self) -> str:
        return str(self.copy_with(query=None)) if self.query else super().__str__()

    __repr__ = __str__


def lose(error: httpx.RequestError) -> ConnectionLost:
    """The error for an answer that did not come."""
    return ConnectionLost(f"no answer: {type(error).__name__} {error}".rstrip())


def check_key(key: object) -> str:
    """A key that a header can carry. Raises `ValueError`, which does not show it."""
    if not isinstance(key, str) or not _VISIBLE_ASCII.fullmatch(key):
        raise ValueError("key is empty, or has white space or other letters than a key: pass it as it was shown")
    return key


def check_base_url(base_url: str) -> str:
    """The gateway's address without a slash at its end. Raises `ValueError`."""
    url = httpx.URL(base_url)
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("base_url is no http or https address: pass one as https://threads.example.com")
    if url.userinfo or url.query or url.fragment:
        raise ValueError("base_url has a user, a query or a fragment: pass the address alone")
    return base_url.rstrip("/")


def name_client(user_agent: str | None) -> str:
    """The name of this client in the gateway's log, behind that of the program that uses it."""
    own = f"threadmill-client/{__version__} python/{platform.python_version()} httpx/{httpx.__version__}"
    return f"{user_agent} {own}" if user_agent else own
