"""Whatever a page leads to is there: pages, headings, files, names in the code, tests."""

import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path, PurePath

from store.functions import SCHEMA
from tests.docs.pages import ROOT, anchors, links, name_of, pages, prose

_TEST = re.compile(r"(tests/[\w/]+\.py)::(\w+)")
_FOLDERS = "|".join(sorted(path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] not in "._"))
#: A path from the root of the project: below one of its folders, or a file that stands beside them.
_PATH = re.compile(rf"`((?:{_FOLDERS})/[\w./-]*|\.?[A-Za-z][\w-]+(?:\.[\w-]+)*\.(?:md|toml|yml|example))`")
#: A file of tests, perhaps without the folders that it is in.
_TEST_FILE = re.compile(r"`((?:\w+/)*test_\w+\.py)\b")
#: Files that a reader makes.
_OF_READERS = {"docker-compose.override.yml", "test_bookshop.py"}
#: A module of ours, or a name in it.
_NAME = re.compile(r"`((?:agent|conversation|producers|store|tasks|threadmill)\.[\w.]+)")
#: The same words where `agent` is a variable of the page.
_OF_VARIABLES = {"agent.go", "agent.stream"}


def test_links_lead_somewhere() -> None:
    broken = [f"{name_of(page)}: {link}" for page in pages() for link in links(page) if not leads(page, link)]

    assert broken == []


def leads(page: Path, link: str) -> bool:
    """Whether the page, and the heading in it, is there; links to other sites are taken as they are."""
    if link.startswith(("http://", "https://")):
        return True
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return target.exists() and (not anchor or anchor in anchors(target))


def test_tests_that_a_page_names_exist() -> None:
    missing = [f"{page}: {path}::{name}" for page, (path, name) in named(_TEST) if not has_test(path, name)]

    assert missing == []


def has_test(path: str, name: str) -> bool:
    file = ROOT / path
    return file.is_file() and re.search(rf"def {name}\(", file.read_text()) is not None


def test_files_that_a_page_names_exist() -> None:
    missing = [f"{page}: {path}" for page, path in named(_PATH) if not is_there(path)]

    assert missing == []


def is_there(path: str) -> bool:
    """A file, a folder, a module that is named without its ending, or a file of tests."""
    return (ROOT / path).exists() or (ROOT / f"{path}.py").is_file() or path in _OF_READERS or has_test_file(path)


def test_files_of_tests_that_a_page_names_exist() -> None:
    files = [(page, path) for page, path in named(_TEST_FILE) if path not in _OF_READERS]
    missing = [f"{page}: {path}" for page, path in files if not has_test_file(path)]

    assert missing == []


def has_test_file(path: str) -> bool:
    """Whether tests have a file of this name, in the folders that are named before it."""
    return PurePath(path).name.startswith("test_") and any(
        file.as_posix().endswith(f"/{path}") for file in ROOT.glob(f"tests/**/{PurePath(path).name}")
    )


def test_modules_and_names_that_a_page_names_exist() -> None:
    missing = [f"{page}: {name}" for page, name in named(_NAME) if name not in _OF_VARIABLES and not is_defined(name)]

    assert missing == []


def is_defined(name: str) -> bool:
    """A module, what stands in one, or a function in the database's schema of the same name."""
    schema, _, function = name.partition(".")
    if schema == SCHEMA and (ROOT / "store" / "functions" / f"{function}.sql").is_file():
        return True
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


def named(pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """Every match in the prose of every page, with the page's name."""
    return ((name_of(page), match) for page in pages() for match in pattern.findall(prose(page)))


def test_a_path_in_backticks_is_told_from_other_words() -> None:
    text = "`store/a.py`, `docker-compose.yml`, `.env.example`, `docs/b/c.md`; not `turn.py`, `a/b`, `x`"

    assert _PATH.findall(text) == ["store/a.py", "docker-compose.yml", ".env.example", "docs/b/c.md"]


def test_what_is_not_there_is_noticed() -> None:
    assert not leads(ROOT / "README.md", "docs/nowhere.md")
    assert not leads(ROOT / "README.md", "docs/README.md#no-such-heading")
    assert not has_test("tests/docs/test_links.py", "test_that_nobody_wrote")
    assert not is_there("store/nowhere.py")
    assert has_test_file("docs/test_links.py")
    assert not has_test_file("store/test_links.py")
    assert not is_defined("store.nowhere")
    assert not is_defined("producers.no_such_name")
    assert not is_defined("threadmill.no_such_function_v1")


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    listed = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    unlisted = [name_of(page) for page in pages() if (ROOT / "docs") in page.parents and page not in listed]

    assert [name for name in unlisted if name != "docs/README.md"] == []
