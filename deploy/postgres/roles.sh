#!/bin/sh
# Runs once, when the database is made: the role of dia's processes. `dia migrate --grant-to dia` gives it what they need.
set -eu
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --set password="$PROCESS_PASSWORD" <<'SQL'
create role dia login password :'password';
SQL
