"""Small files that would fill or stop whoever opens them as they ask for it.

What stays true: each is a few megabytes at most, and is made in moments.
"""

import bz2
import gzip
import io
import json
import lzma
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping

from tests.integration.agent.files.test_extract import pdf, with_table
from tests.unit.documents import (
    ODF,
    ODF_CONTENT,
    OOXML,
    billion_laughs,
    docx,
    gif_header,
    jpeg_header,
    odf,
    packed,
    png,
    png_chunk,
    pptx,
    webp_header,
    xlsx,
)

MEGABYTE = 2**20
DOCX, XLSX, PPTX = docx("x"), xlsx({"A": [["one"]]}), pptx(("a", "b"))
WORD, EXCEL = f'xmlns:w="{OOXML}"', "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
#: A bomb: the name of the file, and what makes its bytes.
Bomb = tuple[str, Callable[[], bytes]]


def replace_part(content: bytes, name: str, part: bytes | str) -> bytes:
    """A package with another part of this name."""
    with zipfile.ZipFile(io.BytesIO(content)) as original:
        return packed({each: original.read(each) for each in original.namelist()} | {name: part})


def list_bombs() -> Mapping[str, Bomb]:
    """List all bombs, by what they do."""
    return _list_archives() | _list_documents() | _list_markup() | _list_others()


def _zeros(count: int, level: int = 9) -> bytes:
    packer = zlib.compressobj(level, wbits=-15)
    return b"".join([*(packer.compress(bytes(MEGABYTE)) for _ in range(count)), packer.flush()])


def _zip_of(name: str, megabytes: int, others: Mapping[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for each, text in others.items():
            archive.writestr(each, text, zipfile.ZIP_STORED)
        with archive.open(name, "w") as part:
            for _ in range(megabytes):
                part.write(b" " * MEGABYTE)
    return out.getvalue()


def _lie(content: bytes, megabytes: int, size: int = 10) -> bytes:
    """The same archive, whose table says that its last part has another size."""
    real, said = struct.pack("<I", megabytes * MEGABYTE), struct.pack("<I", size)
    assert content.count(real) >= 1
    return content.replace(real, said)


def _repeat_entry(name: str, count: int) -> bytes:
    """An archive whose table lists one part of a megabyte many times."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings(action="ignore"):
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", "<x/>")
        archive.writestr(name, "<a>" + " " * MEGABYTE + "</a>")
        archive.filelist.extend(archive.filelist[-1:] * count)
        archive._didModify = True
    return out.getvalue()


def _tar(size: int = 0, count: int = 1) -> bytes:
    info, out = tarfile.TarInfo("a"), io.BytesIO()
    info.size = size
    for number in range(count):
        info.name = f"{number}"
        out.write(info.tobuf(tarfile.GNU_FORMAT))
    return out.getvalue() + bytes(1024)


def _nest(pack: Callable[[bytes], bytes], depth: int, content: bytes = bytes(10 * MEGABYTE)) -> bytes:
    for _ in range(depth):
        content = pack(content)
    return content


def _list_archives() -> Mapping[str, Bomb]:
    return {
        "a part of a gigabyte": (
            "a.docx",
            lambda: _lie(_zip_of("word/document.xml", 50, {"[Content_Types].xml": "<Types/>"}), 50, 2**31),
        ),
        "a text of 300 MB": ("a.odt", lambda: _zip_of("content.xml", 300, {"mimetype": f"{ODF}.text"})),
        "a table of 50 MB": ("a.docx", lambda: _zip_of("[Content_Types].xml", 50, {"word/document.xml": "<x/>"})),
        "relationships of 50 MB": (
            "a.docx",
            lambda: _zip_of("_rels/.rels", 50, {"[Content_Types].xml": "<Types/>", "word/document.xml": "<x/>"}),
        ),
        "a size that is a lie": (
            "a.docx",
            lambda: _lie(
                _zip_of("_rels/.rels", 50, {"[Content_Types].xml": "<Types/>", "word/document.xml": "<x/>"}), 50
            ),
        ),
        "a text whose size is a lie": (
            "a.odt",
            lambda: _lie(_zip_of("content.xml", 300, {"mimetype": f"{ODF}.text"}), 300),
        ),
        "one part a thousand times": ("a.docx", lambda: _repeat_entry("word/_rels/a.rels", 1000)),
        "many parts": (
            "a.docx",
            lambda: packed(
                {"[Content_Types].xml": "<Types/>", "word/document.xml": "<x/>"}
                | {f"word/{n}": "" for n in range(40_000)}
            ),
        ),
        "many small relationships": (
            "a.docx",
            lambda: packed(
                {"[Content_Types].xml": "<Types/>", "word/document.xml": "<x/>"}
                | {f"{n}.rels": "<a>" + "<a/>" * 200 + "</a>" for n in range(10_000)}
            ),
        ),
        "names of 60 KB": ("a.zip", lambda: packed({f"{n}{'x' * 60_000}": "" for n in range(30)})),
        "an archive of many": ("a.zip", lambda: packed({f"{n}": "" for n in range(40_000)})),
        "an archive of archives": (
            "a.zip",
            lambda: _nest(lambda content: packed({"a.zip": content, "b.zip": content}), 8),
        ),
        "gzip": ("a.gz", lambda: gzip.compress(bytes(100 * MEGABYTE))),
        "gzip within gzip": ("a.gz", lambda: _nest(gzip.compress, 5, bytes(100 * MEGABYTE))),
        "bzip2": ("a.bz2", lambda: bz2.compress(bytes(20 * MEGABYTE))),
        "bzip2 many times": ("a.bz2", lambda: bz2.compress(bytes(900_000)) * 2_000),
        "xz": ("a.xz", lambda: lzma.compress(bytes(50 * MEGABYTE), preset=0)),
        "a packed tape": ("a.tar.gz", lambda: gzip.compress(_tar(2**33) + bytes(50 * MEGABYTE))),
        "a tape that says it is huge": ("a.tar", lambda: _tar(2**62)),
        "a tape of many": ("a.tar", lambda: _tar(count=30_000)),
        "7z": ("a.7z", lambda: b"7z\xbc\xaf\x27\x1c\0\4" + struct.pack("<IQQI", 0, 0, 2**40, 0) + bytes(40)),
        "RAR": ("a.rar", lambda: b"Rar!\x1a\7\1\0" + b"\xff" * 4_000),
    }


def _list_documents() -> Mapping[str, Bomb]:
    sheet = "xl/worksheets/sheet1.xml"
    row = (
        f'<worksheet xmlns="{EXCEL}">{{}}<sheetData><row r="{{}}"><c r="{{}}" '
        f't="inlineStr"><is><t>x</t></is></c></row></sheetData>{{}}</worksheet>'
    )
    wide = "".join(f'<row r="{row}"><c r="A{row}"/><c r="XFD{row}"><v>1</v></c></row>' for row in range(1, 3_000))
    cell = (
        '<table:table><table:table-row table:number-rows-repeated="1048576"><table:table-cell '
        'table:number-columns-repeated="16384"><text:p>x</text:p></table:table-cell></table:table-row></table:table>'
    )
    return {
        "a far cell": ("a.xlsx", lambda: replace_part(XLSX, sheet, row.format("", 1048576, "XFD1048576", ""))),
        "a wide sheet": (
            "a.xlsx",
            lambda: replace_part(XLSX, sheet, f'<worksheet xmlns="{EXCEL}"><sheetData>{wide}</sheetData></worksheet>'),
        ),
        "a size of a sheet": (
            "a.xlsx",
            lambda: replace_part(XLSX, sheet, row.format('<dimension ref="A1:XFD1048576"/>', 1, "A1", "")),
        ),
        "all cells as one": (
            "a.xlsx",
            lambda: replace_part(
                XLSX,
                sheet,
                row.format("", 1, "A1", '<mergeCells count="1"><mergeCell ref="A1:XFD1048576"/></mergeCells>'),
            ),
        ),
        "a million columns": (
            "a.xlsx",
            lambda: replace_part(
                XLSX, sheet, row.format('<cols><col min="1" max="99999999" width="9"/></cols>' * 1_000, 1, "A1", "")
            ),
        ),
        "a deep formula": (
            "a.xlsx",
            lambda: replace_part(
                XLSX,
                sheet,
                f'<worksheet xmlns="{EXCEL}"><sheetData><row r="1"><c '
                f'r="A1"><f>{"(" * 500_000}</f></c></row></sheetData></worksheet>',
            ),
        ),
        "repeated cells": (
            "a.ods",
            lambda: odf("spreadsheet", f"<office:spreadsheet>{cell * 20}</office:spreadsheet>"),
        ),
        "repeated spaces": (
            "a.odt",
            lambda: odf("text", '<office:text><text:p><text:s text:c="999999999"/>x</text:p></office:text>'),
        ),
        "many slides": (
            "a.pptx",
            lambda: replace_part(
                PPTX,
                "ppt/presentation.xml",
                "<p:presentation xmlns:p='p'><p:sldIdLst>"
                + '<p:sldId id="256"/>' * 50_000
                + "</p:sldIdLst></p:presentation>",
            ),
        ),
        "streams of objects": (
            "a.pdf",
            lambda: pdf(b"").replace(zlib.compress(b""), zlib.compress(bytes(100 * MEGABYTE), 1)),
        ),
        "an instruction a million times": ("a.pdf", lambda: pdf(b"BT " + b"(A) Tj\n" * 900_000 + b"ET")),
        "pages in circles": (
            "a.pdf",
            lambda: with_table(
                [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 999999999 >>"]
            ),
        ),
        "nested lists": (
            "a.pdf",
            lambda: with_table(
                [
                    b"<< /Type /Catalog /Pages 2 0 R /X " + b"[" * 200_000 + b" >>",
                    b"<< /Type /Pages /Kids [] /Count 0 >>",
                ]
            ),
        ),
        "a predictor": (
            "a.pdf",
            lambda: pdf(b"x").replace(
                b"/FlateDecode", b"/FlateDecode /DecodeParms << /Predictor 15 /Columns 2147483647 >>"
            ),
        ),
    }


def _list_markup() -> Mapping[str, Bomb]:
    deep, shut = "<w:p>" * 100_000, "</w:p>" * 100_000
    office_text = "<office:text><text:p>…</text:p></office:text>"
    spaced = billion_laughs(
        f'<office:document xmlns:office="urn:opendocument" office:mimetype="{ODF}.text">…</office:document>'
    )
    return {
        "entities in a text": (
            "a.docx",
            lambda: replace_part(DOCX, "word/document.xml", billion_laughs(f"<w:document {WORD}>…</w:document>")),
        ),
        "entities in strings": (
            "a.xlsx",
            lambda: replace_part(
                XLSX, "xl/sharedStrings.xml", billion_laughs(f'<sst xmlns="{EXCEL}"><si><t>…</t></si></sst>')
            ),
        ),
        "entities in a table": (
            "a.docx",
            lambda: replace_part(DOCX, "[Content_Types].xml", billion_laughs("<Types>…</Types>")),
        ),
        "entities in OpenDocument": (
            "a.odt",
            lambda: packed(
                {"mimetype": f"{ODF}.text", "content.xml": billion_laughs(office_text)}, stored=("mimetype",)
            ),
        ),
        "entities in one XML file": ("a.fodt", spaced.encode),
        "entities in XML": ("a.xml", lambda: billion_laughs("<a>…</a>").encode()),
        "entities in a drawing": ("a.svg", lambda: billion_laughs("<svg>…</svg>").encode()),
        "entities of one size": (
            "a.xml",
            ('<!DOCTYPE a [<!ENTITY a "' + "x" * 100_000 + '">]><a>' + "&a;" * 100_000 + "</a>").encode,
        ),
        "depth of a text": (
            "a.docx",
            lambda: replace_part(
                DOCX, "word/document.xml", f"<w:document {WORD}><w:body>{deep}x{shut}</w:body></w:document>"
            ),
        ),
        "depth of OpenDocument": (
            "a.odt",
            lambda: packed(
                {
                    "mimetype": f"{ODF}.text",
                    "content.xml": ODF_CONTENT.format(body="<text:p>" * 100_000 + "</text:p>" * 100_000),
                },
                stored=("mimetype",),
            ),
        ),
        "tags of a table": (
            "a.docx",
            lambda: replace_part(DOCX, "[Content_Types].xml", "<Types>" + "<a/>" * 900_000 + "</Types>"),
        ),
        "attributes": ("a.xml", ("<a " + " ".join(f'a{n}="x"' for n in range(100_000)) + "/>").encode),
        "a page": ("a.html", lambda: b"<html><body>" + b"<div>" * 200_000),
        "a page of tables": ("a.html", lambda: b"<html><body>" + b"<table><tr><td>" * 20_000),
        "lists": ("a.json", lambda: b"[" * 500_000 + b"]" * 500_000),
        "a notebook": ("a.ipynb", lambda: b'{"cells": ' + b"[" * 100_000 + b"]" * 100_000 + b', "nbformat": 4}'),
        "cells": (
            "a.ipynb",
            lambda: json.dumps(
                {"cells": [{"cell_type": "code", "source": "x", "outputs": []}] * 50_000, "nbformat": 4}
            ).encode(),
        ),
        "groups": ("a.rtf", lambda: rb"{\rtf1 " + b"{" * 200_000),
        "backslashes": ("a.rtf", lambda: rb"{\rtf1 " + b"\\" * 400_000 + rb"fldinst " + b"{" * 400_000),
    }


def _list_others() -> Mapping[str, Bomb]:
    sender, huge = "From: a@e.org\r\nTo: b\r\nSubject: c\r\nDate: d\r\nMIME-Version: 1.0\r\n", (60_000, 60_000)
    nested = "".join(f'Content-Type: multipart/mixed; boundary="b{n}"\r\n\r\n--b{n}\r\n' for n in range(3_000))
    return {
        "pixels of PNG": ("a.png", lambda: png(*huge)),
        "pixels of JPEG": ("a.jpg", lambda: jpeg_header(*huge)),
        "pixels of GIF": ("a.gif", lambda: gif_header(*huge)),
        "pixels of WebP": ("a.webp", lambda: webp_header(16_000, 16_000, b"VP8L")),
        "a text of PNG": (
            "a.png",
            lambda: (
                png(10, 10)[:33]
                + png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50 * MEGABYTE), 1))
                + png(10, 10)[33:]
            ),
        ),
        "rows of PNG": ("a.png", lambda: png(100, 100, pixels=bytes(50 * MEGABYTE))),
        "frames of GIF": ("a.gif", lambda: gif_header(500, 500)[:-1] + gif_header(500, 500)[19:-1] * 20_000 + b";"),
        "comments of GIF": (
            "a.gif",
            lambda: gif_header(9, 9)[:19] + b"!\xfe" + b"\1x" * 900_000 + b"\0" + gif_header(9, 9)[19:],
        ),
        "parts of a mail": (
            "a.eml",
            (sender + 'Content-Type: multipart/mixed; boundary="b"\r\n\r\n' + "--b\r\n\r\nx\r\n" * 20_000).encode,
        ),
        "mails within a mail": ("a.eml", (sender + nested).encode),
        "a long field": ("a.eml", (sender + "X-A: " + "a;b=c " * 300_000 + "\r\n\r\nx").encode),
        "words of a field": ("a.eml", (sender.replace("c", "=?utf-8?q?c?= " * 20_000) + "\r\nx").encode),
        "a line of whitespace": ("a.eml", (sender + "\r\n" + " \n" * 700_000 + "x").encode),
        "commands in a table": ("a.csv", lambda: b"=aaaa|" * 200_000 + b"!"),
        "a million columns of a table": ("a.csv", lambda: b"a," * 1_000_000),
        "an OLE file in circles": (
            "a.msg",
            lambda: (
                b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
                + bytes(16)
                + struct.pack("<HHHHH", 62, 3, 0xFFFE, 9, 6)
                + bytes(10)
                + struct.pack("<IIIIIII", 2**20, 0, 0, 4096, 0, 2**20, 0)
                + bytes(1_000_000)
            ),
        ),
        "a book of many chapters": ("a.epub", _make_book),
    }


def _make_book() -> bytes:
    container = '<container><rootfiles><rootfile full-path="a.opf"/></rootfiles></container>'
    manifest = '<manifest><item id="a" href="a.html" media-type="application/xhtml+xml"/></manifest>'
    item = '<itemref idref="a"/>'
    parts: dict[str, bytes | str] = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": container,
        "a.opf": f"<package>{manifest}<spine>{item * 20_000}</spine></package>",
        "a.html": "<html><body>x</body></html>",
    }
    return packed(parts, stored=("mimetype",))
