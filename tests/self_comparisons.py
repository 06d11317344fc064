"""A wall against statements that compare a column with itself, where another row's was meant.

A subquery over a table that the outer statement reads too takes the outer column for its own: `id = id`, which is
true of every row. Nothing fails then, and a dead worker counts as alive. SQLAlchemy compiles such a statement without
a word, so each statement that any test has compiled is looked at here, once.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy.sql import operators
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import BinaryExpression

COMPARISONS = frozenset(
    [
        *(operators.eq, operators.ne, operators.lt, operators.le, operators.gt, operators.ge),
        *(operators.is_, operators.is_not, operators.is_distinct_from, operators.is_not_distinct_from),
    ]
)
#: In SQL as text: a name that stands on both sides. Neither `name => name` nor `name = name + 1` is a comparison.
_IN_TEXT = re.compile(
    r"(?<![\w.])([a-z_]\w*(?:\.\w+)?)\s*(?:=|<>|!=|<=|>=|<|>)\s*\1(?![\w.(])(?!\s*[-+*/])", re.IGNORECASE
)


def refuse_self_comparisons(patch: pytest.MonkeyPatch) -> None:
    """Have every compilation of such a comparison fail."""
    compile_binary: Callable[..., str] = SQLCompiler.visit_binary

    def visit_binary(self: SQLCompiler, binary: BinaryExpression[Any], *args: Any, **kwargs: Any) -> str:
        if binary.operator in COMPARISONS and binary.left.compare(binary.right):
            raise AssertionError(f"{binary.left} is compared with itself: give the subquery's table an alias")
        return compile_binary(self, binary, *args, **kwargs)

    patch.setattr(SQLCompiler, "visit_binary", visit_binary)


def find_in_text(sql: str) -> Iterator[str]:
    """The comparisons of a name with itself in SQL that is written as text."""
    without_comments = re.sub(r"--.*", "", sql)
    yield from (match[0] for match in _IN_TEXT.finditer(without_comments))
