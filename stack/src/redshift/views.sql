-- The system views of Redshift that clients ask, over PostgreSQL's own catalog.
CREATE VIEW pg_catalog.stv_sessions AS
    SELECT (backend_start AT TIME ZONE 'UTC')::timestamp AS starttime, pid AS process, usename::varchar AS user_name,
           datname::varchar AS db_name, 0 AS timeout_sec
    FROM pg_stat_activity WHERE backend_type = 'client backend';
-- A table whose rows are elsewhere is a foreign one here. None can be read.
CREATE FOREIGN DATA WRAPPER spectrum;
CREATE SERVER spectrum FOREIGN DATA WRAPPER spectrum;
GRANT USAGE ON FOREIGN SERVER spectrum TO PUBLIC;
CREATE VIEW pg_catalog.svv_external_tables AS
    SELECT current_database()::varchar AS redshift_database_name, n.nspname::varchar AS schemaname,
           c.relname::varchar AS tablename, 'EXTERNAL TABLE'::varchar AS tabletype
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'f';
-- The text of a default; that of an identity as Redshift writes it.
CREATE VIEW pg_catalog.tidegate_attrdef AS
    SELECT a.attrelid AS adrelid, a.attnum AS adnum,
           CASE a.attidentity WHEN 'a' THEN '"identity"(' || a.attrelid || ', 0, ''1,1''::text)'
                              WHEN 'd' THEN 'default_identity(' || a.attrelid || ', 0, ''1,1''::text)'
                              ELSE pg_get_expr(d.adbin, d.adrelid) END AS adsrc
    FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.atthasdef OR a.attidentity <> '';
-- Whoever asks sees the columns of all tables, whatever rights they have on them; no default of a table that is not theirs.
-- https://docs.aws.amazon.com/redshift/latest/dg/r_SVV_COLUMNS.html
CREATE VIEW pg_catalog.svv_columns AS
    SELECT current_database()::varchar AS table_catalog, n.nspname::varchar AS table_schema,
           c.relname::varchar AS table_name, a.attname::varchar AS column_name, a.attnum::integer AS ordinal_position,
           CASE WHEN pg_has_role(c.relowner, 'USAGE') THEN d.adsrc END::varchar AS column_default,
           CASE WHEN a.attnotnull THEN 'NO' ELSE 'YES' END::varchar AS is_nullable,
           CASE a.atttypid WHEN 'bytea'::regtype THEN 'binary varying'
                           ELSE format_type(a.atttypid, NULL) END::varchar AS data_type,
           CASE a.atttypid WHEN 'bytea'::regtype THEN tidegate_varbyte_length(c.oid, a.attname)
                           ELSE information_schema._pg_char_max_length(a.atttypid, a.atttypmod) END::integer
               AS character_maximum_length,
           information_schema._pg_numeric_precision(a.atttypid, a.atttypmod)::integer AS numeric_precision,
           information_schema._pg_numeric_precision_radix(a.atttypid, a.atttypmod)::integer AS numeric_precision_radix,
           information_schema._pg_numeric_scale(a.atttypid, a.atttypmod)::integer AS numeric_scale,
           information_schema._pg_datetime_precision(a.atttypid, a.atttypmod)::integer AS datetime_precision,
           NULL::varchar AS interval_type, NULL::varchar AS interval_precision, NULL::varchar AS character_set_catalog,
           NULL::varchar AS character_set_schema, NULL::varchar AS character_set_name,
           NULL::varchar AS collation_catalog, NULL::varchar AS collation_schema, NULL::varchar AS collation_name,
           NULL::varchar AS domain_name, NULL::varchar AS remarks
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN tidegate_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'v', 'f')
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast');
-- The definition of a late-binding view and of a materialized one is the whole statement that made it.
CREATE OR REPLACE VIEW pg_catalog.pg_views AS
    SELECT n.nspname AS schemaname, c.relname AS viewname, pg_get_userbyid(c.relowner) AS viewowner,
           (CASE obj_description(c.oid, 'pg_class')
               WHEN 'late-binding' THEN 'create view ' || c.relname || ' as ' || pg_get_viewdef(c.oid)
                                        || ' with no schema binding'
               WHEN 'materialized' THEN 'CREATE MATERIALIZED VIEW ' || c.relname || ' AS ' || pg_get_viewdef(c.oid)
               ELSE pg_get_viewdef(c.oid) END) COLLATE "default" AS definition
    FROM pg_class c LEFT JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'v';
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
GRANT SELECT ON pg_catalog.stv_slices, pg_catalog.svv_columns, pg_catalog.svv_redshift_databases,
    pg_catalog.svv_external_tables, pg_catalog.tidegate_attrdef TO PUBLIC;
