"""The things that an .ods holds beside the cells of its sheets: rules for input, names, pages, properties, other parts.

What stays true: what is not shown is counted.
"""

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from agent.files.readers.office.zip_parts import DamagedPart, ZipParts
from agent.files.readers.open_document.sheet_objects import Objects, join_text
from agent.files.readers.sections import TextSections

#: A cell in a formula: `[.A1]`, or `[$Sales.A1]` in another sheet.
_REFERENCE = re.compile(r"\[([^\]]{0,255}+)\]")
#: By the path of its elements below the document: what is counted and not shown.
_LEFT_OUT = {
    "tracked-changes/*": "tracked change",
    "data-pilot-tables/data-pilot-table": "pivot table",
    "dde-links/dde-link": "external link",
    "consolidation": "consolidation",
}
_PAGE_LINES = {
    "header": "Page header", "footer": "Page footer",
    "header-left": "Header of left pages", "footer-left": "Footer of left pages",
    "header-first": "Header of the first page", "footer-first": "Footer of the first page",
}  # fmt: skip
#: By their names: what parts that nobody read are called among what is left out; "" for those that hold no text.
_OTHER_PARTS = (
    (r"^mimetype$|^meta-inf/manifest|^settings\.xml$|thumbnails/|configurations2/|layout-cache|\.rdf$", ""),
    (r"objectreplacements/|object \d+/(?!content\.xml)|basic/.{0,99}script-l[bc]\.xml$", ""),
    (r"pictures/|\.(?:png|jpe?g|gif|emf|wmf|svm|svg|webp|tiff?)$", "picture"),
    (r"object \d+|media/", "embedded object"),
    (r"basic/|scripts/", "macro"),
    (r"dialogs/", "dialog"),
    (r"signatures", "signature"),
    (r"versions?/|versionlist", "older version"),
)  # fmt: skip


def describe_table(table: Element, sections: TextSections) -> Iterator[str]:
    """Yield what a sheet says of itself."""
    for tag in ("title", "desc"):
        if table.findtext(tag):
            yield f"Description: {table.findtext(tag)}"
    scenario = table.find("scenario")
    if scenario is not None:
        yield f"Scenario: {scenario.get(':comment', '')}"
    sections.leave_out("conditional format", len(table.findall("conditional-formats/conditional-format")))
    sections.leave_out("sparkline", sum(1 for _ in table.iter("sparkline")))


def describe_validations(root: Element) -> Iterator[str]:
    """Yield the rules for what may be typed into cells."""
    for validation in root.iter("content-validation"):
        condition = format_formula(validation.get(":condition", ""))[1:]
        pieces = [condition.replace("cell-content-is-in-list", "choices ")]
        for tag, label in (("help-message", "prompt"), ("error-message", "error")):
            message = validation.find(tag)
            words = [message.get(":title", ""), join_text(message)] if message is not None else []
            pieces.append(f"{label}: {' - '.join(filter(None, words))}" if any(words) else "")
        if any(pieces):
            base = format_formula(validation.get(":base-cell-address", ""))[1:]
            yield f"Input{base and f' of cells such as {base}'}: {'; '.join(filter(None, pieces))}"


def describe_names(root: Element, sections: TextSections) -> Iterator[str]:
    """Yield the names that formulas use, and count what else belongs to all sheets."""
    for name in root.iter("named-range"):
        yield f"{name.get(':name')} = {name.get(':cell-range-address', '')}"
    for name in root.iter("named-expression"):
        yield f"{name.get(':name')} = {format_formula(name.get(':expression', ''))[1:]}"
    for name in root.iter("database-range"):
        if not name.get(":name", "").startswith("__Anonymous"):
            yield f"{name.get(':name')} = {name.get(':target-range-address', '')}"
    sections.leave_out("filter", sum(1 for _ in root.iter("filter-condition")))
    for path, kind in _LEFT_OUT.items():
        sections.leave_out(kind, len(root.findall(f"body/spreadsheet/{path}")))


def describe_pages(styles: Element, objects: Objects) -> Iterator[str]:
    """Yield the headers and footers of pages that say something by themselves."""
    for page in styles.iter("master-page"):
        for element in page:
            texts = [join_text(paragraph) for paragraph in element.iter("p")]
            is_shown = element.tag in _PAGE_LINES and element.get(":display") != "false"
            if is_shown and any(re.sub(r"\[\w+\]|\W", "", text) for text in texts):
                yield f"{_PAGE_LINES[element.tag]}: {' | '.join(filter(None, texts))}"
            for image in element.iter("image"):
                objects.count_picture(image)


def read_part(parts: ZipParts, sections: TextSections, name: str) -> Element:
    """Read a part; an empty element where it is not there, or damaged with a remark."""
    try:
        return parts.read_xml(name) if name in parts else Element("none")
    except DamagedPart:
        sections.remark(f"A part of the workbook is damaged: {name}.")
        return Element("none")


def count_other_parts(parts: ZipParts, sections: TextSections, *, is_whole: bool) -> None:
    """Count the parts that nobody read; of a workbook that was read in part, those of a known kind."""
    for name in parts.unread_names:
        kind = next((kind for pattern, kind in _OTHER_PARTS if re.search(pattern, name)), None)
        if kind is None and is_whole:
            kind = "unknown part"
        if kind:
            sections.leave_out(kind)


def format_formula(formula: str) -> str:
    """A formula without the marks of its language: `of:=SUM([.A1:.A2])` is `=SUM(A1:A2)`."""
    formula = re.sub(r"^[a-z][\w-]*:(?==|cell|is-)", "", formula)

    def write(match: re.Match[str]) -> str:
        return ":".join(part.removeprefix(".").replace(".", "!", 1) for part in match[1].split(":"))

    return f"={_REFERENCE.sub(write, formula).lstrip('=')}"
