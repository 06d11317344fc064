"""A chart of an Office document as a table.

What stays true: it is read from the values that it keeps itself, never from a workbook.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agent.files.readers.office.package import Package
from agent.files.readers.office.xml_names import attribute_of, first_named, iterate_named, local_name
from agent.files.readers.presentation.text import read_paragraphs
from agent.files.readers.sections import TextSections

#: Points of one series: a line of a year's minutes is no text.
POINTS_MAX = 2_000

#: What has a text of its own beside an axis or a point.
_LABELS = ("dLbl", "dispUnitsLbl", "trendlineLbl")
_AXES = ("catAx", "valAx", "dateAx", "serAx")


def read_chart(package: Package, part: str, sections: TextSections) -> list[str]:
    """Read a chart's titles, and its values, a row for each category."""
    root = package.parse(part)
    if root is None:
        sections.leave_out("chart")
        return []
    relationships = package.relationships_of(part)
    title = _title_of(first_named(root, "chart"))
    lines = [f"Chart: {title}".removesuffix(": ") if title else "Chart:"]
    for axis in iterate_named(root, *_AXES, "axis"):
        axis_title = _title_of(axis)
        lines += [f"Axis: {axis_title}"] if axis_title else []
    plots = list(iterate_named(root, "ser"))
    rows = list(_iterate_rows(plots, sections)) or list(_iterate_extended_rows(root))
    for label in iterate_named(root, *_LABELS):
        lines += [f"Label: {text}" for text in read_paragraphs(label, {})]
    for texts in iterate_named(root, "dlblRangeCache"):
        lines += [f"Label: {text}" for text in _values_of(texts).values()]
    for name in (first_named(trend, "name") for trend in iterate_named(root, "trendline")):
        lines += [f"Trend: {name.text}"] if name is not None and name.text else []
    lines += rows
    for relationship in relationships.values():
        if relationship.kind == "chartUserShapes":
            lines += read_paragraphs(package.parse(relationship.target), {})
    if not rows:
        sections.leave_out("chart without value")
    return lines


def _title_of(element: Any) -> str:
    title = first_named(element, "title")
    if title is None:
        return ""
    texts = read_paragraphs(title, {}) or [value.text or "" for value in iterate_named(title, "v")]
    return " ".join(filter(None, texts))


def _iterate_rows(plots: Sequence[Any], sections: TextSections) -> Iterator[str]:
    names = [_values_of(first_named(series, "tx")).get(0, "") for series in plots]
    categories: dict[int, str] = {}
    for series in plots:
        for key in ("cat", "xVal"):
            categories = categories or _values_of(first_named(series, key))
    columns = [
        _values_of(
            first_named(series, "val") if first_named(series, "val") is not None else first_named(series, "yVal")
        )
        for series in plots
    ]
    sizes = [_values_of(first_named(series, "bubbleSize")) for series in plots]
    numbers = sorted(categories.keys() | {number for column in columns for number in column})
    if any(names):
        yield " | ".join(["", *names]).strip()
    for number in numbers[:POINTS_MAX]:
        cells = [
            f"{column.get(number, '')}{f' ({size[number]})' if number in size else ''}"
            for column, size in zip(columns, sizes, strict=True)
        ]
        yield " | ".join([categories.get(number, ""), *cells])
    sections.leave_out("chart point", len(numbers[POINTS_MAX:]))


def _values_of(data: Any) -> dict[int, str]:
    """The kept values, by their place; those of several levels one after another."""
    values: dict[int, str] = {}
    if data is None:
        return values
    for point in iterate_named(data, "pt"):
        index = attribute_of(point, "idx")
        text = " ".join("".join(value.itertext()).strip() for value in iterate_named(point, "v"))
        number = int(index) if index.isdecimal() else len(values)
        values[number] = f"{text} {values[number]}" if number in values else text
    if not values:  # a name that is written out
        values = dict(enumerate((value.text or "").strip() for value in iterate_named(data, "v")))
    return values


def _iterate_extended_rows(root: Any) -> Iterator[str]:
    """The rows of a chart of the newer kinds (`cx`): funnels, maps, histograms."""
    series_names = [
        " ".join(value.text or "" for value in iterate_named(text, "v")) for text in iterate_named(root, "tx")
    ]
    if any(series_names):
        yield " | ".join(filter(None, series_names))
    for data in iterate_named(root, "data"):
        levels: list[Mapping[int, str]] = [
            {int(attribute_of(point, "idx") or 0): point.text or "" for point in level if local_name(point) == "pt"}
            for level in iterate_named(data, "lvl")
        ]
        for number in sorted({number for level in levels for number in level})[:POINTS_MAX]:
            yield " | ".join(level.get(number, "") for level in levels)
