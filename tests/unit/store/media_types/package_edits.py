"""Packages with other parts than they had.

What stays true: parts are stored as they are, so that a package is made in no time.
"""

import io
import zipfile
from collections.abc import Mapping
from functools import cache

from tests.unit.documents import packed


def change(
    content: bytes, parts: Mapping[str, bytes | str] | None = None, edits: Mapping[str, tuple[str, str]] | None = None
) -> bytes:
    """A package with other parts, and with one piece of text put before another."""
    changed: dict[str, bytes | str] = dict(_unpack(content))
    for name, (before, put) in (edits or {}).items():
        text = str(changed[name], "utf-8") if isinstance(changed[name], bytes) else str(changed[name])
        assert before in text
        changed[name] = text.replace(before, f"{put}{before}", 1)
    changed |= parts or {}
    return packed(changed, stored=tuple(changed))


@cache
def _unpack(content: bytes) -> Mapping[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as original:
        return {name: original.read(name) for name in original.namelist()}
