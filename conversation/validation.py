"""Validation of callers' values. Each check raises `InvalidInput` with the field, the problem and the fix.

The checks live in the lowest layer so that a value refused by a producer is refused by the store and
by a library caller in the same words.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from sys import float_info
from typing import Any, TypeGuard

from conversation.errors import InvalidInput
from conversation.invisible import INVISIBLE
from conversation.quotation import quote

#: Fits a URL path segment and a B-tree entry; e-mail addresses and topic slugs pass.
ID_MAX_CHARS = 255
#: One message's text. Long enough for a pasted book chapter, short enough for one row.
CONTENT_MAX_CHARS = 1_000_000
#: Metadata of one thread or message, as JSON bytes: labels, not documents.
METADATA_MAX_BYTES = 64 * 1024
#: Levels of lists and dicts within each other: far below where any JSON parser gives up.
METADATA_MAX_DEPTH = 50
#: Where floats end: the digits of much larger integers are not even read by Python.
NUMBER_MAX = int(float_info.max)
#: From here on every float is a whole number (2**53).
EXACT_FLOAT_MAX = 2.0**53

#: The first and the last moment that can be stored: a day within what Python counts, since a database may write it
#: in any time zone.
MOMENT_MIN, MOMENT_MAX = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)

#: The beginning of tenants' names that Threadmill reserves for data of its own, as archives.
RESERVED_TENANT_PREFIX = "threadmill."

#: The methods of a text that whoever stores it goes by.
_METHODS_OF_TEXT = ("__len__", "__eq__", "__iter__", "__getitem__", "__contains__", "encode", "startswith")
_ID = re.compile(r"[^\s\x00-\x1f\x7f-\x9f/\\]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def check_id(field: str, value: object) -> str:
    """A user-chosen id: 1 to 255 visible characters in composed form (NFC), no white space and no slashes.

    One text is so one id, also to a database that compares bytes. Letters of two scripts that look alike stay two.
    """
    if not _is_text(value):
        raise InvalidInput(field, f"is {type(value).__name__}, not text", "pass a string")
    if not value:
        raise InvalidInput(field, "is empty", "pass 1 to 255 characters")
    if len(value) > ID_MAX_CHARS:
        raise InvalidInput(field, f"has {len(value)} characters", f"at most {ID_MAX_CHARS} fit")
    if value in (".", ".."):
        raise InvalidInput(field, f"is {value!r}", "a URL path cannot name it: use letters or digits too")
    if not _ID.fullmatch(value) or not _is_encodable(value):
        raise InvalidInput(
            field,
            "holds white space, a slash, or a control character",
            "use letters, digits and . _ - : @ and the like",
        )
    if not value.isascii():
        _check_is_what_it_looks_like(field, value)
    return value


def _check_is_what_it_looks_like(field: str, value: str) -> None:
    hidden = INVISIBLE.search(value)
    if hidden:
        raise InvalidInput(field, f"holds U+{ord(hidden[0]):04X}, which is invisible or turns text around", "remove it")
    if not unicodedata.is_normalized("NFC", value):
        raise InvalidInput(
            field, "is not in Unicode's composed form", "pass it as unicodedata.normalize('NFC', …) makes it"
        )


def check_tenant_of_user(value: object) -> str:
    """A tenant's name that a caller may use: as `check_tenant`, without the reserved ones."""
    if _is_text(value) and value.startswith(RESERVED_TENANT_PREFIX):
        raise InvalidInput("tenant", f"begins with {RESERVED_TENANT_PREFIX}", "choose another name: these are ours")
    return check_tenant(value)


def check_tenant(value: object) -> str:
    """A tenant's name: it becomes part of object keys, so it is plain ASCII of at most 63 characters."""
    if not _is_text(value) or not _TENANT.fullmatch(value) or ".." in value:
        raise InvalidInput(
            "tenant", "is no plain name", "use 1 to 63 of A-Z a-z 0-9 . _ - and begin with a letter or digit"
        )
    return value


def check_text(field: str, value: object, *, max_chars: int = CONTENT_MAX_CHARS) -> str:
    """Text that PostgreSQL can store: a string, no NUL, no lone surrogate, not too long."""
    if not _is_text(value):
        raise InvalidInput(field, f"is {type(value).__name__}, not text", "pass a string")
    if len(value) > max_chars:
        place = " in one message" if max_chars == CONTENT_MAX_CHARS else ""
        raise InvalidInput(field, f"has {len(value)} characters", f"at most {max_chars} fit{place}")
    if "\x00" in value:
        raise InvalidInput(field, "holds a NUL character", "remove \\x00: PostgreSQL cannot store it")
    if not _is_encodable(value):
        raise InvalidInput(field, "is not valid Unicode", "decode it with errors='replace' first")
    return value


def check_sha256(field: str, value: object) -> str:
    """The SHA-256 of bytes, as all of the project writes it: 64 lower-case hex digits."""
    if not _is_text(value) or not is_sha256(value):
        raise InvalidInput(field, "is no hash", "pass 64 lower-case hex digits: hashlib.sha256(…).hexdigest()")
    return value


def is_sha256(text: str) -> bool:
    """Whether a text is a SHA-256 as `check_sha256` takes it."""
    return _SHA256.fullmatch(text) is not None


def check_moment(field: str, value: object) -> datetime:
    """A moment in UTC, out of one with its zone: without one, it would mean another moment on another machine."""
    if not isinstance(value, datetime):
        raise InvalidInput(field, f"is {type(value).__name__}, not a datetime", "pass datetime.now(UTC)")
    moment = _to_utc(field, value)
    if moment is None:
        raise InvalidInput(field, "has no time zone", "pass an aware datetime, as datetime.now(UTC)")
    if not MOMENT_MIN <= moment <= MOMENT_MAX:
        raise InvalidInput(field, "is out of range", "pass a time between the years 1 and 9999")
    return moment


def _to_utc(field: str, value: datetime) -> datetime | None:
    """A moment in UTC; None without a zone."""
    try:
        if value.utcoffset() is None:
            return None
        moment = value.astimezone(UTC)
        # One of another library's may count otherwise.
        return datetime.combine(moment.date(), moment.timetz())
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)
    except Exception as error:
        problem = f"has a time zone that fails ({type(error).__name__})"
        raise InvalidInput(field, problem, "pass an aware datetime, as datetime.now(UTC)") from error


def moment_from_json(field: str, value: object) -> datetime:
    """A moment as `isoformat` writes it, with its zone."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise InvalidInput(field, f"is {quote(value)}", "write it as 2030-01-31T12:00:00+00:00") from None
    return check_moment(field, moment)


def check_metadata(field: str, value: object, *, max_bytes: int = METADATA_MAX_BYTES) -> dict[str, Any]:
    """A JSON object with string keys, of at most 64 KiB if nothing else is said. Returned as plain values."""
    if value is None or (type(value) is dict and not value):
        return {}  # as most are
    if not isinstance(value, Mapping):
        raise InvalidInput(field, "is no JSON object", "pass a dict with string keys")
    try:
        check_json_shape(field, value, max_bytes, check_leaf=_check_scalar)
        text = json.dumps(value, allow_nan=False, default=dict)
    except InvalidInput:
        raise
    except Exception as error:
        # A value of somebody else's type, whose own code fails.
        raise InvalidInput(field, f"cannot be read ({type(error).__name__})", "pass plain dicts and lists") from error
    if len(text) > max_bytes:
        raise InvalidInput(field, f"has {len(text)} bytes of JSON", f"at most {max_bytes} fit")
    metadata: dict[str, Any] = json.loads(text, parse_float=_parse_number)
    return metadata


def check_json_shape(
    field: str, value: object, max_bytes: int, *, check_leaf: Callable[[str, object], object] | None = None
) -> None:
    """Refuse a value that is nested too deep, holds too many values, or has keys that are no text.

    `check_leaf` checks the keys, and the values that hold no others. Values are counted while they are read, and each
    takes a byte at least: of a list that holds another one twice, which does the same, no memory would hold the JSON.
    """
    check_leaf = check_leaf or (lambda _field, _leaf: None)
    unread: list[tuple[object, int]] = [(value, 0)]
    count = 0
    while unread:
        item, depth = unread.pop()
        if depth > METADATA_MAX_DEPTH:
            raise InvalidInput(field, "is nested too deep", f"at most {METADATA_MAX_DEPTH} levels fit")
        if isinstance(item, Mapping):
            for key, member in item.items():
                if not _is_text(key):
                    raise InvalidInput(field, f"has a key that is {type(key).__name__}", "use strings as keys")
                check_leaf(field, key)
                count = _count_chars(field, count + len(key), max_bytes)
                unread.append((member, depth + 1))
        elif isinstance(item, list | tuple):
            for member in item:
                count = _count_chars(field, count, max_bytes)
                unread.append((member, depth + 1))
        else:
            count = _count_chars(field, count + (len(item) if _is_text(item) else 0), max_bytes)
            check_leaf(field, item)


def _count_chars(field: str, count: int, max_bytes: int) -> int:
    """One value more, of so many characters before it; far more than fit are not read to their end."""
    if count >= 2 * max_bytes:
        raise InvalidInput(field, f"has more than {max_bytes} bytes of JSON", f"at most {max_bytes} fit")
    return count + 1


def _check_scalar(field: str, value: object) -> None:
    if _is_text(value):
        if "\x00" in value or not _is_encodable(value):
            raise InvalidInput(field, "holds a NUL or invalid Unicode", "remove it: PostgreSQL cannot store it")
    elif isinstance(value, str) or not isinstance(value, int | float | None):
        problem = f"is not JSON (it holds {type(value).__name__})"
        raise InvalidInput(field, problem, "use strings, numbers, booleans, lists, dicts")
    elif value is not None and not abs(value) <= NUMBER_MAX:
        raise InvalidInput(field, "holds a number that is NaN, infinite or too large", "pass it as text")


def _parse_number(text: str) -> float | int:
    """A number as PostgreSQL will return it, which writes 1e23 as an integer, of other digits."""
    value = float(text)
    return int(value) if value.is_integer() and abs(value) >= EXACT_FLOAT_MAX else value


def _is_text(value: object) -> TypeGuard[str]:
    """Whether a value is text: also an enum's, but none of a type that counts or compares it in a way of its own."""
    kind = type(value)
    return kind is str or (
        isinstance(value, str) and all(getattr(kind, name) is getattr(str, name) for name in _METHODS_OF_TEXT)
    )


def _is_encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
