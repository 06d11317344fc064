"""One fetch: the redirects, the requests, the body, each within its limits.

What stays true: every hop is checked as if it were the first, on a connection of its own, made by
the guarded backend. Nothing of the environment steers it: a proxy would resolve names for us.
"""

import asyncio
import re
from collections.abc import Callable
from http import HTTPStatus

import httpcore
import httpx

from agent.web.answer import Answer
from agent.web.decompression import ACCEPTED_ENCODING, DamagedBody, decompressor_for
from agent.web.errors import AnswerRejected, NotReached, TooLarge, TooSlow
from agent.web.exchange import exchange
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
    async with exchange(reach, url, limits, shown_url=redact(url), headers=_request_headers(url)) as response:
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


def _request_headers(url: httpx.URL) -> list[tuple[bytes, bytes]]:
    return [
        (b"Host", url.netloc),
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
