"""The gate for documents, archives, sound and film: a container is what is in it, whatever it is called."""

import bz2
import gzip
import io
import lzma
import tarfile

import pytest

from conversation.errors import FileRejected
from store.media_types.examine import examine
from store.media_types.zip_contents import TABLE_MAX_BYTES
from store.settings import Settings
from tests.unit.documents import ODF, OOXML, docx, odf, packed, pptx, xlsx

ALLOWED = Settings.model_fields["attachment_types"].default
DOCX = docx("Hello")
XLSX = xlsx({"A": [[1]]})
PPTX = pptx(("Title", "Body"))
ODT = odf("text", "<office:text/>")
ODS = odf("spreadsheet", "<office:spreadsheet/>")
ODP = odf("presentation", "<office:presentation/>")
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00" + b"\0" * 20
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500)


def tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"), io.BytesIO(b""))
    return out.getvalue()


def sniff(filename: str, content: bytes, declared: str | None = None, allowed: tuple[str, ...] = ALLOWED) -> str:
    return examine(filename, content, declared, max_bytes=10_000_000, allowed=allowed)


def refusal(filename: str, content: bytes, declared: str | None = None) -> str:
    with pytest.raises(FileRejected) as refused:
        sniff(filename, content, declared)
    return str(refused.value)


def part(name: str, *, of: str = "word/document.xml") -> bytes:
    return packed({"[Content_Types].xml": "<Types/>", of: "<x/>", name: "x"})


@pytest.mark.parametrize(
    ("filename", "content", "declared", "found"),
    [
        ("a.docx", DOCX, None, f"{OOXML}.wordprocessingml.document"),
        ("upload", DOCX, "application/octet-stream", f"{OOXML}.wordprocessingml.document"),
        ("a.docx", part("word\\document2.xml", of="WORD\\A.xml"), None, f"{OOXML}.wordprocessingml.document"),
        ("a.xlsx", XLSX, f"{OOXML}.spreadsheetml.sheet", f"{OOXML}.spreadsheetml.sheet"),
        ("a.xlsx", part("X\\new.xml", of="XL\\Workbook.xml"), None, f"{OOXML}.spreadsheetml.sheet"),
        ("a.xlsx", part("sheet.xml", of="report/workbook.xml"), None, f"{OOXML}.spreadsheetml.sheet"),
        ("a.xlsx", packed({"[content_types].xml": "", "xl/x": ""}), None, f"{OOXML}.spreadsheetml.sheet"),
        ("a.pptx", PPTX, None, f"{OOXML}.presentationml.presentation"),
        ("a.docx", DOCX, "application/msword", f"{OOXML}.wordprocessingml.document"),
        ("a.docx", DOCX, "application/zip", f"{OOXML}.wordprocessingml.document"),
        ("a.docm", DOCX, None, f"{OOXML}.wordprocessingml.document"),
        ("a.dotx", DOCX, f"{OOXML}.wordprocessingml.template", f"{OOXML}.wordprocessingml.document"),
        ("a.xlsx", XLSX, "application/vnd.ms-excel", f"{OOXML}.spreadsheetml.sheet"),
        ("a.ppsx", PPTX, f"{OOXML}.presentationml.slideshow", f"{OOXML}.presentationml.presentation"),
        ("a.pages", packed({"Index/Document.iwa": "x"}), "application/vnd.apple.pages", "application/zip"),
        ("a.amr", b"#!AMR\n" + bytes(range(256)), "audio/amr", "audio/amr"),
        ("a.odt", ODT, None, f"{ODF}.text"),
        ("a.ods", ODS, None, f"{ODF}.spreadsheet"),
        ("a.odp", ODP, f"{ODF}.presentation", f"{ODF}.presentation"),
        ("a.zip", packed({"a.txt": "hi"}), "application/x-zip-compressed", "application/zip"),
        ("a.zip", packed({}), None, "application/zip"),
        ("nested.zip", packed({"inner.zip": packed({"a.docx": DOCX})}), None, "application/zip"),
        ("a.tar", tar(), None, "application/x-tar"),
        ("a.tgz", gzip.compress(tar(), mtime=0), "application/x-compressed-tar", "application/gzip"),
        ("a.bz2", bz2.compress(b"x" * 100), None, "application/x-bzip2"),
        ("a.xz", lzma.compress(b"x"), None, "application/x-xz"),
        ("a.7z", b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(30), None, "application/x-7z-compressed"),
        ("a.wav", WAV, "audio/x-wav", "audio/wav"),
        ("a.mp3", b"ID3\x03" + bytes(100), None, "audio/mpeg"),
        ("a.mp3", b"\xff\xfb\x90\x64" + bytes(100), "audio/mp3", "audio/mpeg"),
        ("voice.webm", b"\x1a\x45\xdf\xa3" + bytes(60), "audio/webm", "video/webm"),
        ("a.mp4", b"\0\0\0\x20ftypisom" + bytes(50), "video/mp4", "video/mp4"),
        ("a.mov", b"\0\0\0\x14ftypqt  " + bytes(50), None, "video/quicktime"),
        ("a.py", b"import os\n", None, "text/plain"),
        ("a.html", b"<html><body>hi</body></html>", None, "text/html"),
    ],
)
def test_a_file_that_people_work_with_is_taken_by_default_as_what_it_is(
    filename: str, content: bytes, declared: str | None, found: str
) -> None:
    assert sniff(filename, content, declared) == found


@pytest.mark.parametrize(
    ("filename", "content"),
    [
        ("a.docx", packed({"a.txt": "hi"})),
        ("a.docx", packed({"word/document.xml": "<x/>"})),
        ("a.docx", XLSX),
        ("a.xlsx", ODS),
        ("a.odt", packed({"mimetype": "text/html", "content.xml": "<x/>"}, stored=("mimetype",))),
        ("a.zip", DOCX),
        ("a.docx", gzip.compress(b"x", mtime=0)),
        ("a.docx", b"just text"),
    ],
)
def test_a_container_that_is_not_what_it_is_called_is_refused(filename: str, content: bytes) -> None:
    assert f"'{filename}' is called" in refusal(filename, content)


@pytest.mark.parametrize("content", [DOCX, XLSX, PPTX, ODT], ids=["docx", "xlsx", "pptx", "odt"])
@pytest.mark.parametrize("ending", [".docx", ".zip", ".bin"])
def test_a_document_that_breaks_off_is_refused(content: bytes, ending: str) -> None:
    for length in (5, len(content) // 2, len(content) - 22):
        assert f"'a{ending}' is" in refusal(f"a{ending}", content[:length])


@pytest.mark.parametrize(
    ("filename", "content", "fix"),
    [
        ("a.docm", part("word/vbaProject.bin"), "save it as .docx"),
        ("a.docm", part("word\\vbaProject.bin"), "save it as .docx"),
        ("a.xlsm", part("xl/vbaProject.bin", of="xl/workbook.xml"), "save it as .xlsx"),
        ("a.xlsm", part("xl\\VBAProject.bin", of="xl\\workbook.xml"), "save it as .xlsx"),
        ("a.doc", OLE + "WordDocument\0".encode("utf-16-le"), "save it as .docx"),
        ("a.xls", OLE + "Workbook\0".encode("utf-16-le"), "save it as .xlsx"),
        ("a.ppt", OLE + "PowerPoint Document\0".encode("utf-16-le"), "save it as .pptx"),
    ],
)
def test_what_may_hold_macros_is_refused_with_what_to_send_instead(filename: str, content: bytes, fix: str) -> None:
    assert fix in refusal(filename, content)
    with pytest.raises(FileRejected, match="may hold macros"):
        sniff(filename, content, allowed=("*/*", "application/*"))


def test_macros_in_a_document_that_is_called_one_without_are_found() -> None:
    told = refusal("a.docx", part("word/vbaProject.bin"))

    assert "its bytes are application/vnd.ms-word.document.macroenabled.12" in told


def test_an_old_document_is_taken_where_it_is_named() -> None:
    content = OLE + "WordDocument\0".encode("utf-16-le")

    assert sniff("a.doc", content, allowed=("application/msword",)) == "application/msword"


@pytest.mark.parametrize("program", ["META-INF/MANIFEST.MF", "AndroidManifest.xml"])
def test_a_program_in_an_archive_is_no_archive(program: str) -> None:
    content = packed({program: "x"})

    assert "application/java-archive, which is not accepted" in refusal("upload", content)


def test_a_table_of_contents_is_not_read_when_it_is_longer_than_any_documents() -> None:
    content = packed({f"{'x' * 200}{number}": "" for number in range(9_000)})
    assert len(content) > TABLE_MAX_BYTES

    assert sniff("a.zip", content) == "application/zip"


@pytest.mark.parametrize(
    ("filename", "content", "declared", "words"),
    [
        (
            "a.heic",
            b"\0\0\0\x18ftypheic" + bytes(100),
            "image/heic",
            "is image/heic, which is not accepted; save it as .jpg",
        ),
        ("a.bmp", b"BM\x7a\0\0\0" + bytes(200), "image/bmp", "is image/bmp, which is not accepted; save it as .jpg"),
        ("smime.p7s", b"\x30\x80" + bytes(range(256)), "application/pkcs7-signature", "of no type that is known here"),
        ("a.zip", b"\x30\x80" + bytes(range(256)), "application/zip", "send the whole, undamaged file"),
        ("a.xlsx", DOCX, "application/vnd.ms-excel", "its bytes are application/vnd.openxml"),
    ],
)
def test_a_refusal_says_what_helps(filename: str, content: bytes, declared: str, words: str) -> None:
    assert words in refusal(filename, content, declared)
