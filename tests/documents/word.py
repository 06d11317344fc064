"""Word documents: written by python-docx, and filled from templates with merge fields and content controls.

What stays true: every matter is written once by python-docx, each with another of Word's ways to keep text.
"""

import io
from collections.abc import Iterator, Sequence
from typing import Any

from tests.documents import Document, Fact, say
from tests.documents.matters import Matter
from tests.documents.pictures import draw_picture

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def build(matters: Sequence[Matter]) -> Iterator[Document]:
    """Build the documents."""
    for matter in matters:
        yield _write(matter)
        if matter.number % 2:
            yield _merge(matter)


def _write(matter: Matter) -> Document:
    import docx

    document = docx.Document()
    document.core_properties.author = matter.person
    section = document.sections[0]
    section.header.paragraphs[0].text, section.footer.paragraphs[0].text = matter.header, matter.footer
    document.add_heading(matter.title, level=0)
    for paragraph in matter.paragraphs:
        document.add_paragraph(paragraph)
    add_table(document, matter)
    facts = [say(matter.header), say(matter.footer), *matter.say_body(), *matter.say_table()]
    facts += _WAYS[matter.number % len(_WAYS)](document, matter)
    return Document(f"word/python-docx/{matter.name}", MEDIA_TYPE, _save(document), tuple(facts))


def add_table(container: Any, matter: Matter) -> None:
    """Add the table of a matter to a document or a cell, its last row with merged cells."""
    table = container.add_table(rows=0, cols=len(matter.columns))
    for row in matter.rows:
        for cell, text in zip(table.add_row().cells, row, strict=True):
            cell.text = text
    last = table.rows[-1].cells
    last[0].merge(last[2])


def _comment(document: Any, matter: Matter) -> list[Fact]:
    run = document.add_paragraph(matter.columns[0]).runs
    document.add_comment(run, text=matter.note, author=matter.person)
    return [say(matter.note), say(matter.person)]


def _lists(document: Any, matter: Matter) -> list[Fact]:
    for item in matter.items:
        document.add_paragraph(f"{item.name}: {item.amount:.2f}", style="List Bullet")
    document.add_paragraph(matter.note, style="List Number")
    return [say(matter.note), *(say(f"{item.name}: {item.amount:.2f}") for item in matter.items)]


def _picture(document: Any, matter: Matter) -> list[Fact]:
    document.add_picture(io.BytesIO(draw_picture(len(matter.title))))
    document.add_paragraph(matter.note, style="Caption")
    return [say(matter.note), say(kind="picture")]


def _nested_table(document: Any, matter: Matter) -> list[Fact]:
    cell = document.add_table(rows=1, cols=1).cell(0, 0)
    cell.text = matter.person
    inner = cell.add_table(rows=1, cols=2)
    inner.cell(0, 0).text, inner.cell(0, 1).text = matter.note, f"{matter.rate[1]:.0%}"
    return [say(matter.person), say(matter.note), say(f"{matter.rate[1]:.0%}")]


def _content_control(document: Any, matter: Matter) -> list[Fact]:
    from xml.sax.saxutils import escape

    from docx.oxml import parse_xml
    from docx.oxml.ns import nsdecls

    control = "<w:sdt {}><w:sdtPr><w:alias w:val='x'/></w:sdtPr><w:sdtContent>{}</w:sdtContent></w:sdt>"
    paragraph = f"<w:p><w:r><w:t>{escape(matter.note)}</w:t></w:r></w:p>"
    document.element.body.insert(1, parse_xml(control.format(nsdecls("w"), paragraph)))
    run = f"<w:r><w:t>{escape(matter.person)}</w:t></w:r>"
    document.add_paragraph("")._p.append(parse_xml(control.format(nsdecls("w"), run)))
    return [say(matter.note), say(matter.person)]


def _sections(document: Any, matter: Matter) -> list[Fact]:
    section = document.add_section()
    section.header.is_linked_to_previous = section.footer.is_linked_to_previous = False
    section.header.paragraphs[0].text = matter.note
    section.different_first_page_header_footer = True
    section.first_page_footer.paragraphs[0].text = matter.person
    document.add_page_break()
    document.add_heading(matter.columns[0], level=2)
    return [say(matter.note), say(matter.person), say(matter.columns[0])]


def _tab_stops(document: Any, matter: Matter) -> list[Fact]:
    paragraph = document.add_paragraph()
    paragraph.add_run(matter.person).bold = True
    paragraph.add_run().add_tab()
    paragraph.add_run(f"{matter.date:%d.%m.%Y}").italic = True
    paragraph.add_run().add_break()
    paragraph.add_run(matter.note)
    return [say(matter.person), say(f"{matter.date:%d.%m.%Y}"), say(matter.note)]


#: Ways to keep text, of which each document has one.
_WAYS = (_comment, _lists, _picture, _nested_table, _content_control, _sections, _tab_stops)


def _merge(matter: Matter) -> Document:
    """A letter whose fields were filled by a mail merge, as an office program's template has them."""
    import docx
    from mailmerge import MailMerge

    fields = {"title": matter.title, "person": matter.person, "note": matter.note}
    document = docx.Document()
    for name in fields:
        _add_field(document.add_paragraph(f"{name}: "), name)
    row = document.add_table(rows=1, cols=2).rows[0]
    for cell, name in zip(row.cells, ("item", "amount"), strict=True):
        _add_field(cell.paragraphs[0], name)
    filled = io.BytesIO()
    with MailMerge(io.BytesIO(_save(document))) as merge:
        merge.merge(**fields, item=[{"item": item.name, "amount": f"{item.amount:.2f}"} for item in matter.items])
        merge.write(filled)
    cells = [text for item in matter.items for text in (item.name, f"{item.amount:.2f}")]
    facts = tuple(map(say, (*fields.values(), *cells)))
    return Document(f"word/mail-merge/{matter.name}", MEDIA_TYPE, filled.getvalue(), facts)


def _add_field(paragraph: Any, name: str) -> None:
    from docx.oxml import parse_xml
    from docx.oxml.ns import nsdecls

    field = "<w:fldSimple {} w:instr=' MERGEFIELD {} '><w:r><w:t>«{}»</w:t></w:r></w:fldSimple>"
    paragraph._p.append(parse_xml(field.format(nsdecls("w"), name, name)))


def _save(document: Any) -> bytes:
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()
