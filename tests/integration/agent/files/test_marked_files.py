"""Nothing in a document goes missing in silence: each place of each format is shown, or named as left out.

The page for users has a table of what became of the places: `WRITE_PAGES=1` has the test write it.
"""

import asyncio
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from agent.files.prepare import prepare_file
from conversation.prepared_file import PreparationResult
from tests.docs.pages import ROOT
from tests.marked_files import MarkedFile, build_all, mark_of

FILES = build_all()
PAGE = ROOT / "docs" / "explanation" / "what-the-model-sees.md"
_TABLE = re.compile(r"(<!-- marked files: [^>]* -->\n).*?(<!-- /marked files -->)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the places of a file."""

    prepared: PreparationResult
    shown: tuple[str, ...]
    #: By the place: its kind among what was left out.
    named: Mapping[str, str]


@pytest.fixture(scope="module")
def outcomes() -> Mapping[str, Outcome]:
    """The outcome of each file, by its name."""

    async def prepare_all() -> list[Outcome]:
        return await asyncio.gather(*map(_prepare, FILES.values()))

    return dict(zip(FILES, asyncio.run(prepare_all()), strict=True))


async def _prepare(file: MarkedFile) -> Outcome:
    prepared = await prepare_file(file.content, file.media_type)
    text = (prepared.text or "").lower()
    shown = tuple(place for place in file.places if mark_of(place) in text)
    named = {place: kind for place, kind in file.places.items() if place not in shown and kind in prepared.left_out}
    return Outcome(prepared, shown, named)


@pytest.mark.parametrize("name", FILES)
def test_every_place_of_a_file_is_shown_or_named(outcomes: Mapping[str, Outcome], name: str) -> None:
    places, outcome = FILES[name].places, outcomes[name]

    assert list(outcome.shown) == [place for place, kind in places.items() if not kind]
    kinds = {kind for kind in places.values() if kind}
    assert kinds <= set(outcome.prepared.left_out)
    assert all(kind in str(outcome.prepared.note) for kind in kinds)


def test_the_page_says_what_became_of_the_places(outcomes: Mapping[str, Outcome]) -> None:
    page = PAGE.read_text()
    lines = ["| file | shown | not shown, and named as |", "|---|---|---|", *map(_render, outcomes, outcomes.values())]
    written = _TABLE.sub(lambda table: "\n".join([table[1], *lines, "", table[2]]), page)

    if os.environ.get("WRITE_PAGES"):
        PAGE.write_text(page := written)
    assert page == written, f"run: WRITE_PAGES=1 .venv/bin/pytest {__file__}"
    assert _TABLE.search(page)


def _render(name: str, outcome: Outcome) -> str:
    """The row of a file. A place that is in no column went missing, and fails its own test."""
    named = [f"{place}: `{kind}`" for place, kind in outcome.named.items()]
    return f"| {name} | {'; '.join(outcome.shown)} | {'; '.join(named)} |"
