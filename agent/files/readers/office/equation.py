"""An equation of an Office document, in one line. What stays true: every sign of it is shown."""

from collections.abc import Callable, Mapping
from typing import Any

from agent.files.readers.office.xml_names import child_of, iterate_named, name_of, value_of

#: Elements that say how something looks.
_LOOKS = ("Pr", "ctrlPr")
#: What stands before each of the arguments in their order.
_MARKS = {
    "m:sSup": {"m:sup": "^"},
    "m:sSub": {"m:sub": "_"},
    "m:sSubSup": {"m:sub": "_", "m:sup": "^"},
    "m:sPre": {"m:sub": "_", "m:sup": "^"},
    "m:limLow": {"m:lim": "_"},
    "m:limUpp": {"m:lim": "^"},
    "m:f": {"m:den": "/"},
    "m:nary": {"m:sub": "_", "m:sup": "^"},
    "m:func": {"m:e": " "},
}


def linearize_equation(element: Any) -> str:
    """Write an equation in a line: `(a+b)/2=√(x^2)`."""
    name = name_of(element)
    if name in ("m:t", "w:t"):
        return element.text or ""
    if name in _SPECIAL:
        return _SPECIAL[name](element)
    marks = _MARKS.get(name, {})
    parts = []
    if name == "m:nary":
        parts.append(value_of(element, "m:naryPr", "m:chr") or "∫")
    for child in element:
        child_name = name_of(child)
        if child_name.endswith(_LOOKS) or child_name == "w:del":
            continue
        text = linearize_equation(child)
        is_argument = child_name in marks or child_name == "m:num"
        parts.append(marks.get(child_name, "") + (_enclose(text) if is_argument else text) if text else "")
    return "".join(parts)


def describe_math(root: Any) -> str:
    """Describe an equation in MathML as a person typed it, or else by its signs."""
    typed = next((note.text or "" for note in iterate_named(root, "annotation")), "")
    return " ".join((typed or " ".join(root.itertext())).split())


def _enclose(text: str) -> str:
    return text if len(text) == 1 or text.isalnum() else f"({text})"


def _arguments(element: Any) -> list[str]:
    return [linearize_equation(child) for child in element if name_of(child) in ("m:e", "m:mr")]


def _delimit(element: Any) -> str:
    properties = child_of(element, "m:dPr")
    signs = {"m:begChr": "(", "m:sepChr": "|", "m:endChr": ")"}
    if properties is not None:
        signs |= {name: value_of(properties, name) for name in signs if child_of(properties, name) is not None}
    return f"{signs['m:begChr']}{signs['m:sepChr'].join(_arguments(element))}{signs['m:endChr']}"


def _take_root(element: Any) -> str:
    degree = child_of(element, "m:deg")
    return f"{linearize_equation(degree) if degree is not None else ''}√({''.join(_arguments(element))})"


def _accent(element: Any) -> str:
    properties = child_of(element, f"{name_of(element)}Pr")
    return "".join(_arguments(element)) + (value_of(properties, "m:chr") if properties is not None else "")


_SPECIAL: Mapping[str, Callable[[Any], str]] = {
    "m:d": _delimit,
    "m:rad": _take_root,
    "m:acc": _accent,
    "m:groupChr": _accent,
    "m:m": lambda element: f"[{'; '.join(_arguments(element))}]",
    "m:mr": lambda element: ", ".join(_arguments(element)),
    "m:eqArr": lambda element: "; ".join(_arguments(element)),
}
