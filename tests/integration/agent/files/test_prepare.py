"""Files made ready for models: the text of documents with marks, and what a hostile one comes to."""

import re
import time
import zipfile
from io import BytesIO

import pytest
from pypdf import PdfWriter

from agent.files.extract import TEXT_MAX_CHARS
from agent.files.prepare import prepare_file
from conversation.prepared_file import PreparationResult
from tests.unit.documents import ODF, OOXML, billion_laughs, docx, odf, packed, pptx, xlsx

DOCX = f"{OOXML}.wordprocessingml.document"
XLSX = f"{OOXML}.spreadsheetml.sheet"
PPTX = f"{OOXML}.presentationml.presentation"
BROKEN = "could not be read: it is damaged or incomplete."

HEAD = '<text:h text:outline-level="2">Plan</text:h><text:p>a<text:s text:c="2"/>b<text:tab/>c</text:p>'
SHEET = (
    '<table:table table:name="Sales {0}"><table:table-row>'
    '<table:table-cell table:number-columns-repeated="2"><text:p>x</text:p></table:table-cell>'
    '<table:table-cell table:number-columns-repeated="99999999"/>'
    "</table:table-row></table:table>"
)
SLIDE = "<draw:page><draw:frame><draw:text-box><text:p>On it</text:p></draw:text-box></draw:frame></draw:page>"

PAGE = (
    b"<html><head><title>T</title><script>alert(1)</script></head><body><h1>Hello</h1>"
    b"<p>big <b>world</b><style>p{}</style></p><table><tr><td>a</td><td>b</td></tr></table></body>"
)


async def prepared(content: bytes, media_type: str) -> PreparationResult:
    return await prepare_file(content, media_type)


@pytest.mark.parametrize(
    ("content", "media_type", "text"),
    [
        (docx("One", "Two", table=(("a", "b"), ("c", "d"))), DOCX, "One\nTwo\na | b\nc | d"),
        (
            xlsx({"Sales": [["Name", "n"], ["Ann", 3.5], [None, None], [None, True]], "B": [[1]]}),
            XLSX,
            '--- sheet "Sales" ---\nName\tn\nAnn\t3.5\n\n\tTRUE\n\n--- sheet "B" ---\n1',
        ),
        (pptx(("T1", "B1"), ("T2", "B2")), PPTX, "--- slide 1 ---\nT1\nB1\n\n--- slide 2 ---\nT2\nB2"),
        (odf("text", f"<office:text>{HEAD}</office:text>"), f"{ODF}.text", "## Plan\na  b\tc"),
        (
            odf("spreadsheet", f"<office:spreadsheet>{SHEET}</office:spreadsheet>"),
            f"{ODF}.spreadsheet",
            '--- sheet "Sales {0}" ---\nx\tx',
        ),
        (
            odf("presentation", f"<office:presentation>{SLIDE * 2}</office:presentation>"),
            f"{ODF}.presentation",
            "--- slide 1 ---\nOn it\n\n--- slide 2 ---\nOn it",
        ),
        (b"# Notes\n\n- one", "text/markdown", "# Notes\n\n- one"),
        (b"a,b\n1,2\n", "text/csv", "a,b\n1,2\n"),
        (b'{"a": 1}', "application/json", '{"a": 1}'),
        (b"<svg><script>1</script></svg>", "image/svg+xml", "<svg><script>1</script></svg>"),
    ],
)
async def test_a_document_is_its_text_with_marks(content: bytes, media_type: str, text: str) -> None:
    assert await prepared(content, media_type) == PreparationResult(text=text)


async def test_a_page_is_what_a_browser_shows_and_its_scripts_are_counted() -> None:
    page = PreparationResult(
        text="Title: T\n# Hello\nbig world\na | b", note="Not shown: 1 script.", left_out={"script": 1}
    )

    assert await prepared(PAGE, "text/html") == page


async def test_a_heading_and_the_pages_of_a_document_are_kept() -> None:
    import docx as library
    from docx.oxml import OxmlElement

    document = library.Document()
    document.add_heading("Plan", level=2)
    second = document.add_paragraph("Second page")
    second.runs[0]._r.insert(0, OxmlElement("w:lastRenderedPageBreak"))
    out = BytesIO()
    document.save(out)

    found = await prepared(out.getvalue(), DOCX)

    assert found.text == "--- page 1 ---\n## Plan\n\n--- page 2 ---\nSecond page"


async def test_a_long_text_is_kept_up_to_a_limit_and_said_to_go_on() -> None:
    found = await prepared(b"x" * (TEXT_MAX_CHARS + 1), "text/plain")

    assert found.text == "x" * TEXT_MAX_CHARS
    assert found.note == "The file goes on; only its first 400,000 characters were read."


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (docx("One")[:2000], DOCX),
        (xlsx({"A": [[1]]})[:2000], XLSX),
        (pptx(("T", "B"))[:9000], PPTX),
        (packed({"word/document.xml": "<x/>"}), DOCX),
        (packed({"content.xml": "no xml"}), f"{ODF}.text"),
        (odf("text", billion_laughs("x")), f"{ODF}.text"),
        (packed({"content.xml": billion_laughs("<x>…</x>")}), f"{ODF}.text"),
        (odf("text", "<text:p>" * 100_000 + "</text:p>" * 100_000), f"{ODF}.text"),
        (b"", f"{ODF}.text"),
    ],
)
async def test_a_document_that_is_damaged_or_hostile_is_a_problem(content: bytes, media_type: str) -> None:
    found = await prepared(content, media_type)

    assert (found.text, found.is_final) == (None, True)
    assert BROKEN in str(found.note)


def replaced(archive: bytes, name: str, content: str | bytes) -> bytes:
    with zipfile.ZipFile(BytesIO(archive)) as original:
        parts = {part: original.read(part) for part in original.namelist()}
    assert name in parts
    return packed({**parts, name: content})


WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
EXCEL = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (
            replaced(
                docx("One"),
                "word/document.xml",
                billion_laughs(
                    f'<w:document xmlns:w="{WORD}"><w:body><w:p><w:r><w:t>…</w:t></w:r></w:p></w:body></w:document>'
                ),
            ),
            DOCX,
        ),
        (
            replaced(
                xlsx({"A": [["one"]]}),
                "xl/worksheets/sheet1.xml",
                billion_laughs(
                    f'<worksheet xmlns="{EXCEL}"><sheetData><row r="1"><c r="A1" t="inlineStr">'
                    "<is><t>…</t></is></c></row></sheetData></worksheet>"
                ),
            ),
            XLSX,
        ),
    ],
)
async def test_entities_are_not_expanded(content: bytes, media_type: str) -> None:
    started = time.monotonic()

    found = await prepared(content, media_type)

    assert "lol" not in str(found.text)
    assert time.monotonic() - started < 10


@pytest.mark.soak
async def test_a_document_that_unpacks_to_a_gigabyte_is_a_problem_for_itself_alone() -> None:
    bomb = BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("content.xml", "w") as part:
        for _ in range(1000):
            part.write(bytes(1_000_000))

    found = await prepared(bomb.getvalue(), f"{ODF}.text")

    assert found == PreparationResult(note="The document could not be read: it needs too much memory.")


async def test_a_sheet_that_says_it_has_a_million_columns_is_read_as_what_it_has() -> None:
    content = xlsx({"A": [["one"]]})
    with zipfile.ZipFile(BytesIO(content)) as original:
        sheet = original.read("xl/worksheets/sheet1.xml").decode()
    lie = re.sub(r'<dimension ref="[^"]*"', '<dimension ref="A1:XFD1048576"', sheet)
    assert lie != sheet

    found = await prepared(replaced(content, "xl/worksheets/sheet1.xml", lie), XLSX)

    assert found == PreparationResult(text='--- sheet "A" ---\none')


async def test_a_pdf_of_many_pages_is_read_as_far_as_its_time_goes() -> None:
    writer = PdfWriter()
    for _ in range(5000):
        writer.add_blank_page(10, 10)
    out = BytesIO()
    writer.write(out)

    found = await prepared(out.getvalue(), "application/pdf")

    assert found.text is None
    assert "its pages are blank" in str(found.note) or "takes too much time" in str(found.note)
