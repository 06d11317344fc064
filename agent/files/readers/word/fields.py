"""The fields of a Word document: what a program computed, and the instruction by which it did.

What stays true: a field shows its result; where it has none, its instruction stands in its place.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from agent.files.readers.office.xml_names import attribute_of, child_of, descendants_of, is_on, parse_number, value_of
from agent.files.readers.sections import TextSections

#: Fields whose instruction says nothing that their result does not.
_PLAIN = frozenset({
    *("PAGE", "NUMPAGES", "SECTION", "SECTIONPAGES", "TOC", "PAGEREF", "REF", "NOTEREF", "SEQ", "STYLEREF", "DATE"),
    *("TIME", "CREATEDATE", "SAVEDATE", "PRINTDATE", "HYPERLINK", "AUTHOR", "TITLE", "FILENAME", "SHAPE", "EMBED"),
    *("FORMTEXT", "FORMCHECKBOX", "FORMDROPDOWN", "BIBLIOGRAPHY", "INDEX", "LINK", "="),
})  # fmt: skip
#: Fields that mark a place and show nothing there.
_MARKS = {"XE": "index entry", "TC": "table of contents entry", "TA": "table of authorities entry", "RD": "linked file"}
_ADDRESS = re.compile(r'^\s*HYPERLINK\s+(?:"([^"\\]*)"|([^\s"\\]\S*))', re.IGNORECASE)
#: Characters of an instruction that are shown.
_INSTRUCTION_MAX = 200


@dataclass(slots=True)
class _Field:
    form: Any = None
    instruction: list[str] = field(default_factory=list)
    has_begun_result: bool = False
    has_result: bool = False


class Fields:
    """The fields that are open at a place of a document, the innermost last."""

    def __init__(self, sections: TextSections) -> None:
        self._sections = sections
        self._open: list[_Field] = []

    @property
    def is_in_instruction(self) -> bool:
        """Whether what stands here is part of an instruction."""
        return any(not field.has_begun_result for field in self._open)

    def collect(self, text: str) -> None:
        """Take a piece of an instruction."""
        unfinished = [field for field in self._open if not field.has_begun_result]
        if unfinished:
            unfinished[-1].instruction.append(text)

    def note_result(self) -> None:
        """Know that the open fields have a result."""
        for open_field in self._open:
            open_field.has_result = True

    def turn(self, element: Any) -> str:
        """Begin, divide or end a field at its character; returns what to show there."""
        kind = attribute_of(element, "fldCharType")
        if kind == "begin":
            self._open.append(_Field(form=child_of(element, "w:ffData")))
        elif kind == "separate" and self._open:
            self._open[-1].has_begun_result = True
        elif kind == "end" and self._open:
            return self._close(self._open.pop())
        return ""

    def finish_paragraph(self) -> str:
        """Give up instructions that do not end with their paragraph: their text is shown."""
        instructions = ["".join(f.instruction) for f in self._open if not f.has_begun_result]
        self._open = [f for f in self._open if f.has_begun_result]
        return " ".join(f"[field: {instruction}]" for instruction in instructions if instruction.strip())

    def count_instruction(self, instruction: str, *, has_result: bool) -> str:
        """Count what an instruction says beside its result; returns what to show in a missing one's place."""
        kind = instruction.split(maxsplit=1)[0].upper() if instruction.strip() else ""
        address = _ADDRESS.match(instruction)
        if address:
            return f" ({address[1] or address[2]})" if address[1] or address[2] else ""
        if kind in _MARKS:
            self._sections.leave_out(_MARKS[kind])
        elif not has_result and kind:
            return _quote(instruction)
        elif kind and kind not in _PLAIN and not kind.startswith("="):
            self._sections.leave_out("field instruction")
        return ""

    def _close(self, closed: _Field) -> str:
        form = "" if closed.form is None else self._describe_form(closed.form)
        if form:
            return form
        has_result = closed.has_result or closed.form is not None
        return self.count_instruction("".join(closed.instruction), has_result=has_result)

    def _describe_form(self, form: Any) -> str:
        """Describe the state of a check box or the choice of a list; "" for a field of text, which has a result."""
        for hint in descendants_of(form, "w:helpText", "w:statusText"):
            self._sections.leave_out("form field hint", bool(attribute_of(hint, "val")))
        box = child_of(form, "w:checkBox")
        if box is not None:
            state = child_of(box, "w:checked")
            return "[x]" if is_on(child_of(box, "w:default") if state is None else state) else "[ ]"
        choices = child_of(form, "w:ddList")
        if choices is None:
            return ""
        entries = [attribute_of(entry, "val") for entry in descendants_of(choices, "w:listEntry")]
        chosen = parse_number(value_of(choices, "w:result") or value_of(choices, "w:default") or "0") or 0
        self._sections.leave_out("list choice", len(entries) - (chosen < len(entries)))
        return entries[chosen] if chosen < len(entries) else ""


def _quote(instruction: str) -> str:
    words = " ".join(instruction.split())
    return f"[field: {words[:_INSTRUCTION_MAX]}{'…' if len(words) > _INSTRUCTION_MAX else ''}]"
