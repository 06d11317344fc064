"""Charts of OpenDocument files as tables, whichever library parsed them."""

import time
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from lxml import etree

from agent.files.readers.open_document.chart import POINTS_MAX, describe_chart, find_chart
from agent.files.readers.sections import TextSections

ROW = "<table-row><table-cell><p>Oslo</p></table-cell><table-cell><p>1</p></table-cell></table-row>"


def document(rows: str) -> str:
    axis = "<axis><title><p>Cities</p></title></axis>"
    chart = f"<chart><title><p>Growth</p></title><plot-area>{axis}</plot-area><table>{rows}</table></chart>"
    return f"<document><body><chart>{chart}</chart></body></document>"


@pytest.mark.parametrize("parse", [ET.fromstring, etree.fromstring])
def test_a_chart_is_its_titles_and_a_row_for_each_category(parse: Callable[[str], Any]) -> None:
    sections = TextSections(time.monotonic() + 60, 1000)
    chart = find_chart(parse(document(ROW)))

    lines = list(describe_chart(chart, sections, name='"A"', words="Where we grow"))

    assert lines == ['Chart "A": Growth; Where we grow', "Axis: Cities", "Oslo | 1"]


def test_rows_that_are_not_shown_are_counted() -> None:
    sections = TextSections(time.monotonic() + 60, 1000)

    lines = list(describe_chart(find_chart(ET.fromstring(document(ROW * (POINTS_MAX + 2)))), sections))

    assert len(lines) == POINTS_MAX + 2
    assert sections.result()["left_out"] == {"chart value": 2}
    assert find_chart(None) is None
