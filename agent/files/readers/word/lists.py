"""The numbers and bullets of a Word document's lists.

What stays true: each list counts by itself, and a level begins anew under each entry of the level above.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from agent.files.readers.office.list_number import format_number
from agent.files.readers.office.package import Package
from agent.files.readers.office.xml_names import attribute_of, child_of, is_on, name_of, parse_number, value_of
from agent.files.readers.word.styles import Styles

_LEVELS = 9


@dataclass(frozen=True, slots=True)
class _Level:
    """One level of a list: how its entries are numbered."""

    start: int
    #: `decimal`, `bullet` …
    kind: str
    #: With a `%1` for the number of the first level.
    text: str
    is_legal: bool


class Lists:
    """The lists of one document, and how far each has counted."""

    def __init__(self, package: Package, part: str, styles: Styles) -> None:
        self._styles = styles
        self._levels: dict[str, dict[int, _Level]] = {}
        self._links: dict[str, str] = {}
        #: By the list: the definition that it shares with others, and the levels that it has of its own.
        self._lists: dict[str, tuple[str, dict[int, _Level]]] = {}
        self._starts: dict[tuple[str, int], int] = {}
        self._counts: defaultdict[str, list[int | None]] = defaultdict(lambda: [None] * _LEVELS)
        for _, element in package.stream(part, ("abstractNum", "num")) if part else ():
            (self._define if name_of(element) == "w:abstractNum" else self._add)(element)

    def mark_of(self, list_id: str, level: int) -> str:
        """Count one entry of a list, and tell what stands before it: `- `, `2.1 `; "" for no list."""
        definition, own_levels = self._lists.get(list_id, ("", {}))
        if not definition or level >= _LEVELS:
            return ""
        levels = {**self._resolve(definition), **own_levels}
        counts = self._counts[definition]
        if (list_id, level) in self._starts:
            counts[level] = self._starts.pop((list_id, level)) - 1
        own = levels.get(level, _Level(1, "decimal", f"%{level + 1}.", is_legal=False))
        count = counts[level]
        counts[level] = own.start if count is None else count + 1
        counts[level + 1 :] = [None] * (_LEVELS - level - 1)
        mark = "-" if own.kind == "bullet" else _fill(own, levels, counts)
        return f"{'  ' * level}{mark} " if mark else ""

    def _define(self, element: Any) -> None:
        definition = attribute_of(element, "abstractNumId")
        self._levels[definition] = _parse_levels(element)
        self._links[definition] = value_of(element, "w:numStyleLink")

    def _add(self, element: Any) -> None:
        list_id = attribute_of(element, "numId")
        own_levels: dict[int, _Level] = {}
        for override in element:
            level = parse_number(attribute_of(override, "ilvl"))
            if name_of(override) == "w:lvlOverride" and level is not None:
                own_levels |= _parse_levels(override)
                start = parse_number(value_of(override, "w:startOverride"))
                if start is not None:
                    self._starts[list_id, level] = start
        self._lists[list_id] = (value_of(element, "w:abstractNumId"), own_levels)

    def _resolve(self, definition: str) -> dict[int, _Level]:
        """The levels of a definition, which may be those of a style's list."""
        levels = self._levels.get(definition, {})
        if not levels and self._links.get(definition):
            list_id, _ = self._styles.list_of(self._links[definition])
            levels = self._levels.get(self._lists.get(list_id, ("", {}))[0], {})
        return levels


def _parse_levels(element: Any) -> dict[int, _Level]:
    levels = {}
    for child in element:
        number = parse_number(attribute_of(child, "ilvl")) if name_of(child) == "w:lvl" else None
        if number is not None:
            start = parse_number(value_of(child, "w:start"))
            kind = value_of(child, "w:numFmt") or "decimal"
            is_legal = is_on(child_of(child, "w:isLgl"))
            levels[number] = _Level(1 if start is None else start, kind, value_of(child, "w:lvlText"), is_legal)
    return levels


def _fill(own: _Level, levels: dict[int, _Level], counts: list[int | None]) -> str:
    text = own.text
    for number in range(_LEVELS):
        if f"%{number + 1}" in text:
            level = levels.get(number, own)
            count = counts[number]
            kind = "decimal" if own.is_legal else level.kind
            text = text.replace(f"%{number + 1}", format_number(level.start if count is None else count, kind))
    return text.strip()
