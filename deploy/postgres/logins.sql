-- Makes a login for each role that `threadmill migrate` made, or gives it the password that the environment names now.
--
--   GATEWAY_DB_PASSWORD=… WORKER_DB_PASSWORD=… MAINTENANCE_DB_PASSWORD=… psql -v ON_ERROR_STOP=1 -f logins.sql
--
-- What stays true: it may run again, and against any database of the cluster; no password is an argument of a process (a server
-- that logs statements logs these, too).
-- Needs psql 14 or newer, and a user who may create roles.
\getenv gateway_password GATEWAY_DB_PASSWORD
\getenv worker_password WORKER_DB_PASSWORD
\getenv maintenance_password MAINTENANCE_DB_PASSWORD

SELECT format('CREATE ROLE %I LOGIN IN ROLE %I', login, role)
FROM (VALUES
    ('threadmill_gateway_login', 'threadmill_gateway'),
    ('threadmill_worker_login', 'threadmill_worker'),
    ('threadmill_maintenance_login', 'threadmill_maintenance')
) AS logins (login, role)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = login)
\gexec
ALTER ROLE threadmill_gateway_login PASSWORD :'gateway_password';
ALTER ROLE threadmill_worker_login PASSWORD :'worker_password';
ALTER ROLE threadmill_maintenance_login PASSWORD :'maintenance_password';
