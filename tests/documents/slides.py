"""Presentations written by python-pptx: titles, bullets, a table, notes, and a way of its own for each."""

import io
from collections.abc import Iterator, Sequence
from typing import Any

from tests.documents import Document, Fact, say
from tests.documents.matters import Matter
from tests.documents.pictures import draw_picture

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
_TITLE, _BULLETS, _TITLE_ONLY = 0, 1, 5


def build(matters: Sequence[Matter]) -> Iterator[Document]:
    """Build the presentations."""
    return map(_write, matters)


def _write(matter: Matter) -> Document:
    import pptx

    deck = pptx.Presentation()
    first = _add_slide(deck, _TITLE, matter.title)
    first.placeholders[1].text = matter.person
    second = _add_slide(deck, _BULLETS, matter.header)
    frame = second.placeholders[1].text_frame
    frame.text = matter.paragraphs[0]
    for text in matter.paragraphs[1:]:
        paragraph = frame.add_paragraph()
        paragraph.text, paragraph.level = text, 1
    second.notes_slide.notes_text_frame.text = matter.note
    third = _add_slide(deck, _TITLE_ONLY, matter.footer)
    _add_table(third, matter)
    facts = [say(matter.person), say(matter.header), say(matter.note), say(matter.footer)]
    facts += [*matter.say_body(), *matter.say_table(), *_WAYS[matter.number % len(_WAYS)](third, matter)]
    file = io.BytesIO()
    deck.save(file)
    return Document(f"slides/python-pptx/{matter.name}", MEDIA_TYPE, file.getvalue(), tuple(facts))


def _add_slide(deck: Any, layout: int, title: str) -> Any:
    slide = deck.slides.add_slide(deck.slide_layouts[layout])
    slide.shapes.title.text = title
    return slide


def _add_table(slide: Any, matter: Matter) -> None:
    from pptx.util import Cm

    rows = matter.rows
    table = slide.shapes.add_table(len(rows), len(rows[0]), Cm(1), Cm(5), Cm(20), Cm(6)).table
    for row, texts in enumerate(rows):
        for column, text in enumerate(texts):
            table.cell(row, column).text = text
    table.cell(len(rows) - 1, 0).merge(table.cell(len(rows) - 1, 2))


def _chart(slide: Any, matter: Matter) -> list[Fact]:
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE
    from pptx.util import Cm

    data = CategoryChartData()
    data.categories = [f"{item.name}!" for item in matter.items]
    data.add_series(matter.rate[0], [item.count + 0.5 for item in matter.items])
    kind = XL_CHART_TYPE.COLUMN_CLUSTERED
    chart = slide.shapes.add_chart(kind, Cm(1), Cm(12), Cm(12), Cm(6), data).chart
    chart.has_title = True
    chart.chart_title.text_frame.text = f"{matter.title}?"
    values = [say(f"{item.count + 0.5:g}") for item in matter.items]
    names = [say(f"{item.name}!") for item in matter.items]
    return [say(f"{matter.title}?"), say(matter.rate[0]), *names, *values]


def _group(slide: Any, matter: Matter) -> list[Fact]:
    from pptx.enum.shapes import MSO_SHAPE
    from pptx.util import Cm

    inner = slide.shapes.add_group_shape().shapes.add_group_shape()
    inner.shapes.add_textbox(Cm(1), Cm(1), Cm(5), Cm(1)).text_frame.text = matter.rate[0]
    inner.shapes.add_shape(MSO_SHAPE.OVAL, Cm(1), Cm(3), Cm(5), Cm(2)).text_frame.text = f"{matter.person} ✓"
    return [say(matter.rate[0]), say(f"{matter.person} ✓")]


def _picture(slide: Any, matter: Matter) -> list[Fact]:
    from pptx.util import Cm

    slide.shapes.add_picture(io.BytesIO(draw_picture(len(matter.title))), Cm(1), Cm(1))
    return [say(kind="picture")]


def _link(slide: Any, matter: Matter) -> list[Fact]:
    from pptx.util import Cm

    frame = slide.shapes.add_textbox(Cm(1), Cm(14), Cm(9), Cm(1)).text_frame
    run = frame.paragraphs[0].add_run()
    run.text, run.hyperlink.address = f"{matter.rate[0]} →", "https://example.com/a"
    frame.add_paragraph().text = f"{matter.date:%d.%m.%Y}"
    return [say(f"{matter.rate[0]} →"), say(f"{matter.date:%d.%m.%Y}")]


_WAYS = (_chart, _group, _picture, _link)
