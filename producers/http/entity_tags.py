"""The `ETag` of a resource: the version that a client saw, and says again when it changes or fetches it."""

import re
from collections.abc import Collection

_ETAG = re.compile(r'(W/)?"([^"]*)"')


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
