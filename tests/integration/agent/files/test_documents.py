"""Two hundred documents of other programs' writers are read whole: no reader stumbles, nothing is lost in silence.

The readers run in this process: the limits of a child are tried by `test_extract.py`.
"""

import asyncio
from collections.abc import Iterable, Iterator

import pytest

from agent.files.prepare import prepare_file
from store.media_types.examine import examine
from tests.documents import Document, build_all, office_suite
from tests.documents.matters import load_matters
from tests.documents.reading import readers_in_process

#: Matters whose documents are read in every run: a contract in Latin letters, an invoice in Japanese.
SAMPLE = ("contract-de", "invoice-ja")
#: What a reader says that stumbled.
FAILURES = ("could not be read", "protected by a password")


def find_faults(documents: Iterable[Document]) -> list[str]:
    """What went wrong with these documents, a line each."""

    async def find() -> list[str]:
        return [fault for document in documents if (fault := await _find_fault(document))]

    return asyncio.run(find())


async def _find_fault(document: Document) -> str | None:
    if document.media_type.startswith("application/vnd."):
        # The gate finds no macros in them.
        examine("upload", document.content, document.media_type, max_bytes=10**8, allowed=(document.media_type,))
    prepared = await prepare_file(document.content, document.media_type)
    note = str(prepared.note)
    lost = document.find_lost(prepared.text or "", set(prepared.left_out))
    if lost or not prepared.text or any(failure in note for failure in FAILURES):
        return f"{document.name}: {[fact.forms or fact.kind for fact in lost]} {note}"
    return None


@pytest.fixture(autouse=True)
def no_children() -> Iterator[None]:
    with readers_in_process():
        yield


def test_documents_of_each_writer_are_read_whole() -> None:
    matters = [matter for matter in load_matters() if matter.name in SAMPLE]
    documents = list(build_all(matters))

    assert find_faults(documents) == []
    assert len(matters) == len(SAMPLE)
    assert len({document.name.rpartition("/")[0] for document in documents}) > 10


@pytest.mark.soak
def test_two_hundred_documents_are_read_whole() -> None:
    documents = list(build_all(load_matters()))

    assert find_faults(documents) == []
    assert len({document.name for document in documents}) >= 200


@pytest.mark.endurance
@pytest.mark.timeout(600)
def test_documents_of_an_office_suite_are_read_whole() -> None:
    documents = list(office_suite.build(load_matters()))

    assert find_faults(documents) == []
    assert len(documents) > 100
