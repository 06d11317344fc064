"""Odd values: of types that look like those that are due, and whose own code fails when they are looked at."""

from collections import OrderedDict, UserDict, deque
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from itertools import count, repeat
from typing import Any, NoReturn
from zoneinfo import ZoneInfo


def _fail(*_: object, **__: object) -> NoReturn:
    raise RuntimeError("nobody may look at this value")


class _Failing:
    """Fails, whatever is asked of it."""

    __str__ = __repr__ = __eq__ = __len__ = __iter__ = __bool__ = __int__ = __float__ = __index__ = _fail
    __lt__ = __le__ = __gt__ = __ge__ = __getitem__ = __contains__ = __format__ = _fail
    __hash__ = _fail  # type: ignore[assignment]


class _FailingDict(dict[str, Any]):
    __len__ = __iter__ = items = keys = values = get = __getitem__ = _fail  # type: ignore[assignment]


class _FailingMapping(Mapping[str, Any]):
    __len__ = __iter__ = __getitem__ = _fail  # type: ignore[assignment]


class _FailingList(list[Any]):
    __len__ = __iter__ = _fail  # type: ignore[assignment]


class _FailingText(str):
    __slots__ = ()
    __len__ = __str__ = __repr__ = __eq__ = __contains__ = encode = isascii = strip = lower = _fail  # type: ignore[assignment]
    __hash__ = str.__hash__


class _FailingNumber(int):
    __eq__ = __lt__ = __le__ = __gt__ = __ge__ = __str__ = __repr__ = __bool__ = _fail  # type: ignore[assignment]
    __hash__ = int.__hash__


class _LyingText(str):
    """Says that it is short."""

    __slots__ = ()

    def __len__(self) -> int:
        return 1


class _LyingDict(dict[str, Any]):
    """Says that it is empty."""

    def __len__(self) -> int:
        return 0


class _EndlessMapping(Mapping[str, Any]):
    """Has a key after the other, without end."""

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[str]:
        return map(str, count())

    def __getitem__(self, key: str) -> int:
        return 1


class _Zone(tzinfo):
    """A zone that is what it was made with."""

    def __init__(self, offset: Any) -> None:
        self._offset = offset

    def utcoffset(self, _: datetime | None) -> Any:
        return self._offset() if callable(self._offset) else self._offset

    dst = utcoffset

    def tzname(self, _: datetime | None) -> str:
        return "odd"


class _Scalar:
    """A number of another library's: it can be made one, and is none."""

    def __int__(self) -> int:
        return 1

    __index__ = __len__ = __int__

    def __float__(self) -> float:
        return 1.0

    def item(self) -> int:
        return 1


class _Colour(Enum):
    RED = "red"


class _Level(IntEnum):
    HIGH = 3


class _Moment(datetime):
    """A moment of another library's."""


class _FailingMoment(datetime):
    utcoffset = astimezone = isoformat = _fail  # type: ignore[assignment]


def _nest(levels: int) -> Any:
    value: Any = "x"
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


TYPES: dict[str, Callable[[], Any]] = {
    "fails": _Failing,
    "failing dict": lambda: _FailingDict(a=1),
    "failing mapping": _FailingMapping,
    "failing list": lambda: _FailingList(["x"]),
    "failing text": lambda: _FailingText("word"),
    "failing number": lambda: _FailingNumber(1),
    "lying text": lambda: _LyingText("x" * 2_000_000),
    "lying dict": lambda: _LyingDict({str(n): n for n in range(20_000)}),
    "endless mapping": _EndlessMapping,
    "endless numbers": count,
    "endless texts": lambda: repeat("x"),
    "endless dicts": lambda: repeat({"role": "user", "content": "x"}),
    "scalar": _Scalar,
    "enum": lambda: _Colour.RED,
    "IntEnum": lambda: _Level.HIGH,
    "fraction": lambda: Fraction(1, 2),
    "decimal nan": lambda: Decimal("nan"),
    "memoryview": lambda: memoryview(b"abc"),
    "frozenset": lambda: frozenset({"a"}),
    "deque": lambda: deque(["x"]),
    "ordered dict": lambda: OrderedDict(a=1),
    "user dict": lambda: UserDict({"a": 1}),
    "tuple": lambda: ("x", 1),
    "slice": lambda: slice(3),
    "ellipsis": lambda: ...,
    "not implemented": lambda: NotImplemented,
    "module": lambda: timedelta,
    "time": lambda: time(12, tzinfo=UTC),
}
COLLECTIONS: dict[str, Callable[[], Any]] = {
    "list of true": lambda: [True],
    "list of bytes": lambda: [b"x"],
    "list of dicts": lambda: [{"a": 1}],
    "list of failing": lambda: [_Failing()],
    "10,000 levels": lambda: _nest(10_000),
    "100,000 levels": lambda: _nest(100_000),
    "holds failing": lambda: {"a": _Failing()},
    "holds failing text": lambda: {"a": _FailingText("x")},
    "holds failing dict": lambda: {"a": _FailingDict(a=1)},
    "holds itself twice": lambda: [{"c": [1]}] * 2,
    "holds a set": lambda: {"a": {1}},
    "key true": lambda: {True: 1},
    "key failing text": lambda: {_FailingText("a"): 1},
    "key tuple": lambda: {("a", 1): 1},
    "empty key": lambda: {"": 1},
    "200,000 keys": lambda: dict.fromkeys(map(str, range(200_000)), 0),
    "million items": lambda: ["x"] * 1_000_000,
    "100,000 parts": lambda: [{"type": "text", "text": "x"}] * 100_000,
    "type without text": lambda: [{"type": "text"}, {"type": {"a": 1}}],
}
TEXTS: dict[str, Callable[[], Any]] = {
    "10 million": lambda: "x" * 10_000_000,
    "100,000 accents": lambda: "a" + "\u0301\u0323" * 50_000,
    "250 accents": lambda: "a" + "\u0301\u0323" * 125,
    "hash in capitals": lambda: "A" * 64,
    "hash and a line": lambda: "0" * 64 + "\n",
    "hash of wide digits": lambda: "\uff10" * 64,
    "Arabic digits": lambda: "\u0661\u0662\u0663",
    "underscored number": lambda: "1_000",
    "negative zero": lambda: "-0",
    "year 1 as text": lambda: "0001-01-01T00:00:00+14:00",
    "year 9999 as text": lambda: "9999-12-31T23:59:59.999999-23:59",
    "year 10000 as text": lambda: "10000-01-01T00:00:00+00:00",
    "week as text": lambda: "2030-W01-1T00:00:00+00:00",
    "zone as text": lambda: "Europe/Berlin",
    "leap second": lambda: "2030-06-30T23:59:60+00:00",
}
MOMENTS: dict[str, Callable[[], Any]] = {
    "fold": lambda: datetime(2030, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
    "in no hour": lambda: datetime(2030, 3, 31, 2, 30, tzinfo=ZoneInfo("Europe/Berlin")),
    "zone without offset": lambda: datetime(2030, 1, 1, tzinfo=_Zone(None)),
    "failing zone": lambda: datetime(2030, 1, 1, tzinfo=_Zone(_fail)),
    "zone of a week": lambda: datetime(2030, 1, 1, tzinfo=_Zone(timedelta(days=7))),
    "zone of text": lambda: datetime(2030, 1, 1, tzinfo=_Zone("+01:00")),
    "own moment": lambda: _Moment(2030, 1, 1, tzinfo=UTC),
    "failing moment": lambda: _FailingMoment(2030, 1, 1, tzinfo=UTC),
    "last day": lambda: date.max,
    "half a microsecond": lambda: timedelta(microseconds=0.5),
    "east of year 2": lambda: datetime(1, 1, 2, tzinfo=timezone(timedelta(hours=14))),
}
ODD_VALUES = TYPES | COLLECTIONS | TEXTS | MOMENTS
