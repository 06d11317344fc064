-- Makes the owner of the tables, who migrates, and the roles that every other process has; gives the owner the password
-- that the environment names now. Before the first migration, in the database that it is for:
--
--   OWNER_DB_PASSWORD=… psql -v ON_ERROR_STOP=1 -f owner.sql
--
-- What stays true: no role here is a superuser, and none may make databases or roles; the owner owns its schema, and not the
-- database; nobody else may connect. It may run again. logins.sql makes who logs in as one of the other roles.
-- Needs psql 14 or newer, and a superuser, or the owner of the database who may create roles.
\getenv owner_password OWNER_DB_PASSWORD

SELECT format('CREATE ROLE %I NOLOGIN', role)
FROM (VALUES ('threadmill_gateway'), ('threadmill_worker'), ('threadmill_maintenance')) AS roles (role)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role)
\gexec
SELECT 'CREATE ROLE threadmill LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'threadmill')
\gexec
-- Only where it is one: no other than a superuser may say so.
SELECT 'ALTER ROLE threadmill NOSUPERUSER NOREPLICATION NOBYPASSRLS'
FROM pg_roles WHERE rolname = 'threadmill' AND (rolsuper OR rolreplication OR rolbypassrls)
\gexec
ALTER ROLE threadmill NOCREATEDB NOCREATEROLE PASSWORD :'owner_password';

REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"DBNAME" TO threadmill, threadmill_gateway, threadmill_worker, threadmill_maintenance;
-- The second schema, of functions, is the migration's to make.
GRANT CREATE ON DATABASE :"DBNAME" TO threadmill;
-- Who made a role may administer it, and has to be a member to give it something.
SELECT 'GRANT threadmill TO CURRENT_USER' WHERE NOT pg_has_role('threadmill', 'USAGE')
\gexec
ALTER SCHEMA public OWNER TO threadmill;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
-- Large objects belong to whoever makes them, in no schema: nobody here needs one. Only a superuser may forbid them.
SELECT 'REVOKE EXECUTE ON FUNCTION lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea) FROM PUBLIC'
FROM pg_roles WHERE rolname = current_user AND rolsuper
\gexec
