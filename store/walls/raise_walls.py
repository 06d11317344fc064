"""Raising the walls: each migration leaves the database with the policies, roles and rights that this release says.

What stays true: what is there already is not touched, so that nothing waits for a lock; the walls stand also where
the roles are missing, since they bind everybody but the owner.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from store.database.retry_policy import sqlstate_of
from store.functions import SCHEMA
from store.tables.metadata import metadata
from store.walls.policies import PROCESS_POLICY, TENANT_POLICY, rule_of
from store.walls.roles import CALLERS, MAINTENANCE, ROLES, WORKER, create_roles_sql, privileges_of

#: SQLSTATE of a statement that the user may not run.
NOT_ALLOWED = "42501"
#: The first version of PostgreSQL in which others than the owner may be allowed to analyze a table.
MAINTAIN_SINCE = 170_000


@dataclass(frozen=True, slots=True)
class WallsOutcome:
    """The roles as they stand after a migration."""

    #: Roles that are not there, and that the migrating user may not make.
    missing_roles: tuple[str, ...]


def raise_walls(connection: Connection) -> WallsOutcome:
    """Bring policies, roles and rights up to this release, on PostgreSQL; elsewhere nothing is done."""
    if connection.dialect.name != "postgresql":
        return WallsOutcome(())
    _create_roles(connection)
    roles = [role for role in ROLES if role in _list_roles(connection)]
    _run(connection, _policy_statements(connection, roles))
    _run(connection, _grant_statements(connection, roles))
    return WallsOutcome(tuple(role for role in ROLES if role not in roles))


def _list_roles(connection: Connection) -> set[str]:
    return set(connection.execute(text("SELECT rolname FROM pg_roles")).scalars())


def _create_roles(connection: Connection) -> None:
    """Make the roles that are missing, if the user may."""
    if set(ROLES) <= _list_roles(connection):
        return
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(create_roles_sql(), execution_options={"no_parameters": True})
    except DBAPIError as error:
        if sqlstate_of(error) != NOT_ALLOWED:
            raise


def _run(connection: Connection, statements: Iterator[str]) -> None:
    for statement in list(statements):
        connection.exec_driver_sql(statement)


def _policy_statements(connection: Connection, roles: list[str]) -> Iterator[str]:
    """The statements that put each table with a tenant behind row-level security."""
    query = text(
        "SELECT relname, relrowsecurity, array_remove(array_agg(polname::text), NULL) AS policies "
        "FROM pg_class LEFT JOIN pg_policy ON polrelid = pg_class.oid "
        "WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') "
        "GROUP BY relname, relrowsecurity"
    )
    stored = {row.relname: row for row in connection.execute(query)}
    processes = [role for role in (WORKER, MAINTENANCE) if role in roles]
    for table in metadata.sorted_tables:
        rule, row = rule_of(table), stored[table.name]
        if rule is None:
            continue
        if not row.relrowsecurity:
            yield f"ALTER TABLE {table.name} ENABLE ROW LEVEL SECURITY"
        if TENANT_POLICY not in row.policies:
            yield f"CREATE POLICY {TENANT_POLICY} ON {table.name} USING ({rule.using}) WITH CHECK ({rule.check})"
        if processes and PROCESS_POLICY not in row.policies:
            members = ", ".join(processes)
            yield f"CREATE POLICY {PROCESS_POLICY} ON {table.name} TO {members} USING (true) WITH CHECK (true)"


def _grant_statements(connection: Connection, roles: list[str]) -> Iterator[str]:
    """The statements that give each role what it needs of each table, and take what it does not."""
    version = int((connection.dialect.server_version_info or (0,))[0])
    query = text(
        "SELECT relname, grantee::regrole::text AS role, privilege_type AS privilege "
        "FROM pg_class, aclexplode(relacl) "
        "WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND grantee <> 0"
    )
    stored = {(row.role, row.relname, row.privilege) for row in connection.execute(query)}
    for role in roles:
        wanted = {(role, table, one) for table, several in privileges_of(role).items() for one in several}
        if role == MAINTENANCE and version * 10_000 >= MAINTAIN_SINCE:
            wanted |= {(role, table.name, "MAINTAIN") for table in metadata.sorted_tables}
        for _, table, privilege in sorted(wanted - stored):
            yield f"GRANT {privilege} ON {table} TO {role}"
        for _, table, privilege in sorted(one for one in stored - wanted if one[0] == role):
            yield f"REVOKE {privilege} ON {table} FROM {role}"
        yield from _function_grants(connection, role)
        yield from _schema_grants(connection, role)


def _function_grants(connection: Connection, role: str) -> Iterator[str]:
    """The statements that let a role call what works with the owner's rights."""
    names = [name for name, callers in CALLERS.items() if role in callers]
    query = text(
        "SELECT proname FROM pg_proc WHERE pronamespace = CAST(:schema AS regnamespace) AND proname = ANY (:names) "
        "AND NOT has_function_privilege(:role, oid, 'EXECUTE')"
    )
    for name in connection.execute(query, {"schema": SCHEMA, "names": names, "role": role}).scalars():
        yield f"GRANT EXECUTE ON FUNCTION {SCHEMA}.{name} TO {role}"


def _schema_grants(connection: Connection, role: str) -> Iterator[str]:
    """The statements that let a role name what stands in the two schemas."""
    tables_schema = connection.execute(text("SELECT current_schema()")).scalar_one()
    quote = connection.dialect.identifier_preparer.quote
    for schema in (tables_schema, SCHEMA):
        query = text("SELECT has_schema_privilege(:role, :schema, 'USAGE')")
        if not connection.execute(query, {"role": role, "schema": schema}).scalar_one():
            yield f"GRANT USAGE ON SCHEMA {quote(schema)} TO {role}"
