"""Documents as people bring them, of other programs' writers: the time and the memory that each takes to be read.

The documents are those of `tests/documents`, besides them some of LibreOffice where it is installed, and of writers
that only the baselines' environment has. Each is read as in production, by a child process with limits; theirs are
read by markitdown in a process each, which is what one would write to be as safe. A second pair of figures has all
documents in one process, without the start of any. Figures are processor time and the most memory of a process.
"""

import asyncio
import hashlib
import json
import math
import os
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from agent.files import extract
from agent.files.prepare import prepare_file
from benchmarks.figures import Figure, Measures, Note, at_least, at_most
from benchmarks.machine import BASELINE_PYTHON
from benchmarks.stage import ROOT
from conversation.prepared_file import PreparationResult
from tests.documents import Document, build_all, copyleft, office_suite
from tests.documents.matters import Matter, load_matters
from tests.documents.reading import readers_in_process

_CHILD = ROOT / "benchmarks" / "measured_child.py"
_CONVERTER = ROOT / "benchmarks" / "converter.py"
#: By the end of a media type: the suffix by which the others know a file.
_SUFFIXES = {
    "wordprocessingml.document": ".docx",
    "spreadsheetml.sheet": ".xlsx",
    "presentationml.presentation": ".pptx",
    "pdf": ".pdf",
    "opendocument.text": ".odt",
    "opendocument.spreadsheet": ".ods",
    "opendocument.presentation": ".odp",
    "rfc822": ".eml",
    "html": ".html",
    "epub+zip": ".epub",
    "x-ipynb+json": ".ipynb",
    "csv": ".csv",
    "zip": ".zip",
    "json": ".json",
}
#: Formats that markitdown says it reads, and that we read in a child.
_COMPARED = (".docx", ".xlsx", ".pptx", ".pdf", ".html", ".epub")
#: Documents of a format that markitdown reads in a process of its own.
_BASELINE_ROUNDS = 2
#: Documents that both read in one process, at most: markitdown takes half a second for one of Word's.
_WARM_MAX = 40
#: Matters of which an office suite makes copies: it takes seconds for each.
_SUITE_MATTERS = ("invoice-en", "report-ru")


@dataclass
class Readings:
    """What was measured of one format, by us or by markitdown."""

    milliseconds: list[float] = field(default_factory=list)
    mib: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Measured:
    """A document as it was read, and what its child took; None where none was needed."""

    document: Document
    prepared: PreparationResult
    usage: Mapping[str, float] | None

    @property
    def is_whole(self) -> bool:
        """Whether everything is shown or named, and no reader stumbled."""
        prepared = self.prepared
        lost = self.document.find_lost(prepared.text or "", set(prepared.left_out))
        return bool(prepared.text) and not lost and "could not be read" not in str(prepared.note)


def measure(*, quick: bool) -> Measures:
    """Read all documents, some of each format by markitdown as well."""
    matters = load_matters()[:2] if quick else load_matters()
    documents, notes = gather(matters, quick=quick)
    with tempfile.TemporaryDirectory() as folder:
        measured, others = asyncio.run(_read_all(documents, Path(folder)))
    figures = list(_figures_of_formats(measured, others))
    warm, shares = _measure_in_one_process(documents)
    return [*figures, *warm, *_figures_of_facts(measured, shares), *notes]


def gather(matters: Sequence[Matter], *, quick: bool) -> tuple[list[Document], list[Note]]:
    """Gather the documents that this machine can make, and say which it cannot."""
    documents, notes = list(build_all(matters)), []
    if BASELINE_PYTHON.exists():
        documents += _build_elsewhere(matters[::4])
    else:
        notes.append(Note("no documents of docxtpl and fpdf2, and no markitdown: `make .venv/.bench` installs them"))
    if not office_suite.is_installed():
        notes.append(Note(f"no documents of LibreOffice: there is no `{office_suite.PROGRAM}`"))
    elif not quick:
        documents += office_suite.build([matter for matter in matters if matter.name in _SUITE_MATTERS])
    return documents, notes


def _build_elsewhere(matters: Sequence[Matter]) -> list[Document]:
    with tempfile.TemporaryDirectory() as folder:
        command = [str(BASELINE_PYTHON), "-m", "tests.documents.copyleft", folder, *(matter.name for matter in matters)]
        subprocess.run(command, cwd=ROOT, check=True)
        return copyleft.read_index(Path(folder))


def suffix_of(document: Document) -> str:
    """The suffix of a document's format."""
    return next(suffix for end, suffix in _SUFFIXES.items() if document.media_type.endswith(end))


async def _read_all(documents: Sequence[Document], folder: Path) -> tuple[list[Measured], dict[str, Readings]]:
    """Read the documents, two at once as a worker does; markitdown's turn comes after the first of each format."""
    os.environ["TMPDIR"] = str(folder)  # all that a child inherits, and where it leaves its notes
    rounds: dict[str, int] = defaultdict(int)
    slots = asyncio.Semaphore(extract.CHILDREN_MAX)
    jobs: list[Any] = []
    for document in documents:
        jobs.append(_prepare(document, slots))
        suffix = suffix_of(document)
        if suffix in _COMPARED and rounds[suffix] < _BASELINE_ROUNDS and BASELINE_PYTHON.exists():
            rounds[suffix] += 1
            jobs.append(_convert(document, slots))
    read_in_child = extract.read_in_child
    with patch.object(extract, "read_in_child", lambda _, content, **how: read_in_child(_CHILD, content, **how)):
        results = await asyncio.gather(*jobs)
    return _match(results, folder / "children.jsonl")


async def _prepare(document: Document, slots: asyncio.Semaphore) -> tuple[Document, PreparationResult]:
    async with slots:
        return document, await prepare_file(document.content, document.media_type)


async def _convert(document: Document, slots: asyncio.Semaphore) -> tuple[Document, None]:
    """Have markitdown read a document: a byte more, which no format minds, tells its note from ours."""
    async with slots:
        command = [str(BASELINE_PYTHON), str(_CONVERTER), suffix_of(document)]
        child = await asyncio.create_subprocess_exec(
            str(BASELINE_PYTHON), str(_CHILD), *command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        await child.communicate(document.content + b"\n")
    return document, None


def _match(results: Sequence[tuple[Document, Any]], notes: Path) -> tuple[list[Measured], dict[str, Readings]]:
    """The results with what their children noted."""
    lines = [json.loads(line) for line in notes.read_text().splitlines()]
    usages = {line["sha256"]: line for line in lines}
    measured, others = [], defaultdict[str, Readings](Readings)
    for document, prepared in results:
        content = document.content if prepared else document.content + b"\n"
        usage = usages.get(hashlib.sha256(content).hexdigest())
        if prepared:
            measured.append(Measured(document, prepared, usage))
        elif usage:
            others[suffix_of(document)].milliseconds.append(usage["milliseconds"])
            others[suffix_of(document)].mib.append(usage["mib"])
    return measured, others


def _figures_of_formats(measured: Sequence[Measured], others: Mapping[str, Readings]) -> Iterator[Figure]:
    """Time and memory of each format that a child reads, against markitdown's where it reads it."""
    for suffix in _SUFFIXES.values():
        usages = [one.usage for one in measured if one.usage and suffix_of(one.document) == suffix]
        if not usages:
            continue
        name, bases = suffix[1:], dict[str, Figure]()
        for key, unit, label in (("milliseconds", "ms", ""), ("mib", "MiB", "memory of ")):
            if suffix in others:
                title = f"{label}a {suffix}, by markitdown"
                rounds = getattr(others[suffix], key)
                yield (bases.setdefault(key, Figure(key=f"other_{name}_{unit}", label=title, rounds=rounds, unit=unit)))
            title = f"{label}a {suffix}, {len(usages)} of them"
            rounds = [usage[key] for usage in usages]
            base = bases.get(key)
            yield Figure(key=f"{name}_{unit}", label=title, rounds=rounds, unit=unit, baseline=base)


def _measure_in_one_process(documents: Sequence[Document]) -> tuple[list[Figure], dict[str, float]]:
    """Time of documents that both read, without the start of any process; and the share of facts that each shows."""
    compared = [document for document in documents if suffix_of(document) in _COMPARED]
    compared = compared[:: math.ceil(len(compared) / _WARM_MAX)]
    ours = asyncio.run(_time_readers(compared))
    label = "a document of those formats, all in one process"
    shares = {"own": _share((document, text) for document, (text, _) in zip(compared, ours, strict=True))}
    milliseconds = [taken for _, taken in ours]
    if not BASELINE_PYTHON.exists():
        return [Figure(key="warm", label=label, rounds=milliseconds, unit="ms")], shares
    with tempfile.TemporaryDirectory() as folder:
        for number, document in enumerate(compared):
            Path(folder, f"{number:04}{suffix_of(document)}").write_bytes(document.content)
        command = [str(BASELINE_PYTHON), str(_CONVERTER), folder]
        result = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.splitlines()[-1])
    texts = [text.replace("\\", "") for _, text in sorted(result["texts"].items())]  # it escapes what Markdown has
    base = Figure(
        key="other_warm", label=f"{label}, by markitdown", rounds=[*result["milliseconds"].values()], unit="ms"
    )
    shares["markitdown"] = _share(zip(compared, texts, strict=True))
    return [base, Figure(key="warm", label=label, rounds=milliseconds, unit="ms", baseline=base)], shares


async def _time_readers(documents: Sequence[Document]) -> list[tuple[str, float]]:
    """The text of each document, and the milliseconds that it took."""
    readings = []
    with readers_in_process():
        for document in documents:
            started = time.process_time()
            prepared = await prepare_file(document.content, document.media_type)
            readings.append((prepared.text or "", 1000 * (time.process_time() - started)))
    return readings


def _share(texts: Any) -> float:
    """How many in a hundred facts stand in these texts."""
    lost = facts = 0
    for document, text in texts:
        spoken = sum(bool(fact.forms) for fact in document.facts)
        facts += spoken
        lost += sum(bool(fact.forms) for fact in document.find_lost(text, set()))
    return 100 * (1 - lost / facts)


def _figures_of_facts(measured: Sequence[Measured], shares: Mapping[str, float]) -> Iterator[Figure]:
    """What the texts show of what the documents say."""
    label, base = "facts of these that are shown", None
    if "markitdown" in shares:
        base = Figure(key="other_facts", label=f"{label}, by markitdown", rounds=[shares["markitdown"]], unit="%")
        yield base
    yield Figure(key="facts", label=label, rounds=[shares["own"]], unit="%", baseline=base)
    whole = sum(one.is_whole for one in measured)
    yield Figure(key="documents", label="documents", rounds=[len(measured)], unit="", demand=at_least(200))
    lost = len(measured) - whole
    label = "... of which something is neither shown nor named"
    yield Figure(key="lost", label=label, rounds=[lost], unit="", demand=at_most(0))
