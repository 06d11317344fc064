"""Writes the databases of the newest revision into `tests/upgrade/databases`.

    python -m tests.upgrade.make

Run it once for each new migration, before its release, and commit what it writes. The databases of
revisions that were released are never made again: they are what users have.
"""

import tempfile
from pathlib import Path

from sqlalchemy import create_engine

from store import migrations
from store.database.engine import Database
from store.database.url import driver_url
from store.settings import load
from tests.upgrade import fixtures, story
from threadmill.embedded.postgres import EmbeddedPostgres


def main() -> None:
    """One database of each kind, made by this release's code."""
    with tempfile.TemporaryDirectory() as folder:
        _make(f"sqlite:///{folder}/story.db")
        with EmbeddedPostgres(Path(folder) / "postgres", durable=False) as server:
            _make(server.url_of("postgres"))
    for kind in fixtures.KINDS:
        print(fixtures.sql_file(migrations.newest_revision(), kind))  # noqa: T201 - a script says what it wrote


def _make(url: str) -> None:
    migrations.upgrade(url)
    database = Database(load(database_url=url))
    engine = create_engine(driver_url(url))
    told = database.run(story.tell)
    database.close()
    with engine.connect() as connection:
        fixtures.write(connection, migrations.newest_revision(), story.expected(connection, told))
    engine.dispose()


if __name__ == "__main__":
    main()
