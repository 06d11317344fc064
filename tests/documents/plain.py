"""Files of text and what is packed from it: tables in old encodings, pages, notebooks, books, data."""

import csv
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from tests.documents import Document, say
from tests.documents.matters import Matter

#: What a spreadsheet program exports on a machine of that language.
_CHARSETS = {
    "en": "utf-8-sig", "de": "cp1252", "fr": "utf-16", "pl": "cp1250", "cs": "cp1250", "tr": "cp1254", "ru": "cp1251",
    "uk": "cp1251", "el": "cp1253", "he": "cp1255", "ar": "cp1256", "zh": "gb18030", "ja": "shift_jis", "ko": "euc_kr",
    "th": "utf-8", "vi": "utf-8",
}  # fmt: skip
_CHAPTER = "<html xmlns='http://www.w3.org/1999/xhtml'><head><title>x</title></head><body><h1>{}</h1>{}</body></html>"
_CONTAINER = (
    "<container version='1.0' xmlns='urn:oasis:names:tc:opendocument:xmlns:container'><rootfiles>"
    "<rootfile full-path='OEBPS/book.opf' media-type='application/oebps-package+xml'/></rootfiles></container>"
)
_PACKAGE = (
    "<package xmlns='http://www.idpf.org/2007/opf' version='3.0' unique-identifier='id'>"
    "<metadata xmlns:dc='http://purl.org/dc/elements/1.1/'><dc:identifier id='id'>1</dc:identifier>"
    "<dc:title>{}</dc:title><dc:creator>{}</dc:creator><dc:language>{}</dc:language></metadata>"
    "<manifest><item id='b' href='b.xhtml' media-type='application/xhtml+xml'/>"
    "<item id='a' href='text/a.xhtml' media-type='application/xhtml+xml'/></manifest>"
    "<spine><itemref idref='a'/><itemref idref='b'/></spine></package>"
)


def build(matters: Sequence[Matter]) -> Iterator[Document]:
    """Build the files."""
    for matter in matters:
        if matter.language in _CHARSETS:
            yield _write_table(matter, _CHARSETS[matter.language])
        yield _WRITERS[matter.number % len(_WRITERS)](matter)


def _write_table(matter: Matter, charset: str) -> Document:
    """A table with enough words for its encoding to be told by."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=";")
    writer.writerows(matter.rows)
    words = [matter.title, matter.header, matter.footer, matter.person, matter.note, *matter.paragraphs]
    writer.writerows([word] for word in words)
    # What an encoding does not have, its programs replace.
    content = file.getvalue().encode(charset, "replace")
    text = content.decode(charset)
    facts = tuple(say(word) for word in (*words, *matter.columns) if word in text)
    return Document(f"plain/csv-{charset}/{matter.name}", "text/csv", content, facts)


def _write_page(matter: Matter) -> Document:
    rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in matter.rows)
    text = "".join(f"<p>{escape(paragraph)}</p>" for paragraph in matter.paragraphs)
    body = f"<h1>{escape(matter.title)}</h1>{text}<table>{rows}</table><footer>{escape(matter.footer)}</footer>"
    picture = f"<img src='a.png' alt='{escape(matter.note, quote=True)}'>"
    content = f"<!DOCTYPE html><html><head><meta charset='utf-8'></head><body>{body}{picture}</body></html>".encode()
    facts = (*matter.say_body(), *matter.say_table(), say(matter.footer), say(matter.note, kind="picture"))
    return Document(f"plain/html/{matter.name}", "text/html", content, facts)


def _write_notebook(matter: Matter) -> Document:
    """A notebook whose cells were run: text, code, what it printed, a picture beside its text, an error."""
    title, code = f"# {matter.title}", f"price = {matter.items[0].price}  # {matter.note}"
    printed, data = matter.paragraphs[0], {"image/png": "iVBORw0KGgo=", "text/plain": [matter.person]}
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": [printed + "\n"]},
        {"output_type": "display_data", "metadata": {}, "data": data},
        {"output_type": "error", "ename": "ValueError", "evalue": matter.footer, "traceback": []},
    ]  # fmt: skip
    cells: list[dict[str, Any]] = [
        {"cell_type": "markdown", "metadata": {}, "source": [title]},
        {"cell_type": "code", "metadata": {}, "execution_count": 1, "source": [code], "outputs": outputs},
    ]
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}
    facts = (say(title), say(code), say(printed), say(matter.person), say(matter.footer), say(kind="picture"))
    content = json.dumps(notebook, ensure_ascii=False, indent=1).encode()
    return Document(f"plain/ipynb/{matter.name}", "application/x-ipynb+json", content, facts)


def _write_book(matter: Matter) -> Document:
    """A book of two chapters, whose order its spine tells."""
    files = {
        "META-INF/container.xml": _CONTAINER,
        "OEBPS/book.opf": _PACKAGE.format(escape(matter.title), escape(matter.person), matter.language),
        "OEBPS/b.xhtml": _CHAPTER.format(escape(matter.footer), f"<p>{escape(matter.note)}</p>"),
        "OEBPS/text/a.xhtml": _CHAPTER.format(escape(matter.header), f"<p>{escape(matter.paragraphs[0])}</p>"),
    }
    facts = map(say, (matter.title, matter.header, matter.paragraphs[0], matter.footer, matter.note))
    content = _pack({"mimetype": "application/epub+zip", **files})
    return Document(f"plain/epub/{matter.name}", "application/epub+zip", content, tuple(facts))


def _write_data(matter: Matter) -> Document:
    data = {"title": matter.title, "rows": matter.rows, "note": matter.note}
    content = json.dumps(data, ensure_ascii=False).encode("utf-8-sig")
    facts = (say(matter.title), *matter.say_table(), say(matter.note))
    return Document(f"plain/json/{matter.name}", "application/json", content, facts)


def _write_archive(matter: Matter) -> Document:
    names = [f"{matter.kind}/{matter.columns[0]}.txt", "README.md"]
    content = _pack(dict.fromkeys(names, matter.note))
    return Document(f"plain/zip/{matter.name}", "application/zip", content, tuple(map(say, names)))


def _pack(files: dict[str, str]) -> bytes:
    """A ZIP archive of these texts; the first is stored as it is, as books have their type."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number, (name, text) in enumerate(files.items()):
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED if number else zipfile.ZIP_STORED)
    return packed.getvalue()


_WRITERS = (_write_page, _write_notebook, _write_book, _write_data, _write_archive)
