"""Annotations, which people have put on the pages of a PDF: notes, highlights, stamps, links, attached files.

What stays true: what cannot be shown (sound, films, models, scripts) is counted by its kind.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agent.files.readers.pdf.form import appearance_text
from agent.files.readers.pdf.objects import items_of, mapping_of, plain_text, text_of, whole_number
from agent.files.readers.sections import TextSections

if TYPE_CHECKING:  # imported under the limits, below
    from pypdf import PageObject, PdfReader

_LABELS = {
    "Text": "Note",
    "FreeText": "Text box",
    "StrikeOut": "Struck out",
    "Redact": "To be removed",
    "FileAttachment": "Attached file",
}
#: What a text cannot show, by its kind in the file.
_MEDIA = {"Sound": "sound", "Movie": "video", "Screen": "video", "RichMedia": "video", "3D": "3D model"}
#: Those whose words may be drawn only.
_DRAWN = ("FreeText", "Stamp", "Watermark")
_HIDDEN_FLAGS = 2 | 32


def read_annotations(page: "PageObject", page_text: str, reader: "PdfReader", sections: TextSections) -> list[str]:
    """Read the annotations of a page, a line for each."""
    lines = list[str]()
    for annotation in items_of(page.get("/Annots")):
        if sections.is_late:
            break
        entries = mapping_of(annotation)
        kind = text_of(entries.get("/Subtype"))
        sections.leave_out("script", count_scripts(entries))
        if kind in _MEDIA:
            sections.leave_out(_MEDIA[kind])
        if kind == "Link":
            address = _address_of(mapping_of(entries.get("/A")))
            if address and address not in page_text:
                lines.append(f"[Link: {address}]")
        if kind not in ("Widget", "Popup") or (kind == "Popup" and not mapping_of(entries.get("/Parent"))):
            lines.append(_describe(kind, entries, reader, sections))
    return list(dict.fromkeys(filter(None, lines)))


def _describe(kind: str, entries: Mapping[str, Any], reader: "PdfReader", sections: TextSections) -> str:
    words = _words_of(kind, entries, reader)
    if kind == "FileAttachment":
        sections.leave_out("attachment")
        words = ", ".join(filter(None, (describe_file(entries.get("/FS")), words)))
    if kind == "Stamp" and not words:
        words = text_of(entries.get("/Name"))
    author, subject = text_of(entries.get("/T")), text_of(entries.get("/Subj"))
    if not words and not subject:
        return ""
    label = "Reply" if mapping_of(entries.get("/IRT")) else _LABELS.get(kind, kind)
    by = f" by {author}" if author else ""
    on = f' on "{subject}"' if subject and subject != label else ""
    hidden = ", hidden" if whole_number(entries.get("/F")) & _HIDDEN_FLAGS else ""
    return f"[{label}{by}{on}{hidden}: {words}]"


def _words_of(kind: str, entries: Mapping[str, Any], reader: "PdfReader") -> str:
    words, rich_words = text_of(entries.get("/Contents")), plain_text(text_of(entries.get("/RC")))
    if "".join(rich_words.split()) not in "".join(words.split()):
        words = f"{words}\n{rich_words}".strip()
    overlay = text_of(entries.get("/OverlayText"))
    if not words and kind in _DRAWN:
        words = appearance_text(entries, reader)
    return f"{words}\n{overlay}".strip()


def _address_of(action: Mapping[str, Any]) -> str:
    address = text_of(action.get("/URI"))
    return address or ("" if "/F" not in action else describe_file(action["/F"]))


def describe_file(specification: Any) -> str:
    """The name of a file that a PDF holds or points to, with what is said of it."""
    entries = mapping_of(specification)
    if not entries:
        return text_of(specification)
    names = dict.fromkeys(text_of(entries.get(key)) for key in ("/UF", "/F", "/Unix", "/DOS", "/Mac"))
    description = text_of(entries.get("/Desc"))
    name = next(filter(None, names), "a file without a name")
    return f"{name} ({description})" if description and description != name else name


def count_scripts(entries: Mapping[str, Any]) -> int:
    """The scripts of an object: what runs when it is opened, clicked or changed."""
    actions = [entries.get("/A"), entries.get("/OpenAction"), *mapping_of(entries.get("/AA")).values()]
    return sum(mapping_of(action).get("/S") == "/JavaScript" for action in actions)
