"""A chart of an OpenDocument file as a table: its titles, then the rows of the values that it keeps.

What stays true: elements may be those of lxml or of the standard library: names are taken without namespaces.
"""

from collections.abc import Iterator
from typing import Any

from agent.files.readers.office.xml_names import first_named, iterate_named, local_name
from agent.files.readers.sections import TextSections

#: Rows of the values behind one chart.
POINTS_MAX = 1_000

_TITLES = ("title", "subtitle", "footer")


def find_chart(root: Any) -> Any:
    """Find the chart in a document that is one; None where it is another."""
    charts = (each for each in iterate_named(root, "chart") if first_named(each, "chart") is None)
    return next(charts, None)


def describe_chart(chart: Any, sections: TextSections, *, name: str = "", words: str = "") -> Iterator[str]:
    """Describe a chart in lines; `name` is what people called it, and `words` what they said of it."""
    titles = [_join_text(title) for title in chart if local_name(title) in _TITLES]
    label = " ".join(filter(None, ("Chart", name)))
    yield f"{label}: {'; '.join(filter(None, (*titles, words)))}".removesuffix(": ")
    for axis in iterate_named(chart, "axis"):
        yield from (f"Axis: {text}" for title in iterate_named(axis, "title") if (text := _join_text(title)))
    rows = [[_join_text(cell) for cell in row] for row in iterate_named(chart, "table-row")]
    rows = [row for row in rows if any(row)]
    yield from (" | ".join(row) for row in rows[:POINTS_MAX])
    sections.leave_out("chart value", len(rows[POINTS_MAX:]))


def _join_text(element: Any) -> str:
    return " ".join(" ".join(element.itertext()).split())
