"""The styles of a Word document, as far as they say what a paragraph is.

What stays true: a style that is missing, or based on itself, is a plain one.
"""

from dataclasses import dataclass
from typing import Any

from agent.files.readers.office.package import Package
from agent.files.readers.office.xml_names import attribute_of, child_of, is_on, parse_number, value_of

_LEVEL_MAX = 9


@dataclass(frozen=True, slots=True)
class Style:
    """A style of paragraphs or runs; None stands for what it leaves to the style that it is based on."""

    name: str = ""
    base: str = ""
    #: From 0; 9 is plain text.
    outline_level: int | None = None
    list_id: str | None = None
    list_level: int | None = None
    is_hidden: bool | None = None


class Styles:
    """The styles of one document, by their ids."""

    def __init__(self, package: Package, part: str) -> None:
        self._styles: dict[str, Style] = {}
        #: By a style: itself and those that it is based on, the nearest first.
        self._chains: dict[str, list[Style]] = {}
        for _, element in package.stream(part, ("style",)) if part else ():
            self._styles[attribute_of(element, "styleId")] = _parse(element)

    def heading_level(self, style_id: str, properties: Any) -> int:
        """The level of a heading, from 1; 0 for other paragraphs."""
        if properties is None:
            return 0
        level = parse_number(value_of(properties, "w:outlineLvl"))
        chain = self._chain(style_id)
        for style in chain:
            level = style.outline_level if level is None else level
        if level is not None:
            return level + 1 if level < _LEVEL_MAX else 0
        names = [style.name for style in chain] or [style_id]
        if "title" in (name.lower() for name in names[:1]):
            return 1
        return next(filter(None, map(_level_of_name, names)), 0)

    def list_of(self, style_id: str) -> tuple[str, int]:
        """The list that paragraphs of a style belong to, and their level in it; "" for none."""
        list_id, level = None, None
        for style in self._chain(style_id):
            list_id = style.list_id if list_id is None else list_id
            level = style.list_level if level is None else level
        return list_id or "", level or 0

    def is_hidden(self, style_id: str) -> bool:
        """Whether text of a style is hidden."""
        return next((style.is_hidden for style in self._chain(style_id) if style.is_hidden is not None), False)

    def _chain(self, style_id: str) -> list[Style]:
        if style_id not in self._chains:
            chain: dict[str, Style] = {}
            base = style_id
            while base in self._styles and base not in chain:
                chain[base] = self._styles[base]
                base = chain[base].base
            self._chains[style_id] = list(chain.values())
        return self._chains[style_id]


def _parse(element: Any) -> Style:
    hidden = child_of(element, "w:rPr", "w:vanish")
    return Style(
        name=value_of(element, "w:name"),
        base=value_of(element, "w:basedOn"),
        outline_level=parse_number(value_of(element, "w:pPr", "w:outlineLvl")),
        list_id=value_of(element, "w:pPr", "w:numPr", "w:numId") or None,
        list_level=parse_number(value_of(element, "w:pPr", "w:numPr", "w:ilvl")),
        is_hidden=None if hidden is None else is_on(hidden),
    )


def _level_of_name(name: str) -> int:
    """The level that a style's name says: `heading 2`, or `Heading2` where it is an id."""
    kind, level = name.lower()[:7], name[7:].strip()
    return int(level) if kind == "heading" and level in tuple("123456789") else 0
