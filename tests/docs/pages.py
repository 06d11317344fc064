"""The pages of the project, taken apart: fenced blocks, headings, links.

How a Python block is marked says what becomes of it. `python` runs, in the order of its page and in one
namespace; `python worker` where a worker answers; `python stub` where a stub of a provider does; `python
no-run` does not run, and says why in its first comment; `python from=PATH` is a piece of that file. A
block that begins with `# NAME.py` is that file, and one with `# NAME/FILE.py` is a file of the project NAME, which
`threadmill new` makes. `text output` holds lines that the page prints.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"(?P<indent> *)```(?P<info>[^`\n]*)\n(?P<text>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_FILE = re.compile(r"# ((?:\w+/)?\w+\.py)\n")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: Path
    #: Of its first line of text, from 1.
    line: int
    language: str
    flags: frozenset[str]
    text: str

    @property
    def place(self) -> str:
        return f"{name_of(self.page)}:{self.line}"

    @property
    def file(self) -> str | None:
        """The file that this block is, if it says so."""
        match = _FILE.match(self.text)
        return match[1] if match else None

    @property
    def source(self) -> str | None:
        """The file that this block was cut from."""
        return next((flag.removeprefix("from=") for flag in self.flags if flag.startswith("from=")), None)

    @property
    def project(self) -> str:
        """The folder of the project that this file belongs to; "" where it stands alone."""
        return (self.file or "").rpartition("/")[0]

    @property
    def module(self) -> str:
        """The name under which a worker imports this file."""
        return (self.file or "").removesuffix(".py").replace("/", ".")

    @property
    def registers(self) -> bool:
        """A module for workers: it is imported by them."""
        return self.file is not None and "register(" in self.text

    @property
    def runs(self) -> bool:
        return self.language == "python" and "no-run" not in self.flags and not self.source and not self.registers


@cache
def pages() -> tuple[Path, ...]:
    """README and its neighbours, and everything below docs/."""
    return (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@cache
def blocks(page: Path) -> tuple[Block, ...]:
    """All fenced blocks of a page."""
    return tuple(_blocks(page))


def all_blocks(*languages: str) -> list[Block]:
    """The blocks of all pages in one of these languages."""
    return [block for page in pages() for block in blocks(page) if block.language in languages]


def prose(page: Path) -> str:
    """A page without its blocks."""
    return _FENCE.sub("", page.read_text())


def links(page: Path) -> list[str]:
    """Where a page leads."""
    return _LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """The names under which headings can be linked to, as GitHub makes them."""
    titles = (re.sub(r"[`*_]", "", title) for title in _HEADING.findall(prose(page)))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def _blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for match in _FENCE.finditer(text):
        language, *flags = match["info"].split() or [""]
        indent = match["indent"]
        body = "".join(line.removeprefix(indent) for line in match["text"].splitlines(keepends=True))
        line = text.count("\n", 0, match.start("text")) + 1
        yield Block(page, line, language, frozenset(flags), body)
