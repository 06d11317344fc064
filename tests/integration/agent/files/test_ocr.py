"""Text in scans and pictures: read by tesseract where that was asked for, and said not to be read where not."""

import shutil
from io import BytesIO

import pytest
from PIL import Image, ImageDraw, ImageFont

from agent.files.extract import extract_text
from agent.files.prepare import prepare_file

PDF = "application/pdf"


def scan(*texts: str) -> Image.Image:
    """A page as a picture of its text."""
    image = Image.new("L", (1240, 1754), 255)
    for number, text in enumerate(texts):
        ImageDraw.Draw(image).text((100, 100 + 90 * number), text, fill=0, font=ImageFont.load_default(size=40))
    return image


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


SCANS = saved(scan("Invoice number 4711"), "PDF", save_all=True, append_images=[scan("The second page")])
PICTURE = saved(scan("Grinder with a warranty"), "PNG")


async def test_without_ocr_a_scan_is_named() -> None:
    found = await prepare_file(SCANS, PDF)

    assert found.text is None
    assert found.left_out == {"scanned page": 2}
    assert "its pages are probably scanned images. Not shown: 2 scanned pages." in str(found.note)


async def test_without_its_program_a_scan_says_what_is_missing(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    scans, picture = [await prepare_file(*file, "eng") for file in ((SCANS, PDF), (PICTURE, "image/png"))]

    for found in (scans, picture):
        assert "Text in pictures was not read: the program tesseract is not installed here." in str(found.note)
    assert scans.left_out == {"scanned page": 2}
    assert picture.text == "1240 x 1754 pixels"


@pytest.fixture
def stub_tesseract(monkeypatch, tmp_path):
    """Make a program called tesseract of a line of shell."""

    def make(script: str) -> None:
        program = tmp_path / "tesseract"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return make


@pytest.mark.parametrize(
    ("script", "text", "note"),
    [
        ('cat > /dev/null; echo "$1 $2 $3 $4"', "stdin stdout -l eng+deu", "2 of 2 pages were read by OCR"),
        ("cat > /dev/null; exit 3", None, "Text in pictures was not read: tesseract failed."),
        ("cat > /dev/null; echo 'Failed loading language' >&2; exit 1", None, "has no data here for all of 'eng+deu'"),
        ("exec sleep 60", None, "Text in pictures was not read to its end: it takes too much time."),
    ],
)
async def test_a_scan_is_what_the_program_reads(
    stub_tesseract, monkeypatch, script: str, text: str | None, note: str
) -> None:
    stub_tesseract(script)
    if "sleep" in script:
        monkeypatch.setattr("agent.files.extract.OCR_TIMEOUT_SECONDS", 12.5)

    found = await extract_text(SCANS, PDF, timeout_seconds=1, ocr_languages="eng+deu")

    assert (text or "") in found.text
    assert note in " ".join(found.remarks)
    assert bool(found.text) == bool(text)


@pytest.mark.soak
async def test_tesseract_reads_scans_and_pictures() -> None:
    assert shutil.which("tesseract"), "install tesseract-ocr"

    scans = await prepare_file(SCANS, PDF, "eng")
    picture = await prepare_file(PICTURE, "image/png", "eng")

    assert scans.text == "--- page 1 ---\nInvoice number 4711\n\n--- page 2 ---\nThe second page"
    assert scans.note == "2 of 2 pages were read by OCR, which makes mistakes: 1-2."
    assert picture.text == "1240 x 1754 pixels\n\nGrinder with a warranty"
    assert picture.note == "The text in the picture was read by OCR, which makes mistakes."
    assert picture.picture is not None
