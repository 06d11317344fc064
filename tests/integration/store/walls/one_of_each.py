"""One row of each tenant in each table, made out of the tables themselves: a new table has its rows at once."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Connection, Table, make_url

from conversation.ids import new_id
from store.database.column_types import Time
from store.tables import metadata
from store.walls.policies import rule_of

#: The tenants, of which the first looks and the second is looked for.
OURS, THEIRS = "ours", "theirs"
_ALLOWED = re.compile(r"(\w+) in \('(\w+)'")

Row = dict[str, Any]
#: What a check of several columns asks for, by table.
_GIVEN: dict[str, Row] = {
    "schedules": {"cron": "0 9 * * *", "thread_id": "t", "next_at": datetime(2030, 1, 31, tzinfo=UTC)}
}
#: Rows by the names of their tables.
Rows = dict[str, Row]


def as_role(url: str, role: str) -> str:
    """The address of a database, for connections that act as a role from their beginning."""
    return make_url(url).update_query_dict({"options": f"-c role={role}"}).render_as_string(hide_password=False)


def insert_one_of_each(connection: Connection, tenant: str) -> Rows:
    """Insert a row of a tenant into each table; returns them, with what the database filled in."""
    rows: Rows = {}
    for table in metadata.sorted_tables:
        existing = connection.execute(table.select()).mappings().first() if rule_of(table) is None else None
        statement = table.insert().values(make_row(table, tenant, rows)).returning(*table.c)
        rows[table.name] = dict(existing or connection.execute(statement).mappings().one())
    return rows


def make_row(table: Table, tenant: str, rows: Rows) -> Row:
    """A new row of a tenant, which belongs to the tenant's rows of the other tables."""
    parents = {
        name: rows[key.referred_table.name][element.column.name]
        for key in table.foreign_key_constraints
        # Threads point to summaries, which point to them: these come later.
        if key.referred_table.name in rows
        for name, element in zip(key.column_keys, key.elements, strict=True)
    }
    allowed = dict(_list_allowed(table))
    return _GIVEN.get(table.name, {}) | {
        column.name: tenant
        if column.name == "tenant"
        else parents.get(column.name, allowed.get(column.name, _value_of(column)))
        for column in table.c
        if _must_be_given(column) or column.name in parents
    }


def _must_be_given(column: Column[Any]) -> bool:
    if column.identity is not None or column.computed is not None or column.server_default is not None:
        return False
    return not column.nullable or column.primary_key


def _list_allowed(table: Table) -> Iterator[tuple[str, str]]:
    """The first value that a check lets a column have."""
    for check in table.constraints:
        if isinstance(check, sa.CheckConstraint) and (match := _ALLOWED.search(str(check.sqltext))):
            yield match[1], match[2]


def _value_of(column: Column[Any]) -> Any:
    match column.type:
        case Time():
            return datetime.now(UTC)
        case sa.Boolean():
            return False
        case sa.Integer() | sa.Numeric():
            return 1
        case sa.JSON():
            return {}
        case sa.LargeBinary():
            return b"1"
        case _:
            return new_id()
