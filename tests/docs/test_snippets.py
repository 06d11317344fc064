"""Every piece of Python that a page shows runs, or is a piece of a file that other tests run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, all_blocks, blocks, name_of, pages

pytestmark = pytest.mark.soak

RUNNING = [page for page in pages() if any(block.runs for block in blocks(page))]
#: What may stand behind `python` in the first line of a block.
FLAGS = {"worker", "stub", "no-run"}


@pytest.mark.parametrize("page", RUNNING, ids=name_of)
def test_the_python_of_a_page_runs_and_prints_what_the_page_says(
    page: Path, folder_of_pages: Path, request: pytest.FixtureRequest
) -> None:
    flags = {flag for block in blocks(page) if block.runs for flag in block.flags}
    variables = dict(os.environ)
    if "worker" in flags:
        variables |= request.getfixturevalue("with_a_worker")
    if "stub" in flags:
        variables |= request.getfixturevalue("with_a_stub")
    paths = [str(ROOT), str(folder_of_pages)]

    done = subprocess.run(
        [sys.executable, "-m", "tests.docs.run_page", name_of(page)],
        cwd=folder_of_pages,
        env=variables | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    left = done.stdout
    for block in blocks(page):
        if block.language == "text" and "output" in block.flags:
            for line in block.text.splitlines():
                assert line in left, f"{block.place}: {line!r} was not printed:\n{done.stdout}"
                left = left.partition(line)[2]


def test_a_piece_of_a_file_stands_in_it_word_for_word() -> None:
    pieces = [(block, block.source) for block in all_blocks("python") if block.source]

    wrong = [
        f"{block.place}: {source} does not hold this"
        for block, source in pieces
        if block.text not in unindented((ROOT / source).read_text())
    ]

    assert wrong == []


def unindented(text: str) -> str:
    """A file as it is, and again without the indentation of one to four levels."""
    levels = ["    " * level for level in range(5)]
    return "\n".join("".join(line.removeprefix(level) for line in text.splitlines(keepends=True)) for level in levels)


def test_every_block_says_what_it_is() -> None:
    known = {"python", "sh", "text", "mermaid", "toml", "yaml", "sql", "ini", "json", "js", "ruby", "go", "html"}
    wrong = [
        f"{block.place}: {block.language!r}"
        for page in pages()
        for block in blocks(page)
        if block.language not in known
    ]
    wrong += [
        f"{block.place}: {flag}"
        for block in all_blocks("python")
        for flag in block.flags
        if flag not in FLAGS and not flag.startswith("from=")
    ]

    assert wrong == []


def test_a_page_of_html_is_the_file_that_it_says_it_is() -> None:
    for block in all_blocks("html"):
        assert block.source, block.place
        assert block.text == (ROOT / block.source).read_text(), block.place


def test_python_that_does_not_run_says_why() -> None:
    quiet = [
        block.place
        for block in all_blocks("python")
        if "no-run" in block.flags and not block.text.startswith("# not run: ")
    ]

    assert quiet == []
