"""One POST, and the status of its answer.

What stays true: it follows no redirect, reads no body of an answer, and goes where the guard lets it, and nowhere else.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from agent.web.answer import PostAnswer
from agent.web.errors import TooSlow, UrlRejected
from agent.web.exchange import exchange
from agent.web.limits import WebLimits
from agent.web.reach import Reach
from agent.web.url import parse

#: Characters of a `Retry-After` that are read: a date has 29.
_RETRY_AFTER_MAX_CHARS = 40


async def post(
    reach: Reach, url: str, *, headers: Mapping[str, str], body: bytes, limits: WebLimits, shown_url: str
) -> PostAnswer:
    """POST a body: see `WebClient.post`."""
    try:
        parsed_url = parse(url, allow_ports=reach.allow_ports)
    except UrlRejected:
        # Its own words name the URL.
        raise UrlRejected(f"{shown_url} is no web address, or has a port that is not sent to") from None
    sent_headers = [(b"Host", parsed_url.netloc), (b"Content-Length", b"%d" % len(body))]
    sent_headers += [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
    try:
        async with (
            asyncio.timeout(limits.total_seconds) as scope,
            exchange(reach, parsed_url, limits, shown_url=shown_url, headers=sent_headers, body=body) as response,
        ):
            answer_headers = httpx.Headers(response.headers)
            return PostAnswer(
                status=response.status, retry_after_seconds=read_retry_after(answer_headers.get("retry-after", ""))
            )
    except TimeoutError:
        if not scope.expired():
            raise
        raise TooSlow(f"{shown_url} did not answer within {limits.total_seconds:g} s") from None


def read_retry_after(text: str) -> float | None:
    """Seconds from a `Retry-After` (RFC 9110: seconds or a date); None for what is neither."""
    text = text.strip()[:_RETRY_AFTER_MAX_CHARS]
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)
