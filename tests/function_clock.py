"""The clock of the database's functions, moved as `CLOCK_SQL` moves that of the statements."""

from unittest.mock import patch

from sqlalchemy import create_engine

from store import functions
from store.database.url import driver_url
from store.functions import create_functions
from store.migrations.versions.r0001_first_schema import FUNCTIONS


def move_function_clock(database_url: str, clock_sql: str) -> None:
    """Create the functions of a database anew, with another expression for the time."""
    sql_of = functions.sql_of
    engine = create_engine(driver_url(database_url))
    with (
        patch.object(functions, "sql_of", lambda name: sql_of(name).replace("clock_timestamp()", clock_sql)),
        engine.begin() as connection,
    ):
        connection.exec_driver_sql("DROP SCHEMA threadmill CASCADE")
        create_functions(connection, FUNCTIONS)
    engine.dispose()
