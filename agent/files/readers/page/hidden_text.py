"""Text of a page that is hidden from whoever looks at it.

What stays true: what is hidden only until something is clicked, or may be shown by another rule of the page, is not
called hidden.
"""

import re
from collections.abc import Iterator
from typing import Any

#: Characters of a page's style sheets that are searched.
_STYLE_MAX_CHARS = 200_000
#: Elements within one without height that are asked whether they have a height of their own.
_INNER_MAX = 50

_HIDING = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|mso-hide\s*:\s*all|opacity\s*:\s*0(?:\.0*)?\s*(?:[;!}]|$)"
    r"|(?:^|[;{\s])(?:left|top|text-indent)\s*:\s*-\d{3,}|max-height\s*:\s*0(?:px)?\s*(?:[;!}]|$)",
    re.IGNORECASE,
)
_NO_SIZE = re.compile(r"font-size\s*:\s*0(?:\.0*)?(?:px|pt|em|rem|%)?\s*(?:[;!}]|$)", re.IGNORECASE)
_SIMPLE = re.compile(r"\w*([.#][\w-]+)")
#: What decides whether an element is seen.
_DECISIVE = re.compile(r"display|visibility|opacity|left|top|indent|height", re.IGNORECASE)
_MENTION = re.compile(r"[.#][\w-]+")


class HiddenText:
    """The elements of one page that are hidden by their attributes, their style or a rule of a style sheet."""

    def __init__(self, tree: Any, *, is_book: bool) -> None:
        """`is_book` is for pages of a book: its notes are hidden until they are asked for."""
        sheets = "\n".join(filter(None, (style.text for style in tree.iter("style"))))
        self._selectors = _hiding_selectors(sheets[:_STYLE_MAX_CHARS])
        self._is_book = is_book

    def has(self, element: Any) -> bool:
        """Whether this element, with all that is in it, is hidden."""
        if self._is_book and "note" in (element.get("epub:type") or element.get("role") or ""):
            return False
        if element.get("hidden") is not None or (element.tag == "dialog" and element.get("open") is None):
            return True
        style = element.get("style") or ""
        if _HIDING.search(style) or (_NO_SIZE.search(style) and not _has_sizes_inside(element)):
            return True
        return bool(self._selectors) and not self._selectors.isdisjoint(_names(element))


def _has_sizes_inside(element: Any) -> bool:
    """Whether something in this element has a size of its own: mails set the gaps between columns to none."""
    for number, inner in enumerate(element.iterdescendants()):
        if number > _INNER_MAX or "font" in (inner.get("style") or "") or inner.tag == "font":
            return True
    return False


def _names(element: Any) -> set[str]:
    names = {f".{name}" for name in (element.get("class") or "").split()}
    return names | ({f"#{element.get('id')}"} if element.get("id") else set())


def _hiding_selectors(sheets: str) -> set[str]:
    """The classes and ids that a style sheet hides and that no rule of it could show again."""
    hiding, showing = set[str](), set[str]()
    for selectors, body, is_conditional in _rules(sheets):
        if _HIDING.search(body) and not is_conditional:
            hiding |= {match[1] for part in selectors.split(",") if (match := _SIMPLE.fullmatch(part.strip()))}
        elif not _HIDING.search(body) and _DECISIVE.search(body):
            showing |= set(_MENTION.findall(selectors))
    return hiding - showing


def _rules(sheets: str) -> Iterator[tuple[str, str, bool]]:
    """The rules of a style sheet: their selectors, their body, and whether they hold only under a condition."""
    opened, text = list[str](), ""
    for piece in re.split(r"([{}])", re.sub(r"/\*.*?(?:\*/|\Z)", "", sheets, flags=re.DOTALL)):
        if piece == "{":
            opened.append(text)
        elif piece == "}" and opened:
            selectors = opened.pop()
            yield selectors, text, any("@" in outer for outer in opened)
        text = piece
