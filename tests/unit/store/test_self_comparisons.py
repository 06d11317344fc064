"""No statement compares a column with itself, where another row's was meant."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ColumnElement, Select, exists, func, select
from sqlalchemy.dialects import postgresql, sqlite

from store.tables import threads, turns, workers
from store.turns.next_turn import is_alive
from tests.self_comparisons import find_in_text

FUNCTIONS = sorted((Path(__file__).parents[3] / "store" / "functions").glob("*.sql"))
siblings = turns.alias("siblings")


def is_alive_without_alias(worker_id: Any) -> ColumnElement[bool]:
    return select(workers.c.id).where(workers.c.id == worker_id).exists()


#: What a subquery takes for its own column although the outer one was meant.
MEANT_ANOTHER_ROW: list[Select[Any]] = [
    select(workers.c.id).where(is_alive_without_alias(workers.c.id)),
    select(turns.c.id).where(~exists().where(turns.c.arrival_seq < turns.c.arrival_seq)),
    select(func.count()).where(func.coalesce(threads.c.agent, "") == func.coalesce(threads.c.agent, "")),
]
#: What looks like it and is right.
RIGHT: list[Select[Any]] = [
    select(workers.c.id).where(is_alive(workers.c.id)),
    select(threads.c.id).where(is_alive(threads.c.lease_owner)),
    select(turns.c.id).where(~exists().where(siblings.c.arrival_seq < turns.c.arrival_seq)),
    select(turns.c.id).where(turns.c.requeued_from == turns.c.id),
    select(turns.c.id).where(turns.c.arrival_seq.in_(select(turns.c.arrival_seq).where(turns.c.state == "queued"))),
]


@pytest.mark.parametrize("dialect", [postgresql.dialect(), sqlite.dialect()], ids=["postgresql", "sqlite"])
def test_a_column_that_is_compared_with_itself_is_refused_wherever_a_test_compiles_it(dialect: Any) -> None:
    for statement in MEANT_ANOTHER_ROW:
        with pytest.raises(AssertionError, match="compared with itself"):
            statement.compile(dialect=dialect)
    for statement in RIGHT:
        statement.compile(dialect=dialect)


@pytest.mark.parametrize("path", FUNCTIONS, ids=lambda path: path.name)
def test_no_function_compares_a_name_with_itself(path: Path) -> None:
    assert list(find_in_text(path.read_text(encoding="utf-8"))) == []


def test_a_name_that_is_compared_with_itself_is_found_in_text() -> None:
    assert list(find_in_text("SELECT FROM workers WHERE id = id AND w.host <> w.host")) == [
        "id = id",
        "w.host <> w.host",
    ]
    assert list(find_in_text("f(id => id); turns.id = id; a = a_b; id = id(1); n = n + 1 -- id = id")) == []
