"""Charts of Office documents as tables, whichever library parsed them."""

import time
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from lxml import etree

from agent.files.readers.office.chart import POINTS_MAX, describe_chart
from agent.files.readers.sections import TextSections


def points(*texts: str, code: str = "") -> str:
    format_code = f"<formatCode>{code}</formatCode>" if code else ""
    stored = "".join(f'<pt idx="{place}"><v>{text}</v></pt>' for place, text in enumerate(texts))
    return f"<cache>{format_code}{stored}</cache>"


def series(name: str, categories: str, values: str) -> str:
    return f"<ser><tx>{points(name)}</tx><cat>{categories}</cat><val>{values}</val></ser>"


def describe(plot: str, parse: Callable[[str], Any] = ET.fromstring) -> tuple[list[str], Any]:
    sections = TextSections(time.monotonic() + 60, 100_000)
    title = "<title><p><r><t>Growth</t></r></p></title>"
    root = parse(f"<chartSpace><chart>{title}<plotArea>{plot}</plotArea></chart></chartSpace>")
    return list(describe_chart(root, sections)), sections.result()["left_out"]


@pytest.mark.parametrize("parse", [ET.fromstring, etree.fromstring])
def test_series_with_the_same_categories_are_one_table(parse: Callable[[str], Any]) -> None:
    years = points("2019", "2020")
    plot = series("Oslo", years, points("0.5", "0.25", code="0%")) + series("Rome", years, points("1", "2"))

    lines, left_out = describe(f"<barChart>{plot}</barChart>", parse)

    assert lines == ["Chart (bar): Growth", "| Oslo | Rome", "2019 | 50% | 1", "2020 | 25% | 2"]
    assert left_out == {}


def test_series_with_categories_of_their_own_are_tables_of_their_own() -> None:
    lines, _ = describe(series("a", points("x"), points("1")) + series("b", points("y"), points("2")))

    assert lines[1:] == ["| a", "x | 1", "| b", "y | 2"]


def test_a_text_that_looks_like_a_number_is_shown_as_it_is() -> None:
    lines, _ = describe(series("a", points("007"), points("1", code="General")))

    assert lines[1:] == ["| a", "007 | 1"]


def test_what_a_chart_does_not_show_is_counted() -> None:
    many = points(*(str(number) for number in range(POINTS_MAX + 2)))

    lines, left_out = describe(f"<ser><val>{many}</val></ser>")

    assert (len(lines), left_out) == (POINTS_MAX + 1, {"chart value": 2})
    assert describe("")[1] == {"chart without value": 1}
