"""Notebooks of Jupyter: their cells in order, with what running them gave.

What stays true: notebooks of every version of the format are read; what is no text (pictures, widgets) is counted.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agent.files.readers.decode import decode
from agent.files.readers.page.html import render as render_page
from agent.files.readers.sections import TextSections, Unreadable

#: What terminals are told beside the text: colours, movements of the cursor, titles of windows.
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
#: Forms of an output, the one that says most to a reader first; pages come before text where they hold a table.
_TEXT_FORMS = ("text/markdown", "text/plain", "text/latex", "text/html", "application/json")
#: Names of the same in the third version of the format.
_OLD_FORMS = {
    "text": "text/plain", "html": "text/html", "latex": "text/latex", "json": "application/json", "png": "image/png",
    "jpeg": "image/jpeg", "svg": "image/svg+xml", "javascript": "application/javascript", "pdf": "application/pdf",
}  # fmt: skip
_SHOWN_METADATA = {"title": "Title", "name": "Title", "authors": "Authors", "description": "Description"}
#: They say which program wrote the notebook, not what.
_SILENT_METADATA = {"kernelspec", "language_info", "celltoolbar", "signature", "orig_nbformat"}
_SILENT_CELL_METADATA = {"collapsed", "scrolled", "executionInfo", "id", "outputId", "trusted", "execution"}


def read(content: bytes, sections: TextSections) -> dict[str, Any]:
    """Read the cells of a notebook with their outputs."""
    text = decode(content)
    try:
        notebook = json.loads(text)
    except (ValueError, RecursionError):
        sections.add("", text[: sections.max_chars + 1])
        return sections.result(problem="The notebook is damaged; it is shown as it is stored.")
    if not isinstance(notebook, dict):
        raise Unreadable("The notebook has no cells.")
    sections.add("", "\n".join(_metadata(_mapping(notebook.get("metadata")), sections)))
    for number, cell in enumerate(_cells(notebook), start=1):
        if sections.is_over:
            return sections.result(goes_on=True)
        _add_cell(number, cell, sections)
    result = sections.result()
    return result if result["text"] else sections.result(problem="The notebook is empty.")


def _metadata(metadata: Mapping[str, Any], sections: TextSections) -> Iterator[str]:
    for key, value in metadata.items():
        if key in _SHOWN_METADATA and value:
            values = value if isinstance(value, list) else [value]
            names = [str(item.get("name", "")) if isinstance(item, dict) else str(item) for item in values]
            yield f"{_SHOWN_METADATA[key]}: {', '.join(filter(None, names))}"
        elif key not in _SILENT_METADATA and value:
            sections.leave_out("metadata field")
    kernel, language = _mapping(metadata.get("kernelspec")), _mapping(metadata.get("language_info"))
    name = kernel.get("display_name") or language.get("name") or kernel.get("language")
    if name:
        yield f"Kernel: {name}"


def _cells(notebook: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    sheets = [notebook, *_sequence(notebook.get("worksheets"))]
    for sheet in sheets:
        for cell in _sequence(_mapping(sheet).get("cells")):
            yield _mapping(cell)


def _add_cell(number: int, cell: Mapping[str, Any], sections: TextSections) -> None:
    kind = str(cell.get("cell_type", "unknown"))
    source = _text(cell.get("source", cell.get("input")))
    if kind == "heading":
        level = cell.get("level")
        source = f"{'#' * (level if isinstance(level, int) and 0 < level < 7 else 1)} {source}"
    for key, value in _mapping(cell.get("metadata")).items():
        sections.leave_out("metadata field", key not in _SILENT_CELL_METADATA and bool(value))
    for attachment in _mapping(cell.get("attachments")).values():
        forms = _mapping(attachment)
        sections.leave_out("picture" if any(form.startswith("image/") for form in forms) else "attachment")
    outputs = [_output(_mapping(output), sections).rstrip() for output in _sequence(cell.get("outputs"))]
    pieces = [source, *(f"Output:\n{output}" for output in outputs if output)]
    sections.add(f"cell {number}: {kind}", "\n\n".join(filter(str.strip, pieces)))


def _output(output: Mapping[str, Any], sections: TextSections) -> str:
    kind = output.get("output_type")
    if kind == "stream":
        return _as_shown(_text(output.get("text")))
    if kind in ("error", "pyerr"):
        lines = [str(line) for line in _sequence(output.get("traceback"))]
        last = f"{output.get('ename', 'Error')}: {output.get('evalue', '')}"
        trace = _as_shown("\n".join(lines))
        return trace if last.strip(": ") in trace else f"{trace}\n{last}".strip()
    data = _mapping(output.get("data"))
    old = {_OLD_FORMS[key]: value for key, value in output.items() if key in _OLD_FORMS}
    return _best_form({**old, **data}, sections)


def _best_form(forms: Mapping[str, Any], sections: TextSections) -> str:
    """The text of an output that is there in several forms."""
    html = _text(forms.get("text/html"))
    is_table = "<table" in html.lower()
    is_picture = False
    for form in forms:
        if form.startswith("image/"):
            is_picture = True
        elif form == "application/javascript":
            sections.leave_out("script")
        elif form.startswith(("application/vnd.", "application/pdf", "audio/", "video/")):
            sections.leave_out("interactive output")
        elif form not in _TEXT_FORMS:
            sections.leave_out("other output")
    sections.leave_out("picture", is_picture)
    for form in ("text/html", *_TEXT_FORMS) if is_table else _TEXT_FORMS:
        value = forms.get(form)
        text = json.dumps(value, ensure_ascii=False) if form == "application/json" and value else _text(value)
        if not text.strip() or (form == "text/plain" and html and re.match(r"\s*<[\w. ]+object", text)):
            continue  # such as <IPython.core.display.HTML object>
        return render_page(text, sections) if form == "text/html" else _as_shown(text)
    return ""


def _as_shown(text: str) -> str:
    """A text as a terminal shows it: without codes, of a line that was written again the last version."""
    lines = _ANSI.sub("", text).replace("\r\n", "\n").split("\n")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)


def _text(value: Any) -> str:
    """A text, which the format keeps as one or as a list of its lines."""
    if isinstance(value, list):
        return "".join(map(str, value))
    return value if isinstance(value, str) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _sequence(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()
