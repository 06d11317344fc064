"""Row-level security alone keeps tenants apart: here the gateway's role may do everything with every table.

What stays true: no query of these names a tenant. So whatever a store function forgets, this holds.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Table, and_, delete, func, select, text, update
from sqlalchemy.exc import ProgrammingError

from store.database.engine import Database
from store.settings import load
from store.tables import metadata
from store.threads.search import search_messages
from store.walls.policies import rule_of
from store.walls.roles import GATEWAY
from tests.integration.store.walls.one_of_each import OURS, THEIRS, Rows, as_role, insert_one_of_each, make_row

WITH_TENANT = [table for table in metadata.sorted_tables if rule_of(table) is not None]

#: Tables that have a tenant, or a foreign key that leads to one, as the database itself says it.
WALK = """
WITH RECURSIVE reaching AS (
    SELECT attrelid AS relation FROM pg_attribute
    JOIN pg_class ON pg_class.oid = attrelid AND relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace
    WHERE attname = 'tenant' AND NOT attisdropped
    UNION
    SELECT conrelid FROM pg_constraint JOIN reaching ON confrelid = relation WHERE contype = 'f'
)
SELECT relname FROM reaching JOIN pg_class ON pg_class.oid = relation
WHERE NOT relrowsecurity OR NOT EXISTS (
    SELECT FROM pg_policy WHERE polrelid = relation AND polcmd = '*' AND polpermissive
        AND pg_get_expr(polqual, polrelid) LIKE '%threadmill.tenant%'
        AND pg_get_expr(polwithcheck, polrelid) LIKE '%threadmill.tenant%'
) OR EXISTS (
    -- Another policy for everybody, or for the gateway, would let through what this one keeps out.
    SELECT FROM pg_policy WHERE polrelid = relation AND pg_get_expr(polqual, polrelid) NOT LIKE '%threadmill.%'
        AND (polroles = '{0}' OR 'threadmill_gateway'::regrole = ANY (polroles))
)
"""


class Site:
    """A database with a row of two tenants in each table."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.ours: Rows = database.run(insert_one_of_each, OURS)
        self.theirs: Rows = database.run(insert_one_of_each, THEIRS)
        database.run(_grant_everything)

    @contextmanager
    def as_gateway(self, tenant: str | None) -> Iterator[Connection]:
        """A transaction under the gateway's role, which is rolled back."""
        with self.database.engine.connect() as connection:
            connection.execute(text(f"SET LOCAL ROLE {GATEWAY}"))
            if tenant is not None:
                connection.execute(text(f"SET LOCAL threadmill.tenant = '{tenant}'"))
            yield connection
            connection.rollback()


def _grant_everything(connection: Connection) -> None:
    connection.execute(text(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {GATEWAY}"))


@pytest.fixture
def site(database_url: str) -> Iterator[Site]:
    database = Database(load(database_url=database_url))
    yield Site(database)
    database.close()


def test_each_table_that_reaches_a_tenant_has_a_wall_and_a_new_one_without_is_found(site: Site) -> None:
    with site.database.engine.connect() as connection:
        assert connection.execute(text(WALK)).scalars().all() == []

        connection.execute(text("CREATE TABLE notes (thread_key bigint REFERENCES threads)"))
        connection.execute(text("CREATE TABLE notes_of_notes (id int, tenant text)"))
        assert set(connection.execute(text(WALK)).scalars()) == {"notes", "notes_of_notes"}
        connection.rollback()


def test_a_role_sees_its_named_tenants_rows_and_none_without_a_name(site: Site) -> None:
    counts = select(*(select(func.count()).select_from(table).scalar_subquery() for table in WITH_TENANT))

    seen = {}
    for tenant in (OURS, THEIRS, "nobody", None):
        with site.as_gateway(tenant) as connection:
            seen[tenant] = list(connection.execute(counts).one())

    assert seen == {OURS: [1] * len(WITH_TENANT), THEIRS: [1] * len(WITH_TENANT)} | dict.fromkeys(
        ("nobody", None), [0] * len(WITH_TENANT)
    )


def test_a_search_by_the_gateway_finds_its_tenants_words_by_the_index_and_nobody_elses(
    site: Site, database_url: str
) -> None:
    database = Database(load(database_url=as_role(database_url, GATEWAY)))
    words = site.theirs["messages"]["content"]

    hits = {
        tenant: len(database.acting_for(tenant).run(search_messages, words, tenant=asked))
        for tenant, asked in ((THEIRS, THEIRS), (OURS, THEIRS), (OURS, OURS), (None, THEIRS))
    }
    with site.as_gateway(THEIRS) as connection:
        found = connection.execute(text("SELECT id FROM threadmill.find_messages_v1(to_tsquery('a:*'), null, 9)"))

    assert hits == {THEIRS: 1, OURS: 0, None: 0}
    assert set(found.scalars()) <= {site.theirs["messages"]["id"]}
    database.close()


@pytest.mark.parametrize("tenant", [OURS, None])
def test_no_row_of_another_tenant_is_changed_or_deleted(site: Site, tenant: str | None) -> None:
    own = 0 if tenant is None else 1
    for table in WITH_TENANT:
        key = next(iter(table.primary_key))
        with site.as_gateway(tenant) as connection:
            changed = connection.execute(update(table).values({key.name: key})).rowcount
        with site.as_gateway(tenant) as connection:
            deleted = connection.execute(delete(table).where(_is_theirs(table, site))).rowcount
        assert (table.name, changed, deleted) == (table.name, own, 0)


def _is_theirs(table: Table, site: Site) -> Any:
    return and_(*(column == site.theirs[table.name][column.name] for column in table.primary_key))


@pytest.mark.parametrize("tenant", [OURS, None])
def test_no_row_is_written_into_another_tenant(site: Site, tenant: str | None) -> None:
    for table in WITH_TENANT:
        new_row = make_row(table, THEIRS, site.theirs)
        with site.as_gateway(tenant) as connection, pytest.raises(ProgrammingError, match="row-level security"):
            connection.execute(table.insert().values(_with_new_key(table, new_row)))


def test_no_row_of_ones_own_is_moved_to_another_tenant_or_hung_below_its_rows(site: Site) -> None:
    for table in WITH_TENANT:
        for column in _columns_that_lead_to_a_tenant(table):
            new_value = {column: site.theirs[table.name][column]}
            with site.as_gateway(OURS) as connection, pytest.raises(ProgrammingError, match="row-level security"):
                connection.execute(update(table).values(new_value))


def _columns_that_lead_to_a_tenant(table: Table) -> list[str]:
    keys = [
        key
        for key in table.foreign_key_constraints
        # Where the key has the tenant in it, the database itself refuses: tests/integration/store/test_references.py.
        if "tenant" not in key.column_keys and "tenant" in key.referred_table.c
    ]
    return [*(["tenant"] if "tenant" in table.c else []), *(name for key in keys for name in key.column_keys)]


def _with_new_key(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    """The same row under a key that is free: its own would be refused for the conflict."""
    free = {column.name: 77 for column in table.primary_key if column.name in ("index", "number", "seq")}
    return row | free
