"""Alembic's entry point, only ever run with the connection that `upgrade_connection` passes to it."""

from alembic import context

import store.tables  # noqa: F401 - fills the metadata
from store.tables.metadata import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    compare_server_default=True,
)
context.run_migrations()
