"""One request and its answer, on a connection of its own, made by the guarded backend.

The layer below httpx is used because that takes a network backend, and because httpx's client logs
each URL with its query.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import httpcore
import httpx

from agent.web.errors import NotReached, TooSlow
from agent.web.guarded_backend import GuardedBackend
from agent.web.limits import WebLimits
from agent.web.reach import Reach


@asynccontextmanager
async def exchange(
    reach: Reach,
    url: httpx.URL,
    limits: WebLimits,
    *,
    shown_url: str,
    headers: Sequence[tuple[bytes, bytes]],
    body: bytes | None = None,
) -> AsyncIterator[httpcore.Response]:
    """Send one request: a POST where there is a body. Errors call the URL `shown_url`. Raises `WebError`.

    The headers have the `Host`, for httpcore's own leaves the brackets off an IPv6 address.
    """
    pool = httpcore.AsyncConnectionPool(
        ssl_context=await reach.load_ssl_context() if url.scheme == "https" else None,
        max_connections=1,
        max_keepalive_connections=0,
        network_backend=GuardedBackend(reach.guard, reach.resolve, redacted_url=shown_url),
    )
    timeouts = {
        "connect": limits.connect_seconds,
        "read": limits.read_seconds,
        "write": limits.read_seconds,
        "pool": limits.read_seconds,
    }
    target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    method = b"GET" if body is None else b"POST"
    request = pool.stream(method, target, headers=headers, content=body, extensions={"timeout": timeouts})
    with _translate_errors(shown_url, limits):
        async with pool, request as response:
            yield response


@contextmanager
def _translate_errors(shown_url: str, limits: WebLimits) -> Iterator[None]:
    try:
        yield
    except httpcore.ConnectTimeout:
        raise TooSlow(f"{shown_url} did not connect within {limits.connect_seconds:g} s") from None
    except httpcore.TimeoutException:
        raise TooSlow(f"{shown_url} sent nothing for {limits.read_seconds:g} s") from None
    except httpcore.NetworkError as error:
        # The words of sockets and certificates: they quote no URL.
        raise NotReached(f"{shown_url} could not be reached: {str(error)[:200] or 'the connection broke'}") from None
    except httpcore.ProtocolError:
        # These may quote what the server sent.
        raise NotReached(f"{shown_url} broke off, or does not speak HTTP") from None
