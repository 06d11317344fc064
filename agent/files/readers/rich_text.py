"""Rich text (RTF), as old word processors and Outlook write it. What stays true: its fields and objects are not run."""

import re
from typing import Any

from agent.files.readers.sections import TextSections, Unreadable

#: What is counted, by its control word.
_LEFT_OUT = {
    r"\\pict\b": "picture", r"\\objdata\b": "embedded object", r"\\shptxt\b": "text box",
    r"\\(?:title|subject|author|keywords|doccomm)\b": "document property",
}  # fmt: skip
#: Parts that the converter would drop, and what stands before them instead.
_NOTES = {
    r"\\(?:header|footer)[lrf]?\b": r"\par ", r"\\footnote\b": r"\par Footnote: ",
    r"\\\*\s*\\annotation\b": r"\par Comment: ",
}  # fmt: skip


def read(content: bytes, sections: TextSections) -> dict[str, Any]:
    """Read the text of a document."""
    text = render(content.decode("latin-1"), sections)
    if not text:
        raise Unreadable("The document holds no text.")
    sections.add("", text)
    return sections.result()


def render(source: str, sections: TextSections) -> str:
    """Render rich text as plain text."""
    from striprtf import striprtf

    for pattern, kind in _LEFT_OUT.items():
        sections.leave_out(kind, len(re.findall(pattern, source)))
    for pattern, words in _NOTES.items():
        source = re.sub(pattern, words.replace("\\", r"\\"), source)
    convert: Any = striprtf.rtf_to_text
    return str(convert(source, errors="replace")).strip()
