"""One fetch: the redirects, the requests, the body, each within its limits.

What stays true: every hop is checked as if it were the first, on a connection of its own, made by
the guarded backend. Nothing of the environment steers it: a proxy would resolve names for us.
The layer below httpx is used because that takes a network backend, and because httpx's client logs
each URL with its query.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

import httpcore
import httpx

from agent.web.answer import Answer
from agent.web.client import WebClient
from agent.web.decompression import ACCEPTED, Damaged, unpacker
from agent.web.errors import AnswerRefused, NotReached, TooLarge, TooSlow
from agent.web.guarded_backend import GuardedBackend
from agent.web.limits import WebLimits
from agent.web.url import joined, parse, shown

USER_AGENT = "Threadmill (an agent that reads for a person)"

_REDIRECTS = {301, 302, 303, 307, 308}
_CHARSET = re.compile(r"""charset\s*=\s*["']?([^\s;"']+)""", re.IGNORECASE)

Objection = Callable[[str], str | None]


async def get(client: WebClient, url: str, *, limits: WebLimits, objection: Objection) -> Answer:
    """See `WebClient.get`."""
    where = parse(url, allow_ports=client.allow_ports)
    try:
        async with asyncio.timeout(limits.total_seconds) as scope:
            return await _get_following_redirects(client, where, limits, objection)
    except TimeoutError:
        if not scope.expired():
            raise
        raise TooSlow(f"{shown(where)} was not read within {limits.total_seconds:g} s") from None


async def _get_following_redirects(
    client: WebClient, url: httpx.URL, limits: WebLimits, objection: Objection
) -> Answer:
    first = url
    for _ in range(limits.redirects_max + 1):
        found = await _get_once(client, url, limits, objection)
        if isinstance(found, Answer):
            return found
        url = found
    raise AnswerRefused(
        f"{shown(first)} redirects more than {limits.redirects_max} times, lastly to {shown(url)}"
    )


async def _get_once(
    client: WebClient, url: httpx.URL, limits: WebLimits, objection: Objection
) -> Answer | httpx.URL:
    """The answer, or where it sends us."""
    async with _exchange(client, url, limits) as response:
        headers = httpx.Headers(response.headers)
        location = headers.get("location")
        if response.status in _REDIRECTS and location is not None:
            return joined(url, location, allow_ports=client.allow_ports)
        if not 200 <= response.status < 300:
            raise AnswerRefused(f"{shown(url)} answered {_status(response.status)}")
        declared = headers.get("content-type", "")
        media_type = declared.partition(";")[0].strip().lower()
        problem = objection(media_type)
        if problem is not None:
            raise AnswerRefused(f"{shown(url)} {problem}")
        charset = _CHARSET.search(declared)
        return Answer(
            url=str(url),
            shown_url=shown(url),
            media_type=media_type,
            charset=charset[1] if charset else None,
            disposition=headers.get("content-disposition", ""),
            body=await _body(response, headers, url, limits),
        )


@asynccontextmanager
async def _exchange(client: WebClient, url: httpx.URL, limits: WebLimits) -> AsyncIterator[httpcore.Response]:
    """One request on a connection of its own. What goes wrong with it is told in our words."""
    named = shown(url)
    pool = httpcore.AsyncConnectionPool(
        ssl_context=await client.trusted() if url.scheme == "https" else None,
        max_connections=1,
        max_keepalive_connections=0,
        network_backend=GuardedBackend(client.guard, client.resolve, shown_url=named),
    )
    read = limits.read_seconds
    timeouts = {"connect": limits.connect_seconds, "read": read, "write": read, "pool": read}
    target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    request = pool.stream(b"GET", target, headers=_headers(url), extensions={"timeout": timeouts})
    try:
        async with pool, request as response:
            yield response
    except httpcore.ConnectTimeout:
        raise TooSlow(f"{named} did not connect within {limits.connect_seconds:g} s") from None
    except httpcore.TimeoutException:
        raise TooSlow(f"{named} sent nothing for {read:g} s") from None
    except httpcore.NetworkError as error:
        # The words of sockets and certificates: they quote no URL.
        raise NotReached(
            f"{named} could not be reached: {str(error)[:200] or 'the connection broke'}"
        ) from None
    except httpcore.ProtocolError:
        # These may quote what the server sent.
        raise NotReached(f"{named} broke off, or does not speak HTTP") from None


def _headers(url: httpx.URL) -> list[tuple[bytes, bytes]]:
    return [
        (b"Host", url.netloc),  # httpcore's own leaves the brackets off an IPv6 address
        (b"User-Agent", USER_AGENT.encode()),
        (b"Accept", b"text/html, application/xhtml+xml, text/markdown, text/*;q=0.9, */*;q=0.8"),
        (b"Accept-Encoding", ACCEPTED.encode()),
    ]


async def _body(
    response: httpcore.Response, headers: httpx.Headers, url: httpx.URL, limits: WebLimits
) -> bytes:
    encoding = headers.get("content-encoding", "")
    unpack = unpacker(encoding)
    if unpack is None:
        raise AnswerRefused(f"{shown(url)} is packed as {encoding[:40]!r}, which was not asked for")
    received, body = 0, bytearray()
    _check_size(_announced(headers), limits.received_max_bytes, url)
    try:
        async for piece in response.aiter_stream():
            received += len(piece)
            _check_size(received, limits.received_max_bytes, url)
            body += unpack.feed(piece, at_most=limits.body_max_bytes - len(body) + 1)
            _check_size(len(body), limits.body_max_bytes, url)
        unpack.close()
    except Damaged:
        raise NotReached(f"{shown(url)} sent a damaged or incomplete body") from None
    return bytes(body)


def _announced(headers: httpx.Headers) -> int:
    length = headers.get("content-length", "")
    # A number of a thousand digits is one that Python refuses to read.
    return int(length) if length.isdecimal() and len(length) < 20 else 0


def _check_size(size: int, limit: int, url: httpx.URL) -> None:
    if size > limit:
        raise TooLarge(f"{shown(url)} has more than {limit} bytes, which is as much as is read")


def _status(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
