"""The styles and lists of an OpenDocument text, as far as they say what a paragraph is.

What stays true: a style that is missing, or based on itself, is a plain one; each list counts by itself.
"""

from dataclasses import dataclass, field
from typing import Any

from agent.files.readers.office.list_number import format_number
from agent.files.readers.office.xml_names import attribute_of, child_of, name_of, parse_number

_LEVELS = 10
_KINDS = {"1": "decimal", "a": "lowerLetter", "A": "upperLetter", "i": "lowerRoman", "I": "upperRoman"}
#: Sizes of a font at which nobody reads a text.
_TINY = ("0pt", "0.5pt", "1pt", "1.5pt", "2pt")
#: Elements with the levels of a list, or of the headings.
_LEVEL_NAMES = ("text:list-level-style-number", "text:outline-level-style")


@dataclass(frozen=True, slots=True)
class _Style:
    base: str
    is_hidden: bool | None
    begins_page: bool
    is_faint: bool = False


@dataclass(frozen=True, slots=True)
class _Level:
    """One level of a list: how its entries are numbered."""

    kind: str = "bullet"
    prefix: str = ""
    suffix: str = ""
    start: int = 1
    #: How many of the numbers above are shown as well, with this one.
    shown_levels: int = 1


@dataclass(slots=True)
class _OpenList:
    style: str
    levels: dict[int, _Level]
    count: int | None
    #: Whether an entry has begun whose mark is not yet written.
    is_due: bool = False


@dataclass(slots=True)
class OpenStyles:
    """The styles of one document, by their names."""

    _styles: dict[str, _Style] = field(default_factory=dict)
    _lists: dict[str, dict[int, _Level]] = field(default_factory=dict)
    _headings: dict[int, _Level] = field(default_factory=dict)

    def add(self, element: Any) -> None:
        """Take a style: of paragraphs or text, of lists, or of the headings' numbers."""
        name = attribute_of(element, "name")
        if name_of(element) == "text:list-style":
            self._lists[name] = _parse_levels(element)
        elif name_of(element) == "text:outline-style":
            self._headings = {level: own for level, own in _parse_levels(element).items() if own.kind != "none"}
        elif name_of(element) == "style:style":
            text = child_of(element, "style:text-properties")
            block = child_of(element, "style:paragraph-properties")
            display = attribute_of(text, "display") if text is not None else ""
            breaks = (child for child in element if attribute_of(child, "break-before") == "page")
            begins_page = any(True for _ in breaks) or bool(attribute_of(element, "master-page-name"))
            base, is_hidden = attribute_of(element, "parent-style-name"), display == "none" if display else None
            self._styles[name] = _Style(base, is_hidden, begins_page, is_faint=_is_faint(text, block))

    def is_hidden(self, name: str) -> bool:
        """Whether text of a style is hidden."""
        seen = set[str]()
        while name in self._styles and name not in seen:
            seen.add(name)
            style = self._styles[name]
            if style.is_hidden is not None:
                return style.is_hidden
            name = style.base
        return False

    def begins_page(self, name: str) -> bool:
        """Whether paragraphs of a style begin a page."""
        return name in self._styles and self._styles[name].begins_page

    def is_faint(self, name: str) -> bool:
        """Whether text of a style is written so that a person does not see it on a white page."""
        return name in self._styles and self._styles[name].is_faint

    def levels_of(self, list_style: str) -> dict[int, _Level]:
        """The levels of a list's style."""
        return self._lists.get(list_style, {})

    @property
    def heading_levels(self) -> dict[int, _Level]:
        """The levels of headings that have numbers."""
        return self._headings


class OpenLists:
    """The lists that are open at a place, the innermost last, and how far the headings have counted."""

    def __init__(self, styles: OpenStyles) -> None:
        self._styles = styles
        self._open: list[_OpenList] = []
        self._last_counts: dict[str, int | None] = {}
        self._headings: list[int | None] = [None] * (_LEVELS + 1)

    def begin_list(self, element: Any) -> None:
        """Open a list, which may go on with the count of an earlier one."""
        outer_style = self._open[-1].style if self._open else ""
        style = attribute_of(element, "style-name") or outer_style
        goes_on = attribute_of(element, "continue-numbering") == "true" or attribute_of(element, "continue-list")
        count = self._last_counts.get(style) if goes_on and not self._open else None
        self._open.append(_OpenList(style, self._styles.levels_of(style), count))

    def begin_item(self, element: Any) -> None:
        """Count an entry of the innermost list; a header of a list is none."""
        if not self._open or name_of(element) != "text:list-item":
            return
        own = self._open[-1]
        start = parse_number(attribute_of(element, "start-value"))
        level = own.levels.get(len(self._open), _Level())
        if start is not None:
            own.count = start
        else:
            own.count = level.start if own.count is None else own.count + 1
        own.is_due = True

    def end_list(self) -> None:
        """Close the innermost list."""
        if self._open:
            closed = self._open.pop()
            if not self._open:
                self._last_counts[closed.style] = closed.count

    def take_mark(self) -> str:
        """Tell the beginning of an entry's first paragraph: `2.1 `; for others the indent alone."""
        if not self._open:
            return ""
        own, depth = self._open[-1], len(self._open)
        indent = "  " * (depth - 1)
        if not own.is_due:
            return f"{indent}  "
        own.is_due = False
        level = own.levels.get(depth, _Level())
        if level.kind == "bullet":
            return f"{indent}- "
        return f"{indent}{_number(level, own.levels, [None, *(each.count for each in self._open)], depth)} "

    def count_heading(self, level: int) -> str:
        """Count a heading of a level, from 1, and tell its number; "" where headings have none."""
        levels = self._styles.heading_levels
        if level not in levels or level > _LEVELS:
            return ""
        count = self._headings[level]
        self._headings[level] = levels[level].start if count is None else count + 1
        self._headings[level + 1 :] = [None] * (_LEVELS - level)
        return f"{_number(levels[level], levels, self._headings, level)} "


def _number(own: _Level, levels: dict[int, _Level], counts: list[int | None], depth: int) -> str:
    numbers = []
    for level in range(max(depth - own.shown_levels, 0) + 1, depth + 1):
        style, count = levels.get(level, own), counts[level]
        numbers.append(format_number(style.start if count is None else count, style.kind))
    return f"{own.prefix}{'.'.join(filter(None, numbers))}{own.suffix}"


def _is_faint(text: Any, block: Any) -> bool:
    if text is None:
        return False
    backgrounds = (attribute_of(part, "background-color") for part in (text, block) if part is not None)
    has_background = any(color not in ("", "transparent", "#ffffff") for color in backgrounds)
    is_white = attribute_of(text, "color").lower() == "#ffffff"
    return attribute_of(text, "font-size") in _TINY or (is_white and not has_background)


def _parse_levels(element: Any) -> dict[int, _Level]:
    levels = {}
    for child in element:
        number = parse_number(attribute_of(child, "level"))
        if number is not None and name_of(child) in _LEVEL_NAMES:
            levels[number] = _Level(
                _KINDS.get(attribute_of(child, "num-format"), "none"),
                attribute_of(child, "num-prefix"),
                attribute_of(child, "num-suffix"),
                parse_number(attribute_of(child, "start-value") or "1") or 0,
                parse_number(attribute_of(child, "display-levels") or "1") or 1,
            )
    return levels
