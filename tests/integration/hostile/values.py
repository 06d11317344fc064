"""Hostile values: what no caller means, and every public verb has to answer in our own words.

What stays true: each value is made anew for each call, since a verb may change it; a name is in every report.
"""

import base64
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

from conversation.attachment import Attachment
from conversation.message import Message
from conversation.thread import Thread
from tests.integration.hostile.odd_values import ODD_VALUES

#: A letter of four bytes in UTF-8: the longest that a text of so many characters can be.
WIDE = "\U00010400"
MILLION = 10**6
#: East and west as far as Python's zones go.
EAST, WEST = timezone(timedelta(hours=23, minutes=59)), timezone(-timedelta(hours=23, minutes=59))


class _Text(str):
    """A text that is none of Python's own."""

    __slots__ = ()


class _Word(StrEnum):
    WORD = "word"


def _nest(levels: int, kind: type) -> Any:
    """A list or a dict so many levels deep."""
    value: Any = kind()
    for _ in range(levels):
        value = [value] if kind is list else {"a": value}
    return value


def _circle(kind: type) -> Any:
    """A list or a dict that holds itself."""
    if kind is list:
        own_list: list[Any] = []
        own_list.append(own_list)
        return own_list
    own_dict: dict[str, Any] = {}
    own_dict["a"] = own_dict
    return own_dict


def _bomb() -> dict[str, Any]:
    """A small dict that unrolls into 2**40 lists."""
    value: list[Any] = []
    for _ in range(40):
        value = [value, value]
    return {"a": value}


def _cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


TYPES: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "true": lambda: True,
    "false": lambda: False,
    "bytes": lambda: b"bytes",
    "no UTF-8": lambda: b"\xff\x00",
    "bytearray": lambda: bytearray(b"x"),
    "object": object,
    "class": lambda: int,
    "function": lambda: len,
    "set": lambda: {"a"},
    "range": lambda: range(3),
    "generator": lambda: (x for x in "ab"),
    "complex": lambda: 1j,
    "decimal": lambda: Decimal("1.5"),
    "path": lambda: Path("a"),
    "uuid": lambda: UUID(int=7),
    "exception": lambda: ValueError("x"),
    "message": lambda: Message(role="user", content="x"),
    "thread": lambda: Thread("hostile"),
    "attachment": lambda: Attachment(filename="a.txt", content=b"a"),
}
NUMBERS: dict[str, Callable[[], Any]] = {
    "0": lambda: 0,
    "-1": lambda: -1,
    "1": lambda: 1,
    "2**31": lambda: 2**31,
    "2**63": lambda: 2**63,
    "-2**63-1": lambda: -(2**63) - 1,
    "10**400": lambda: 10**400,
    "10**5000": lambda: 10**5000,
    "0.5": lambda: 0.5,
    "1e308": lambda: 1e308,
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "-inf": lambda: float("-inf"),
}
COLLECTIONS: dict[str, Callable[[], Any]] = {
    "empty list": list,
    "empty dict": dict,
    "list of text": lambda: ["x"],
    "list of None": lambda: [None],
    "deep list": lambda: _nest(5_000, list),
    "deep dict": lambda: _nest(5_000, dict),
    "51 levels": lambda: _nest(51, dict),
    "circular list": lambda: _circle(list),
    "circular dict": lambda: _circle(dict),
    "bomb": _bomb,
    "70,000 items": lambda: [None] * 70_000,
    "many keys": lambda: {str(n): n for n in range(20_000)},
    "key None": lambda: {None: 1},
    "key 1": lambda: {1: 1},
    "key bytes": lambda: {b"a": 1},
    "key NUL": lambda: {"\x00": 1},
    "key surrogate": lambda: {"\ud800": 1},
    "key of a million": lambda: {"k" * MILLION: 1},
    "holds NUL": lambda: {"a": ["\x00"]},
    "holds surrogate": lambda: {"a": {"b": "\udfff"}},
    "holds nan": lambda: {"a": float("nan")},
    "holds 10**5000": lambda: {"a": 10**5000},
    "holds 1e308": lambda: {"a": [1e308, -0.0, 5e-324, 2**64]},
    "holds bytes": lambda: {"a": b"a"},
    "holds a date": lambda: {"a": datetime.now(UTC)},
    "user of 8 kB": lambda: {"user": "x" * 8192},
    "user of 255 wide": lambda: {"user": WIDE * 255},
    "user turned around": lambda: {"user": "a\u202eb"},
    "user surrogate": lambda: {"user": "\ud800"},
    "user is a dict": lambda: {"user": {"id": 1}},
    "user 10**308": lambda: {"user": 10**308},
    "user 1e300": lambda: {"user": 1e300},
}
TEXTS: dict[str, Callable[[], Any]] = {
    "empty": lambda: "",
    "space": lambda: " ",
    "NUL": lambda: "\x00",
    "NUL inside": lambda: "a\x00b",
    "lone surrogate": lambda: "\ud800",
    "surrogate inside": lambda: "a\udfffb",
    "controls": lambda: "a\x01\x1f\x7f\x85b",
    "right to left": lambda: "a\u202eb",
    "zero width": lambda: "a\u200bb",
    "byte order mark": lambda: "\ufeffa",
    "tags": lambda: "a\U000e0041",
    "soft hyphen": lambda: "a\u00adb",
    "line separator": lambda: "a\u2028b",
    "not composed": lambda: "e\u0301",
    "composed": lambda: "é",
    "no character": lambda: "a\uffff",
    "last character": lambda: "a\U0010ffff",
    "new lines": lambda: "a\r\nb",
    "255 characters": lambda: "x" * 255,
    "256 characters": lambda: "x" * 256,
    "255 wide": lambda: WIDE * 255,
    "256 wide": lambda: WIDE * 256,
    "8 kB": lambda: "x" * 8192,
    "a million": lambda: "y" * MILLION,
    "a million wide": lambda: WIDE * MILLION,
    "a million and one": lambda: "z" * (MILLION + 1),
    "path upwards": lambda: "../../etc/passwd",
    "dots": lambda: "..",
    "backslashes": lambda: "a\\b\\",
    "quotes": lambda: "'\"`; DROP TABLE threads; --",
    "format": lambda: "%s %(x)s {0} {x} $1 :x",
    "percent": lambda: "%_%",
    "operators": lambda: 'a OR b NOT NEAR(c) * ^d "',
    "many exclusions": lambda: "a" + " -b" * 600,
    "many alternatives": lambda: "a" + " or b" * 390,
    "open parts": lambda: "(" * 1900 + "a",
    "str subclass": lambda: _Text("word"),
    "StrEnum": lambda: _Word.WORD,
    "zeros": lambda: "0" * 64,
    "an id": lambda: "0195a1f0-0000-7000-8000-000000000000",
    "id in capitals": lambda: "0195A1F0-0000-7000-8000-000000000000",
    "broken address": lambda: "http://[",
    "odd database": lambda: "sqlite:///\x00",
    "infinity": lambda: "infinity",
    "deep JSON": lambda: "[" * 100_000,
    "5000 digits": lambda: "9" * 5000,
    "cursor of deep JSON": lambda: _cursor("[" * 100_000),
    "cursor of 5000 digits": lambda: _cursor("9" * 5000),
    "cursor of 2**63": lambda: _cursor("9223372036854775808"),
    "cursor of [2**63]": lambda: _cursor("[9223372036854775808]"),
    "cursor of 1e999": lambda: _cursor("[1e999]"),
    "cursor of -1": lambda: _cursor("[-1]"),
    "cursor of {}": lambda: _cursor("{}"),
    "cursor of year 1": lambda: _cursor('["0001-01-01T00:00:00+14:00", 1]'),
    "cursor of year 9999": lambda: _cursor('["9999-12-31T23:59:59.999999-14:00", 1]'),
    "cursor without zone": lambda: _cursor('["2030-01-01T00:00:00", 1]'),
}
MOMENTS: dict[str, Callable[[], Any]] = {
    "naive": lambda: datetime(2030, 1, 1),  # noqa: DTZ001 - no zone is what is wrong with it
    "year 1": lambda: datetime.min.replace(tzinfo=UTC),
    "year 1 in the east": lambda: datetime.min.replace(tzinfo=EAST),
    "year 1 in the west": lambda: datetime.min.replace(tzinfo=WEST),
    "year 9999": lambda: datetime.max.replace(tzinfo=UTC),
    "year 9999 in the east": lambda: datetime.max.replace(tzinfo=EAST),
    "year 9999 in the west": lambda: datetime.max.replace(tzinfo=WEST),
    "odd zone": lambda: datetime(2030, 1, 1, tzinfo=timezone(timedelta(seconds=1, microseconds=5))),
    "date": lambda: date(2030, 1, 1),
    "no time": lambda: timedelta(0),
    "longest time": lambda: timedelta.max,
    "time backwards": lambda: timedelta.min,
}
VALUES: dict[str, Callable[[], Any]] = {**TYPES, **NUMBERS, **COLLECTIONS, **TEXTS, **MOMENTS, **ODD_VALUES}
