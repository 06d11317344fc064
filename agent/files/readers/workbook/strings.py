"""The texts of an .xlsx, which cells share by their place in one table.

What stays true: a text is what its cell shows: its runs in one, without how it is read aloud.
"""

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from agent.files.readers.office.zip_parts import DamagedPart, ZipParts
from agent.files.readers.sections import TextSections

#: Bytes that the table of texts may take: what a child's memory leaves beside the rest.
STRINGS_MAX_BYTES = 200 * 1024 * 1024
#: What Python takes for each text beside its characters.
_STRING_BYTES = 70

_ESCAPE = re.compile(r"_x([0-9A-Fa-f]{4})_")


class SharedStrings:
    """The table of texts that cells refer to, read as far as cells ask: the first rows have the first of them."""

    def __init__(self, parts: ZipParts, sections: TextSections, part: str | None) -> None:
        self._parts, self._sections, self._part = parts, sections, part
        self._strings: list[str] = []
        self._unread_strings = self._read()

    def find(self, index: int) -> str | None:
        """Find a text by its place; None where the table has none, or more than there is memory and time for."""
        while len(self._strings) <= index:
            text = next(self._unread_strings, None)
            if text is None:
                return None
            self._strings.append(text)
        return self._strings[index]

    def _read(self) -> Iterator[str]:
        if self._part is None:
            return
        size = 0
        try:
            with self._parts.open_xml(self._part, cut="si") as xml:
                for item in xml.elements():
                    if len(item) > 1:
                        self._sections.leave_out("phonetic text", int(item.find("rPh") is not None))
                    text = " ".join(join_runs(item).split())
                    size += len(text) + _STRING_BYTES
                    if size > STRINGS_MAX_BYTES or self._sections.is_late:
                        return
                    yield text
        except DamagedPart:
            self._sections.remark("The table of the workbook's texts is damaged; some cells may lack their text.")


def join_runs(item: Element) -> str:
    """Join the text of an item whose runs may have formats of their own; how it is read aloud is not its text."""
    pieces = []
    for child in item:
        if child.tag == "t":
            pieces.append(child.text or "")
        elif child.tag == "r":
            pieces.extend(text.text or "" for text in child.iterfind("t"))
    return unescape("".join(pieces))


def unescape(text: str) -> str:
    """The text without the escapes that stand for characters which XML cannot hold."""
    if "_x" not in text:
        return text
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
