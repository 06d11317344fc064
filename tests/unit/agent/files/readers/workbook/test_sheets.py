"""A workbook is read for its cells, whatever its program wrote around them, and says what it does not show."""

import time
from typing import Any

import pytest

from agent.files.readers.sections import TextSections, Unreadable
from agent.files.readers.workbook import sheets as workbook
from tests.unit.documents import packed

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
STRICT = "http://purl.oclc.org/ooxml/spreadsheetml/main"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
FORMULAS = "Formulas without a stored value are shown as formulas, from = on."


def links(*targets: tuple[str, str]) -> str:
    rows = "".join(
        f'<Relationship Id="r{n}" Type="{RELATIONS}/{kind}" Target="{t}"/>' for n, (kind, t) in enumerate(targets)
    )
    return f"<Relationships>{rows}</Relationships>"


def book(
    rows: str = "", *, after: str = "", before: str = "", workbook_xml: str = "", parts: dict[str, str] | None = None
) -> bytes:
    """A workbook of one sheet, A, with these rows and what stands before and after them."""
    return packed({
        "[Content_Types].xml": "<Types/>",
        "_rels/.rels": links(("officeDocument", "xl/workbook.xml")),
        "xl/workbook.xml": workbook_xml
        or f'<workbook xmlns="{MAIN}" xmlns:r="{RELATIONS}"><sheets><sheet name="A" r:id="r0"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": links(
            ("worksheet", "worksheets/sheet1.xml"),
            ("sharedStrings", "sharedStrings.xml"),
            ("styles", "styles.xml"),
            ("worksheet", "worksheets/sheet2.xml"),
        ),
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{MAIN}" xmlns:r="{RELATIONS}">{before}'
        f"<sheetData>{rows}</sheetData>{after}</worksheet>",
        **(parts or {}),
    })  # fmt: skip


def read(content: bytes, *, max_chars: int = 400_000) -> dict[str, Any]:
    return workbook.read(content, TextSections(time.monotonic() + 60, max_chars))


def lines_of(content: bytes) -> list[str]:
    mark, _, text = read(content)["text"].partition("\n")
    assert mark == '--- sheet "A" ---'
    return text.split("\n")


def cell(reference: str, text: str) -> str:
    return f'<c r="{reference}" t="inlineStr"><is><t>{text}</t></is></c>'


def number(reference: str, value: object, more: str = "") -> str:
    return f'<c r="{reference}" {more}><v>{value}</v></c>'


STRINGS = {
    "xl/sharedStrings.xml": "<sst><si><t>zero</t></si>"
    "<si><r><t>o</t></r><r><t>ne</t></r><rPh><t>no</t></rPh></si></sst>"
}
DATES = {"xl/styles.xml": '<styleSheet><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>'}


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        ('<c t="s"><v>0</v></c>', "zero"),
        ('<c t="s"><v>1</v></c>', "one"),
        ('<c t="s"><v/></c><c><v>1</v></c>', "\t1"),
        ('<c t="b"><v>1</v></c><c t="b"><v>0</v></c>', "TRUE\tFALSE"),
        ('<c t="e"><v>#DIV/0!</v></c>', "#DIV/0!"),
        ('<c t="str"><f>A2&amp;"x"</f><v>a  x</v></c>', "a x"),
        ('<c t="d"><v>2024-03-05T00:00:00</v></c>', "2024-03-05"),
        ('<c t="d"><v>2024-03-05T13:45:00</v></c>', "2024-03-05 13:45:00"),
        ('<c s="1"><v>45356</v></c>', "2024-03-05"),
        ('<c s="99"><v>0.1</v></c><c s="x"><v>0.30000000000000004</v></c>', "0.1\t0.3"),
        ("<c><v>1234567890123456</v></c>", "1234567890123456"),
        ('<c t="inlineStr"><is><t>a_x000D_</t><phoneticPr/></is></c>', "a"),
        ('<c t="inlineStr"><is><t>a\x0bb</t></is></c><c t="str"><v>c&#x1F;d</v></c>', "ab\tcd"),
        ('<c><f>SUM(A1:A2)</f></c><c><f>_xlfn.XLOOKUP(1,A:A)</f><v></v></c>', "=SUM(A1:A2)\t=XLOOKUP(1,A:A)"),
        ('<c t="str"><f>""</f><v></v></c><c><v>1</v></c>', "\t1"),
        ('<c r="D1"><v>4</v></c><c r="A1"><v>1</v></c>', "1\t\t\t4"),
        ('<x:c r="A1"><x:v>1</x:v></x:c>', "1"),
        ('<c r="A1"><v>1</v></c><c r="AZ1"><v>52</v></c>', "1\t[column AZ] 52"),
    ],
)  # fmt: skip
def test_a_cell_is_shown_as_a_person_sees_it(xml: str, text: str) -> None:
    assert lines_of(book(f'<row r="1">{xml}</row>', parts=STRINGS | DATES)) == [text]


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        ([(1, "a"), (2, "b")], ["a", "b"]),
        ([(1, "a"), (3, "b")], ["a", "", "b"]),
        ([(2, "a")], ["[row 2]", "a"]),
        ([(1, "a"), (41, "b")], ["a", "", "[row 41]", "b"]),
    ],
)
def test_blocks_stay_apart_and_say_where_they_are(rows: list[tuple[int, str]], lines: list[str]) -> None:
    xml = "".join(f'<row r="{row}">{cell(f"A{row}", text)}</row>' for row, text in rows)

    assert lines_of(book(xml)) == lines


def test_columns_line_up_where_the_first_cell_is_empty() -> None:
    rows = f'<row r="1">{cell("B1", "Q1")}</row><row r="2">{cell("A2", "Ann")}{cell("B2", "5")}</row>'

    assert lines_of(book(rows)) == ["\tQ1", "Ann\t5"]


def test_a_merged_cell_is_shown_once_and_what_it_covers_is_not_lost() -> None:
    rows = f'<row r="1">{cell("A1", "x")}{cell("B1", "x")}{cell("C1", "y")}{cell("D1", "after")}</row>'

    result = read(book(rows, after='<mergeCells><mergeCell ref="A1:C1"/></mergeCells>'))

    assert result["text"].endswith("\nx\t\ty\tafter")
    assert result["remarks"] == ["Values that merged cells cover are shown as well."]


def test_hidden_rows_and_columns_are_shown_and_named() -> None:
    rows = f'<row r="1">{cell("A1", "a")}{cell("B1", "b")}</row><row r="2" hidden="1">{cell("A2", "c")}</row>'

    result = read(book(rows, before='<cols><col min="2" max="16384" hidden="1"/></cols>'))

    assert result["text"].endswith("a\tb\nc\n\nHidden: row 2; column B.")
    assert len(result["remarks"]) == 1


@pytest.mark.parametrize(("asks", "text"), [('<calcPr fullCalcOnLoad="1"/>', "=A1*2"), ("", "0")])
def test_a_zero_that_a_program_stored_for_want_of_a_value_is_a_formula(asks: str, text: str) -> None:
    xml = f'<workbook xmlns:r="r"><sheets><sheet name="A" r:id="r0"/></sheets>{asks}</workbook>'

    assert lines_of(book("<row><c><f>A1*2</f><v>0</v></c></row>", workbook_xml=xml)) == [text]


def test_a_formula_that_cells_share_is_shown_as_it_is_in_each() -> None:
    first = '<row r="1"><c r="B1"><f t="shared" ref="B1:B2" si="0">A1*2</f></c></row>'
    second = '<row r="2"><c r="B2"><f t="shared" si="0"/></c></row>'

    result = read(book(first + second))

    assert result["text"].endswith("\t=A1*2\n\t=A2*2")
    assert (result["remarks"], result["left_out"]) == ([FORMULAS], {})


def test_formulas_behind_values_are_counted() -> None:
    assert read(book("<row><c><f>1+1</f><v>2</v></c></row>"))["left_out"] == {"formula": 1}


@pytest.mark.parametrize(
    "parts",
    [
        {"xl/styles.xml": "<styleSheet><fonts><font><family val='99'/></font></fonts>"},
        {"xl/styles.xml": "<styleSheet/>"},
        {"xl/styles.xml": ""},
        {"xl/sharedStrings.xml": "<sst>"},
        {"xl/_rels/workbook.xml.rels": ""},
        {"xl/_rels/workbook.xml.rels": links(("worksheet", "/xl/worksheets/sheet1.xml"))},
        {"xl/_rels/workbook.xml.rels": links(("worksheet", "xl/worksheets/sheet1.xml"))},
        {"xl/_rels/workbook.xml.rels": links(("worksheet", "..\\xl\\worksheets\\Sheet1.xml"))},
        {"_rels/.rels": ""},
        {"xl/workbook.xml": "<workbook"},
        {"xl/workbook.xml": "<workbook/>"},
        {"docProps/core.xml": "<no"},
    ],
)
def test_a_workbook_with_damage_elsewhere_is_read_for_its_cells(parts: dict[str, str]) -> None:
    assert read(book(f"<row>{cell('A1', 'x')}</row>", parts=parts))["text"].endswith("---\nx")


def test_looks_that_stop_other_readers_do_not_stop_this_one() -> None:
    xml = (
        f'<workbook xmlns="{STRICT}" xmlns:r="x"><workbookPr date1904="true"/><sheets><sheet name="A" r:id="r0"/>'
        f"</sheets>"
        '<definedNames><definedName name="_xlnm.Print_Titles" localSheetId="9">#REF!'
        "</definedName></definedNames></workbook>"
    )
    after = (
        '<autoFilter ref="bad"><filterColumn><customFilters><customFilter val=""/></customFilters></filterColumn>'
        "</autoFilter>"
        '<mergeCells><mergeCell ref="?"/></mergeCells><dataValidations><dataValidation type="odd" sqref="?"/>'
        "</dataValidations>"
        '<hyperlinks><hyperlink ref="A1" r:id="none"/></hyperlinks><pageMargins left="wide"/>'
    )

    result = read(book('<row r="1"><c r="A1" s="1"><v>43894</v></c></row>', after=after, workbook_xml=xml, parts=DATES))

    assert result["text"] == '--- sheet "A" ---\n2024-03-05'
    assert result["left_out"] == {"filter": 1}


@pytest.mark.parametrize("rest", ["<row><c><v>3</c></row>", "<row><c><v>3</v"])
def test_a_bad_sheet_costs_what_follows_in_it_and_is_named(rest: str) -> None:
    xml = (
        '<workbook xmlns:r="r"><sheets><sheet name="A" r:id="r0"/><sheet name="B" r:id="r3" state="hidden"/></sheets>'
        "</workbook>"
    )
    second = {"xl/worksheets/sheet2.xml": "<worksheet><sheetData><row><c><v>2</v></c></row></sheetData></worksheet>"}

    result = read(book(f"<row><c><v>1</v></c></row>{rest}", workbook_xml=xml, parts=second))

    assert result["text"] == '--- sheet "A" ---\n1\n\n--- sheet "B" (hidden) ---\n2'
    assert result["remarks"] == ['Damaged, and read in part or not at all: sheet "A".']


def test_entities_are_not_expanded_and_cost_their_sheet_alone() -> None:
    part = '<!DOCTYPE x [<!ENTITY a "lol">]><worksheet><sheetData><row><c t="str"><v>&a;</v></c></row></sheetData>'

    with pytest.raises(Unreadable, match="damaged"):
        read(book(parts={"xl/worksheets/sheet1.xml": part}))


def test_sheets_that_are_empty_or_not_reached_are_named() -> None:
    sheets = "".join(f'<sheet name="{name}" r:id="r{n}"/>' for name, n in (("A", 0), ("B", 3), ("C", 3)))
    xml = f'<workbook xmlns:r="r"><sheets>{sheets}</sheets></workbook>'
    content = book(workbook_xml=xml, parts={"xl/worksheets/sheet2.xml": f"<w><row>{cell('A1', 'x' * 99)}</row></w>"})

    assert read(content)["remarks"] == ['Without text: sheet "A".']
    result = read(content, max_chars=50)
    assert (result["truncated"], result["remarks"]) == (True, ['Not read: sheet "C".', 'Without text: sheet "A".'])


def test_an_old_drawing_is_read_though_it_is_no_xml() -> None:
    drawing = (
        "<xml><v:shape><v:textbox><div>a<br>b</div></v:textbox></v:shape><v:shape><v:textbox>c</v:textbox></v:shape>"
    )
    parts = {
        "xl/worksheets/_rels/sheet1.xml.rels": links(("vmlDrawing", "../drawings/vmlDrawing1.vml")),
        "xl/drawings/vmlDrawing1.vml": drawing,
    }

    result = read(book(parts=parts))

    assert result["text"] == '--- sheet "A" ---\nShape: a b\nShape: c'
    assert result["remarks"] == ["A part of the workbook is damaged or missing: vmlDrawing1.vml."]


def test_texts_that_the_file_lacks_are_counted() -> None:
    result = read(book('<row><c t="s"><v>7</v></c><c><v>1</v></c></row>', parts=STRINGS))

    assert result["remarks"] == ["The file lacks the text of 1 cells, or has more than can be read."]


def test_a_binary_workbook_is_named_as_such() -> None:
    with pytest.raises(Unreadable, match=r"\.xlsb"):
        read(packed({"[Content_Types].xml": "<Types/>", "xl/workbook.bin": "x"}))


def test_a_million_empty_cells_are_passed_over() -> None:
    row = "".join(f'<c r="{column}1" s="3"/>' for column in "ABCDEFGHIJ")
    content = book(f'<row r="1">{row}</row>' * 100_000 + f'<row r="1048576">{cell("XFD1048576", "last")}</row>')

    assert lines_of(content) == ["[row 1048576]", "[column XFD] last"]
