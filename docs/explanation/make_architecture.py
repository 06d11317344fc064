"""The generator of the pictures in `architecture.md`: `python docs/explanation/make_architecture.py --write`.

What stays true: an arrow is an import that stands in the code, also inside of a function or for type checkers
only; the order of the layers is the contract of import-linter in `pyproject.toml`. An arrow is left out
where a longer way of arrows says the same.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGE = Path(__file__).with_name("architecture.md")
#: What is drawn, in the order of the page: the packages at the top, then those inside of two.
SCOPES = ("", "store", "agent")

Edges = frozenset[tuple[str, str]]
_BLOCK = re.compile(r"(```(?:mermaid|text layers)\n)(?:.*?)^```$", re.DOTALL | re.MULTILINE)


def pyproject() -> dict[str, Any]:
    """The project's configuration."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def layers_of(scope: str) -> list[list[str]]:
    """The contract of a package: its layers from the top, each as the packages that stand in it."""
    contracts = pyproject()["tool"]["importlinter"]["contracts"]
    containers = [scope] if scope else []
    (contract,) = (each for each in contracts if each["type"] == "layers" and each.get("containers", []) == containers)
    return [re.split(r"\s*[|:]\s*", layer) for layer in contract["layers"]]


def modules() -> dict[str, Path]:
    """Every module of the packages that import-linter holds, with its file."""
    roots = pyproject()["tool"]["importlinter"]["root_packages"]
    files = (path for root in roots for path in (ROOT / str(root)).rglob("*.py"))
    return {_module_name(path): path for path in files}


def _module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Every module that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in known else node.module


@cache
def all_imports() -> Edges:
    """Every import of a module of ours by another."""
    known = modules()
    return frozenset(
        (name, target) for name, path in known.items() for target in imported_modules(path, known) if target in known
    )


def imports_between(scope: str) -> Edges:
    """The imports between the packages directly below a scope; "" means the packages at the top."""
    edges = ((_node(start, scope), _node(end, scope)) for start, end in all_imports())
    return frozenset((start, end) for start, end in edges if start and end and start != end)


def _node(module: str, scope: str) -> str | None:
    """The package of a module, directly below a scope; None for a module elsewhere."""
    if scope and not module.startswith(f"{scope}."):
        return None
    return module.removeprefix(f"{scope}.").partition(".")[0]


def reduce_edges(edges: Edges) -> Edges:
    """Leave an arrow out where a longer way leads to the same package."""
    return frozenset(
        (start, end)
        for start, end in edges
        if not any(end in _reachable(edges, between) for first, between in edges if first == start and between != end)
    )


def _reachable(edges: Edges, start: str) -> set[str]:
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        current = waiting.pop()
        following = {end for begin, end in edges if begin == current} - reached
        reached |= following
        waiting += following
    return reached


def picture(scope: str) -> str:
    """A mermaid flowchart: an arrow leads from the importer to what it imports."""
    edges = reduce_edges(imports_between(scope))
    return "".join(["flowchart TD\n", *(f"    {start} --> {end}\n" for start, end in sorted(edges))])


def order(scope: str) -> str:
    """The layers of a contract, one a line, the highest first."""
    return "".join(f"{'  |  '.join(layer)}\n" for layer in layers_of(scope))


def page(text: str) -> str:
    """The page with its pictures and orders as they are now."""
    blocks = iter([block for scope in SCOPES for block in (picture(scope), order(scope))])
    return _BLOCK.sub(lambda match: f"{match[1]}{next(blocks)}```", text)


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(page(PAGE.read_text()))
    else:
        print(page(PAGE.read_text()))
