"""Shapes of statements that both databases understand, in as few round trips as each allows; and their rows."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Column, ColumnElement, CompoundSelect, Connection, FromClause, Row, Select, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import Delete, Insert, Update, cast, false, func, literal, null, select, true, union_all
from sqlalchemy.sql.dml import ReturningUpdate

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Write = Insert | Update | Delete
AnyRow = Row[*tuple[Any, ...]]
D = TypeVar("D", bound="DataclassInstance")


def convert_row(row: AnyRow, kind: type[D], /, **values: Any) -> D:
    """Convert a row into a dataclass: each field has the column of its name, unless `values` say otherwise."""
    columns = row._mapping  # noqa: SLF001 - public; `row.index` and `row.count` are a tuple's methods
    names = (field.name for field in fields(kind) if field.name in columns and field.name not in values)
    return kind(**{name: columns[name] for name in names}, **values)


def insert_for(connection: Connection, table: Table) -> Any:
    """An INSERT that knows `on_conflict_do_nothing` and `on_conflict_do_update` (same words on both)."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    return dialect.insert(table)


def serialize_transactions(connection: Connection, lock_name: str) -> None:
    """Have transactions with this lock name wait for each other's end. On SQLite all of them do anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(lock_name, 0))))


def with_rows(
    statement: Any, table: Table, rows: Sequence[Mapping[str, Any]], *, source: FromClause | None = None
) -> Any:
    """An INSERT of rows that all have the same columns, as a SELECT of them.

    Inserts them once for each row of `source`, if there is one.

    SQLAlchemy compiles it once for each number of rows; `values([…])` it compiles every time, which
    costs more than sending it.
    """
    names = list(rows[0])
    # The condition keeps SQLite from reading ON CONFLICT as the end of a join.
    sources = [select(*(_typed_literal(table.c[name], row[name]) for name in names)).where(true()) for row in rows]
    if source is not None:
        sources = [one.select_from(source) for one in sources]
    return statement.from_select(names, sources[0] if len(sources) == 1 else union_all(*sources))


def _typed_literal(column: Column[Any], value: Any) -> ColumnElement[Any]:
    if isinstance(value, ColumnElement):
        return value
    # PostgreSQL would take a union of bare NULLs for text.
    return cast(null(), column.type) if value is None else literal(value, column.type)


def execute_together(
    connection: Connection,
    writes: Sequence[Write],
    final_statement: Select[Any] | CompoundSelect[Any] | ReturningUpdate[Any],
) -> Sequence[AnyRow]:
    """Run `writes` and `final_statement` in one round trip on PostgreSQL, one after the other on SQLite.

    No statement may depend on another's effect: PostgreSQL runs them on one snapshot. A SELECT as
    `final_statement` sees the rows as they were before the writes, on both. Returns its rows.
    """
    if connection.dialect.name == "postgresql":
        ctes = [write.cte(f"write_{index}") for index, write in enumerate(writes)]
        return connection.execute(final_statement.add_cte(*ctes) if ctes else final_statement).all()
    reads_first = isinstance(final_statement, Select | CompoundSelect)
    rows_before = connection.execute(final_statement).all() if reads_first else []
    for write in writes:
        connection.execute(write)
    return rows_before if reads_first else connection.execute(final_statement).all()


def insert_as_source(connection: Connection, statement: Insert, table: Table, key: str, value: Any) -> FromClause:
    """Insert a row, and return it as a source for the next statement: empty where nothing is inserted.

    It is one round trip with that statement on PostgreSQL, and one of its own on SQLite.
    """
    column = table.c[key]
    if connection.dialect.name == "postgresql":
        return statement.returning(column).cte(f"new_{table.name}")
    inserted_rows = connection.execute(statement.returning(column)).all()
    return select(column).where(column == value, true() if inserted_rows else false()).subquery(f"new_{table.name}")
