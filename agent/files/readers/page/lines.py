"""Lines of text as they are put together, and rows of tables out of the lines of their cells.

What stays true: white space is one space, as in a browser, save where it is kept; a row is one line as long as its
cells are short, and the lines of its cells where they are not, since many pages and mails are laid out in tables.
"""

from collections.abc import Sequence

#: White space that is kept, while its line is not finished.
KEPT_SPACE, KEPT_TAB = "\x01", "\x02"
#: Of the text of a cell that stands in the line of its row.
_CELL_MAX_CHARS = 500
_COLSPAN_MAX, _ROWSPAN_MAX, _COLUMNS_MAX = 100, 1000, 1000
#: Levels of lists and quotes that are seen in a line.
_PREFIXES_MAX = 12
#: Characters without width, of which mails make words that nobody sees.
_WIDTHLESS = "\u00ad\u034f\u200b\u200c\u200d\u2060\ufeff"
_SOFT_HYPHEN = "\u00ad"

Mark = tuple[int, int]


def collapse(text: str) -> str:
    """Collapse white space, and leave out words that have no width."""
    return " ".join(word for word in text.replace(_SOFT_HYPHEN, "").split() if word.strip(_WIDTHLESS))


class Lines:
    """Lines, of which the last may be unfinished."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._pieces: list[str] = []
        #: Of each list or quote that is open: what stands before its next line, and before those that follow.
        self._prefixes: list[tuple[str, str]] = []
        #: Of each list that is open: the number of its next entry; None where they have none.
        self.numbers: list[int | None] = []
        #: In characters, of the finished lines.
        self.length = 0

    def write(self, text: str) -> None:
        """Go on with the line."""
        self._pieces.append(text)

    def end_line(self, *, keep_empty: bool = False) -> None:
        """Finish the line, if there is one."""
        line = collapse("".join(self._pieces)).replace(KEPT_SPACE, " ").replace(KEPT_TAB, "\t").rstrip()
        self._pieces.clear()
        if line or keep_empty:
            self.add(line)

    def add(self, line: str) -> None:
        """Add a whole line."""
        prefixes = self._prefixes[:_PREFIXES_MAX]
        self._lines.append("".join(first for first, _ in prefixes) + line)
        self._prefixes[:_PREFIXES_MAX] = [(rest, rest) for _, rest in prefixes]
        self.length += len(self._lines[-1]) + 1

    def indent(self, first: str, rest: str) -> None:
        """Have lines begin with this until `outdent`."""
        self.end_line()
        self._prefixes.append((first, rest))

    def outdent(self) -> None:
        """End what the last `indent` began."""
        self.end_line()
        if self._prefixes:
            self._prefixes.pop()

    def mark(self) -> Mark:
        """The place where the text goes on."""
        return len(self._lines), len(self._pieces)

    def since(self, mark: Mark) -> str | None:
        """The text since a mark; None where it has lines of its own."""
        return collapse("".join(self._pieces[mark[1] :])) if mark[0] == len(self._lines) else None

    def replace(self, mark: Mark, text: str) -> None:
        """Put a text in the place of the one since a mark on the same line, with the space around it."""
        old_text = "".join(self._pieces[mark[1] :])
        before = " " if old_text[:1].isspace() else ""
        after = " " if old_text[-1:].isspace() else ""
        self._pieces[mark[1] :] = [f"{before}{text}{after}"]

    def finish(self) -> list[str]:
        """Finish the last line; returns all."""
        self.end_line()
        return self._lines


class Row:
    """The cells of a row, each as its lines."""

    def __init__(self, taken: dict[int, int]) -> None:
        """`taken` says for how many rows more each column is taken by a cell of a row above."""
        self._taken = taken
        self._cells: list[list[str]] = []

    def add(self, lines: list[str], colspan: str | None, rowspan: str | None) -> None:
        """Add a cell in the next free column."""
        self._skip_taken()
        columns, rows = _parse_span(colspan, _COLSPAN_MAX), _parse_span(rowspan, _ROWSPAN_MAX)
        for column in range(len(self._cells), min(len(self._cells) + columns, _COLUMNS_MAX)):
            self._taken[column] = rows - 1
        self._cells.extend([lines, *([] for _ in range(columns - 1))])

    def compose(self) -> Sequence[str]:
        """The lines of the row."""
        self._skip_taken()
        for column in self._taken:
            if column > len(self._cells):
                self._taken[column] -= 1
        cells = [cell for cell in self._cells if cell]
        is_short = all(sum(map(len, cell)) <= _CELL_MAX_CHARS for cell in cells)
        if not cells:
            return ()
        if not is_short or (len(cells) == 1 and (len(cells[0]) > 1 or self._cells[0])):
            return [line for cell in cells for line in cell]
        return [" | ".join(" / ".join(line.strip() for line in cell) for cell in self._cells).rstrip(" |")]

    def _skip_taken(self) -> None:
        while len(self._cells) < _COLUMNS_MAX and self._taken.get(len(self._cells), 0) > 0:
            self._taken[len(self._cells)] -= 1
            self._cells.append([])


def _parse_span(value: str | None, most: int) -> int:
    digits = (value or "").strip()
    return max(1, min(int(digits), most)) if digits.isascii() and digits.isdigit() and len(digits) < 10 else 1
