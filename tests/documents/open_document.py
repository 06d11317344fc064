"""OpenDocument files written by odfdo: texts, sheets, slides, and their places beside the text."""

import io
from collections.abc import Iterator, Sequence
from typing import Any

from tests.documents import Document, Fact, say, say_number
from tests.documents.matters import Matter

_TYPE = "application/vnd.oasis.opendocument"


def build(matters: Sequence[Matter]) -> Iterator[Document]:
    """Build the files: a text, a spreadsheet or a presentation of each matter."""
    for matter in matters:
        yield _write_text(matter)
        yield (_write_sheets if matter.number % 2 else _write_slides)(matter)


def _write_text(matter: Matter) -> Document:
    import odfdo

    document = odfdo.Document("text")
    body = document.body
    body.clear()
    body.append(odfdo.Header(1, matter.title))
    for text in matter.paragraphs:
        body.append(odfdo.Paragraph(text))
    body.append(_table_of(matter))
    facts = [*matter.say_body(), *matter.say_table(), *_WAYS[matter.number % len(_WAYS)](body, matter)]
    page = document.styles.get_elements("//style:master-page")[0]
    page.set_page_header([odfdo.Paragraph(matter.header)])
    page.set_page_footer([odfdo.Paragraph(matter.footer)])
    facts += [say(matter.header), say(matter.footer)]
    return Document(f"open-document/odt/{matter.name}", f"{_TYPE}.text", _save(document), tuple(facts))


def _table_of(matter: Matter) -> Any:
    import odfdo

    table = odfdo.Table(matter.kind)
    for row in matter.rows:
        table.append_row(odfdo.Row())
        table.set_row_values(-1, row)
    return table


def _note(body: Any, matter: Matter) -> list[Fact]:
    import odfdo

    paragraph = odfdo.Paragraph(f"{matter.columns[0]}: {matter.person}")
    paragraph.insert_note(after=matter.person, note_id="n1", citation="1", body=matter.note)
    body.append(paragraph)
    return [say(matter.person), say(matter.note)]


def _annotation(body: Any, matter: Matter) -> list[Fact]:
    import odfdo

    paragraph = odfdo.Paragraph(f"{matter.columns[0]}: {matter.person}")
    paragraph.insert_annotation(after=matter.person, body=matter.note, creator="reviewer")
    body.append(paragraph)
    return [say(matter.person), say(matter.note)]


def _list(body: Any, matter: Matter) -> list[Fact]:
    import odfdo

    outer = odfdo.List([matter.note])
    item = odfdo.ListItem(matter.person)
    item.append(odfdo.List([matter.rate[0]]))
    outer.append(item)
    body.append(outer)
    return [say(matter.note), say(matter.person), say(matter.rate[0])]


def _text_box(body: Any, matter: Matter) -> list[Fact]:
    import odfdo

    paragraph = odfdo.Paragraph("")
    paragraph.append(odfdo.Frame.text_frame([matter.note, matter.person], size=("6cm", "3cm"), anchor_type="paragraph"))
    body.append(paragraph)
    return [say(matter.note), say(matter.person)]


_WAYS = (_note, _annotation, _list, _text_box)


def _write_sheets(matter: Matter) -> Document:
    import odfdo

    document = odfdo.Document("spreadsheet")
    body = document.body
    body.clear()
    table = odfdo.Table(matter.kind)
    rows: list[list[object]] = [list(matter.columns), *([i.name, i.count, i.price, i.amount] for i in matter.items)]
    for row in [*rows, [matter.total, None, None, matter.sum], [matter.person, matter.date, True]]:
        table.append_row(odfdo.Row())
        table.set_row_values(-1, row)
    body.append(table)
    second = odfdo.Table(matter.language)
    second.set_value("B2", matter.note)
    body.append(second)
    words = [matter.kind, *matter.columns, *(item.name for item in matter.items), matter.total, matter.person]
    facts = [*map(say, words), say(matter.language), say(matter.note)]
    facts += [say_number(value) for value in (*(item.price for item in matter.items), matter.sum)]
    facts.append(say(matter.date.isoformat(), f"{matter.date:%d.%m.%Y}", f"{matter.date:%m/%d/%y}"))
    return Document(f"open-document/ods/{matter.name}", f"{_TYPE}.spreadsheet", _save(document), tuple(facts))


def _write_slides(matter: Matter) -> Document:
    import odfdo

    document = odfdo.Document("presentation")
    body = document.body
    body.clear()
    first, second = odfdo.DrawPage("p1", name=matter.kind), odfdo.DrawPage("p2", name=matter.language)
    for page, texts in ((first, [matter.title, *matter.paragraphs]), (second, [matter.footer])):
        page.append(odfdo.Frame.text_frame(texts, size=("20cm", "8cm"), position=("2cm", "2cm")))
        body.append(page)
    notes = odfdo.Element.from_tag("<presentation:notes/>")
    notes.append(odfdo.Frame.text_frame([matter.note], size=("20cm", "8cm")))
    second.append(notes)
    facts = (*matter.say_body(), say(matter.footer), say(matter.note))
    return Document(f"open-document/odp/{matter.name}", f"{_TYPE}.presentation", _save(document), facts)


def _save(document: Any) -> bytes:
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()
