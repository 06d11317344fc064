"""Documents of writers whose licences ask more than ours: docxtpl's templates, fpdf2's pages.

    .venv/bench/bin/python -m tests.documents.copyleft FOLDER MATTER...

writes them into a folder, with `index.json`: they are in the baselines' environment alone.
"""

import io
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.documents import Document, Fact, say
from tests.documents.matters import Matter, load_matters

#: Scripts that DejaVu, which comes with matplotlib, does not have, and those that fpdf2 writes back to front.
_NOT_ON_PAPER = {"hi", "th", "zh", "ja", "ko", "ar", "he"}


def build(matters: Sequence[Matter]) -> Iterator[Document]:
    """Build the documents."""
    for matter in matters:
        yield _fill_template(matter)
        if matter.language not in _NOT_ON_PAPER:
            yield _lay_out(matter)


def write(folder: Path, matters: Sequence[Matter]) -> None:
    """Write the documents of these matters and what they say."""
    index = []
    for number, document in enumerate(build(matters)):
        fields = asdict(document)
        (folder / str(number)).write_bytes(fields.pop("content"))
        index.append(fields)
    (folder / "index.json").write_text(json.dumps(index))


def read_index(folder: Path) -> list[Document]:
    """The documents that `write` left in a folder."""
    index = json.loads((folder / "index.json").read_text())
    return [
        Document(**{**fields, "facts": facts}, content=(folder / str(number)).read_bytes())
        for number, fields in enumerate(index)
        if (facts := tuple(Fact(tuple(fact["forms"]), fact["kind"]) for fact in fields["facts"]))
    ]


def _fill_template(matter: Matter) -> Document:
    """A Word document out of a template with a loop over the rows of its table."""
    import docx
    from docxtpl import DocxTemplate

    template = docx.Document()
    template.sections[0].header.paragraphs[0].text = "{{ header }}"
    template.add_heading("{{ title }}", level=1)
    template.add_paragraph("{%p for text in paragraphs %}")
    template.add_paragraph("{{ text }}")
    template.add_paragraph("{%p endfor %}")
    table = template.add_table(rows=0, cols=2)
    for left, right in (("{%tr for row in rows %}", ""), ("{{ row[0] }}", "{{ row[3] }}"), ("{%tr endfor %}", "")):
        cells = table.add_row().cells
        cells[0].text, cells[1].text = left, right
    blank, filled = io.BytesIO(), io.BytesIO()
    template.save(blank)
    document = DocxTemplate(io.BytesIO(blank.getvalue()))
    values = {"header": matter.header, "title": matter.title, "paragraphs": matter.paragraphs, "rows": matter.rows}
    document.render(values, autoescape=True)
    document.save(filled)
    facts = [*matter.say_body(), say(matter.header), *(say(cell) for row in matter.rows for cell in (row[0], row[3]))]
    media_type = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    return Document(f"copyleft/docxtpl/{matter.name}", media_type, filled.getvalue(), tuple(facts))


def _lay_out(matter: Matter) -> Document:
    """A page with a table, in a font of which the file has only the letters that it needs."""
    import matplotlib as mpl
    from fpdf import FPDF

    page: Any = FPDF()
    page.add_font("dejavu", fname=str(Path(mpl.get_data_path(), "fonts/ttf/DejaVuSans.ttf")))
    page.set_font("dejavu", size=11)
    page.add_page()
    for text in (matter.title, *matter.paragraphs):
        page.cell(text=text, new_x="LMARGIN", new_y="NEXT")
    with page.table(first_row_as_headings=False) as table:
        for row in matter.rows:
            table.row(row)
    facts = (*matter.say_body(), *matter.say_table())
    return Document(f"copyleft/fpdf2/{matter.name}", "application/pdf", bytes(page.output()), facts)


if __name__ == "__main__":
    write(Path(sys.argv[1]), [matter for matter in load_matters() if matter.name in sys.argv[2:]])
