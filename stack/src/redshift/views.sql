-- The system views of Redshift that clients ask, over PostgreSQL's own catalog.
CREATE VIEW pg_catalog.stv_sessions AS
    SELECT (backend_start AT TIME ZONE 'UTC')::timestamp AS starttime, pid AS process, usename::varchar AS user_name,
           datname::varchar AS db_name, 0 AS timeout_sec
    FROM pg_stat_activity WHERE backend_type = 'client backend';
CREATE VIEW pg_catalog.svv_columns AS
    SELECT table_catalog::varchar, table_schema::varchar, table_name::varchar, column_name::varchar,
           ordinal_position::integer, column_default::varchar, is_nullable::varchar,
           CASE data_type WHEN 'bytea' THEN 'binary varying' ELSE data_type END::varchar AS data_type,
           CASE data_type
               WHEN 'bytea' THEN tidegate_varbyte_length(format('%I.%I', table_schema, table_name)::regclass, column_name::name)
               ELSE character_maximum_length END::integer AS character_maximum_length, numeric_precision::integer,
           numeric_precision_radix::integer, numeric_scale::integer, datetime_precision::integer,
           NULL::varchar AS interval_type, NULL::varchar AS interval_precision, NULL::varchar AS character_set_catalog,
           NULL::varchar AS character_set_schema, NULL::varchar AS character_set_name,
           NULL::varchar AS collation_catalog, NULL::varchar AS collation_schema, NULL::varchar AS collation_name,
           NULL::varchar AS domain_name, NULL::varchar AS remarks
    FROM information_schema.columns WHERE table_schema NOT IN ('pg_catalog', 'information_schema');
CREATE VIEW pg_catalog.svv_redshift_databases AS
    SELECT datname::varchar AS database_name, datdba::integer AS database_owner, 'local'::varchar AS database_type,
           NULL::varchar AS database_acl, NULL::varchar AS database_options,
           'Snapshot Isolation'::varchar AS database_isolation_level
    FROM pg_database WHERE NOT datistemplate;
-- Two nodes of two slices.
CREATE VIEW pg_catalog.stv_slices AS SELECT slice / 2 AS node, slice FROM generate_series(0, 3) AS slice;
CREATE VIEW pg_catalog.stv_recents AS
    SELECT 1 AS userid, CASE state WHEN 'active' THEN 'Running' ELSE 'Done' END::varchar AS status,
           (query_start AT TIME ZONE 'UTC')::timestamp AS starttime, usename::varchar AS user_name,
           datname::varchar AS db_name, query::varchar AS query, pid
    FROM pg_stat_activity WHERE backend_type = 'client backend';
CREATE VIEW pg_catalog.svv_transactions AS
    SELECT a.usename::varchar AS txn_owner, a.datname::varchar AS txn_db, 0::bigint AS xid, l.pid,
           (a.xact_start AT TIME ZONE 'UTC')::timestamp AS txn_start, l.mode::varchar AS lock_mode,
           l.locktype::varchar AS lockable_object_type, l.relation, l.granted
    FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid;
-- Sessions are shown to whoever has this role: every user, unless it is taken away.
GRANT SELECT ON pg_catalog.stv_sessions, pg_catalog.svv_transactions, pg_catalog.stv_recents TO sees_sessions;
GRANT SELECT ON pg_catalog.stv_slices, pg_catalog.svv_columns, pg_catalog.svv_redshift_databases TO PUBLIC;
