"""The figures that pages quote, each out of the results of `make bench`.

    .venv/bin/python -m benchmarks.quote           tell which pages say something else
    .venv/bin/python -m benchmarks.quote --write   bring them to what was measured

A page marks what it quotes, and whatever stands between the two comments is replaced:

    <!-- bench: table turns send.one_thread -->…<!-- /bench -->      a table of parts, or of single figures
    <!-- bench: value turns.turns -->…<!-- /bench -->                one figure with its unit
    <!-- bench: ratio send.one_thread -->…<!-- /bench -->            its ratio to the baseline
    <!-- bench: machine turns -->…<!-- /bench -->                    the machine of that part
    <!-- bench: computer turns -->…<!-- /bench -->                   the same without its libraries' versions
    <!-- bench: scaling runs -->…<!-- /bench -->                     a table of the simulation

What stays true: a page quotes no figure of a quick run, and none that is not in the JSON: where a part was
not measured, it says so.
"""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import machine, scaling
from benchmarks.figures import render_number
from benchmarks.measured import NotMeasured, find_figures, load
from benchmarks.stage import ROOT

MARK = re.compile(r"(<!-- bench: (\w+) ([^>]*?) -->)(.*?)(<!-- /bench -->)", re.DOTALL)
NOT_MEASURED = "not measured yet"


def pages() -> Iterator[Path]:
    """Every page that may quote."""
    yield ROOT / "README.md"
    yield ROOT / "benchmarks" / "README.md"
    yield from sorted((ROOT / "docs").rglob("*.md"))


def bring_up_to_date(text: str) -> str:
    """The text of a page with its quotations as they were measured. Raises `LookupError` for what there is not."""
    return MARK.sub(lambda mark: f"{mark[1]}{_render(mark[2], mark[3].split())}{mark[5]}", text)


def _render(kind: str, names: list[str]) -> str:
    try:
        return _KINDS[kind](names)
    except NotMeasured:
        return NOT_MEASURED


def _render_table(names: list[str]) -> str:
    lines = ["| | measured | against it | asked for |", "|---|---|---|---|"]
    for figure in _find_measured(names):
        ratio = "" if figure["ratio"] is None else f"x {render_number(figure['ratio'])}"
        demand = "" if figure["met"] is None else f"{figure['demand']}: {'met' if figure['met'] else '**missed**'}"
        lines.append(f"| {figure['label']} | {_render_value(figure)} | {ratio} | {demand} |")
    return "\n".join(["", *lines, ""])


def _find_measured(names: list[str]) -> Iterator[dict[str, Any]]:
    """The figures of a table. Raises `NotMeasured` where there are none of any part."""
    missing = []
    for name in names:
        try:
            yield from find_figures(name)
        except NotMeasured:
            missing.append(name)
    if missing == names:
        raise NotMeasured(*names)


def _render_value(figure: dict[str, Any]) -> str:
    return f"{render_number(figure['value'])} {figure['unit']}".strip()


def _render_one(names: list[str]) -> str:
    return _render_value(find_figures(names[0])[0])


def _render_ratio(names: list[str]) -> str:
    return render_number(find_figures(names[0])[0]["ratio"])


def _render_machine(names: list[str]) -> str:
    return machine.render(load(names[0])["machine"])


_KINDS: dict[str, Callable[[list[str]], str]] = {
    "table": _render_table,
    "value": _render_one,
    "ratio": _render_ratio,
    "machine": _render_machine,
    "computer": lambda names: machine.render_computer(load(names[0])["machine"]),
    "scaling": lambda names: scaling.render(names[0]),
}


def main() -> int:
    """Compare the pages to the results, or write them; returns the exit status."""
    changed = {path: text for path in pages() if (text := bring_up_to_date(path.read_text())) != path.read_text()}
    for path, text in changed.items():
        print(path.relative_to(ROOT))
        if "--write" in sys.argv[1:]:
            path.write_text(text)
    return 0 if "--write" in sys.argv[1:] or not changed else 1


if __name__ == "__main__":
    sys.exit(main())
