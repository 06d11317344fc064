"""Values of a PDF's objects as Python's. What stays true: a value of another type than expected is an empty one."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from conversation.charset import split_byte_order_mark

#: References to references, at most: a file may hold a circle of them.
REFERENCES_MAX = 10


def resolve(value: Any) -> Any:
    """The object that a reference leads to; None for one that is missing."""
    from pypdf.generic import IndirectObject, NullObject

    for _ in range(REFERENCES_MAX):
        if not isinstance(value, IndirectObject):
            return None if isinstance(value, NullObject) else value
        value = value.get_object()
    return None


def mapping_of(value: Any) -> Mapping[str, Any]:
    """A dictionary, or the one of a stream; empty for anything else."""
    resolved = resolve(value)
    return resolved if isinstance(resolved, dict) else {}


def items_of(value: Any) -> Sequence[Any]:
    """The items of an array, or a single value as one; none for what is missing."""
    resolved = resolve(value)
    return resolved if isinstance(resolved, list) else [] if resolved is None else [resolved]


def text_of(value: Any) -> str:
    """The text of a string, of a stream of text, of a name or number; "" for anything else."""
    from pypdf.generic import NameObject, StreamObject

    resolved = resolve(value)
    if isinstance(resolved, StreamObject):
        text = _decode(resolved.get_data())
    elif isinstance(resolved, bytes):
        text = _decode(resolved)
    elif resolved is None or isinstance(resolved, dict | list):
        text = ""
    else:
        text = str(resolved).removeprefix("/" if isinstance(resolved, NameObject) else "")
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def whole_number(value: Any) -> int:
    """A number as a whole one; 0 for anything else."""
    resolved = resolve(value)
    return int(resolved) if isinstance(resolved, int | float) else 0


def plain_text(markup: str) -> str:
    """The text of a rich value, which is a piece of XHTML."""
    import html

    blocks = re.sub(r"</p\s*>|<br\s*/?>", "\n", markup, flags=re.IGNORECASE)
    lines = html.unescape(re.sub(r"<[^<>]*>", "", blocks)).splitlines()
    return "\n".join(filter(None, (" ".join(line.split()) for line in lines)))


def identity_of(value: Any) -> object:
    """The mark that tells an object from others: its number in the file, if it has one."""
    reference = getattr(value, "indirect_reference", None) or value
    return getattr(reference, "idnum", None) or id(resolve(value))


def _decode(raw: bytes) -> str:
    encoding, unmarked = split_byte_order_mark(raw)
    if encoding:
        return unmarked.decode(encoding, "replace")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")
