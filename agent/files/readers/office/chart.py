"""A chart of an Office document as a table: its titles, then a row for each category.

What stays true: it is read from the values that it keeps itself, as they were when it was last drawn; the workbook
behind it is not opened. Elements may be those of lxml or of the standard library: names are taken without namespaces.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.files.readers.office.embedded import find_kind
from agent.files.readers.office.number_format import NumberFormat
from agent.files.readers.office.package import Package
from agent.files.readers.office.xml_names import attribute_of, first_named, iterate_named, local_name
from agent.files.readers.sections import TextSections

#: Points of one series: a line of a year's minutes is no text.
POINTS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class _Series:
    """One series of a chart: texts by the places of their points."""

    name: str
    categories: Mapping[int, str]
    values: Mapping[int, str]
    #: Of bubbles.
    sizes: Mapping[int, str]


def read_chart(package: Package, part: str) -> Iterator[str]:
    """Read a chart that is a part of its own, with the shapes on it, as lines; count the workbook behind it."""
    root = package.parse(part) if part else None
    if root is None:
        package.sections.leave_out("chart")
        return
    yield from describe_chart(root, package.sections)
    for behind in package.relationships_of(part).values():
        if behind.kind == "chartUserShapes":
            yield from filter(None, map(_join_text, iterate_named(package.parse(behind.target), "p")))
        elif behind.kind in ("package", "oleObject"):
            package.sections.leave_out(find_kind(behind.target, "Excel"))


def describe_chart(root: Any, sections: TextSections, *, name: str = "", words: str = "") -> Iterator[str]:
    """Describe a chart in lines; `name` is what people called it, and `words` what they said of it."""
    title = first_named(root, "chart", "title")
    plots = [local_name(plot) for area in iterate_named(root, "plotArea") for plot in area]
    kinds = ", ".join(dict.fromkeys(plot.removesuffix("Chart") for plot in plots if plot.endswith("Chart")))
    label = " ".join(filter(None, ("Chart", name, kinds and f"({kinds})")))
    yield f"{label}: {' '.join(filter(None, (_read_title(title), words)))}".rstrip(": ")
    titles = list(iterate_named(root, "title"))
    for axis_title in filter(None, (_read_title(each) for each in titles if each is not title)):
        yield f"Axis: {axis_title}"
    rows = [*_iterate_rows(root), *_iterate_new_rows(root)]
    yield from (f"Label: {text}" for text in _iterate_labels(root, titles))
    for trend in (first_named(each, "name") for each in iterate_named(root, "trendline")):
        yield from [f"Trend: {trend.text}"] if trend is not None and trend.text else []
    yield from rows
    if not rows:
        sections.leave_out("chart without value")
    places = (attribute_of(point, "idx") for point in iterate_named(root, "pt"))
    sections.leave_out("chart value", sum(place.isdecimal() and int(place) >= POINTS_MAX for place in places))


def _join_text(element: Any) -> str:
    return " ".join("".join(piece.text or "" for piece in iterate_named(element, "t")).split())


def _read_title(title: Any) -> str:
    paragraphs = [_join_text(paragraph) for paragraph in iterate_named(title, "p")]
    return " ".join(filter(None, paragraphs if any(paragraphs) else _texts_of(title)))


def _texts_of(element: Any, name: str = "v") -> list[str]:
    return [" ".join((each.text or "").split()) for each in iterate_named(element, name)]


def _iterate_labels(root: Any, titles: Sequence[Any]) -> Iterator[str]:
    """The texts beside points and axes that are no titles."""
    title_paragraphs = {paragraph for title in titles for paragraph in iterate_named(title, "p")}
    labels = [paragraph for paragraph in iterate_named(root, "p") if paragraph not in title_paragraphs]
    yield from filter(None, map(_join_text, labels))
    for texts in iterate_named(root, "dlblRangeCache"):
        yield from _points_of(texts).values()


def _iterate_rows(root: Any) -> Iterator[str]:
    """Yield a row for each category, with the values of all series that have the same categories."""
    tables = defaultdict[tuple[tuple[int, str], ...], list[_Series]](list)
    categories: Mapping[int, str] = {}
    for series in map(_parse_series, iterate_named(root, "ser")):
        categories = series.categories or categories
        tables[tuple(categories.items())].append(series)
    for key, table in tables.items():
        names = [series.name for series in table]
        if any(names):
            yield " | ".join(["", *names]).strip()
        categories = dict(key)
        for place in sorted(categories.keys() | {place for series in table for place in series.values}):
            sizes = [f" ({series.sizes[place]})" if place in series.sizes else "" for series in table]
            cells = [f"{series.values.get(place, '')}{size}" for series, size in zip(table, sizes, strict=True)]
            yield " | ".join([categories.get(place, ""), *cells])


def _parse_series(series: Any) -> _Series:
    sides = {local_name(child): _values_of(child) for child in series if local_name(child) in _SIDES}
    name = " ".join(sides.get("tx", {}).values())
    categories, values = sides.get("cat") or sides.get("xVal", {}), sides.get("val") or sides.get("yVal", {})
    return _Series(name, categories, values, sides.get("bubbleSize", {}))


_SIDES = ("tx", "cat", "xVal", "val", "yVal", "bubbleSize")


def _values_of(data: Any) -> Mapping[int, str]:
    """The stored values by their places; where there are none, what is written there, or where they come from."""
    texts = filter(None, _texts_of(data) or _texts_of(data, "f"))
    return _points_of(data) or dict(enumerate(texts))


def _points_of(data: Any, code: str = "") -> Mapping[int, str]:
    """Stored points by their places; those of several levels are one, the outermost level first."""
    code = next(iter(_texts_of(data, "formatCode")), code)
    number_format = NumberFormat(code) if code else None
    points: dict[int, str] = {}
    for point in iterate_named(data, "pt"):
        text = " ".join(_texts_of(point)) or " ".join((point.text or "").split())
        text = number_format.format(text) if number_format is not None else text
        index = attribute_of(point, "idx")
        place = int(index) if index.isdecimal() else len(points)
        if place < POINTS_MAX:
            points[place] = f"{text} {points[place]}" if place in points else text
    return points


def _iterate_new_rows(root: Any) -> Iterator[str]:
    """Yield the rows of a chart whose kind is newer than the format: funnels, maps, histograms."""
    names = [" ".join(_texts_of(first_named(series, "tx"))) for series in iterate_named(root, "series")]
    if any(names):
        yield " | ".join(filter(None, names))
    for data in list(iterate_named(root, "data")) or [root]:
        dimensions = list(iterate_named(data, "strDim", "numDim"))
        levels = [level for dimension in dimensions for level in iterate_named(dimension, "lvl")]
        columns = [_points_of(level, attribute_of(level, "formatCode")) for level in levels]
        places = sorted({place for column in columns for place in column})
        yield from (" | ".join(column.get(place, "") for column in columns) for place in places)
        sources = [] if places else [text for dimension in dimensions for text in _texts_of(dimension, "f") if text]
        yield from [f"Values: {'; '.join(sources)}"] if sources else []
