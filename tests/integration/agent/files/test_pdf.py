"""What PDFs are like that people bring: protected, broken, scanned, without the tables of their fonts, and forms."""

import re
import time
from collections.abc import Callable, Mapping
from io import BytesIO

from pypdf import PdfReader, PdfWriter

from agent.files.extract import extract_text
from agent.files.readers.pdf.document import read
from agent.files.readers.sections import TextSections, Unreadable
from tests.integration.agent.files.test_extract import PDF, page, pdf, with_table
from tests.marked_files.pdf import assemble

PAGES = pdf(page("First page"), page("Second page"))
BOTH = "--- page 1 ---\nFirst page\n\n--- page 2 ---\nSecond page"
ENCRYPT = b"/Encrypt << /Filter /%s /SubFilter /x /V 2 /Length 128 /Recipients [] >> /ID [(a)(b)] "


def encrypted(algorithm: str, password: str = "") -> bytes:
    writer = PdfWriter(clone_from=PdfReader(BytesIO(pdf(page("Top secret")))))
    writer.encrypt(password, owner_password="owner", algorithm=algorithm)
    return written(writer)


def written(writer: PdfWriter) -> bytes:
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def updated() -> bytes:
    """A PDF whose title was added later, behind its end."""
    writer = PdfWriter(BytesIO(PAGES), incremental=True)
    writer.add_metadata({"/Title": "Later"})
    return written(writer)


def compact() -> bytes:
    """A PDF whose objects stand in streams."""
    writer = PdfWriter(clone_from=PdfReader(BytesIO(PAGES)))
    writer.compress_identical_objects()
    return written(writer)


def with_trailer(entries: bytes) -> bytes:
    return PAGES.replace(b"trailer << ", b"trailer << " + entries)


def document(pages: Mapping[str, str], **objects: str) -> bytes:
    """A PDF of pages with these contents, by name; further objects replace those that are there."""
    resources = "/Font << /F1 {font} >> /XObject << /Picture {picture} >>"
    parts = {
        "catalog": "<< /Type /Catalog /Pages {pages} >>",
        "pages": f"<< /Type /Pages /Kids [{' '.join(f'{{{name}}}' for name in pages)}] /Count {len(pages)} >>",
        "font": "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        "picture": "<< /Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray /BitsPerComponent 8 >> stream A",
    }
    for name, content in pages.items():
        parts[name] = (
            f"<< /Type /Page /Parent {{pages}} /MediaBox [0 0 612 792] /Contents {{{name}_content}} "
            f"/Resources << {resources} >> >>"
        )
        parts[f"{name}_content"] = f"<< >> stream {content}"
    return assemble(parts | objects)


SCAN = "q 612 0 0 792 0 0 cm /Picture Do Q"
TEXT = "BT /F1 12 Tf 72 700 Td (%s) Tj ET"
FONT_WITHOUT_TABLE = (
    "<< /Type /Font /Subtype /Type0 /BaseFont /X /Encoding /Identity-H /DescendantFonts [<< /Type /Font "
    "/Subtype /CIDFontType2 /BaseFont /X /CIDSystemInfo << /Registry (A) /Ordering (Identity) /Supplement 0 >> >>] >>"
)

#: A word in Arabic, as browsers print it: letters that stand for drawn ones, from the left.
ARABIC = "مرحبا"
DRAWN_ARABIC = "".join(
    f"BT /F1 12 Tf {100 + 8 * place} 700 Td /Span << /ActualText <FEFF{ord(letter):04X}> >> BDC (m) Tj EMC ET "
    for place, letter in enumerate(reversed(ARABIC))
)

READ: list[tuple[str, Callable[[], bytes], str]] = [
    *((f"encrypted by {name}", lambda name=name: encrypted(name), "Top secret") for name in ("RC4-40", "RC4-128")),
    *((f"encrypted by {name}", lambda name=name: encrypted(name), "Top secret") for name in ("AES-128", "AES-256-R5")),
    ("encrypted by AES-256", lambda: encrypted("AES-256"), "Top secret"),
    ("junk before it", lambda: b"HTTP/1.1 200 OK\r\n" * 30 + PAGES, BOTH),
    ("a wrong place of the table", lambda: re.sub(rb"startxref\n\d+", b"startxref\n99999", PAGES), BOTH),
    ("a wrong table", lambda: PAGES.replace(b"00000 n", b"12345 n"), BOTH),
    ("a count that is a lie", lambda: PAGES.replace(b"/Count 2", b"/Count 900000"), BOTH),
    ("a count that is too small", lambda: PAGES.replace(b"/Count 2", b"/Count 1"), BOTH),
    ("a count of nothing", lambda: PAGES.replace(b"/Count 2", b"/Count 0"), BOTH),
    ("its end is missing", lambda: PAGES[:-250], "--- page 1 ---\nFirst page"),
    ("an update", updated, f"Title: Later\n\n{BOTH}"),
    ("compact", compact, BOTH),
    ("a word from right to left", lambda: document({"one": DRAWN_ARABIC}), ARABIC),
    (
        "a word that is broken at the end of a line",
        lambda: document({"one": "BT /F1 12 Tf 72 700 Td (hyphen-) Tj 0 -14 Td (ated word) Tj ET"}),
        "--- page 1 ---\nhyphen-\nated word",
    ),
]
NAMED: list[tuple[str, Callable[[], bytes], str]] = [
    ("a password", lambda: encrypted("AES-256", "secret"), "protected by a password"),
    (
        "certificates",
        lambda: with_trailer(ENCRYPT % b"Adobe.PubSec"),
        "encrypted for the holders of certain certificates",
    ),
    (
        "another protection",
        lambda: with_trailer(ENCRYPT % b"FOPN_foweb"),
        "protected in a way that cannot be read here",
    ),
    (
        "no pages",
        lambda: with_table([b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [] /Count 0 >>"]),
        "The PDF has no pages.",
    ),
    ("its end is missing", lambda: PAGES[:-250], "broken off or damaged: these are the pages that were found"),
    (
        "some pages are scanned",
        lambda: document({"a": TEXT % "one", "b": SCAN, "c": SCAN, "d": TEXT % "four", "e": SCAN}),
        "3 of 5 pages hold no text (2-3, 5): they are probably scanned images",
    ),
    (
        "a number is stamped on a scan",
        lambda: document({"a": f"{TEXT % 'page 1 of 1'} {SCAN}"}),
        "1 of 1 pages hold no text (1)",
    ),
    (
        "letters without a meaning",
        lambda: document({"a": "BT /F1 12 Tf 72 700 Td <000100020003000400050006> Tj ET"}, font=FONT_WITHOUT_TABLE),
        "do not say which characters they show",
    ),
    (
        "letters that may have another meaning",
        lambda: document({"a": "BT /F1 12 Tf 72 700 Td <004100420043> Tj ET"}, font=FONT_WITHOUT_TABLE),
        "words may be wrong on pages 1",
    ),
    (
        "a form that only Adobe shows",
        lambda: document(
            {"a": TEXT % "Please wait..."},
            catalog="<< /Type /Catalog /Pages {pages} /AcroForm << /Fields [] /XFA {xfa} >> >>",
            xfa="<< >> stream <xdp><datasets><data><f><city>Leeds</city></f></data></datasets></xdp>",
        ),
        "The PDF is an XFA form: its values and texts are shown",
    ),
    (
        "a portfolio",
        lambda: document(
            {"a": TEXT % "cover"}, catalog="<< /Type /Catalog /Pages {pages} /Collection << /View /D >> >>"
        ),
        "The PDF is a portfolio",
    ),
    (
        "a form that is broken",
        lambda: document(
            {"a": TEXT % "cover"}, catalog="<< /Type /Catalog /Pages {pages} /AcroForm << /XFA {font} /Fields 7 >> >>"
        ),
        "The form of the PDF could not be read.",
    ),
]


def read_here(content: bytes) -> tuple[str, str]:
    """The text of a PDF and all that is said of it, read in this process: a child takes a second to start."""
    try:
        result = read(content, TextSections(time.monotonic() + 60, 100_000))
    except Unreadable as reason:
        return "", str(reason)
    return result["text"], " ".join(filter(None, [result["problem"], *result["remarks"]]))


def test_a_pdf_that_others_read_is_read() -> None:
    texts = {name: read_here(build())[0] for name, build, _ in READ}

    assert {name: texts[name] for name, _, text in READ if text not in texts[name]} == {}


def test_what_is_missing_of_a_pdf_is_said() -> None:
    notes = {name: read_here(build())[1] for name, build, _ in NAMED}

    assert {name: notes[name] for name, _, note in NAMED if note not in notes[name]} == {}


async def test_a_form_with_values_only_is_no_scan() -> None:
    catalog = "<< /Type /Catalog /Pages {pages} /AcroForm << /Fields [<< /FT /Tx /T (Name) /V (Ada) >>] >> >>"

    found = await extract_text(document({"a": "q Q"}, catalog=catalog), PDF)

    assert (found.text, found.problem) == ("--- form ---\nName: Ada", None)


async def test_a_package_that_is_missing_is_named_and_costs_no_page(monkeypatch, tmp_path) -> None:
    (tmp_path / "cryptography.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    found = await extract_text(encrypted("AES-256"), PDF)

    assert found.text == "--- page 1 ---\nTop secret"
    assert "cryptography is not installed" in " ".join(found.remarks)


async def test_a_pdf_that_crashes_its_reader_is_read_by_another(monkeypatch, tmp_path) -> None:
    (tmp_path / "pypdfium2.py").write_text(
        "import os, resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))\nos.abort()"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    found = await extract_text(PAGES, PDF)

    assert found.text == BOTH
    assert "a simpler reader" in " ".join(found.remarks)
