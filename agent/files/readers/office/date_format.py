"""Dates and times of a workbook, which are numbers of days, by the number formats of their cells.

What stays true: the days are those that a spreadsheet shows: its 29 February 1900 included, and counted from 1904 where
the workbook says so.
"""

import re
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise

#: Stands for formats whose order of day, month and year is that of the machine: the ISO form of date, time or both.
ISO_DATE = "[iso]"
#: 31 December 9999.
DAYS_MAX = 2_958_465
#: Days from 1900's first day to 1904's, from which workbooks of old Macs count.
DAYS_TO_1904 = 1462

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_SECONDS_A_DAY = 86_400
#: One piece of a date's format: a literal in one of its spellings, a span of time, or a part of the date.
_TOKEN = re.compile(
    r'"(?P<quoted>[^"]*)"?|\\(?P<escaped>.)|_(?P<space>.?)|\*(?P<fill>.)|\[(?P<span>h+|m+|s+)\]'
    r"|\[\$(?P<symbol>[^\]-]{0,40}+)[^\]]{0,255}+\]"
    r"|\[[^\]]{0,255}+\]|(?P<halfday>AM/PM|A/P|上午/下午)|(?P<general>general)|(?P<part>y+|m+|d+|h+|s+|e+|g+)|\.(?P<fraction>0+)|(?P<literal>.)",
    re.IGNORECASE | re.DOTALL,
)
_DIGIT_SIGN = re.compile(r"[0#?]")


def compile_date(code: str) -> Callable[[Decimal], str] | None:
    """Compile one section of a format code that shows a date or time; None for a section that shows none.

    What it returns raises `ValueError` for a number that no date has, as it does for eras.
    """
    tokens = [(str(match.lastgroup), match[str(match.lastgroup)]) for match in _TOKEN.finditer(code) if match.lastgroup]
    if not _is_date(tokens):
        return None
    parts = _name_parts(tokens)
    digits = max((len(text) for kind, text in parts if kind == "fraction"), default=0)
    has_half_days = any(kind == "halfday" for kind, _ in parts)
    is_span = any(kind == "span" for kind, _ in parts)

    def render(days: Decimal) -> str:
        # A span can be negative; who calls adds the sign.
        moment = _Moment(abs(days) if is_span else days, digits, has_half_days=has_half_days)
        return "".join(moment.render(kind, text) for kind, text in parts)

    return render


def find_first_in_date(code: str) -> str:
    """Find the first part of a date of numbers that can be mistaken: "day" or "month"; "" where none can."""
    tokens = [(str(match.lastgroup), match[str(match.lastgroup)]) for match in _TOKEN.finditer(code) if match.lastgroup]
    parts = [text for kind, text in _name_parts(tokens) if kind == "part" and text[0] in "dMy"]
    if not _is_date(tokens) or any(len(text) > 2 for text in parts if text[0] != "y"):
        return ""
    return {"dM": "day", "Md": "month"}.get("".join(text[0] for text in parts)[:2], "")


def format_iso_date(days: Decimal) -> str:
    """Format days as an ISO date, with a time unless it is midnight, or as a time alone."""
    moment = _Moment(days, 0)
    clock = f"{moment.seconds // 3600:02}:{moment.seconds // 60 % 60:02}:{moment.seconds % 60:02}"
    if days < 1:
        return clock
    day = f"{moment.year:04}-{moment.month:02}-{moment.day:02}"
    return f"{day} {clock}" if moment.seconds else day


class _Moment:
    """One moment, with its seconds rounded as its format shows them."""

    def __init__(self, days: Decimal, digits: int, *, has_half_days: bool = False) -> None:
        if not 0 <= days <= DAYS_MAX + 1:
            raise ValueError(days)
        exact_seconds = (days * _SECONDS_A_DAY).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
        self.total = int(exact_seconds)
        self.fraction = str(exact_seconds).partition(".")[2]
        self.number, self.seconds = divmod(self.total, _SECONDS_A_DAY)
        self.year, self.month, self.day = _date_of(self.number)
        self._has_half_days = has_half_days

    def render(self, kind: str, text: str) -> str:
        """Render one piece of a format."""
        if kind == "part":
            return self._render_part(text)
        if kind == "span":
            count = self.total // {"h": 3600, "m": 60, "s": 1}[text[0].lower()]
            return f"{count:0{len(text)}}"
        if kind == "halfday":
            halves = text.split("/")
            return halves[self.seconds >= _SECONDS_A_DAY // 2]
        if kind == "fraction":
            return f".{self.fraction[: len(text)]}"
        return {"space": " ", "fill": ""}.get(kind, text)

    def _render_part(self, text: str) -> str:
        letter, width = text[0], len(text)
        if letter == "g":  # the era of an emperor, whose years are counted from its beginning
            raise ValueError(text)
        if letter in "ye":
            return f"{self.year % 100:02}" if letter == "y" and width < 3 else f"{self.year:04}"
        if letter == "M" and width > 2:
            return _name(_MONTHS[self.month - 1], width)
        if letter == "d" and width > 2:
            return _name(_WEEKDAYS[(self.number - 1) % 7], width)
        hour = self.seconds // 3600
        numbers = {"M": self.month, "d": self.day, "h": (hour - 1) % 12 + 1 if self._has_half_days else hour}
        numbers |= {"m": self.seconds // 60 % 60, "s": self.seconds % 60}
        return f"{numbers[letter]:0{min(width, 2)}}"


def _name(name: str, width: int) -> str:
    """A name as long as its format asks for: three letters, all of them, or the first (`mmmmm`)."""
    return {3: name[:3], 5: name[:1]}.get(width, name)


def _date_of(number: int) -> tuple[int, int, int]:
    if number == 60:  # a day that never was, and which spreadsheets have
        return 1900, 2, 29
    if number == 0:
        return 1900, 1, 0
    day = date(1899, 12, 31) + timedelta(days=number - (number > 60))
    return day.year, day.month, day.day


def _is_date(tokens: Sequence[tuple[str, str]]) -> bool:
    kinds = {kind for kind, _ in tokens}
    # A number with a unit that nobody put into quotes: `0 days`.
    is_number = "general" in kinds or any(kind == "literal" and _DIGIT_SIGN.match(text) for kind, text in tokens)
    return bool(kinds & {"part", "span", "halfday"}) and not is_number


def _name_parts(tokens: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Name minutes `m` and months `M`: an m is minutes right after hours or right before seconds."""
    parts = [(kind, text.lower() if kind == "part" else text) for kind, text in tokens]
    places = [n for n, (kind, _) in enumerate(parts) if kind in ("part", "span")]
    minutes = set()
    for place, next_place in pairwise(places):
        if parts[place][1][0].lower() == "h" and parts[next_place][1][0] == "m":
            minutes.add(next_place)
        if parts[place][1][0] == "m" and parts[next_place][1][0].lower() == "s":
            minutes.add(place)
    return [
        (kind, text.upper() if kind == "part" and text[0] == "m" and n not in minutes else text)
        for n, (kind, text) in enumerate(parts)
    ]
