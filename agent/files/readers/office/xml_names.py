"""Short names for the elements of Office Open XML and OpenDocument, such as `w:p` and `text:p`.

What stays true: an element of Office Open XML has the same name in both editions of the format, the usual one and
ISO's strict one.
"""

from collections.abc import Iterator
from typing import Any

_USUAL = "http://schemas.openxmlformats.org/"
_STRICT = "http://purl.oclc.org/ooxml/"
_MICROSOFT = "http://schemas.microsoft.com/office/"
_OPEN = "urn:oasis:names:tc:opendocument:xmlns:"
_PREFIXES = {
    f"{_USUAL}wordprocessingml/2006/main": "w",
    f"{_STRICT}wordprocessingml/main": "w",
    f"{_USUAL}drawingml/2006/main": "a",
    f"{_STRICT}drawingml/main": "a",
    f"{_USUAL}drawingml/2006/wordprocessingDrawing": "wp",
    f"{_STRICT}drawingml/wordprocessingDrawing": "wp",
    f"{_USUAL}drawingml/2006/picture": "pic",
    f"{_STRICT}drawingml/picture": "pic",
    f"{_USUAL}drawingml/2006/chart": "c",
    f"{_STRICT}drawingml/chart": "c",
    f"{_USUAL}drawingml/2006/diagram": "dgm",
    f"{_STRICT}drawingml/diagram": "dgm",
    f"{_USUAL}officeDocument/2006/math": "m",
    f"{_STRICT}officeDocument/math": "m",
    f"{_USUAL}markup-compatibility/2006": "mc",
    f"{_MICROSOFT}word/2010/wordprocessingShape": "wps",
    f"{_MICROSOFT}word/2010/wordprocessingGroup": "wpg",
    f"{_MICROSOFT}word/2010/wordprocessingInk": "wpi",
    f"{_MICROSOFT}word/2010/wordml": "w14",
    f"{_MICROSOFT}word/2012/wordml": "w15",
    f"{_MICROSOFT}word/2012/wordprocessingDrawing": "wp15",
    f"{_MICROSOFT}drawing/2014/chartex": "cx",
    f"{_MICROSOFT}drawing/2017/model3d": "am3d",
    "urn:schemas-microsoft-com:vml": "v",
    "urn:schemas-microsoft-com:office:office": "o",
    **{f"{_OPEN}{name}:1.0": name for name in ("office", "text", "table", "style", "chart", "form", "meta")},
    f"{_OPEN}drawing:1.0": "draw",
    f"{_OPEN}svg-compatible:1.0": "svg",
    "http://www.w3.org/1998/Math/MathML": "math",
    "http://purl.org/dc/elements/1.1/": "dc",
}
_OFF = ("0", "false", "off", "none")


class _Names(dict[Any, str]):
    def __missing__(self, tag: Any) -> str:
        namespace, _, name = tag.rpartition("}") if isinstance(tag, str) else ("", "", "")
        self[tag] = f"{_PREFIXES.get(namespace[1:], '?')}:{name}"
        return self[tag]


_names = _Names()


def name_of(element: Any) -> str:
    """The short name of an element; with `?` for a namespace that is not known."""
    return _names[element.tag]


def local_name(element: Any) -> str:
    """The name of an element without its namespace, of which programs write several for the same; "" for a comment."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def attribute_of(element: Any, name: str) -> str:
    """The attribute of this name, without a namespace or else in whatever one; "" where there is none."""
    value = element.get(name)
    if value is not None:
        return str(value)
    for key, text in element.items():
        if key.rpartition("}")[2] == name:
            return str(text)
    return ""


def iterate_named(element: Any, *names: str) -> Iterator[Any]:
    """The elements of these local names in an element, and itself, in their order; none in None."""
    for each in element.iter() if element is not None else ():
        if local_name(each) in names:
            yield each


def first_named(element: Any, *path: str) -> Any:
    """The element that a path of local names of children leads to; None where it ends."""
    for name in path:
        element = next((child for child in element if local_name(child) == name), None) if element is not None else None
    return element


def child_of(element: Any, *path: str) -> Any:
    """The first element at the end of a path of short names; None where there is none."""
    for name in path:
        for child in element:
            if _names[child.tag] == name:
                element = child
                break
        else:
            return None
    return element


def descendants_of(element: Any, *names: str) -> Iterator[Any]:
    """The elements with these short names in an element, in their order."""
    return (child for child in element.iter("*") if name_of(child) in names)


def value_of(element: Any, *path: str) -> str:
    """The `val` of the first element at the end of a path; "" where there is none."""
    child = child_of(element, *path)
    return "" if child is None else attribute_of(child, "val")


def is_on(element: Any) -> bool:
    """Whether an element that switches something switches it on; None does not."""
    return element is not None and attribute_of(element, "val") not in _OFF


def parse_number(text: str) -> int | None:
    """The number that a text is; None where it is none."""
    return int(text) if text.isdecimal() and len(text) < 10 else None
