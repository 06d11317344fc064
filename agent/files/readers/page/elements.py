"""The elements of a page that are more than their text: what stands before it, after it, or in its place.

What stays true: a picture, a sound or a form is shown by the words that go with it, and counted.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from agent.files.readers.page.lines import Lines, Mark, collapse
from agent.files.readers.sections import TextSections

#: The longest address of a link that is shown: longer ones are for machines that count clicks.
_ADDRESS_MAX_CHARS = 300

#: What begins a line of its own.
BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "body", "br", "caption", "center", "datalist", "dd", "details",
    "dialog", "dir", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4",
    "h5", "h6", "header", "hgroup", "hr", "legend", "li", "listing", "main", "menu", "nav", "noscript", "ol", "p",
    "plaintext", "pre", "section", "select", "summary", "table", "tbody", "textarea", "tfoot", "thead", "title",
    "tr", "ul", "xmp",
})  # fmt: skip
#: Where white space is kept.
KEEPING = frozenset({"listing", "plaintext", "pre", "textarea", "xmp"})
#: What shows something else than text, and what that is called.
MEDIA = {
    "img": "picture", "video": "video", "audio": "sound", "canvas": "drawing", "object": "embedded object",
    "embed": "embedded object", "applet": "embedded object",
}  # fmt: skip
_SHOWN_METADATA = {"description", "author", "keywords", "subject", "abstract"}
_CHECKS = {("checkbox", True): "[x]", ("checkbox", False): "[ ]", ("radio", True): "(x)", ("radio", False): "( )"}
#: Text that a style sheet adds to a page.
_STYLE_TEXT = re.compile(r"content\s*:\s*(?:\"[^\"]*\w|'[^']*\w)", re.IGNORECASE)

_Start = Callable[[Any, Lines, TextSections], None]
_End = Callable[[Any, Lines, Mark, TextSections], None]


def count_attributes(element: Any, sections: TextSections) -> None:
    """Count the attributes of an element that may hold text and that no browser shows by itself."""
    for name in element.keys():  # noqa: SIM118 - an element is a list of those within it
        if name in ("summary", "abbr") or (name == "label" and element.tag == "track"):
            sections.leave_out("attribute")
        elif name.startswith("data-"):
            sections.leave_out("data attribute")


def has_text(element: Any) -> bool:
    """Whether there is any text in an element."""
    return any(text.strip() for text in element.itertext())


def replace_element(element: Any, lines: Lines, sections: TextSections) -> bool:
    """Write what is shown in place of an element, or count it; whether that was to be done."""
    tag = element.tag
    if not isinstance(tag, str):  # an instruction or an entity
        return True
    if tag == "script":
        sections.leave_out("script")
    elif tag == "style":
        sections.leave_out("style text", bool(_STYLE_TEXT.search(element.text or "")))
    elif tag == "template" and element.get("shadowrootmode") is None:
        sections.leave_out("template", has_text(element))
    elif tag == "svg":
        _write_drawing(element, lines, sections)
    elif tag == "math":
        lines.write(f" {_formula(element)} ")
    elif tag != "rp":
        return False
    return True


def _write_drawing(element: Any, lines: Lines, sections: TextSections) -> None:
    sections.leave_out("drawing")
    texts = [
        collapse("".join(part.itertext()))
        for part in element.iter("title", "desc", "text", "foreignobject", "foreignObject")
    ]
    text = "; ".join(filter(None, [element.get("aria-label"), *texts]))
    if text:
        lines.write(f" [Drawing: {text}] ")


def _formula(element: Any) -> str:
    """A formula as it was typed in TeX, else in one line, as far as a line can show it."""
    for note in element.iter("annotation"):
        if "tex" in (note.get("encoding") or "").lower() and (note.text or "").strip():
            return f"${collapse(note.text)}$"
    if element.get("alttext"):
        return f"${collapse(element.get('alttext'))}$"
    for part in list(element.iter("annotation", "annotation-xml")):
        part.drop_tree() if hasattr(part, "drop_tree") else part.getparent().remove(part)
    signs = {"mfrac": "/", "msup": "^", "msub": "_", "mroot": " root "}
    for part in element.iter(*signs):
        for inner in list(part)[1:2]:
            inner.text = f"{signs[part.tag]}{inner.text or ''}"
    for part in element.iter("msqrt"):
        part.text, part.tail = f"√({part.text or ''}", f"){part.tail or ''}"
    return "".join("".join(element.itertext()).split())


def _start_media(element: Any, lines: Lines, sections: TextSections) -> None:
    kind = MEDIA[element.tag]
    sections.leave_out(kind)
    attributes = (element.get(name) for name in ("alt", "title", "aria-label"))
    words = dict.fromkeys(filter(None, (collapse(attribute or "") for attribute in attributes)))
    if words:
        lines.write(f" [{kind.capitalize()}: {'; '.join(words)}] ")


def _start_heading(element: Any, lines: Lines, _sections: TextSections) -> None:
    lines.indent("#" * int(element.tag[1]) + " ", "")


def _start_list(element: Any, lines: Lines, _sections: TextSections) -> None:
    start = element.get("start") or "1"
    is_numbered = element.tag == "ol"
    lines.numbers.append((int(start) if re.fullmatch(r"-?\d{1,9}", start) else 1) if is_numbered else None)


def _start_entry(element: Any, lines: Lines, _sections: TextSections) -> None:
    number = lines.numbers[-1] if lines.numbers else None
    if number is not None:
        value = element.get("value") or ""
        number = int(value) if re.fullmatch(r"-?\d{1,9}", value) else number
        lines.numbers[-1] = number + 1
    lines.indent("- " if number is None else f"{number}. ", "  ")


def _start_input(element: Any, lines: Lines, sections: TextSections) -> None:
    kind, value = (element.get("type") or "text").lower(), collapse(element.get("value") or "")
    if kind in ("hidden", "password"):
        sections.leave_out(f"{kind} field", bool(value))
        return
    if kind in ("checkbox", "radio"):
        lines.write(f" {_CHECKS[kind, element.get('checked') is not None]} ")
        sections.leave_out("choice value", value not in ("", "on", "1", "true"))
        return
    hint = collapse(element.get("placeholder") or element.get("alt") or "")
    texts = [f"[{value}]" if value else "", (f"({hint})" if value else f"[{hint}]") if hint else ""]
    lines.write(f" {' '.join(filter(None, texts))} ")


def _start_textarea(element: Any, lines: Lines, _sections: TextSections) -> None:
    hint = collapse(element.get("placeholder") or "")
    if hint:
        lines.write(f"[{hint}]")
        lines.end_line()


def _start_option(element: Any, lines: Lines, sections: TextSections) -> None:
    lines.write(" [x] " if element.get("selected") is not None else " [ ] ")
    text = collapse(element.text or "")
    words = [element.get("label"), element.get("value") if not text else None]
    sections.leave_out("choice value", bool(text) and element.get("value") not in (None, "", text))
    lines.write(" ".join(word for word in words if word and word != text) + " ")


def _start_group(element: Any, lines: Lines, _sections: TextSections) -> None:
    lines.write(f" {element.get('label') or ''}: ")


def _start_metadata(element: Any, lines: Lines, sections: TextSections) -> None:
    names = (element.get(attribute) for attribute in ("name", "property", "itemprop"))
    name, content = next(filter(None, names), "").lower(), element.get("content") or ""
    if not name or not collapse(content):
        return
    if name in _SHOWN_METADATA:
        lines.end_line()
        lines.write(f"{name.capitalize()}: {content}")
        lines.end_line()
    else:
        sections.leave_out("metadata field")


def _start_area(element: Any, lines: Lines, _sections: TextSections) -> None:
    lines.write(f" {element.get('alt') or ''}")


def _end_link(element: Any, lines: Lines, mark: Mark, sections: TextSections) -> None:
    address = "".join((element.get("href") or "").split())
    if not address or address.startswith("#"):
        return
    if address.lower().startswith(("javascript:", "data:", "vbscript:")):
        sections.leave_out("script")
        return
    if len(address) > _ADDRESS_MAX_CHARS:
        sections.leave_out("long link address")
        return
    text = lines.since(mark)
    if text == "":
        text = collapse(element.get("aria-label") or element.get("title") or "")
    if text is None:
        lines.write(f" ({address})")
    elif text not in (address, address.removeprefix("mailto:").removeprefix("tel:")):
        lines.replace(mark, f"[{text}]({address})" if text else f" {address} ")


def _wrap(before: str, after: str) -> _End:
    """Write signs around the text of an element, if it has any on its line."""

    def end(_element: Any, lines: Lines, mark: Mark, _sections: TextSections) -> None:
        text = lines.since(mark)
        if text:
            lines.replace(mark, f"{before}{text}{after}")

    return end


def _end_superscript(_element: Any, lines: Lines, mark: Mark, _sections: TextSections) -> None:
    text = lines.since(mark)
    if text and (len(text) == 1 or text.lstrip("+-\N{MINUS SIGN}").isdigit()):
        lines.replace(mark, f"^{text}")


def _end_abbreviation(element: Any, lines: Lines, mark: Mark, _sections: TextSections) -> None:
    text, meaning = lines.since(mark), collapse(element.get("title") or "")
    if text and meaning and meaning != text:
        lines.replace(mark, f"{text} ({meaning})")


def _end_list(_element: Any, lines: Lines, _mark: Mark, _sections: TextSections) -> None:
    lines.end_line()
    lines.numbers.pop()


def _end_indented(_element: Any, lines: Lines, _mark: Mark, _sections: TextSections) -> None:
    lines.outdent()


def _end_space(_element: Any, lines: Lines, _mark: Mark, _sections: TextSections) -> None:
    lines.write(" ")


_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
STARTS: Mapping[str, _Start] = {
    **dict.fromkeys(MEDIA, _start_media),
    **dict.fromkeys(_HEADINGS, _start_heading),
    **dict.fromkeys(("ol", "ul", "menu", "dir"), _start_list),
    "li": _start_entry,
    "blockquote": lambda _element, lines, _sections: lines.indent("> ", "> "),
    "input": _start_input,
    "textarea": _start_textarea,
    "option": _start_option,
    "optgroup": _start_group,
    "meta": _start_metadata,
    "area": _start_area,
}
ENDS: Mapping[str, _End] = {
    **dict.fromkeys(_HEADINGS, _end_indented),
    **dict.fromkeys(("ol", "ul", "menu", "dir"), _end_list),
    **dict.fromkeys(("li", "blockquote"), _end_indented),
    **dict.fromkeys(("a", "area"), _end_link),
    **dict.fromkeys(("s", "del", "strike"), _wrap("~~", "~~")),
    "title": _wrap("Title: ", ""),
    "button": _wrap(" [", "] "),
    "q": _wrap("“", "”"),
    "rt": _wrap("(", ")"),
    "sup": _end_superscript,
    **dict.fromkeys(("abbr", "acronym", "dfn"), _end_abbreviation),
    **dict.fromkeys(("option", "label", "output", "optgroup"), _end_space),
}
