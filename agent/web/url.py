"""A URL as somebody wrote it, made into one that may be fetched, and into one that may be shown.

What stays true: what passes here has a scheme of http or https, a host, no credentials and a port
of the web. Where the host leads is not judged here: only its resolved addresses tell (`guard.py`).
"""

from collections.abc import Collection

import httpx

from agent.web.errors import UrlRefused

#: What browsers and servers carry without trouble.
URL_MAX_CHARS = 4_000
#: Of a URL in an error: enough to know it again.
SHOWN_MAX_CHARS = 200

_DEFAULT_PORTS = {"http": 80, "https": 443}


def parse(text: str, *, allow_ports: Collection[int]) -> httpx.URL:
    """Raises `UrlRefused`. The fragment is dropped: servers never see it."""
    if len(text) > URL_MAX_CHARS:
        raise UrlRefused(f"the URL has {len(text)} characters; at most {URL_MAX_CHARS} are taken")
    try:
        url = httpx.URL(text.strip())
    except (httpx.InvalidURL, UnicodeError):
        # The library's own words may quote a password.
        raise UrlRefused("the URL is not valid; pass one like https://example.org/page") from None
    return checked(url, allow_ports=allow_ports)


def joined(url: httpx.URL, location: str, *, allow_ports: Collection[int]) -> httpx.URL:
    """Where a redirect leads. Raises `UrlRefused` as `parse` does."""
    if len(location) > URL_MAX_CHARS:
        raise UrlRefused(f"{shown(url)} redirects to a URL of {len(location)} characters")
    try:
        target = url.join(location)
    except (httpx.InvalidURL, UnicodeError):
        raise UrlRefused(f"{shown(url)} redirects to a URL that is not valid") from None
    return checked(target, allow_ports=allow_ports)


def checked(url: httpx.URL, *, allow_ports: Collection[int]) -> httpx.URL:
    """The URL without its fragment. Raises `UrlRefused`."""
    if url.scheme not in _DEFAULT_PORTS or not url.host:
        raise UrlRefused(f"{shown(url)} is no web address; only http:// and https:// with a host are fetched")
    if url.userinfo:
        raise UrlRefused(f"{shown(url)} holds a user name or password; pass it without")
    if port_of(url) not in allow_ports:
        allowed = ", ".join(map(str, sorted(allow_ports)))
        raise UrlRefused(f"{shown(url)} has a port that is not fetched from; allowed are {allowed}")
    return url.copy_with(fragment=None)


def port_of(url: httpx.URL) -> int:
    """The port that is meant where none is written, too."""
    return url.port if url.port is not None else _DEFAULT_PORTS[url.scheme]


def shown(url: httpx.URL) -> str:
    """The URL for an error or a result: no credentials, and of a query only that there is one."""
    host = f"[{url.host}]" if ":" in url.host else url.host
    port = f":{url.port}" if url.port is not None else ""
    scheme = f"{url.scheme}://" if url.scheme else ""
    text = f"{scheme}{host}{port}{url.path}"
    if len(text) > SHOWN_MAX_CHARS:
        text = text[: SHOWN_MAX_CHARS - 1] + "…"
    return f"{text}?…" if url.query else text
