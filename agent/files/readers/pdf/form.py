"""The fields of a PDF's form, with their values: those of AcroForm, and those of XFA.

What stays true: a field is read by what it holds, whether or not it has an appearance; each stands there once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from agent.files.readers.pdf.objects import (
    identity_of,
    items_of,
    mapping_of,
    plain_text,
    resolve,
    text_of,
    whole_number,
)
from agent.files.readers.sections import TextSections

if TYPE_CHECKING:  # imported under the limits, below
    from pypdf import PdfReader

#: Choices of one field that are written out; more of them are counted.
CHOICES_MAX = 40
#: Fields within fields, at most.
DEPTH_MAX = 40

_RADIO, _PUSH_BUTTON = 1 << 15, 1 << 16
_INHERITED = ("/FT", "/Ff", "/V", "/DV", "/RV", "/Opt", "/TU")
_XFA = "The PDF is an XFA form: its values and texts are shown, not how they stand on its pages."


@dataclass(frozen=True)
class _Field:
    """A field with what it takes from those around it."""

    name: str
    entries: Mapping[str, Any]
    #: The places on pages where it stands.
    widgets: Sequence[Mapping[str, Any]] = ()


def read_form(reader: "PdfReader", sections: TextSections) -> list[str]:
    """Read the fields, a line for each: `name (what people are told): value`."""
    form = mapping_of(reader.root_object.get("/AcroForm"))
    lines = [_describe(field, reader, sections) for field in _iterate_fields(reader, form, sections)]
    if resolve(form.get("/XFA")) is not None:
        lines += _read_xfa(form, lines, sections)
    return lines


def _iterate_fields(reader: "PdfReader", form: Mapping[str, Any], sections: TextSections) -> Iterator[_Field]:
    seen: set[object] = set()
    for root in items_of(form.get("/Fields")):
        yield from _walk(root, _Field("", {}), seen, DEPTH_MAX)
    for page in reader.pages:  # a field may stand on a page and in no list
        for annotation in items_of(page.get("/Annots")):
            if sections.is_late:
                return
            entries = mapping_of(annotation)
            if entries.get("/Subtype") == "/Widget" and identity_of(annotation) not in seen:
                yield from _walk(_find_root(annotation), _Field("", {}), seen, DEPTH_MAX)


def _find_root(node: Any) -> Any:
    for _ in range(DEPTH_MAX):
        parent = mapping_of(node).get("/Parent")
        if not mapping_of(parent):
            break
        node = parent
    return node


def _walk(node: Any, around: _Field, seen: set[object], depth: int) -> Iterator[_Field]:
    entries = mapping_of(node)
    if not entries or not depth or identity_of(node) in seen:
        return
    seen.add(identity_of(node))
    name = ".".join(filter(None, (around.name, text_of(entries.get("/T")))))
    field = _Field(name, {key: around.entries[key] for key in _INHERITED if key in around.entries} | dict(entries))
    kids = items_of(entries.get("/Kids"))
    widgets = [kid for kid in kids if "/T" not in mapping_of(kid) and "/Kids" not in mapping_of(kid)]
    seen.update(identity_of(widget) for widget in widgets)
    if widgets or not kids:
        yield replace(field, widgets=[mapping_of(widget) for widget in widgets] or [entries])
    for kid in kids:
        yield from _walk(kid, field, seen, depth - 1)


def _describe(field: _Field, reader: "PdfReader", sections: TextSections) -> str:
    kind, flags = text_of(field.entries.get("/FT")), whole_number(field.entries.get("/Ff"))
    if kind == "Btn" and flags & _PUSH_BUTTON:
        marks = [mapping_of(widget.get("/MK")) for widget in field.widgets]
        captions = dict.fromkeys(text_of(mark.get(key)) for mark in marks for key in ("/CA", "/RC", "/AC"))
        value = f"a button, {', '.join(filter(None, captions)) or 'without a caption'}"
    elif kind == "Btn":
        value = _describe_choice_of_buttons(field, is_radio=bool(flags & _RADIO))
    elif kind == "Ch":
        value = _describe_choice(field, sections)
    elif kind == "Sig":
        value = _describe_signature(mapping_of(field.entries.get("/V")))
    else:
        value = _describe_text(field, reader)
    hint = text_of(field.entries.get("/TU"))
    name = field.name or "a field without a name"
    return f"{name}{f' ({hint})' if hint and hint != field.name else ''}: {value}"


def _describe_text(field: _Field, reader: "PdfReader") -> str:
    value, rich_value = text_of(field.entries.get("/V")), plain_text(text_of(field.entries.get("/RV")))
    if rich_value and "".join(rich_value.split()) not in "".join(value.split()):
        value = f"{value} [formatted: {rich_value}]" if value else rich_value
    if value:
        return value
    drawn = " ".join(filter(None, (appearance_text(widget, reader) for widget in field.widgets)))
    default = text_of(field.entries.get("/DV"))
    return drawn or (f"(empty; by default: {default})" if default else "(empty)")


def appearance_text(annotation: Mapping[str, Any], reader: "PdfReader") -> str:
    """The text that the appearance of a field or annotation draws; "" for none."""
    from pypdf.generic import StreamObject

    stream = resolve(mapping_of(annotation.get("/AP")).get("/N"))
    if not isinstance(stream, StreamObject):
        return ""
    try:
        return str(reader.pages[0].extract_xform_text(stream)).strip()  # type: ignore[arg-type]  # any page will do
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return ""


def _describe_choice_of_buttons(field: _Field, *, is_radio: bool) -> str:
    labels = [text_of(label) for label in items_of(field.entries.get("/Opt"))]
    states = [_on_state(widget) for widget in field.widgets]
    value = text_of(field.entries.get("/V"))
    if not value:  # the state of what is drawn
        value = next((text_of(w.get("/AS")) for w in field.widgets if text_of(w.get("/AS")) not in ("", "Off")), "")

    def label(state: str, place: int) -> str:
        number = int(state) if state.isdecimal() else place
        return labels[number] if 0 <= number < len(labels) else state

    options = [label(state, place) for place, state in enumerate(states) if state]
    selected = label(value, states.index(value) if value in states else -1)
    is_on = value not in ("", "Off")
    if is_radio or len(field.widgets) > 1:
        return f"{selected if is_on else '(none selected)'} (of: {', '.join(options)})"
    detail = f" ({selected})" if selected not in ("Yes", "On", "1", "") else ""
    return f"checked{detail}" if is_on else "not checked"


def _on_state(widget: Mapping[str, Any]) -> str:
    states = [str(key)[1:] for key in mapping_of(mapping_of(widget.get("/AP")).get("/N")) if key != "/Off"]
    return states[0] if states else ""


def _describe_choice(field: _Field, sections: TextSections) -> str:
    pairs = [
        (text_of(option[0]), text_of(option[-1])) if isinstance(option, list) and option else (text_of(option),) * 2
        for option in map(resolve, items_of(field.entries.get("/Opt")))
    ]
    displays = dict(pairs)
    values = [text_of(value) for value in items_of(field.entries.get("/V"))]
    if not any(values):
        numbers = [whole_number(index) for index in items_of(field.entries.get("/I"))]
        values = [pairs[number][0] for number in numbers if 0 <= number < len(pairs)]
    selected = ", ".join(displays.get(value, value) for value in values if value)
    choices = [display for _, display in pairs]
    sections.leave_out("list choice", len(choices[CHOICES_MAX:]))
    offered = f" (of: {', '.join(choices[:CHOICES_MAX])})" if choices else ""
    return f"{selected or '(none selected)'}{offered}"


def _describe_signature(signature: Mapping[str, Any]) -> str:
    if not signature:
        return "(a signature field, not signed)"
    labels = {"/Name": "by", "/M": "at", "/Reason": "reason:", "/Location": "place:", "/ContactInfo": "contact:"}
    facts = [f"{label} {text_of(signature[key])}" for key, label in labels.items() if text_of(signature.get(key))]
    return f"signed {', '.join(facts)}".strip()


def _read_xfa(form: Mapping[str, Any], known_lines: Sequence[str], sections: TextSections) -> list[str]:
    from defusedxml.ElementTree import fromstring
    from pypdf.generic import StreamObject

    packets = [part for part in map(resolve, items_of(form.get("/XFA"))) if isinstance(part, StreamObject)]
    root = fromstring(b"".join(packet.get_data() for packet in packets))
    known_text = "\n".join(known_lines)
    parts = {_local_name(part): part for part in root.iter() if _local_name(part) in ("data", "template")}
    values = [] if "data" not in parts else list(_iterate_leaves(parts["data"], ""))
    lines = [f"{name}: {value}" for name, value in values if value not in known_text]
    if not known_lines and "template" in parts:
        texts = (
            "".join(part.itertext()) for part in parts["template"].iter() if _local_name(part) in ("text", "exData")
        )
        lines += [
            f"Text of the form: {text}" for text in dict.fromkeys(" ".join(text.split()) for text in texts) if text
        ]
    if not known_lines:
        sections.remark(_XFA)
    return lines


def _iterate_leaves(element: Any, path: str) -> Iterator[tuple[str, str]]:
    for child in element:
        name = f"{path}.{_local_name(child)}" if path else _local_name(child)
        if len(child):
            yield from _iterate_leaves(child, name)
        elif (child.text or "").strip():
            yield name, child.text.strip()


def _local_name(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]
