"""`threadmill migrate`: bring the database of the settings to the newest schema, and its roles with it."""

from typing import TYPE_CHECKING, Annotated

import typer

from threadmill.cli.common_options import open_database
from threadmill.cli.output import print_text

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: A migration may run for so long, or wait for another one: a large table takes its time.
MIGRATION_SECONDS = 24 * 3600

RolesSql = Annotated[
    bool, typer.Option("--roles-sql", help="Print the SQL that makes the roles, for an administrator, and do nothing.")
]


def migrate(*, roles_sql: RolesSql = False) -> None:
    """Make the tables, or bring them to the newest schema; nothing happens where it is there already."""
    from store.walls.roles import create_roles_sql

    if roles_sql:
        print_text(create_roles_sql())
        return
    from store.settings import load
    from tasks.log_config import log_library

    timeouts = {"db_statement_timeout_seconds": MIGRATION_SECONDS, "db_lock_timeout_seconds": MIGRATION_SECONDS}
    # As in the other processes of a deployment: each step of alembic's stands in the log.
    steps = log_library("alembic.runtime.migration", load(), beginning="Running")
    with steps, open_database(**timeouts) as (database, _):
        old_revision, new_revision, missing_roles = database.run(_upgrade)
    print_text(f"the schema is at {new_revision}; it was {'at ' + old_revision if old_revision else 'not there'}")
    if missing_roles:
        print_text(
            f"{', '.join(missing_roles)}: not there, and the database's user may not create roles. Until they are, "
            "every process connects as the owner. An administrator makes them with what "
            "`threadmill migrate --roles-sql` prints; then run `threadmill migrate` again"
        )


def _upgrade(connection: "Connection") -> tuple[str | None, str | None, tuple[str, ...]]:
    """Upgrade the schema; returns the revisions before and after, and the roles that could not be made."""
    from store import migrations

    old_revision = migrations.current_revision(connection)
    outcome = migrations.upgrade_connection(connection)
    return old_revision, migrations.current_revision(connection), outcome.missing_roles
