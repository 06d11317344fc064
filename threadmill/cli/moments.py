"""Moments and lengths of time, as people write and read them on the command line.

What stays true: a moment without a zone is in UTC, and so is a day; everything that is printed says its unit.
"""

import re
from datetime import UTC, datetime, timedelta

import typer

#: The names of options that take a moment, in their help.
MOMENT_HELP = "2h, 30m, 7d, today, yesterday, or 2026-01-31T12:00, in UTC"
END_HELP = "90d, 12h, 2027-01-31, or 2027-01-31T12:00, in UTC"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_LENGTH = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*([smhdw])")
#: No database has moments before this.
_FIRST_YEAR = 1970


def read_moment(option: str, text: str | None) -> datetime | None:
    """The moment that an option names, by itself or as a length of time that is past; None where it is not given."""
    if text is None:
        return None
    now = datetime.now(UTC)
    word = text.strip().lower()
    days_ago = {"now": None, "today": 0, "yesterday": 1}
    if word in days_ago:
        days = days_ago[word]
        return now if days is None else now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days)
    length = _length_of(word)
    if length is not None and length < now - datetime(_FIRST_YEAR, 1, 1, tzinfo=UTC):
        return now - length
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter(f"is {text!r}; write {MOMENT_HELP}", param_hint=option) from None
    if moment.year < _FIRST_YEAR:
        raise typer.BadParameter(f"is before {_FIRST_YEAR}", param_hint=option)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def read_length(option: str, text: str | None) -> timedelta | None:
    """The length of time that an option names; None where it is not given."""
    if text is None:
        return None
    length = _length_of(text.strip().lower())
    if length is None:
        raise typer.BadParameter(f"is {text!r}; write 90s, 10m, 2h or 1d", param_hint=option)
    return length


def read_end(option: str, text: str | None) -> datetime | timedelta | None:
    """The end that an option names, as a moment or as the time until then; None where it is not given."""
    if text is None:
        return None
    length = _length_of(text.strip().lower())
    if length is not None:
        return length
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter(f"is {text!r}; write {END_HELP}", param_hint=option) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def show_seconds(seconds: float | None) -> str:
    """A length of time in its two largest units; nothing where there is none."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{max(seconds, 0):.2f}s"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    if whole < 60:
        return f"{whole}s"
    hours, minutes = divmod(minutes, 60)
    if hours == 0:
        return f"{minutes}m{rest:02}s"
    days, hours = divmod(hours, 24)
    return f"{hours}h{minutes:02}m" if days == 0 else f"{days}d{hours:02}h"


def show_dollars(cost: float | None) -> str:
    """A cost in US dollars, as small as it may be; nothing where there is none."""
    if cost is None:
        return ""
    return f"${cost:.2f}" if cost >= 1 else f"${cost:.6f}".rstrip("0").rstrip(".")


def _length_of(word: str) -> timedelta | None:
    match = _LENGTH.fullmatch(word)
    if match is None:
        return None
    seconds = float(match[1]) * _UNITS[match[2]]
    return timedelta(seconds=seconds) if seconds <= timedelta.max.total_seconds() else None
