"""Documents that LibreOffice wrote: those of the other families, opened there and saved in other formats.

What stays true: a fact of a document is one of its copies', but for those that a page of paper does not show.
"""

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from shutil import which

from tests.documents import Document, Fact, open_document, pdf, say, sheets, slides, word
from tests.documents.matters import Matter

PROGRAM = "soffice"
#: Seconds that it may take to open and save the documents of one kind.
TIMEOUT_SECONDS = 240
#: Scripts that only additional fonts have: on paper they would be boxes. Arabic is stored as joined shapes, in
#: another order than it is read.
_NOT_ON_PAPER = {"hi", "th", "zh", "ja", "ko", "ar"}
_ODF = "application/vnd.oasis.opendocument"
_TYPES = {
    "docx": word.MEDIA_TYPE,
    "xlsx": sheets.MEDIA_TYPE,
    "pptx": slides.MEDIA_TYPE,
    "odt": f"{_ODF}.text",
    "ods": f"{_ODF}.spreadsheet",
    "odp": f"{_ODF}.presentation",
    "pdf": pdf.MEDIA_TYPE,
}
_SUFFIXES = {media_type: suffix for suffix, media_type in _TYPES.items()}
#: By the format of a document: those that it is saved in.
_COPIES = {
    "docx": ("odt", "pdf"),
    "xlsx": ("ods",),
    "pptx": ("odp", "pdf"),
    "odt": ("docx",),
    "ods": ("xlsx",),
    "odp": ("pptx",),
}


def is_installed() -> bool:
    """Whether this machine has the program."""
    return which(PROGRAM) is not None


def build(matters: Sequence[Matter]) -> Iterator[Document]:
    """Build the copies of the documents about these matters."""
    by_suffix: dict[str, list[tuple[Matter, Document]]] = {}
    for matter in matters:
        for family in (word, sheets, slides, open_document):
            for document in family.build([matter]):
                if "/xlsxwriter/" in document.name:
                    continue  # it has values that are no longer true, and is another workbook of the same kind
                by_suffix.setdefault(_SUFFIXES[document.media_type], []).append((matter, document))
    for suffix, documents in by_suffix.items():
        for copy in _COPIES[suffix]:
            yield from _copy(documents, suffix, copy)


def _copy(documents: Sequence[tuple[Matter, Document]], suffix: str, copy: str) -> Iterator[Document]:
    """Save these documents in another format, all in one run of the program."""
    with tempfile.TemporaryDirectory() as folder:
        sources = []
        for number, (_, document) in enumerate(documents):
            source = Path(folder) / f"{number}.{suffix}"
            source.write_bytes(document.content)
            sources.append(str(source))
        profile = f"-env:UserInstallation=file://{folder}/profile"
        command = [PROGRAM, profile, "--headless", "--convert-to", copy, "--outdir", f"{folder}/copies", *sources]
        subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_SECONDS)
        for number, (matter, document) in enumerate(documents):
            if copy == "pdf" and matter.language in _NOT_ON_PAPER:
                continue
            facts = (
                _say_on_paper(document, matter) if copy == "pdf" else [fact for fact in document.facts if fact.forms]
            )
            name, content = (
                f"office-suite/{copy}/{document.name}",
                Path(folder, "copies", f"{number}.{copy}").read_bytes(),
            )
            yield replace(document, name=name, media_type=_TYPES[copy], content=content, facts=tuple(facts))


def _say_on_paper(document: Document, matter: Matter) -> list[Fact]:
    """The facts of a document's title and text, word by word: lines break anywhere, and points may change sides."""
    on_paper = {matter.title, *matter.paragraphs}
    return [
        say(part.strip(".,:;"))
        for fact in document.facts
        if on_paper.intersection(fact.forms)
        for part in fact.forms[0].split()
    ]
