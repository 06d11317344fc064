"""Expressions over moments that each database words in its own way: how far two lie apart, and on which day one is."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Float, Text, cast, func

from store.database.column_types import DAY


def seconds_between(
    connection: Connection, earlier: ColumnElement[Any], later: ColumnElement[Any]
) -> ColumnElement[float]:
    """The seconds from one moment to a later one; null where one of them is."""
    if connection.dialect.name == "postgresql":
        return cast(func.extract("epoch", later - earlier), Float)
    return (func.julianday(later) - func.julianday(earlier)) * DAY


def day_of(connection: Connection, moment: ColumnElement[Any]) -> ColumnElement[str]:
    """The day of a moment in UTC, as 2026-01-31."""
    if connection.dialect.name == "postgresql":
        return func.to_char(func.timezone("UTC", moment), "YYYY-MM-DD")
    return func.substr(cast(moment, Text), 1, 10)
