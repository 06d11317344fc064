"""PostgreSQL's estimates: how many rows a statement would give, and what it would cost, without running it.

What stays true: an estimate costs a plan, whatever is stored; it is as good as the statistics of the last ANALYZE.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ClauseElement, Connection, Executable, Select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler


@dataclass(frozen=True, slots=True)
class Estimate:
    """The planner's estimate of a statement."""

    rows: int
    #: In the planner's units: a page that is read in order is 1.
    cost: float


class _Explain(Executable, ClauseElement):
    inherit_cache = False

    def __init__(self, statement: Select[Any]) -> None:
        self.statement = statement


@compiles(_Explain, "postgresql")
def _explain_postgresql(element: _Explain, compiler: SQLCompiler, **kw: Any) -> str:
    return f"EXPLAIN (FORMAT JSON) {compiler.process(element.statement, **kw)}"


def estimate(connection: Connection, statement: Select[Any]) -> Estimate:
    """Estimate a statement; PostgreSQL only."""
    plan = connection.execute(_Explain(statement)).scalar_one()[0]["Plan"]
    return Estimate(round(plan["Plan Rows"]), plan["Total Cost"])
