"""The migrations and the tables say the same, on both databases."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect, text

from store import migrations
from store.database.url import driver_url
from store.tables import metadata

#: PostgreSQL shows its expression in other words, and Alembic compares words.
TEXTS_DIFFER = "ix_turns_of_thread"


@pytest.fixture(params=["postgresql", "sqlite"])
def fresh_url(request: pytest.FixtureRequest, tmp_path: object) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/fresh.db"
    url: str = request.getfixturevalue("empty_database_url")
    return url


@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based index")
@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
def test_migrations_make_exactly_the_tables(fresh_url: str) -> None:
    migrations.upgrade(fresh_url)

    engine = create_engine(driver_url(fresh_url))
    with engine.connect() as connection:
        assert migrations.current_revision(connection) == migrations.newest_revision()
        options = {
            # SQLite shows an identity column as one with a default.
            "compare_server_default": connection.dialect.name == "postgresql",
            "compare_type": True,
            # SQLite's full-text index is a table to it, and no table of ours.
            "include_name": lambda name, kind, _parents: kind != "table" or name in metadata.tables,
            "include_object": partial(is_of, connection.dialect.name),
        }
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def is_of(dialect: str, item: Any, name: str | None, kind: str, is_stored: bool, _: object) -> bool:
    """Whether to compare a part of the tables: an index may be one database's alone."""
    only_on = None if kind != "index" or is_stored else item._ddl_if
    return name != TEXTS_DIFFER and (only_on is None or only_on.dialect == dialect)


def test_an_index_whose_text_postgresql_writes_anew_is_the_same(empty_database_url: str) -> None:
    migrations.upgrade(empty_database_url)
    (of_tables,) = (index for index in metadata.tables["turns"].indexes if index.name == TEXTS_DIFFER)
    definition = text("select pg_get_indexdef(cast(:name as regclass))").bindparams(name=TEXTS_DIFFER)

    engine = create_engine(driver_url(empty_database_url))
    with engine.connect() as connection:
        migrated = connection.execute(definition).scalar_one()
        of_tables.drop(connection)
        of_tables.create(connection)
        created = connection.execute(definition).scalar_one()
    engine.dispose()

    assert created == migrated


def test_a_schema_that_is_created_at_once_is_the_migrated_one(tmp_path: object) -> None:
    """Tables, indexes, the full-text search, the revision: line by line, in whatever order."""
    migrations.upgrade(f"sqlite:///{tmp_path}/migrated.db")
    created = create_engine(driver_url(f"sqlite:///{tmp_path}/created.db"))
    with created.begin() as connection:
        migrations.create_newest(connection)
    created.dispose()

    assert schema_of(f"{tmp_path}/created.db") == schema_of(f"{tmp_path}/migrated.db")


def schema_of(path: str) -> dict[tuple[str, str], list[str]]:
    """What a SQLite file was made with, and its revision."""
    with closing(sqlite3.connect(path)) as connection:
        schema = {
            # SQLite's false is 0, whichever of the two is written.
            (kind, name): sorted(
                line.strip().rstrip(",") for line in (sql or "").replace("DEFAULT false", "DEFAULT 0").splitlines()
            )
            for kind, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_schema")
        }
        revisions = [revision for (revision,) in connection.execute("SELECT version_num FROM alembic_version")]
    return {**schema, ("revision", ""): revisions}


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
def test_every_foreign_key_has_an_index(fresh_url: str) -> None:
    migrations.upgrade(fresh_url)

    engine = create_engine(driver_url(fresh_url))
    with engine.connect() as connection:
        tables = inspect(connection).get_table_names()
        assert "messages" in tables
        missing = [
            (table, key["constrained_columns"])
            for table in tables
            for key in inspect(connection).get_foreign_keys(table)
            if not _is_indexed(connection, table, key["constrained_columns"])
        ]
    engine.dispose()
    assert missing == []


def _is_indexed(connection: Connection, table: str, columns: list[str]) -> bool:
    inspector = inspect(connection)
    indexed = [inspector.get_pk_constraint(table)["constrained_columns"]]
    indexed += [index["column_names"] for index in inspector.get_indexes(table)]
    indexed += [unique["column_names"] for unique in inspector.get_unique_constraints(table)]
    # Of one thread's few rows, its key finds the few.
    columns = columns[:1] if columns[0].endswith("key") else columns
    return any(list(names[: len(columns)]) == columns for names in indexed)


def test_two_migrators_at_once_are_one_migration(empty_database_url: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(migrations.upgrade, [empty_database_url] * 2))

    engine = create_engine(driver_url(empty_database_url))
    with engine.connect() as connection:
        assert migrations.current_revision(connection) == migrations.newest_revision()
    engine.dispose()


def test_a_key_of_a_deleted_thread_is_not_used_again_on_sqlite(tmp_path: object) -> None:
    url = f"sqlite:///{tmp_path}/keys.db"
    migrations.upgrade(url)
    insert = "insert into threads (tenant, id, metadata, created_at, updated_at) values ('t', ?, '{}', 0, 0)"

    with sqlite3.connect(f"{tmp_path}/keys.db") as connection:
        first = connection.execute(insert, ["a"]).lastrowid
        connection.execute("delete from threads")
        second = connection.execute(insert, ["b"]).lastrowid
    connection.close()

    assert second is not None
    assert first is not None
    assert second > first
