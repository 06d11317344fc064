"""Spaces, links, fields, notes, comments and marks in the paragraphs of an OpenDocument text.

What stays true: each is shown where it stands, or counted.
"""

from collections.abc import Callable, Mapping
from typing import Any

from agent.files.readers.office.pages import PAGE_BREAK
from agent.files.readers.office.remarks import CHANGES
from agent.files.readers.office.xml_names import attribute_of, descendants_of, name_of, parse_number
from agent.files.readers.open_document.walk import OpenWalk

#: How often something that is repeated is written.
REPEATED_MAX = 100


def _take_note(text: OpenWalk, element: Any) -> None:
    kind = "endnote" if attribute_of(element, "note-class") == "endnote" else "footnote"
    notes = text.notes.texts[kind]
    mark = f"[^{'e' if kind == 'endnote' else ''}{len(notes) + 1}]"
    text.emit(mark)
    notes.append("")  # a note in a note comes after it
    place = len(notes) - 1
    notes[place] = f"{mark}: {_join(text, [child for child in element if name_of(child) == 'text:note-body'])}"


def _take_comment(text: OpenWalk, element: Any) -> None:
    comments = text.notes.texts["comment"]
    comments.append("")
    number = len(comments)
    text.notes.numbers[attribute_of(element, "name")] = number
    text.emit(f"[comment {number}]")
    author = next(("".join(child.itertext()) for child in element if name_of(child) == "dc:creator"), "")
    parent = text.notes.numbers.get(attribute_of(element, "parent-name") or " ")
    words = [author, f"reply to comment {parent}" if parent else ""]
    words.append("resolved" if attribute_of(element, "resolved") == "true" else "")
    content = _join(text, [child for child in element if not name_of(child).startswith(("dc:", "meta:"))])
    comments[number - 1] = f"[comment {number}] {', '.join(filter(None, words))}: {content}"


def _take_link(text: OpenWalk, element: Any) -> None:
    start = len(text.pieces)
    text.take(element)
    text.sections.leave_out("link tooltip", bool(attribute_of(element, "title")))
    address = attribute_of(element, "href")
    is_shown = address.removeprefix("mailto:").rstrip("/") in "".join(text.pieces[start:])
    if address and not address.startswith("#") and not is_shown:
        text.emit(f" ({address})")


def _take_reading_aid(text: OpenWalk, element: Any) -> None:
    text.emit("(")
    text.take(element)
    text.emit(")")


def _take_placeholder(text: OpenWalk, element: Any) -> None:
    text.sections.leave_out("form field hint", bool(attribute_of(element, "description")))
    text.emit("[")
    text.take(element)
    text.emit("]")


def _take_hidden_text(text: OpenWalk, element: Any) -> None:
    text.count_hidden(attribute_of(element, "string-value"))
    if attribute_of(element, "is-hidden") == "false":
        text.take(element)
    else:
        text.count_hidden("".join(element.itertext()))


def _take_choice(text: OpenWalk, element: Any) -> None:
    """Show the text that a field chose, and count those that it did not choose."""
    text.take(element)
    shown = "".join(element.itertext())
    names = ("string-value-if-true", "string-value-if-false")
    others = [attribute_of(element, name) for name in names]
    others += [attribute_of(label, "value") for label in descendants_of(element, "text:label")]
    text.sections.leave_out("unchosen text", sum(other not in ("", shown) for other in others))


def _take_change(text: OpenWalk, _: Any) -> None:
    text.sections.remark(CHANGES)


def _take_index_mark(text: OpenWalk, element: Any) -> None:
    text.sections.leave_out("index entry", bool(attribute_of(element, "string-value")))
    text.sections.leave_out("index entry", bool(attribute_of(element, "key1")))


def _take_bibliography_mark(text: OpenWalk, element: Any) -> None:
    text.take(element)
    text.sections.leave_out("bibliography entry")


def _join(text: OpenWalk, element: Any) -> str:
    return " ".join(" ".join(text.read_aside(element)).split())


def _write(sign: str) -> Callable[[OpenWalk, Any], None]:
    return lambda text, _: text.emit(sign)


def _write_spaces(text: OpenWalk, element: Any) -> None:
    text.emit(" " * min(parse_number(attribute_of(element, "c") or "1") or 1, REPEATED_MAX))


_INDEX_MARKS = ("alphabetical-index-mark", "toc-mark", "user-index-mark")
#: By the name of an element: what to do with it.
FIELD_HANDLERS: Mapping[str, Callable[[OpenWalk, Any], None]] = {
    "text:s": _write_spaces,
    "text:tab": _write("\t"),
    "text:line-break": _write("\n"),
    "text:soft-page-break": lambda text, _: text.pieces.append(PAGE_BREAK),
    "text:note": _take_note,
    "office:annotation": _take_comment,
    "text:a": _take_link,
    "draw:a": _take_link,
    "text:ruby-text": _take_reading_aid,
    "text:placeholder": _take_placeholder,
    "text:hidden-text": _take_hidden_text,
    "text:conditional-text": _take_choice,
    "text:drop-down": _take_choice,
    "text:script": lambda text, _: text.sections.leave_out("script"),
    **dict.fromkeys(("text:change", "text:change-start"), _take_change),
    **{f"text:{name}{end}": _take_index_mark for name in _INDEX_MARKS for end in ("", "-start")},
    "text:bibliography-mark": _take_bibliography_mark,
}
