"""Column types and expressions that mean the same on PostgreSQL and SQLite.

What stays true: every time is the database's own clock, read when the statement runs (`now()`
would be the transaction's start, stale after a wait for a lock), stored with its zone, and aware
in Python. Nothing above this module asks which database it talks to.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Computed, DateTime, Dialect, Integer, ScalarSelect, Uuid, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ColumnElement, literal
from sqlalchemy.sql.visitors import InternalTraversal
from sqlalchemy.types import TypeDecorator

#: Seconds of a day.
DAY = 86_400.0
#: The moments of one period agree in so many characters of an SQLite text: all but a minute's last digit.
_PERIOD_CHARS = 15
#: The SQL of each database for the time at which a statement runs. Tests replace it.
CLOCK_SQL = {"postgresql": "clock_timestamp()", "sqlite": "'now'"}

#: A key that is never used twice, even after its row was deleted.
Key = BigInteger().with_variant(Integer, "sqlite")
#: A JSON object or list.
Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
#: A JSON object of a few counts, stored as its text: PostgreSQL's binary form of one takes half as much again.
SmallJson = JSON(none_as_null=True)
#: An id that we made: UUIDv7, as text in Python.
OurId = Uuid(as_uuid=False)


class Time(TypeDecorator[datetime]):
    """A moment, aware and in UTC in Python whatever the database's session says."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class _Clock(ColumnElement[datetime]):
    inherit_cache = True
    type = Time()
    __visit_name__ = "threadmill_clock"
    _traverse_internals = [  # noqa: RUF012 - declared by SQLAlchemy, as an instance variable
        ("seconds", InternalTraversal.dp_clauseelement)
    ]

    def __init__(self, seconds: float | ColumnElement[Any]) -> None:
        self.seconds = seconds if isinstance(seconds, ColumnElement) else literal(float(seconds))


def clock(*, plus_seconds: float | ColumnElement[Any] = 0) -> ColumnElement[datetime]:
    """The database's time as the statement runs, moved by a number of seconds, or by a column of them."""
    return _Clock(plus_seconds)


def moment_ago(*, days: float | ColumnElement[Any]) -> ScalarSelect[datetime]:
    """The database's time so many days ago, read once, so that a statement can use an index.

    `clock` itself is read anew for each row, so that no index helps to find what is older.
    """
    return select(clock(plus_seconds=-days * DAY)).scalar_subquery()


def moment_now(*, plus_seconds: float = 0) -> ScalarSelect[datetime]:
    """The database's time, moved by a number of seconds and read once, so that a statement can use an index."""
    return select(clock(plus_seconds=plus_seconds)).scalar_subquery()


class _TenMinutes(ColumnElement[datetime]):
    inherit_cache = True
    type = Time()
    __visit_name__ = "threadmill_ten_minutes"
    _traverse_internals = [("column", InternalTraversal.dp_string)]  # noqa: RUF012 - declared by SQLAlchemy

    def __init__(self, column: str) -> None:
        self.column = column


def ten_minutes_of(column: str) -> Computed:
    """A column for the beginning of the ten minutes in which a time lies, kept by the database itself.

    It changes so seldom that an index may hold it: a row of which no indexed column changes is updated in place.
    """
    return Computed(_TenMinutes(column), persisted=True)


@compiles(_TenMinutes, "postgresql")
def _ten_minutes_postgresql(element: _TenMinutes, _: SQLCompiler, **__: Any) -> str:
    epoch = "'1970-01-01 00:00:00+00'::timestamp with time zone"
    return f"date_bin('00:10:00'::interval, {element.column}, {epoch})"


@compiles(_TenMinutes, "sqlite")
def _ten_minutes_sqlite(element: _TenMinutes, _: SQLCompiler, **__: Any) -> str:
    return f"substr({element.column}, 1, {_PERIOD_CHARS}) || '0:00.000000'"


@compiles(_Clock, "postgresql")
def _clock_postgresql(element: _Clock, compiler: SQLCompiler, **kw: Any) -> str:
    return f"({CLOCK_SQL['postgresql']} + make_interval(secs => {compiler.process(element.seconds, **kw)}))"


@compiles(_Clock, "sqlite")
def _clock_sqlite(element: _Clock, compiler: SQLCompiler, **kw: Any) -> str:
    # Six digits, as SQLAlchemy writes times there: they are compared as text.
    seconds = compiler.process(element.seconds, **kw)
    return f"(strftime('%Y-%m-%d %H:%M:%f', {CLOCK_SQL['sqlite']}, ({seconds}) || ' seconds') || '000')"
