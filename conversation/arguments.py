"""Checks of arguments that are no text: whole numbers, seconds, flags, lists of things.

What stays true: what a check returns can be stored by every database that is served, and compared by Python.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from math import isfinite
from typing import Any, TypeVar

from conversation.errors import InvalidInput
from conversation.quotation import quote

T = TypeVar("T")
#: The largest number of a bigint, and of an integer.
BIGINT_MAX, INTEGER_MAX = 2**63 - 1, 2**31 - 1


def check_whole_number(field: str, value: object, *, minimum: int = 0, maximum: int, fix: str | None = None) -> int:
    """A whole number within these bounds; true and false are none."""
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
        raise InvalidInput(field, f"is {quote(value)}", fix or f"pass {minimum} to {maximum}")
    return value


def check_seconds(field: str, value: object) -> float | None:
    """A number of seconds, or None; no number of them is too small, or infinite."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or not _is_float(value):  # noqa: PLR0124 - NaN is not itself
        raise InvalidInput(field, f"is {quote(value)}", "pass a number of seconds, or None")
    return float(value)


def check_flag(field: str, value: object) -> bool:
    """True or false: a word that says "no" is true to Python."""
    if not isinstance(value, bool):
        raise InvalidInput(field, f"is {quote(value)}", "pass True or False")
    return value


def check_duration(field: str, value: object, *, minimum: timedelta, maximum: timedelta, fix: str) -> timedelta:
    """A duration within these bounds."""
    if not isinstance(value, timedelta) or not minimum <= value <= maximum:
        raise InvalidInput(field, f"is {quote(value)}", fix)
    return value


def check_instance(field: str, value: object, kind: type[T]) -> T:
    """A value of this type."""
    if not isinstance(value, kind):
        raise InvalidInput(field, f"is {quote(value)}", f"pass a value of the type {kind.__name__}")
    return value


def check_items(field: str, values: object, kind: Any, *, name: str | None = None) -> list[Any]:
    """A list, tuple or set of values of this type, which an error calls by its name."""
    if not isinstance(values, list | tuple | set | frozenset) or not all(isinstance(value, kind) for value in values):
        raise InvalidInput(field, "hold something else", f"pass a list of {name or kind.__name__}")
    return list(values)


def check_iterable(field: str, values: Any) -> Iterable[Any]:
    """Values that can be gone through one by one: a text, or bytes, is one value."""
    if not isinstance(values, Iterable) or isinstance(values, str | bytes | bytearray | Mapping):
        raise InvalidInput(field, f"is {quote(values)}", "pass a list")
    return values


def check_one_of(field: str, value: object, values: Collection[str]) -> str:
    """One of these words."""
    if not isinstance(value, str) or value not in values:
        raise InvalidInput(field, f"is {quote(value)}", f"use one of {', '.join(values)}")
    return value


def _is_float(value: float) -> bool:
    try:
        return isfinite(float(value)) or isinstance(value, float)
    except OverflowError:
        return False
