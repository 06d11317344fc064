"""`threadmill migrate`: bring the database of the settings to the newest schema."""

from typing import TYPE_CHECKING

from threadmill.cli.common_options import open_database
from threadmill.cli.output import print_text

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: A migration may run for so long, or wait for another one: a large table takes its time.
MIGRATION_SECONDS = 24 * 3600


def migrate() -> None:
    """Make the tables, or bring them to the newest schema; nothing happens where it is there already."""
    timeouts = {"db_statement_timeout_seconds": MIGRATION_SECONDS, "db_lock_timeout_seconds": MIGRATION_SECONDS}
    with open_database(**timeouts) as (database, _):
        old_revision, new_revision = database.run(_upgrade)
    print_text(f"the schema is at {new_revision}; it was {'at ' + old_revision if old_revision else 'not there'}")


def _upgrade(connection: "Connection") -> tuple[str | None, str | None]:
    """Upgrade the schema, and return the revisions before and after."""
    from store import migrations

    old_revision = migrations.current_revision(connection)
    migrations.upgrade_connection(connection)
    return old_revision, migrations.current_revision(connection)
