"""What resources have in common over HTTP: their addresses, and the tags of their versions."""

import re
from collections.abc import Collection
from urllib.parse import quote

from fastapi import Request

_ETAG = re.compile(r'(W/)?"([^"]*)"')


def address_of(request: Request, depth: int, *segments: str) -> str:
    """The path of a resource, beside the last `depth` segments of the request's own."""
    base = request.url.path.rsplit("/", depth)[0]
    return "/".join([quote(base), *(quote(segment, safe="") for segment in segments)])


def write_etag(version: str) -> str:
    """The `ETag` of a version."""
    return f'"{version}"'


def read_etags(header: str | None, *, is_weak: bool = False) -> Collection[str] | None:
    """The versions that an `If-Match` names, or an `If-None-Match`; None for any: without one, and for `*`.

    The former compares strongly: a tag that says of itself that it is weak names none (RFC 9110).
    """
    if header is None or header.strip() == "*":
        return None
    return {version for weak, version in _ETAG.findall(header) if is_weak or not weak}
