"""The text of an HTML file: all of it that a browser would show. What stays true: nothing is fetched."""

from typing import Any

from agent.files.readers.sections import TextSections, Unreadable

_INVISIBLE_TAGS = ("head", "script", "style", "noscript", "template", "svg", "iframe", "object")
#: What begins a line of its own.
_BLOCKS = (
    *("p", "div", "section", "article", "header", "footer", "main", "nav", "aside", "li", "tr", "table"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "pre", "blockquote", "dt", "dd", "figcaption", "br", "hr"),
)


def read(content: bytes, sections: TextSections) -> dict[str, Any]:
    """Read the text of a page, a paragraph or row of a table a line."""
    from trafilatura import load_html

    tree: Any = load_html(content)
    text = "" if tree is None else _text(tree)
    if not text:
        raise Unreadable("The page holds no readable text; it may be filled in by scripts, which are not run.")
    sections.add("", text)
    return sections.result()


def _text(tree: Any) -> str:
    for element in list(tree.iter(*_INVISIBLE_TAGS)):
        if element.getparent() is not None:
            element.drop_tree()
    for block in tree.iter(*_BLOCKS):
        block.text, block.tail = f"\n{block.text or ''}", f"\n{block.tail or ''}"
    for cell in tree.iter("td", "th"):
        cell.tail = f"\t{cell.tail or ''}"
    lines = (" ".join(line.split()) for line in tree.text_content().replace("\t", " | ").split("\n"))
    return "\n".join(line.removesuffix(" |") for line in lines if line)
