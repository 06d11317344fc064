"""Runs of text, links, fields, changes and the marks of notes in the paragraphs of a Word document.

What stays true: each piece is shown where it stands, or counted.
"""

from collections.abc import Callable, Mapping
from typing import Any

from agent.files.readers.office.pages import PAGE_BREAK
from agent.files.readers.office.remarks import CHANGES, FAINT
from agent.files.readers.office.xml_names import (
    attribute_of,
    child_of,
    descendants_of,
    is_on,
    name_of,
    parse_number,
    value_of,
)
from agent.files.readers.word.symbols import convert_private, convert_symbol, has_private
from agent.files.readers.word.walk import WordWalk

#: Half points of a font below which nobody reads a text.
_TINY = 4
#: Pieces of a paragraph in which an address is looked for before it is written again.
_LINK_PIECES = 20


def _walk_run(text: WordWalk, element: Any) -> None:
    outer = text.is_hidden, text.font
    properties = child_of(element, "w:rPr")
    if properties is not None:
        style, switch = value_of(properties, "w:rStyle"), child_of(properties, "w:vanish")
        is_hidden = is_on(switch) if switch is not None else text.document.styles.is_hidden(style)
        text.is_hidden = is_hidden if switch is not None else text.is_hidden or is_hidden
        fonts = child_of(properties, "w:rFonts")
        text.font = attribute_of(fonts, "ascii") if fonts is not None else ""
        if _is_faint(element, properties):
            text.sections.remark(FAINT)
    text.walk(element)
    text.count_hidden()
    text.is_hidden, text.font = outer


def _is_faint(element: Any, properties: Any) -> bool:
    """Whether a run with text is written so that a person does not see it on a white page."""
    size = parse_number(value_of(properties, "w:sz"))
    is_white = value_of(properties, "w:color").upper() == "FFFFFF"
    if not (is_white or (size is not None and size <= _TINY)):
        return False
    if not any((piece.text or "").strip() for piece in descendants_of(element, "w:t")):
        return False
    # A text box may be filled, and a cell or paragraph shaded.
    return not is_white or not any(
        name_of(container) == "w:txbxContent" or child_of(container, f"{name_of(container)}Pr", "w:shd") is not None
        for container in (element, *element.iterancestors())
    )


def _take_text(text: WordWalk, element: Any) -> None:
    words = "".join(element.itertext()) if len(element) else element.text or ""
    if has_private(words):
        words, unknown = convert_private(words, text.font)
        text.sections.leave_out("symbol", unknown)
    text.emit(words)


def _take_symbol(text: WordWalk, element: Any) -> None:
    sign = convert_symbol(attribute_of(element, "char"), attribute_of(element, "font"))
    if sign:
        text.emit(sign)
    else:
        text.leave_out("symbol")


def _take_page_break(text: WordWalk, _: Any) -> None:
    text.pieces.append(PAGE_BREAK)


def _take_reference(text: WordWalk, element: Any) -> None:
    kind = name_of(element).removeprefix("w:").removesuffix("Reference")
    text.emit(text.document.mark_of(kind, attribute_of(element, "id")))


def _take_ruby(text: WordWalk, element: Any) -> None:
    text.walk([child for child in element if name_of(child) == "w:rubyBase"])
    text.emit("(")
    text.walk([child for child in element if name_of(child) == "w:rt"])
    text.emit(")")


def _take_link(text: WordWalk, element: Any) -> None:
    text.walk(element)
    text.sections.leave_out("link tooltip", bool(attribute_of(element, "tooltip")))
    relationship = text.relationship_of(element)
    if relationship is not None and relationship.is_external and relationship.target:
        emit_address(text, relationship.target)


def emit_address(text: WordWalk, address: str) -> None:
    """Write where a link leads, unless its text says so."""
    if address.removeprefix("mailto:").rstrip("/") not in "".join(text.pieces[-_LINK_PIECES:]):
        text.emit(f" ({address})")


def _take_insertion(text: WordWalk, element: Any) -> None:
    text.sections.remark(CHANGES)
    text.walk(element)


def _skip_deletion(text: WordWalk, element: Any) -> None:
    text.sections.remark(CHANGES)
    has_text = any((piece.text or "").strip() for piece in descendants_of(element, "w:delText", "w:t", "m:t"))
    text.leave_out("deleted passage", has_text)


def _skip_deleted_text(text: WordWalk, element: Any) -> None:
    text.leave_out("deleted passage", bool((element.text or "").strip()))


def _take_simple_field(text: WordWalk, element: Any) -> None:
    gain = text.gain
    text.walk(element)
    text.emit(text.fields.count_instruction(attribute_of(element, "instr"), has_result=text.gain > gain))


def _take_field_character(text: WordWalk, element: Any) -> None:
    shown = text.fields.turn(element)
    if shown.startswith(" ("):
        emit_address(text, shown[2:-1])
    else:
        text.emit(shown)


def _take_instruction(text: WordWalk, element: Any) -> None:
    text.fields.collect(element.text or "")


def _take_control(text: WordWalk, element: Any) -> None:
    properties, content = child_of(element, "w:sdtPr"), child_of(element, "w:sdtContent")
    box = child_of(properties, "w14:checkbox") if properties is not None else None
    if box is not None:
        text.emit("[x]" if is_on(child_of(box, "w14:checked")) else "[ ]")
    elif content is not None:
        start = len(text.pieces)
        text.walk(content)
        shown = "".join(text.pieces[start:])
        del text.pieces[start:]
        text.emit(fill_control(text, element, shown))


def fill_control(text: WordWalk, control: Any, shown: str) -> str:
    """The text of a content control: the data that it is bound to, else its content, which may be a placeholder."""
    bound = text.document.bindings.value_of(control)
    if bound and bound.split() != shown.split():
        return bound
    properties = child_of(control, "w:sdtPr")
    is_placeholder = properties is not None and is_on(child_of(properties, "w:showingPlcHdr"))
    return f"[{shown}]" if is_placeholder and shown.strip() and not bound else shown


def _write(sign: str) -> Callable[[WordWalk, Any], None]:
    return lambda text, _: text.emit(sign)


#: By the name of an element: what to do with it.
RUN_HANDLERS: Mapping[str, Callable[[WordWalk, Any], None]] = {
    "w:r": _walk_run,
    "w:t": _take_text,
    "w:instrText": _take_instruction,
    "w:fldChar": _take_field_character,
    "w:fldSimple": _take_simple_field,
    "w:tab": _write("\t"),
    "w:ptab": _write("\t"),
    "w:br": _write("\n"),
    "w:cr": _write("\n"),
    "w:noBreakHyphen": _write("-"),
    "w:sym": _take_symbol,
    "w:lastRenderedPageBreak": _take_page_break,
    "w:footnoteReference": _take_reference,
    "w:endnoteReference": _take_reference,
    "w:commentReference": _take_reference,
    "w:ruby": _take_ruby,
    "w:hyperlink": _take_link,
    **dict.fromkeys(("w:ins", "w:moveTo"), _take_insertion),
    **dict.fromkeys(("w:del", "w:moveFrom"), _skip_deletion),
    "w:delText": _skip_deleted_text,
    "w:sdt": _take_control,
}
