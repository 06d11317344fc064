"""The store's functions in PostgreSQL: a send, a claim, a settling and a sweep, each in one call.

One file a function, named by its version. What stays true: a function that was released is never changed. A
release adds the next version, the one after it drops the old: workers of both run on either's schema.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from sqlalchemy import Connection

#: The schema that the functions stand in; the tables stand where the database's user creates them.
SCHEMA = "threadmill"


@cache
def sql_of(name: str) -> str:
    """The statement that creates a function of this version, as `claim_turn_v1`."""
    return (Path(__file__).parent / f"{name}.sql").read_text("utf-8")


def create_functions(connection: Connection, names: Sequence[str]) -> None:
    """Create functions, each after those that it calls, for the tables that this connection sees.

    They keep its `search_path`: so a caller with another one reaches the same tables, and no others.
    """
    quote = connection.dialect.identifier_preparer.quote
    tables_schema = quote(connection.exec_driver_sql("SELECT current_schema()").scalar_one())
    search_path = connection.exec_driver_sql("SHOW search_path").scalar_one()
    connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    # Each function is created with `SET search_path FROM CURRENT`. Temporary tables come last: else they come first.
    connection.exec_driver_sql(f"SET LOCAL search_path = {tables_schema}, pg_temp")
    for name in names:
        connection.exec_driver_sql(sql_of(name), execution_options={"no_parameters": True})
    connection.exec_driver_sql(f"SET LOCAL search_path = {search_path}")
