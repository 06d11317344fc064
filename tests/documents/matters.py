"""What the documents are about: invoices, contracts, minutes, in the languages of `matters.toml`."""

import tomllib
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from tests.documents import Fact, say


@dataclass(frozen=True, slots=True)
class Item:
    """A row of a matter's table: so many of something at a price."""

    name: str
    count: int
    price: float

    @property
    def amount(self) -> float:
        return self.count * self.price


@dataclass(frozen=True, slots=True)
class Matter:
    """What one document says, in one language."""

    #: Its place among the matters, by which writers choose what else a document has.
    number: int
    kind: str
    language: str
    title: str
    header: str
    footer: str
    person: str
    note: str
    paragraphs: tuple[str, ...]
    #: The headings of the table: name, count, price, amount.
    columns: tuple[str, ...]
    items: tuple[Item, ...]
    #: The word before the sum of the amounts.
    total: str
    #: A share, such as a tax, and its name.
    rate: tuple[str, float]
    date: date

    @property
    def name(self) -> str:
        return f"{self.kind.replace(' ', '-')}-{self.language}"

    @property
    def sum(self) -> float:
        return sum(item.amount for item in self.items)

    @property
    def rows(self) -> list[list[str]]:
        """The table in words, from its headings to the sum."""
        rows = [[item.name, str(item.count), f"{item.price:.2f}", f"{item.amount:.2f}"] for item in self.items]
        return [list(self.columns), *rows, [self.total, "", "", f"{self.sum:.2f}"]]

    def say_body(self) -> list[Fact]:
        """The facts of title and paragraphs."""
        return [say(self.title), *map(say, self.paragraphs)]

    def say_table(self) -> list[Fact]:
        """The facts of the table where it is in words."""
        return [say(cell) for row in self.rows for cell in row if cell]


@cache
def load_matters() -> tuple[Matter, ...]:
    """Load all matters."""
    tables = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))["matter"]
    return tuple(_read_matter(number, table) for number, table in enumerate(tables))


def _read_matter(number: int, table: dict[str, Any]) -> Matter:
    items = tuple(Item(name, count, float(price)) for name, count, price in table.pop("items"))
    lists = {name: tuple(table.pop(name)) for name in ("paragraphs", "columns", "rate")}
    return Matter(number, **table, **lists, items=items)
