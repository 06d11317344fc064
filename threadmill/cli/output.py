"""Printing what commands have to say: lists as tables, records, sentences; and the same as JSON, for programs.

What stays true: a terminal obeys nothing that a user, a model or a file name wrote: what it would
obey, or not show, is printed as an escape (`\\x1b`, `\\u202e`). With `--json` a list is JSON Lines, one
object a line and none for an empty list, and a record is one object; moments are ISO 8601 in UTC,
and the same characters are JSON's own escapes, so that a program reads the very text.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

T = TypeVar("T")

#: Characters that a terminal obeys, or does not show: C0 but tab and line feed, DEL and C1; marks that turn the
#: direction of writing; zero-width, invisible and tag characters; other line ends; halves of surrogate pairs.
_UNSAFE = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    r"\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb"
    r"\U000110bd\U000110cd\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
#: They join letters and emoji that are no ASCII, and are left there; anywhere else they only hide.
_JOINERS = r"\u200c\u200d"
_JOINED = rf"[^\x00-\x7f{_UNSAFE}{_JOINERS}]"
_HIDDEN = re.compile(rf"[{_UNSAFE}]|(?<!{_JOINED})[{_JOINERS}]|[{_JOINERS}](?!{_JOINED})")
#: Spaces that a cell of a table shows as one.
_SPACES = re.compile(r"(?:\r\n|[ \t\n])+")
#: What stands in a cell where there is nothing.
NOTHING = "-"


def print_list(
    items: Iterable[T],
    columns: Mapping[str, Callable[[T], object]],
    *,
    empty: str,
    as_json: bool,
    to_json: Callable[[T], object] = lambda item: item,
) -> None:
    """Print a list as a table: `columns` has the value of each header. `empty` is the sentence for an empty one.

    As JSON, each item is one line: what `to_json` makes of it, without which a dataclass is its fields.
    """
    if as_json:
        for item in items:
            print_json(to_json(item))
        return
    rows = [[show_cell(value(item)) for value in columns.values()] for item in items]
    if rows:
        print("\n".join(_align([list(map(show_cell, columns)), *rows])))
    else:
        print_text(empty)


def print_record(record: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one record, a line for each of its fields."""
    if as_json:
        print_json(record)
    else:
        print("\n".join(_align([[show_cell(name), show_cell(value)] for name, value in record.items()])))


def print_json(value: object) -> None:
    """Print one JSON value on one line."""
    print_json_line(json.dumps(value, ensure_ascii=False, default=_to_jsonable))


def print_json_line(line: str) -> None:
    """Print a value that is JSON already, on one line, so that a terminal obeys nothing in it."""
    print(_HIDDEN.sub(_escape_for_json, line), flush=True)


def print_text(text: str, *, end: str = "\n") -> None:
    """Print text of whatever origin, of one line or more."""
    print(show_text(text), end=end, flush=True)


def print_note(text: str, *, end: str = "\n") -> None:
    """Print on standard error what is no part of a command's result."""
    print(show_text(text), end=end, file=sys.stderr, flush=True)


def print_problem(problem: object) -> None:
    """Print on standard error what the caller or the operator can mend."""
    print_note(f"threadmill: {problem}")


def show_text(text: str) -> str:
    """The text as a terminal may get it: lines and tabs stay, the rest that it would obey is escaped."""
    return _HIDDEN.sub(_escape, text.replace("\r\n", "\n"))


def show_cell(value: object) -> str:
    """A value in one line, as a table or a sentence shows it."""
    return show_text(_SPACES.sub(" ", _cell_text(value)).strip()) or NOTHING


def shorten(text: str, chars: int) -> str:
    """The text in one line of at most so many characters."""
    line = _SPACES.sub(" ", text).strip()
    return line if len(line) <= chars else f"{line[: chars - 1]}…"


def _to_jsonable(value: object) -> Any:
    """The value as JSON has it, for one that JSON does not know."""
    match value:
        case datetime():
            return _in_utc(value).isoformat()
        case AbstractSet():
            return sorted(value, key=str)
        case Mapping():
            return dict(value)
        case _ if is_dataclass(value):
            return {field.name: getattr(value, field.name) for field in fields(value)}
        case _:
            return str(value)


def _cell_text(value: object) -> str:
    match value:
        case None:
            text = ""
        case bool():
            text = "yes" if value else "no"
        case datetime():
            text = f"{_in_utc(value):%Y-%m-%dT%H:%M:%SZ}"
        case float():
            text = f"{value:g}"
        case Mapping():
            text = ", ".join(f"{name}={_cell_text(each)}" for name, each in value.items())
        case AbstractSet():
            text = ", ".join(sorted(map(_cell_text, value)))
        case list() | tuple():
            text = ", ".join(map(_cell_text, value))
        case _:
            text = str(value)
    return text


def _in_utc(moment: datetime) -> datetime:
    """The moment in UTC; one without a zone, as SQLite stores it, is in UTC already."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _align(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a table, its columns two spaces apart."""
    from wcwidth import wcswidth

    # A character of unknown width makes the width of its text -1.
    widths = [[max(wcswidth(cell), 0) for cell in row] for row in rows]
    column_widths = [max(column) for column in zip(*widths, strict=True)]
    for row, row_widths in zip(rows, widths, strict=True):
        paddings = [column - width for column, width in zip(column_widths, row_widths, strict=True)]
        yield "  ".join(cell + " " * padding for cell, padding in zip(row, paddings, strict=True)).rstrip()


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("ascii", "backslashreplace").decode() if match[0] > "\x7f" else repr(match[0])[1:-1]


def _escape_for_json(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1] if match[0] != "\x7f" else "\\u007f"
