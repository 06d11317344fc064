"""PDFs: reports laid out by ReportLab, its forms, and what pypdf makes of them: filled, annotated, protected.

What stays true: only scripts whose fonts every reader has, those of Western Europe and of East Asia, are written.
"""

import io
from collections.abc import Iterator, Sequence
from typing import Any

from tests.documents import Document, Fact, say
from tests.documents.matters import Matter
from tests.documents.pictures import draw_picture

MEDIA_TYPE = "application/pdf"
#: By language, where the text is not that of Western Europe.
_FONTS = {"zh": "STSong-Light", "ja": "HeiseiMin-W3", "ko": "HYSMyeongJo-Medium"}
#: Points between the lines of a form.
_LINE = 30


def build(matters: Sequence[Matter]) -> Iterator[Document]:
    """Build the PDFs."""
    for matter in filter(_has_font, matters):
        report = _write_report(matter)
        yield report
        yield _write_form(matter) if matter.number % 2 else _change(report, matter)


def _has_font(matter: Matter) -> bool:
    try:
        "".join([matter.title, matter.person, *matter.paragraphs]).encode("cp1252")
    except UnicodeEncodeError:
        return matter.language in _FONTS
    return True


def _register_font(matter: Matter) -> str:
    """The name of a font that has the letters of a matter."""
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont

    if matter.language not in _FONTS:
        return "Helvetica"
    pdfmetrics.registerFont(UnicodeCIDFont(_FONTS[matter.language]))
    return _FONTS[matter.language]


def _write_report(matter: Matter) -> Document:
    """A report of two pages: headings that are an outline, a table, a header on each page, a picture."""
    from xml.sax.saxutils import escape

    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Image, PageBreak, Paragraph, SimpleDocTemplate, Spacer, Table

    font = _register_font(matter)
    style = ParagraphStyle("body", fontName=font, fontSize=11, leading=15)

    def draw_margins(canvas: Any, document: Any) -> None:
        canvas.setFont(font, 8)
        canvas.drawString(70, 810, matter.header)
        canvas.drawRightString(500, 20, f"{matter.footer} · {document.page}")
        canvas.bookmarkPage(f"p{document.page}")
        canvas.addOutlineEntry(f"{document.page}: {matter.kind}", f"p{document.page}")

    flow = [Paragraph(escape(text), style) for text in (matter.title, *matter.paragraphs)]
    table = Table(matter.rows, style=[("FONTNAME", (0, 0), (-1, -1), font), ("GRID", (0, 0), (-1, -1), 0.5, "black")])
    flow += [table, Spacer(1, 20), Image(io.BytesIO(draw_picture(len(matter.title))), 40, 30), PageBreak()]
    flow.append(Paragraph(escape(matter.note), style))
    file = io.BytesIO()
    SimpleDocTemplate(file, title=matter.title, author=matter.person, invariant=1).build(
        flow, onFirstPage=draw_margins, onLaterPages=draw_margins
    )
    margins = [say(matter.header), say(f"{matter.footer} · 2"), say(f"1: {matter.kind}")]
    facts = (*margins, *matter.say_body(), *matter.say_table(), say(matter.note), say(kind="picture"))
    return Document(f"pdf/reportlab/{matter.name}", MEDIA_TYPE, file.getvalue(), facts)


def _write_form(matter: Matter) -> Document:
    """A form that pypdf filled in: text fields, a choice, a box that is ticked; no text but in the fields."""
    from pypdf import PdfReader, PdfWriter
    from reportlab.pdfgen.canvas import Canvas

    blank = io.BytesIO()
    canvas = Canvas(blank, invariant=1)
    fields = {"person": matter.person, "note": matter.note, "day": f"{matter.date:%d.%m.%Y}"}
    for number, name in enumerate(fields):
        canvas.acroForm.textfield(name=name, tooltip=name, x=70, y=700 - number * _LINE, width=300, height=20)
    canvas.acroForm.choice(
        name="language", value="en", options=["en", matter.language], x=70, y=500, width=90, height=20
    )
    canvas.acroForm.checkbox(name="agreed", checked=True, x=70, y=450)
    canvas.showPage()
    canvas.save()
    writer = PdfWriter(clone_from=PdfReader(blank))
    writer.update_page_form_field_values(writer.pages[0], fields, auto_regenerate=False)
    facts = [*map(say, fields), *map(say, fields.values()), say("language"), say("agreed")]
    return Document(f"pdf/form/{matter.name}", MEDIA_TYPE, _save(writer), tuple(facts))


def _change(report: Document, matter: Matter) -> Document:
    """A report that pypdf annotated, protected with an empty password, or merged with a blank page."""
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(report.content)))
    name, change = _CHANGES[matter.number // 2 % len(_CHANGES)]
    facts = change(writer, matter)
    return Document(f"pdf/{name}/{matter.name}", MEDIA_TYPE, _save(writer), (*report.facts, *facts))


def _annotate(writer: Any, matter: Matter) -> list[Fact]:
    from pypdf.annotations import FreeText, Text

    writer.add_annotation(0, Text(rect=(50, 550, 200, 650), text=f"{matter.note} (1)", open=True))
    writer.add_annotation(1, FreeText(text=f"{matter.person} (2)", rect=(50, 550, 200, 650)))
    return [say(f"{matter.note} (1)"), say(f"{matter.person} (2)")]


def _protect(writer: Any, matter: Matter) -> list[Fact]:
    writer.encrypt("", "of the owner", algorithm="AES-256")
    return []


def _enclose(writer: Any, matter: Matter) -> list[Fact]:
    writer.add_blank_page()
    writer.add_attachment("data.csv", matter.note.encode())
    return [say("data.csv", kind="attachment")]


_CHANGES = (("annotated", _annotate), ("protected", _protect), ("attachment", _enclose))


def _save(writer: Any) -> bytes:
    file = io.BytesIO()
    writer.write(file)
    return file.getvalue()
