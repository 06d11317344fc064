"""An OpenDocument workbook is read as its program showed it, and what is there a million times is read once."""

import time
from typing import Any

import pytest

from agent.files.readers.open_document import sheets as open_sheets
from agent.files.readers.sections import TextSections, Unreadable
from tests.unit.documents import ODF_CONTENT, odf, packed


def read(content: bytes, *, max_chars: int = 400_000) -> dict[str, Any]:
    return open_sheets.read(content, TextSections(time.monotonic() + 60, max_chars))


def book(rows: str, *, after: str = "") -> bytes:
    tables = f'<table:table table:name="A">{rows}</table:table>{after}'
    return odf("spreadsheet", f"<office:spreadsheet>{tables}</office:spreadsheet>")


def row(*cells: str, more: str = "") -> str:
    return f"<table:table-row {more}>{''.join(cells)}</table:table-row>"


def cell(text: str = "", more: str = "") -> str:
    return f"<table:table-cell {more}>{text and f'<text:p>{text}</text:p>'}</table:table-cell>"


def value(kind: str, text: str, more: str = "") -> str:
    key = {"date": "date-value", "time": "time-value", "boolean": "boolean-value"}.get(kind, "value")
    return f'office:value-type="{kind}" office:{key}="{text}" {more}'


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        (cell("12.5 %", value("percentage", "0.125")), "12.5 %"),
        (cell("", value("percentage", "0.125")), "12.5%"),
        (cell("", value("float", "0.30000000000000004")), "0.3"),
        (cell("", value("currency", "5", 'office:currency="EUR"')), "5 EUR"),
        (cell("", value("date", "2024-03-05T00:00:00")), "2024-03-05"),
        (cell("", value("date", "2024-03-05T13:45:00")), "2024-03-05 13:45:00"),
        (cell("", value("time", "PT30H05M00.5S")), "30:05:00"),
        (cell("", value("boolean", "true")), "TRUE"),
        (cell("a<text:s text:c='3'/>b<text:tab/>c<text:line-break/>d"), "a b c d"),
        (cell("", 'table:formula="of:=SUM([.A1:.A2];[$B.C3])"'), "=SUM(A1:A2;$B!C3)"),
        (cell("", 'table:number-columns-repeated="2"') + cell("x"), "\t\tx"),
        (cell("x", 'table:number-columns-repeated="2"'), "x\tx"),
        (cell("x", 'table:number-columns-repeated="none"'), "x"),
        (cell("x", 'table:number-columns-spanned="2"') + "<table:covered-table-cell/>" + cell("y"), "x\t\ty"),
    ],
)
def test_a_cell_is_shown_as_a_person_sees_it(xml: str, text: str) -> None:
    assert read(book(row(xml)))["text"] == f'--- sheet "A" ---\n{text}'


def test_what_is_repeated_is_written_a_few_times_and_counted() -> None:
    result = read(
        book(row(cell("x", 'table:number-columns-repeated="16384"'), more='table:number-rows-repeated="1048576"'))
    )

    assert result["text"].count("x") == 100 * 100
    assert result["left_out"] == {"repeated cell": 16284, "repeated row": 1048476}


def test_rows_after_a_million_empty_ones_say_where_they_are() -> None:
    empty_rows = row(cell(), more='table:number-rows-repeated="1000000"')

    result = read(book(row(cell("a")) + empty_rows + row(cell("b"), more='table:visibility="filter"')))

    assert result["text"] == '--- sheet "A" ---\na\n\n[row 1000002]\nb\n\nHidden: row 1000002.'


def test_a_sheet_that_is_empty_or_not_reached_is_named() -> None:
    other = '<table:table table:name="B"/><table:table table:name="C">' + row(cell("y" * 99)) + "</table:table>"
    content = book(row(cell("x" * 99)), after=other)

    assert read(content)["remarks"] == ['Without text: sheet "B".']
    result = read(content, max_chars=50)
    assert (result["truncated"], result["remarks"]) == (True, ['Not read: sheets "B", "C".'])


def test_a_workbook_that_breaks_off_is_read_as_far_as_it_goes() -> None:
    content = ODF_CONTENT.format(body='<office:spreadsheet><table:table table:name="A">' + row(cell("x")))

    result = read(packed({"content.xml": content.partition("</office:body>")[0]}))

    assert result["text"] == '--- sheet "A" ---\nx'
    assert result["remarks"] == ["The workbook is damaged: it was read as far as it can be."]


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"content.xml": "no xml"}, "damaged"),
        ({"content.xml": '<!DOCTYPE x [<!ENTITY a "lol">]><x>&a;</x>'}, "damaged"),
        ({"content.xml": "?", "META-INF/manifest.xml": "<m><f><encryption-data/></f></m>"}, "password"),
    ],
)
def test_a_workbook_that_nobody_can_read_says_why(parts: dict[str, str], reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        read(packed(parts))
