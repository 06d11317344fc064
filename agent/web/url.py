"""Checking a URL before it is fetched, and redacting it before it is shown.

What stays true: what passes here has a scheme of http or https, a host, no credentials and a port
of the web. Where the host leads is not judged here: only its resolved addresses tell (`address_guard.py`).
"""

from collections.abc import Collection

import httpx

from agent.web.errors import UrlRejected

#: What browsers and servers carry without trouble.
URL_MAX_CHARS = 4_000
#: Of a URL in an error: enough to know it again.
REDACTED_MAX_CHARS = 200

_DEFAULT_PORTS = {"http": 80, "https": 443}


def parse(text: str, *, allow_ports: Collection[int]) -> httpx.URL:
    """Parse a URL, without the fragment, which servers never see. Raises `UrlRejected`."""
    if len(text) > URL_MAX_CHARS:
        raise UrlRejected(f"the URL has {len(text)} characters; at most {URL_MAX_CHARS} are taken")
    try:
        url = httpx.URL(text.strip())
    except (httpx.InvalidURL, UnicodeError):
        # The library's own words may quote a password.
        raise UrlRejected("the URL is not valid; pass one like https://example.org/page") from None
    return check_url(url, allow_ports=allow_ports)


def resolve_redirect(url: httpx.URL, location: str, *, allow_ports: Collection[int]) -> httpx.URL:
    """Resolve the URL to which a redirect leads. Raises `UrlRejected` as `parse` does."""
    if len(location) > URL_MAX_CHARS:
        raise UrlRejected(f"{redact(url)} redirects to a URL of {len(location)} characters")
    try:
        target = url.join(location)
    except (httpx.InvalidURL, UnicodeError):
        raise UrlRejected(f"{redact(url)} redirects to a URL that is not valid") from None
    return check_url(target, allow_ports=allow_ports)


def check_url(url: httpx.URL, *, allow_ports: Collection[int]) -> httpx.URL:
    """Check a URL, and return it without its fragment. Raises `UrlRejected`."""
    if url.scheme not in _DEFAULT_PORTS or not url.host:
        raise UrlRejected(f"{redact(url)} is no web address; only http:// and https:// with a host are fetched")
    if url.userinfo:
        raise UrlRejected(f"{redact(url)} holds a user name or password; pass it without")
    if port_of(url) not in allow_ports:
        allowed_ports = ", ".join(map(str, sorted(allow_ports)))
        raise UrlRejected(f"{redact(url)} has a port that is not fetched from; allowed are {allowed_ports}")
    return url.copy_with(fragment=None)


def port_of(url: httpx.URL) -> int:
    """The port that is meant where none is written, too."""
    return url.port if url.port is not None else _DEFAULT_PORTS[url.scheme]


def redact(url: httpx.URL) -> str:
    """Redact a URL for an error or a result: no credentials, and of a query only that there is one."""
    host = f"[{url.host}]" if ":" in url.host else url.host
    port = f":{url.port}" if url.port is not None else ""
    scheme = f"{url.scheme}://" if url.scheme else ""
    text = f"{scheme}{host}{port}{url.path}"
    if len(text) > REDACTED_MAX_CHARS:
        text = text[: REDACTED_MAX_CHARS - 1] + "…"
    return f"{text}?…" if url.query else text
