"""Checks of arguments that are no text: whole numbers, seconds, flags, lists of things.

What stays true: what a check returns can be stored by every database that is served, and compared by Python.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import timedelta
from itertools import islice
from math import isfinite, isnan
from typing import Any, TypeVar

from conversation.errors import InvalidInput
from conversation.quotation import quote

T = TypeVar("T")
#: Values of a list, at most, where nothing else is said.
ITEMS_MAX = 100_000
#: The largest number of a bigint, and of an integer.
BIGINT_MAX, INTEGER_MAX = 2**63 - 1, 2**31 - 1


def check_whole_number(field: str, value: object, *, minimum: int = 0, maximum: int, fix: str | None = None) -> int:
    """A whole number within these bounds; true and false are none."""
    number = int.__index__(value) if isinstance(value, int) and not isinstance(value, bool) else None
    if number is None or not minimum <= number <= maximum:
        raise InvalidInput(field, f"is {quote(value)}", fix or f"pass {minimum} to {maximum}")
    return number


def check_seconds(field: str, value: object) -> float | None:
    """A number of seconds, or None; no number of them is too small, or infinite."""
    if value is None:
        return None
    number: float | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = int.__index__(value)
    elif isinstance(value, float):
        number = float.__float__(value)
    # In this order: a number that is too large for a float is none that `isnan` takes.
    if number is None or not _is_float(number) or isnan(number):
        raise InvalidInput(field, f"is {quote(value)}", "pass a number of seconds, or None")
    return float(number)


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
    items = take_items(field, values, ITEMS_MAX) if isinstance(values, list | tuple | set | frozenset) else None
    if items is None or not all(isinstance(item, kind) for item in items):
        raise InvalidInput(field, "hold something else", f"pass a list of {name or kind.__name__}")
    return items


def take_items(field: str, values: Iterable[Any], maximum: int) -> list[Any]:
    """The values of a list, so many at most: one that never ends is none."""
    items = list(islice(iterate(field, values), maximum + 1))
    if len(items) > maximum:
        raise InvalidInput(field, f"are more than {maximum}", f"at most {maximum} fit")
    return items


def check_iterable(field: str, values: Any) -> Iterable[Any]:
    """Values that can be gone through one by one: a text, or bytes, is one value."""
    if not isinstance(values, Iterable) or isinstance(values, str | bytes | bytearray | Mapping):
        raise InvalidInput(field, f"is {quote(values)}", "pass a list")
    return values


def iterate(field: str, values: Any) -> Iterator[Any]:
    """Values one by one, as `check_iterable` takes them; a list whose own code fails is none."""
    remaining = None
    try:
        remaining = iter(check_iterable(field, values))
        yield from remaining
    except Exception as error:
        # What a generator is fed from may fail, and its owner has to see that.
        if isinstance(error, InvalidInput) or remaining is values:
            raise
        raise InvalidInput(field, f"cannot be read ({type(error).__name__})", "pass a list") from error


def check_one_of(field: str, value: object, values: Collection[str]) -> str:
    """One of these words."""
    word = str.__str__(value) if isinstance(value, str) else None
    if word is None or word not in values:
        raise InvalidInput(field, f"is {quote(value)}", f"use one of {', '.join(values)}")
    return word


def _is_float(value: float) -> bool:
    try:
        return isfinite(float(value)) or isinstance(value, float)
    except OverflowError:
        return False
