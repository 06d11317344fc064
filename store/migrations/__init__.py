"""The schema's history. Expand, deploy, contract: a release still runs on the schema of the next.

`upgrade` may be called by several processes at once: one migrates, the others wait for it.
"""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from conversation.errors import DatabaseUnavailable, OperatorError
from store.database.retry_policy import reason_of
from store.database.url import driver_url
from store.functions import SCHEMA
from store.installation import create_installation
from store.tables import metadata
from store.walls.raise_walls import WallsOutcome, raise_walls

#: A number of ours for `pg_advisory_xact_lock`: the migrating process holds it.
MIGRATION_LOCK = 0x7EAD_0111
#: Milliseconds that a migration waits for a lock on a table: all later statements wait behind it.
LOCK_TIMEOUT_MS = 5_000
#: Takes the schema of our functions out of a transaction's search path: a role of the same name has it first, and would
#: look for tables there.
KEEP_TABLES_APART = text(
    "SELECT set_config('search_path', coalesce(string_agg(quote_ident(name), ', '), current_setting('search_path')), "
    "true) FROM unnest(current_schemas(false)) AS name WHERE name <> :functions"
)


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database at `url` to a revision; nothing happens where it is there already.

    Raises `DatabaseUnavailable`, and `OperatorError` for a schema that this release does not know.
    """
    engine = create_engine(driver_url(url), poolclass=NullPool)
    try:
        with engine.begin() as connection:
            upgrade_connection(connection, revision)
    except DBAPIError as error:
        raise DatabaseUnavailable(reason_of(error)) from error
    finally:
        engine.dispose()


def upgrade_connection(connection: Connection, revision: str = "head") -> WallsOutcome:
    """As `upgrade`, in the transaction of the caller; returns which roles are there. Raises `OperatorError`."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        connection.execute(text(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}"))
        connection.execute(KEEP_TABLES_APART, {"functions": SCHEMA})
    config = _config()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, revision)
    except CommandError as error:
        raise OperatorError(
            f"the database is at revision {current_revision(connection)}, which this release does not know: "
            "run the release that made it, or a newer one"
        ) from error
    # An older schema has not the tables that the walls stand around.
    return raise_walls(connection) if revision == "head" else WallsOutcome(())


def create_newest(connection: Connection) -> None:
    """Create the newest schema in an empty database at once, without the steps that led to it.

    For databases in memory, which are new each time. The result is what `upgrade` makes, its revision
    included.
    """
    metadata.create_all(connection, checkfirst=False)
    create_installation(connection)
    MigrationContext.configure(connection).stamp(_scripts(), "head")


def current_revision(connection: Connection) -> str | None:
    """The revision of this database; None where there is no schema of ours yet."""
    return MigrationContext.configure(connection).get_current_revision()


def check(connection: Connection) -> None:
    """Check that this release can work with the database. Raises `OperatorError` for no or an older schema.

    A schema of a later release is fine: migrations only add until every process runs on them.
    """
    revision = current_revision(connection)
    known_revisions = {script.revision for script in _scripts().walk_revisions()}
    if revision is None or (revision in known_revisions and revision != newest_revision()):
        raise OperatorError(
            f"the database's schema is {revision or 'not there'}, this release needs {newest_revision()}: "
            "run `threadmill migrate`"
        )


def newest_revision() -> str:
    """The revision that this release needs."""
    head = _scripts().get_current_head()
    assert head is not None
    return head


@cache
def _scripts() -> ScriptDirectory:
    """The migrations of this release, read once a process."""
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
