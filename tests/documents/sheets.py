"""Workbooks: written by openpyxl, which stores no values of formulas, and by XlsxWriter, which stores what it is told.

What stays true: a number is shown as a person sees it or as it is stored; a formula without a value is shown itself.
"""

import io
from collections.abc import Iterator, Sequence
from datetime import datetime, time
from typing import Any

from tests.documents import Document, Fact, say, say_number
from tests.documents.matters import Matter
from tests.documents.pictures import draw_picture

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
MONEY = "#,##0.00"


def build(matters: Sequence[Matter]) -> Iterator[Document]:
    """Build the workbooks."""
    for matter in matters:
        yield _write_with_openpyxl(matter)
        yield _write_with_xlsxwriter(matter)


def _say_cells(matter: Matter) -> list[Fact]:
    """The facts that both writers store."""
    numbers = [say_number(value) for item in matter.items for value in (item.count, item.price)]
    names = [say(item.name) for item in matter.items]
    day = say(f"{matter.date:%d.%m.%Y}", matter.date.isoformat())
    return [*map(say, matter.columns), *names, *numbers, say(matter.total), day, say(f"{matter.rate[1]:.0%}")]


def _write_with_openpyxl(matter: Matter) -> Document:
    import openpyxl

    book = openpyxl.Workbook()
    sheet: Any = book.active
    sheet.title = matter.kind
    sheet.append(list(matter.columns))
    for row, item in enumerate(matter.items, start=2):
        sheet.append([item.name, item.count, item.price, f"=B{row}*C{row}"])
        sheet.cell(row, 3).number_format = sheet.cell(row, 4).number_format = MONEY
    last = len(matter.items) + 1
    sheet.append([matter.total, None, None, f"=SUM(D2:D{last})"])
    sheet.append([matter.rate[0], matter.rate[1]])
    sheet.cell(last + 2, 2).number_format = "0%"
    sheet.append([matter.person, matter.date])
    sheet.cell(last + 3, 2).number_format = "dd.mm.yyyy"
    sums = [say_number(matter.sum, f"SUM(D2:D{last})"), say_number(matter.items[0].amount, "B2*C2")]
    facts = [say(matter.kind), *_say_cells(matter), *sums, say(matter.rate[0])]
    facts += _OPENPYXL_WAYS[matter.number % len(_OPENPYXL_WAYS)](book, sheet, matter)
    file = io.BytesIO()
    book.save(file)
    return Document(f"sheets/openpyxl/{matter.name}", MEDIA_TYPE, file.getvalue(), tuple(facts))


def _hidden_sheet(book: Any, sheet: Any, matter: Matter) -> list[Fact]:
    hidden = book.create_sheet(matter.language)
    hidden.sheet_state = "hidden"
    hidden["B3"] = matter.note
    return [say(matter.language), say(matter.note)]


def _comment(book: Any, sheet: Any, matter: Matter) -> list[Fact]:
    from openpyxl.comments import Comment

    sheet["B2"].comment = Comment(matter.note, matter.person)
    return [say(matter.note, kind="comment")]


def _merged_cells(book: Any, sheet: Any, matter: Matter) -> list[Fact]:
    sheet["A12"] = matter.title
    sheet.merge_cells("A12:D13")
    sheet["A15"] = datetime.combine(matter.date, time(14, 30))
    sheet["A16"], sheet["A17"] = True, time(9, 5)
    return [say(matter.title), say("14:30"), say("TRUE", "True", "true"), say("09:05", "9:05")]


def _chart(book: Any, sheet: Any, matter: Matter) -> list[Fact]:
    from openpyxl.chart import BarChart, Reference

    chart = BarChart()
    chart.title = matter.title
    chart.add_data(Reference(sheet, min_col=2, min_row=1, max_row=4), titles_from_data=True)
    sheet.add_chart(chart, "H2")
    return [say(matter.title, kind="chart")]


def _looks(book: Any, sheet: Any, matter: Matter) -> list[Fact]:
    from openpyxl.formatting.rule import CellIsRule
    from openpyxl.styles import Font, PatternFill
    from openpyxl.worksheet.datavalidation import DataValidation

    choice = DataValidation(type="list", formula1='"a,b,c"')
    sheet.add_data_validation(choice)
    choice.add("F2:F9")
    sheet.conditional_formatting.add("D2:D9", CellIsRule("greaterThan", ["5"], fill=PatternFill(bgColor="FF0000")))
    sheet["A1"].font = Font(bold=True, color="00FF00")
    sheet.freeze_panes, sheet.print_title_rows = "A2", "1:1"
    sheet.oddHeader.center.text = matter.header
    return [say(matter.header, kind="page header")]


_OPENPYXL_WAYS = (_hidden_sheet, _comment, _merged_cells, _chart, _looks)


def _write_with_xlsxwriter(matter: Matter) -> Document:
    import xlsxwriter

    file = io.BytesIO()
    with xlsxwriter.Workbook(file, {"in_memory": True}) as book:
        money, percent = book.add_format({"num_format": MONEY}), book.add_format({"num_format": "0%"})
        day = book.add_format({"num_format": "dd.mm.yyyy"})
        sheet = book.add_worksheet(matter.kind)
        sheet.write_row(0, 0, matter.columns, book.add_format({"bold": True}))
        for row, item in enumerate(matter.items, start=1):
            sheet.write_row(row, 0, [item.name, item.count])
            sheet.write_number(row, 2, item.price, money)
            sheet.write_formula(row, 3, f"=B{row + 1}*C{row + 1}", money, item.amount)
        last = len(matter.items) + 1
        sheet.write_string(last, 0, matter.total)
        sheet.write_formula(last, 3, f"=SUM(D2:D{last})", money, matter.sum)
        sheet.write_string(last + 1, 0, matter.rate[0])
        sheet.write_number(last + 1, 1, matter.rate[1], percent)
        sheet.write_datetime(last + 2, 1, matter.date, day)
        facts = [say(matter.kind), *_say_cells(matter), say_number(matter.sum)]
        facts += _XLSXWRITER_WAYS[matter.number % len(_XLSXWRITER_WAYS)](book, sheet, matter)
    return Document(f"sheets/xlsxwriter/{matter.name}", MEDIA_TYPE, file.getvalue(), tuple(facts))


def _rich_text(book: Any, sheet: Any, matter: Matter) -> list[Fact]:
    bold = book.add_format({"bold": True})
    sheet.write_rich_string("A10", matter.person, bold, matter.note, " ")
    sheet.write_url("A11", "https://example.com/a", string=matter.header)
    return [say(matter.person), say(matter.note), say(matter.header)]


def _text_box(book: Any, sheet: Any, matter: Matter) -> list[Fact]:
    sheet.insert_textbox("F4", matter.note)
    return [say(matter.note, kind="text box")]


def _listed_table(book: Any, sheet: Any, matter: Matter) -> list[Fact]:
    rows = [[item.name, item.amount] for item in matter.items]
    columns = [{"header": matter.columns[0]}, {"header": matter.columns[3]}]
    book.add_worksheet("2").add_table(3, 2, 3 + len(rows), 3, {"data": rows, "columns": columns})
    return [say_number(item.amount) for item in matter.items]


def _picture(book: Any, sheet: Any, matter: Matter) -> list[Fact]:
    sheet.insert_image("F2", "photo.png", {"image_data": io.BytesIO(draw_picture(len(matter.note)))})
    return [say(kind="picture")]


def _comments(book: Any, sheet: Any, matter: Matter) -> list[Fact]:
    sheet.write_comment("A2", matter.note, {"author": matter.person})
    sheet.protect("secret")
    return [say(matter.note, kind="comment")]


def _unknown_sum(book: Any, sheet: Any, matter: Matter) -> list[Fact]:
    """A formula whose value nobody told: XlsxWriter stores 0, and asks programs to calculate at once."""
    sheet.write_formula("A20", "=SUM(B2:B4)*7")
    return [say("SUM(B2:B4)*7", str(7 * sum(item.count for item in matter.items)))]


_XLSXWRITER_WAYS = (_rich_text, _text_box, _listed_table, _picture, _comments, _unknown_sum)
