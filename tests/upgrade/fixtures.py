"""Databases of earlier releases: INSERT statements for a schema of one revision, and what is in them."""

import json
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from store import tables

FOLDER = Path(__file__).parent / "databases"
KINDS = ("sqlite", "postgresql")


def sql_file(revision: str, kind: str) -> Path:
    """Where the rows of a revision's database are."""
    return FOLDER / f"r{revision}.{kind}.sql"


def expected_in(revision: str, kind: str) -> dict[str, Any]:
    """What a reader must find in it."""
    found: dict[str, Any] = json.loads((FOLDER / f"r{revision}.{kind}.json").read_text("utf-8"))
    return found


def write(connection: Connection, revision: str, expected: dict[str, Any]) -> None:
    """Write the database of this connection into the folder."""
    kind = connection.dialect.name
    FOLDER.mkdir(exist_ok=True)
    sql_file(revision, kind).write_text(dump(connection), "utf-8")
    shown = json.dumps(expected, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    (FOLDER / f"r{revision}.{kind}.json").write_text(shown, "utf-8")


def dump(connection: Connection) -> str:
    """Every row of every table of ours, parents first, as statements that any later client understands."""
    is_postgresql = connection.dialect.name == "postgresql"
    lines: list[str] = []
    for table in tables.metadata.sorted_tables:
        names = [f'"{column.name}"' for column in table.columns if column.computed is None]
        shown = [f"quote_nullable({name}::text)" if is_postgresql else f"quote({name})" for name in names]
        rows = connection.execute(text(f"SELECT {', '.join(shown)} FROM {table.name} ORDER BY 1, 2"))
        values = [f"({', '.join(row)})" for row in rows]
        if table is tables.installation:
            # Its row is made with the schema.
            lines.append(f"DELETE FROM {table.name};")
        lines += [f"INSERT INTO {table.name} ({', '.join(names)}) VALUES {row};" for row in values]
        key = table.autoincrement_column
        if is_postgresql and key is not None and key.identity is not None:
            newest = f"(SELECT max({key.name}) FROM {table.name})"
            lines.append(f"SELECT setval(pg_get_serial_sequence('{table.name}', '{key.name}'), {newest});")
    return "\n".join(lines) + "\n"


def load(connection: Connection, revision: str) -> None:
    """Put the rows into an empty database of that revision."""
    script = sql_file(revision, connection.dialect.name).read_text("utf-8")
    raw: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        raw.executescript(script)
    else:
        # In the order of the tables: what points to each other would be refused before both are there.
        raw.execute(f"SET session_replication_role = replica;\n{script}\nRESET session_replication_role")
