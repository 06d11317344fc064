"""The text of an HTML file: what a browser would show, with what it would show on a click or in place of a picture.

What stays true: nothing is fetched and no script is run; what a browser hides is counted, never shown, since whoever
sent the page may have hidden it from its reader as well.
"""

import html
import re
from typing import Any

from agent.files.readers.decode import decode
from agent.files.readers.page.writer import PageWriter
from agent.files.readers.sections import TextSections, Unreadable

_NO_TEXT = "The page holds no readable text; it may be filled in by scripts, which are not run."
#: In XHTML an element may close itself; a parser of HTML takes what follows as its content.
_SELF_CLOSED = re.compile(
    r"<(title|script|style|textarea|iframe|noscript|object|video|audio|canvas|select|option|a|p|div|span|td|th|li|i|b|em"
    r"|strong|table|tr|ul|ol|h[1-6])((?:\s[^<>]*)?)/>"
)
_XHTML = re.compile(r"\A\s*<\?xml|<html[^<>]*xmlns", re.IGNORECASE)
#: Of XHTML: text that is taken as it is.
_LITERAL = "<![CDATA["
#: What has no text, for a page whose structure cannot be kept.
_TEXTLESS = re.compile(r"<(script|style|template)\b.*?</\1\s*>|<!--.*?-->", re.IGNORECASE | re.DOTALL)


def read(content: bytes, sections: TextSections) -> dict[str, Any]:
    """Read the text of a page: a paragraph or row of a table a line."""
    text = render(decode(content, sections=sections), sections)
    sections.add("", text)
    result = sections.result(problem=None if text else _NO_TEXT)
    if not text and not result["left_out"]:
        raise Unreadable(_NO_TEXT)
    return result


def render(markup: str, sections: TextSections, *, depth: int = 0, is_book: bool = False) -> str:
    """Render markup as text, and count in `sections` what it does not show.

    `depth` is how many documents this one is within; a book has notes that a browser hides until they are asked for.
    """
    tree, is_too_deep = _parse(markup)
    if tree is None:
        return ""
    if is_too_deep:
        sections.remark("The page is nested too deep for a browser; its text is shown without its structure.")
        return _strip(markup)
    writer = PageWriter(sections, depth=depth, is_book=is_book, render=render)
    return writer.write(tree)


def _parse(markup: str) -> tuple[Any, bool]:
    """The tree of a page, None for an empty one, and whether its parser gave up for its depth."""
    from lxml import etree

    # These stand for kept white space while lines are put together.
    markup = re.sub("[\x00-\x02]", "", markup)
    if _XHTML.search(markup[:2000]):
        markup = _SELF_CLOSED.sub(r"<\1\2></\1>", markup)
        markup = _escape_literals(markup)
    parser = etree.HTMLParser(encoding="utf-8", huge_tree=True, no_network=True)
    try:
        tree = etree.fromstring(markup.encode("utf-8", "replace"), parser=parser)
    except etree.XMLSyntaxError:  # nothing but white space or a declaration
        return None, False
    return tree, any("depth" in error.message for error in parser.error_log.filter_from_fatals())


def _escape_literals(markup: str) -> str:
    """The markup with what stands in sections of literal text as text."""
    pieces, at = [], 0
    while (start := markup.find(_LITERAL, at)) >= 0 and (end := markup.find("]]>", start)) >= 0:
        pieces += [markup[at:start], html.escape(markup[start + len(_LITERAL) : end])]
        at = end + len("]]>")
    return "".join((*pieces, markup[at:]))


def _strip(markup: str) -> str:
    text = html.unescape(re.sub(r"<[^<>]*>", "\n", _TEXTLESS.sub("\n", markup)))
    return "\n".join(filter(None, (" ".join(line.split()) for line in text.splitlines())))
