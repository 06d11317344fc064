"""Frames, shapes, pictures, objects and forms beside the paragraphs of an OpenDocument text.

What stays true: the text of each is shown, and what is not text is counted by its kind.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from agent.files.readers.office.embedded import IN_FRAMES, find_kind_of_open
from agent.files.readers.office.equation import describe_math
from agent.files.readers.office.xml_names import attribute_of, descendants_of, name_of
from agent.files.readers.open_document.chart import describe_chart, find_chart
from agent.files.readers.open_document.walk import OpenWalk


def _take_frame(text: OpenWalk, element: Any) -> None:
    """Show the first of a frame's contents; the others are pictures of it for programs that cannot show it."""
    contents = [child for child in element if name_of(child) in FRAME_HANDLERS]
    words = _describe(element)
    if words:
        is_picture = bool(contents) and name_of(contents[0]) == "draw:image"
        text.emit(f"[{'picture' if is_picture else 'drawing'}: {words}]")
    for content in contents[:1]:
        FRAME_HANDLERS[name_of(content)](text, content)
    for child in element:
        if name_of(child) not in FRAME_HANDLERS:
            text.walk([child])


def _describe(element: Any) -> str:
    words = ["".join(child.itertext()).strip() for child in element if name_of(child) in ("svg:title", "svg:desc")]
    return ". ".join(filter(None, words))


def _take_shape(text: OpenWalk, element: Any) -> None:
    words = _describe(element)
    if words:
        text.emit(f"[drawing: {words}]")
    _take_box(text, element)


def _take_box(text: OpenWalk, element: Any) -> None:
    for line in text.read_aside(element):
        text.add_box(line)


def _take_picture(text: OpenWalk, element: Any) -> None:
    text.sections.leave_out("picture")
    _take_box(text, element)


def _take_object(text: OpenWalk, element: Any) -> None:
    root = element[0] if len(element) and name_of(element[0]) in ("math:math", "office:document") else None
    if root is None:
        root = text.package.parse(f"{attribute_of(element, 'href').removeprefix('./')}/content.xml")
    if root is None:
        text.sections.leave_out("embedded object")
    elif name_of(root) == "math:math":
        text.emit(describe_math(root))
    else:
        chart = find_chart(root)
        for line in describe_chart(chart, text.sections) if chart is not None else ():
            text.add_box(line)
        if chart is None:
            text.sections.leave_out(find_kind_of_open(root))


def describe_forms(text: OpenWalk, element: Any) -> Iterator[str]:
    """Describe the fields of forms in lines: their names and what is filled in."""
    for control in element.iter("*"):
        kind, _, local_name = name_of(control).partition(":")
        if kind == "form" and local_name not in _NO_CONTROLS:
            name, value = attribute_of(control, "label") or attribute_of(control, "name"), _value_of(control)
            if local_name == "hidden":
                text.count_hidden(value)
            elif name or value:
                yield f"[form field] {name}: {value}" if value else f"[form field] {name}"
    for model in element:
        has_data = name_of(model) != "form:form" and "".join(model.itertext()).strip()
        text.sections.leave_out("data part", bool(has_data))


_NO_CONTROLS = ("form", "properties", "property", "option", "item", "column")


def _value_of(control: Any) -> str:
    states = {"checked": "[x]", "true": "[x]", "unchecked": "[ ]", "false": "[ ]"}
    state = attribute_of(control, "current-state") or attribute_of(control, "current-selected")
    if name_of(control) in ("form:checkbox", "form:radio"):
        return states.get(state or attribute_of(control, "state") or attribute_of(control, "selected"), "[ ]")
    options = [
        attribute_of(option, "label") + (" [x]" if attribute_of(option, "current-selected") == "true" else "")
        for option in descendants_of(control, "form:option", "form:item")
    ]
    value = attribute_of(control, "current-value") or attribute_of(control, "value")
    paragraphs = "".join(control.itertext()).strip() if name_of(control) == "form:textarea" else ""
    return "; ".join(filter(None, [value or paragraphs, *options]))


def _count(kind: str) -> Callable[[OpenWalk, Any], None]:
    return lambda text, _: text.sections.leave_out(kind)


#: What may be in a frame, by the name of its element: what to do with it.
FRAME_HANDLERS: Mapping[str, Callable[[OpenWalk, Any], None]] = {
    "draw:text-box": _take_box,
    "draw:object": _take_object,
    **{f"draw:{name}": _count(kind) for name, kind in IN_FRAMES.items()},
    "table:table": _take_box,
    "draw:image": _take_picture,
}
_SHAPES = (
    *("custom-shape", "rect", "ellipse", "circle", "line", "polyline", "polygon", "path", "connector"),
    *("regular-polygon", "caption", "measure", "g", "control"),
)
#: By the name of an element: what to do with it.
DRAWING_HANDLERS: Mapping[str, Callable[[OpenWalk, Any], None]] = {
    "draw:frame": _take_frame,
    **dict.fromkeys((f"draw:{name}" for name in _SHAPES), _take_shape),
    "dr3d:scene": _count("3D model"),
}
#: The local names of what may stand between paragraphs.
DRAWING_NAMES = ("frame", *_SHAPES, "scene")
