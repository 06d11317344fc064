"""One fetch: the redirects, the requests, the body, each within its limits.

What stays true: every hop is checked as if it were the first, on a connection of its own, made by
the guarded backend. Nothing of the environment steers it: a proxy would resolve names for us.
The layer below httpx is used because that takes a network backend, and because httpx's client logs
each URL with its query.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus

import httpcore
import httpx

from agent.web.answer import Answer
from agent.web.decompression import ACCEPTED_ENCODING, DamagedBody, decompressor_for
from agent.web.errors import AnswerRejected, NotReached, TooLarge, TooSlow
from agent.web.guarded_backend import GuardedBackend
from agent.web.limits import WebLimits
from agent.web.reach import Reach
from agent.web.url import parse, redact, resolve_redirect

USER_AGENT = "Threadmill (an agent that reads for a person)"

_REDIRECTS = {301, 302, 303, 307, 308}
_CHARSET = re.compile(r"""charset\s*=\s*["']?([^\s;"']+)""", re.IGNORECASE)

Objection = Callable[[str], str | None]


async def get(reach: Reach, url: str, *, limits: WebLimits, objection: Objection) -> Answer:
    """Fetch a URL, following redirects: see `WebClient.get`."""
    parsed_url = parse(url, allow_ports=reach.allow_ports)
    try:
        async with asyncio.timeout(limits.total_seconds) as scope:
            return await _get_following_redirects(reach, parsed_url, limits, objection)
    except TimeoutError:
        if not scope.expired():
            raise
        raise TooSlow(f"{redact(parsed_url)} was not read within {limits.total_seconds:g} s") from None


async def _get_following_redirects(reach: Reach, url: httpx.URL, limits: WebLimits, objection: Objection) -> Answer:
    first_url = url
    for _ in range(limits.redirects_max + 1):
        outcome = await _get_once(reach, url, limits, objection)
        if isinstance(outcome, Answer):
            return outcome
        url = outcome
    raise AnswerRejected(
        f"{redact(first_url)} redirects more than {limits.redirects_max} times, lastly to {redact(url)}"
    )


async def _get_once(reach: Reach, url: httpx.URL, limits: WebLimits, objection: Objection) -> Answer | httpx.URL:
    """Fetch a URL once: the answer, or the URL to which it redirects."""
    async with _exchange(reach, url, limits) as response:
        headers = httpx.Headers(response.headers)
        location = headers.get("location")
        if response.status in _REDIRECTS and location is not None:
            return resolve_redirect(url, location, allow_ports=reach.allow_ports)
        if not 200 <= response.status < 300:
            raise AnswerRejected(f"{redact(url)} answered {_status_text(response.status)}")
        content_type = headers.get("content-type", "")
        media_type = content_type.partition(";")[0].strip().lower()
        problem = objection(media_type)
        if problem is not None:
            raise AnswerRejected(f"{redact(url)} {problem}")
        charset = _CHARSET.search(content_type)
        return Answer(
            url=str(url),
            redacted_url=redact(url),
            media_type=media_type,
            charset=charset[1] if charset else None,
            disposition=headers.get("content-disposition", ""),
            body=await _read_body(response, headers, url, limits),
        )


@asynccontextmanager
async def _exchange(reach: Reach, url: httpx.URL, limits: WebLimits) -> AsyncIterator[httpcore.Response]:
    """Send one request on a connection of its own."""
    redacted_url = redact(url)
    pool = httpcore.AsyncConnectionPool(
        ssl_context=await reach.load_ssl_context() if url.scheme == "https" else None,
        max_connections=1,
        max_keepalive_connections=0,
        network_backend=GuardedBackend(reach.guard, reach.resolve, redacted_url=redacted_url),
    )
    timeouts = {
        "connect": limits.connect_seconds,
        "read": limits.read_seconds,
        "write": limits.read_seconds,
        "pool": limits.read_seconds,
    }
    target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    request = pool.stream(b"GET", target, headers=_request_headers(url), extensions={"timeout": timeouts})
    with _translate_errors(redacted_url, limits):
        async with pool, request as response:
            yield response


@contextmanager
def _translate_errors(redacted_url: str, limits: WebLimits) -> Iterator[None]:
    try:
        yield
    except httpcore.ConnectTimeout:
        raise TooSlow(f"{redacted_url} did not connect within {limits.connect_seconds:g} s") from None
    except httpcore.TimeoutException:
        raise TooSlow(f"{redacted_url} sent nothing for {limits.read_seconds:g} s") from None
    except httpcore.NetworkError as error:
        # The words of sockets and certificates: they quote no URL.
        raise NotReached(f"{redacted_url} could not be reached: {str(error)[:200] or 'the connection broke'}") from None
    except httpcore.ProtocolError:
        # These may quote what the server sent.
        raise NotReached(f"{redacted_url} broke off, or does not speak HTTP") from None


def _request_headers(url: httpx.URL) -> list[tuple[bytes, bytes]]:
    return [
        (b"Host", url.netloc),  # httpcore's own leaves the brackets off an IPv6 address
        (b"User-Agent", USER_AGENT.encode()),
        (b"Accept", b"text/html, application/xhtml+xml, text/markdown, text/*;q=0.9, */*;q=0.8"),
        (b"Accept-Encoding", ACCEPTED_ENCODING.encode()),
    ]


async def _read_body(response: httpcore.Response, headers: httpx.Headers, url: httpx.URL, limits: WebLimits) -> bytes:
    encoding = headers.get("content-encoding", "")
    decompressor = decompressor_for(encoding)
    if decompressor is None:
        raise AnswerRejected(f"{redact(url)} is packed as {encoding[:40]!r}, which was not asked for")
    received, body = 0, bytearray()
    _check_size(_declared_length(headers), limits.received_max_bytes, url)
    try:
        async for chunk in response.aiter_stream():
            received += len(chunk)
            _check_size(received, limits.received_max_bytes, url)
            body += decompressor.feed(chunk, max_bytes=limits.body_max_bytes - len(body) + 1)
            _check_size(len(body), limits.body_max_bytes, url)
        decompressor.close()
    except DamagedBody:
        raise NotReached(f"{redact(url)} sent a damaged or incomplete body") from None
    return bytes(body)


def _declared_length(headers: httpx.Headers) -> int:
    length = headers.get("content-length", "")
    # A number of a thousand digits is one that Python refuses to read.
    return int(length) if length.isdecimal() and len(length) < 20 else 0


def _check_size(size: int, limit: int, url: httpx.URL) -> None:
    if size > limit:
        raise TooLarge(f"{redact(url)} has more than {limit} bytes, which is as much as is read")


def _status_text(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
