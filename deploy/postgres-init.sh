#!/bin/sh
# Run once by the PostgreSQL image, in a new database: makes the role by which Weir logs in. It is a
# plain one, because PostgreSQL's own rights stay the outer wall.
set -eu
psql -X -q -v ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname "$POSTGRES_DB" <<'SQL'
\getenv password ORDERS_PASSWORD
CREATE ROLE weir_login LOGIN PASSWORD :'password'
    NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
-- Tables that it makes are its own. For those of others, grant what people may do through Weir:
--   GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO weir_login;
GRANT USAGE, CREATE ON SCHEMA public TO weir_login;
SQL
