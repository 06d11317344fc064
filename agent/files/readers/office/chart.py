"""A chart of an Office document: its titles, series, categories and values, as they were when it was last drawn.

What stays true: the workbook behind a chart is not opened.
"""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from agent.files.readers.office.xml_names import attribute_of, child_of, descendants_of, name_of

#: The day 0 of a workbook's dates.
_DAY_ZERO = datetime(1899, 12, 30)  # noqa: DTZ001 - a date without a place
_CATEGORIES = ("c:cat", "c:xVal")
_VALUES = ("c:val", "c:yVal", "c:bubbleSize")


def describe_chart(root: Any) -> Iterator[str]:
    """Describe a chart in lines: its titles, then each series as `name: category = value`."""
    titles = [_text(title) for title in descendants_of(root, "c:title", "cx:title")]
    yield f"[Chart: {'; '.join(filter(None, titles))}]" if any(titles) else "[Chart]"
    for series in descendants_of(root, "c:ser"):
        yield _describe_series(series)
    yield from _describe_new_chart(root)
    labels = [_text(label) for label in descendants_of(root, "c:dLbl", "c:dispUnitsLbl")]
    names = [name.text or "" for name in descendants_of(root, "c:name")]
    if any([*labels, *names]):
        yield f"labels: {'; '.join(filter(None, [*labels, *names]))}"


def _text(element: Any) -> str:
    paragraphs = [
        "".join(piece.text or "" for piece in descendants_of(p, "a:t")) for p in descendants_of(element, "a:p")
    ]
    pieces = paragraphs if any(paragraphs) else [value.text or "" for value in descendants_of(element, "c:v", "cx:v")]
    return " ".join(" ".join(pieces).split())


def _describe_series(series: Any) -> str:
    name = child_of(series, "c:tx")
    categories: dict[int, str] = {}
    values: dict[int, str] = {}
    for child in series:
        points = _points(child) if name_of(child) in _CATEGORIES + _VALUES else {}
        if name_of(child) in _CATEGORIES:
            categories |= points
        for index, value in points.items() if name_of(child) in _VALUES else ():
            values[index] = f"{values[index]}, {value}" if index in values else value
    pairs = [
        " = ".join(filter(None, (categories.get(index), values.get(index))))
        for index in sorted({**categories, **values})
    ]
    return f"{_text(name) if name is not None else 'series'}: {'; '.join(pairs)}"


def _points(element: Any) -> dict[int, str]:
    """The points of a series by their places; those of several levels are one, the outermost level first."""
    code = next((code.text or "" for code in descendants_of(element, "c:formatCode")), "")
    points: dict[int, str] = {}
    for point in descendants_of(element, "c:pt"):
        index = attribute_of(point, "idx")
        value = child_of(point, "c:v")
        text = _format(value.text or "", code) if value is not None else ""
        if index.isdecimal():
            points[int(index)] = f"{text} {points[int(index)]}" if int(index) in points else text
    return points


def _format(value: str, code: str) -> str:
    """Write a value as its chart shows it, if that is a date or a percentage."""
    with suppress(ValueError, OverflowError):
        if code.rstrip("0.#").endswith("%") or code.endswith("%"):
            return f"{float(value) * 100:.10g}%"
        if "y" in code.lower():
            return (_DAY_ZERO + timedelta(days=float(value))).date().isoformat()
    return value


def _describe_new_chart(root: Any) -> Iterator[str]:
    """Describe the series of a chart of the kinds that came in 2016: their names, then their points by dimension."""
    names = [_text(series) for series in descendants_of(root, "cx:series")]
    if any(names):
        yield f"series: {'; '.join(filter(None, names))}"
    for dimension in descendants_of(root, "cx:strDim", "cx:numDim"):
        points = [point.text or "" for point in descendants_of(dimension, "cx:pt")]
        if any(points):
            yield f"{attribute_of(dimension, 'type') or 'values'}: {'; '.join(points)}"
