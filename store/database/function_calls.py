"""Calls of the store's functions in PostgreSQL, alone or within a transaction.

What stays true: only a connection of our own driver calls them. Imports no driver: `store.database.lone_calls` does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Connection

from store.functions import SCHEMA

#: The execution option of an engine by whose connections the store works in plain statements, as on SQLite.
PLAIN_STATEMENTS = "threadmill_plain_statements"

#: SQLAlchemy's name of the driver on whose connections functions are called.
FUNCTION_DRIVER = "psycopg"


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """One call: the function with its version, and its arguments by name. JSON goes as text."""

    name: str
    arguments: Mapping[str, Any]

    @property
    def sql(self) -> str:
        """The statement, with a placeholder for each argument."""
        return _call_sql(self.name, tuple(self.arguments))


@cache
def _call_sql(name: str, argument_names: tuple[str, ...]) -> str:
    return f"SELECT {SCHEMA}.{name}({', '.join(f'{each} => %({each})s' for each in argument_names)})"


def has_functions(connection: Connection) -> bool:
    """Whether the store calls its functions on this connection: PostgreSQL's, unless its engine says otherwise.

    Only over psycopg: a caller's own connection may be another driver's, which writes arguments in another way.
    """
    options = connection.get_execution_options()
    return connection.dialect.driver == FUNCTION_DRIVER and not options.get(PLAIN_STATEMENTS, False)


def call_within(connection: Connection, call: FunctionCall) -> Any:
    """Call a function in the transaction of a connection; returns its value, out of JSON where it is JSON."""
    return connection.exec_driver_sql(call.sql, dict(call.arguments)).scalar_one()
