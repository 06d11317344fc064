"""The HTTP client of a loop: connections that are kept for the next call, certificates, and the proxy to an address.

What stays true: a loop has one session, which is closed when the loop shuts down its generators; nothing is read out
of `.netrc`, no cookie is kept, and how many calls there are at once is bounded by those who make them.
"""

import asyncio
import os
import ssl
from collections.abc import AsyncGenerator
from functools import cache
from urllib.request import proxy_bypass

import aiohttp
import certifi
from yarl import URL

#: Seconds for which an idle connection is kept. One that its server closes meanwhile is not used again.
KEEP_ALIVE_SECONDS = 30.0
#: Bytes of one line or field of an answer's head, at most.
HEAD_FIELD_MAX_BYTES = 65_536
#: Seconds for which an address of a host is remembered.
DNS_SECONDS = 60

#: The session of a loop, and the generator that closes it.
_sessions: dict[asyncio.AbstractEventLoop, tuple[aiohttp.ClientSession, AsyncGenerator[None, None]]] = {}


async def open_session() -> aiohttp.ClientSession:
    """The session of the running loop."""
    loop = asyncio.get_running_loop()
    if loop not in _sessions:
        certificates = await asyncio.to_thread(_load_certificates, _certificate_settings())
        for ended_loop in [each for each in _sessions if each.is_closed()]:
            _sessions.pop(ended_loop, None)  # whoever closed it did not shut down its generators
        if loop not in _sessions:  # another call may have been faster
            session = _make_session(certificates)
            keeper = _keep(loop, session)
            _sessions[loop] = session, keeper
            await anext(keeper)
    return _sessions[loop][0]


async def close_session() -> None:
    """Close the session of the running loop, if it has one."""
    if held := _sessions.get(asyncio.get_running_loop()):
        await held[1].aclose()


def find_proxy(url: URL) -> str | None:
    """The proxy to an address, as the environment names it (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, …)."""
    names = (f"{url.scheme}_proxy", "all_proxy")
    # Not by `getproxies`, which reads the whole environment, with each call.
    values = (os.environ.get(spelling) for name in names for spelling in (name, name.upper()))
    proxy = next((value for value in values if value), None)
    if proxy is None or proxy_bypass(url.host or ""):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


async def _keep(loop: asyncio.AbstractEventLoop, session: aiohttp.ClientSession) -> AsyncGenerator[None, None]:
    """Keep a session open until its loop shuts down its generators, as `asyncio.run` does at the end."""
    try:
        yield
    finally:
        _sessions.pop(loop, None)
        await session.close()


def _make_session(certificates: ssl.SSLContext) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS, ttl_dns_cache=DNS_SECONDS, ssl=certificates
        ),
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "threadmill", "Accept-Encoding": "identity"},
        max_line_size=HEAD_FIELD_MAX_BYTES,
        max_field_size=HEAD_FIELD_MAX_BYTES,
    )


def _certificate_settings() -> tuple[str, str | None]:
    """The certificates to trust, by the variables that litellm reads: a file, or nothing for any; and our own."""
    verify, own_file = os.environ.get("SSL_VERIFY", ""), os.environ.get("SSL_CERTIFICATE")
    if verify.strip().lower() == "false":
        return "", own_file
    files = (verify, os.environ.get("SSL_CERT_FILE", ""), certifi.where())
    return next(file for file in files if file and os.path.exists(file)), own_file  # noqa: PTH110  as litellm does


@cache
def _load_certificates(settings: tuple[str, str | None]) -> ssl.SSLContext:
    file, own_file = settings
    context = ssl.create_default_context(cafile=file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not file:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if own_file:
        context.load_cert_chain(own_file)
    return context
