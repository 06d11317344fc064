"""The page about the architecture draws the packages and the imports that the code has."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "explanation" / "architecture.md"
GENERATOR = runpy.run_path(str(PAGE.with_name("make_architecture.py")))
#: The package that a section of the page is about; "" is all of them.
SECTIONS = {"The packages": "", "Inside of store": "store", "Inside of agent": "agent"}


def section(title: str) -> str:
    """The text of the page from one heading to the next."""
    return PAGE.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def drawn_arrows(title: str) -> set[tuple[str, str]]:
    return set(re.findall(r"^ +(\w+) --> (\w+)$", section(title), re.MULTILINE))


def ways(arrows: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Every pair of packages of which one is reached from the other along the arrows."""
    reached = set(arrows)
    while longer := {(a, d) for a, b in reached for c, d in arrows if b == c} - reached:
        reached |= longer
    return reached


@pytest.mark.parametrize(("title", "scope"), SECTIONS.items())
def test_every_import_between_packages_is_a_way_of_arrows_and_every_arrow_an_import(title: str, scope: str) -> None:
    arrows = drawn_arrows(title)
    imports = GENERATOR["imports_between"](scope)

    assert arrows <= imports
    assert imports <= ways(arrows)
    assert all(start != end for start, end in ways(arrows)), "a circle"


def test_the_pictures_and_the_orders_are_as_the_code_says() -> None:
    text = PAGE.read_text()

    assert text == GENERATOR["page"](text), "run: python docs/explanation/make_architecture.py --write"


@pytest.mark.parametrize(("title", "scope"), SECTIONS.items())
def test_every_package_has_its_line_in_the_order_of_the_layers(title: str, scope: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \| .+ \| `.+` \|$", section(title), re.MULTILINE)
    layers = GENERATOR["layers_of"](scope)

    assert len(rows) == len(set(rows))
    assert [set(rows[start:end]) for start, end in spans(layers)] == [set(layer) for layer in layers]
    assert len(rows) == sum(map(len, layers))


def spans(layers: list[list[str]]) -> list[tuple[int, int]]:
    """Where each layer begins and ends in a list of all their packages."""
    ends = [sum(map(len, layers[: number + 1])) for number in range(len(layers))]
    return list(zip([0, *ends], ends, strict=False))


def test_every_contract_of_import_linter_is_named() -> None:
    contracts = GENERATOR["pyproject"]()["tool"]["importlinter"]["contracts"]
    text = section("What holds the order").replace("\n  ", " ")

    assert [contract["name"] for contract in contracts if f"*{contract['name']}*" not in text] == []


def test_an_import_in_a_function_is_an_arrow(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text("import a.b\n\n\ndef load():\n    from store import files, turns\n    from x import y\n")
    known: dict[str, Any] = {"store.files": file, "store.turns": file}

    assert list(GENERATOR["imported_modules"](file, known)) == ["a.b", "store.files", "store.turns", "x"]


def test_an_arrow_is_left_out_where_a_longer_way_says_the_same() -> None:
    edges = frozenset({("a", "b"), ("b", "c"), ("a", "c"), ("a", "d")})

    assert GENERATOR["reduce_edges"](edges) == {("a", "b"), ("b", "c"), ("a", "d")}
