"""Whatever a page leads to is there: pages, headings, files, tests."""

import re
from pathlib import Path

from tests.docs.pages import ROOT, anchors, links, name_of, pages

_TEST = re.compile(r"(tests/[\w/]+\.py)::(\w+)")
_PATH = re.compile(
    r"`((?:agent|benchmarks|conversation|docs|examples|producers|store|tasks|tests|threadmill)/[\w./-]*)`"
)


def test_links_lead_somewhere() -> None:
    broken = [
        f"{name_of(page)}: {link}"
        for page in pages()
        for link in links(page)
        if not leads_somewhere(page, link)
    ]

    assert broken == []


def leads_somewhere(page: Path, link: str) -> bool:
    """Whether the file and the heading of a link are there; what is on the web is not asked for."""
    if link.startswith(("http://", "https://")):
        return True
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return target.exists() and (not anchor or anchor in anchors(target))


def test_tests_that_a_page_names_exist() -> None:
    missing = [
        f"{name_of(page)}: {path}::{name}"
        for page in pages()
        for path, name in _TEST.findall(page.read_text())
        if not (ROOT / path).is_file() or not re.search(rf"def {name}\(", (ROOT / path).read_text())
    ]

    assert missing == []


def test_files_that_a_page_names_exist() -> None:
    missing = [
        f"{name_of(page)}: {path}"
        for page in pages()
        for path in _PATH.findall(page.read_text())
        if not (ROOT / path).exists()
    ]

    assert missing == []


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    listed = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    unlisted = [name_of(page) for page in pages() if (ROOT / "docs") in page.parents and page not in listed]

    assert [name for name in unlisted if name != "docs/README.md"] == []
