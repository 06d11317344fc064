"""The cells of a sheet as lines of text: a row a line, cells between tabs.

What stays true: columns line up, and blocks that empty rows divide stay divided; a row that does not follow the one
before says which it is, so that an address such as C41 can be told from the lines.
"""

from collections.abc import Iterator, Mapping, Sequence

from agent.files.readers.sections import TextSections

#: Empty rows, and empty cells in a row, that are written as they are. More of them become one mark.
EMPTY_ROWS_MAX = 2
EMPTY_CELLS_MAX = 20

#: What a reader says of cells that hold no value yet.
FORMULAS = "Formulas without a stored value are shown as formulas, from = on."
_COVERED = "Values that merged cells cover are shown as well."
_HIDDEN = "Hidden rows and columns are shown as well; a line of their sheet names them."


class Grid:
    """The texts of a sheet's cells, by row and column, both counted from 1."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[int, str]] = {}
        #: Characters of all cells together.
        self.length = 0

    @property
    def rows(self) -> Mapping[int, Mapping[int, str]]:
        """The cells by row and column."""
        return self._rows

    def put(self, row: int, column: int, text: str) -> None:
        """Put a text into a cell; one that is there already stays before it."""
        cells = self._rows.setdefault(row, {})
        text = " ".join(text.split())
        if text:
            cells[column] = f"{cells[column]} {text}" if column in cells else text
            self.length += len(text) + 1

    def cover(self, first: tuple[int, int], last: tuple[int, int]) -> bool:
        """Show the value of merged cells once, in the first of them; whether others of them hold something else."""
        value = self._rows.get(first[0], {}).get(first[1])
        holds_more = False
        # There may be fewer rows than a merged range is high.
        height = last[0] - first[0] + 1
        for row in range(first[0], last[0] + 1) if height < len(self._rows) else tuple(self._rows):
            cells = self._rows.get(row, {}) if first[0] <= row <= last[0] else {}
            for column in [n for n in cells if first[1] <= n <= last[1] and (row, n) != first]:
                if cells[column] == value:
                    del cells[column]
                else:
                    holds_more = True
        return holds_more

    def lines(self) -> Iterator[str]:
        """Yield the lines of all rows that hold something."""
        previous = 0
        for row in sorted(row for row, cells in self._rows.items() if cells):
            empty_rows = row - previous - 1
            if previous and 0 < empty_rows <= EMPTY_ROWS_MAX:
                yield from [""] * empty_rows
            elif empty_rows:
                yield from ["", f"[row {row}]"] if previous else [f"[row {row}]"]
            yield _render_row(self._rows[row])
            previous = row


def name_column(number: int) -> str:
    """The letters of a column: 1 is A, 28 is AB."""
    letters = ""
    while number:
        number, letter = divmod(number - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return letters


def number_column(letters: str) -> int:
    """The number of a column by its letters; 0 without letters."""
    number = 0
    for letter in letters.upper():
        number = number * 26 + ord(letter) - ord("A") + 1
    return number


def describe_hidden(sections: TextSections, grid: Grid, rows: Sequence[int], columns: Sequence[range]) -> Iterator[str]:
    """Yield the line that names the hidden rows and columns which hold something, and have the model told of them."""
    used_columns = {column for cells in grid.rows.values() for column in cells}
    hidden_columns = [column for column in used_columns if any(column in span for span in columns)]
    names = [f"row{'s' * (len(rows) > 1)} {_describe_numbers(rows)}"] if rows else []
    if hidden_columns:
        plural = "s" * (len(hidden_columns) > 1)
        names.append(f"column{plural} {_describe_numbers(hidden_columns, as_columns=True)}")
    if names:
        sections.remark(_HIDDEN)
        yield f"Hidden: {'; '.join(names)}."


def name_sheets(names: Sequence[str]) -> str:
    """Sheets by their names: `sheet "A"`, `sheets "A", "B"`."""
    return f"{'sheets' if len(names) > 1 else 'sheet'} " + ", ".join(f'"{name}"' for name in names)


def remark_on_covered(sections: TextSections) -> None:
    """Have the model told that merged cells hide values, which are shown."""
    sections.remark(_COVERED)


def _describe_numbers(numbers: Sequence[int], *, as_columns: bool = False) -> str:
    """Rows or columns by their first and last: `2, 5 to 9`."""
    write = name_column if as_columns else str
    spans: list[list[int]] = []
    for number in sorted(set(numbers)):
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(write(first) if first == last else f"{write(first)} to {write(last)}" for first, last in spans)


def _render_row(cells: Mapping[int, str]) -> str:
    pieces, previous = [], 0
    for column in sorted(cells):
        empty_cells = column - previous - 1
        if empty_cells > EMPTY_CELLS_MAX:
            pieces.append(f"[column {name_column(column)}] {cells[column]}")
        else:
            pieces.extend([""] * empty_cells)
            pieces.append(cells[column])
        previous = column
    return "\t".join(pieces)
