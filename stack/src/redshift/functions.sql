-- What Redshift's functions do that PostgreSQL has not, or has with another meaning. Written from Redshift's documentation.
CREATE FUNCTION pg_catalog.tidegate_varbyte_length(relation oid, column_name name) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT substring(pg_get_constraintdef(c.oid) FROM '<= ([0-9]+)')::integer FROM pg_constraint c
    JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
    WHERE c.conrelid = relation AND c.contype = 'c' AND a.attname = column_name
      AND pg_get_constraintdef(c.oid) LIKE 'CHECK ((octet_length(%) <= %' LIMIT 1 $$;

CREATE FUNCTION pg_catalog.nvl2(anyelement, anycompatible, anycompatible) RETURNS anycompatible LANGUAGE sql IMMUTABLE AS
    $$ SELECT CASE WHEN $1 IS NOT NULL THEN $2 ELSE $3 END $$;
-- Results are text here: PostgreSQL has two families of types that may vary, and one is not enough.
CREATE FUNCTION pg_catalog.decode(anycompatible, anycompatible, text) RETURNS text LANGUAGE sql IMMUTABLE AS
    $$ SELECT CASE WHEN $1 IS NOT DISTINCT FROM $2 THEN $3 END $$;
CREATE FUNCTION pg_catalog.decode(anycompatible, anycompatible, text, text) RETURNS text LANGUAGE sql IMMUTABLE AS
    $$ SELECT CASE WHEN $1 IS NOT DISTINCT FROM $2 THEN $3 ELSE $4 END $$;
CREATE FUNCTION pg_catalog.decode(anycompatible, anycompatible, text, anycompatible, text) RETURNS text LANGUAGE sql IMMUTABLE AS
    $$ SELECT CASE WHEN $1 IS NOT DISTINCT FROM $2 THEN $3 WHEN $1 IS NOT DISTINCT FROM $4 THEN $5 END $$;
CREATE FUNCTION pg_catalog.decode(anycompatible, anycompatible, text, anycompatible, text, text) RETURNS text LANGUAGE sql IMMUTABLE AS
    $$ SELECT CASE WHEN $1 IS NOT DISTINCT FROM $2 THEN $3 WHEN $1 IS NOT DISTINCT FROM $4 THEN $5 ELSE $6 END $$;

CREATE FUNCTION pg_catalog.tidegate_dateadd(part text, number bigint, at timestamp) RETURNS timestamp LANGUAGE sql IMMUTABLE AS $$
    SELECT at + CASE WHEN part = 'quarter' THEN (number * 3 || ' month')::interval ELSE (number || ' ' || part)::interval END $$;
CREATE FUNCTION pg_catalog.dateadd(text, bigint, timestamp) RETURNS timestamp LANGUAGE sql IMMUTABLE AS $$
    SELECT pg_catalog.tidegate_dateadd($1, $2, $3) $$;
CREATE FUNCTION pg_catalog.dateadd(text, bigint, timestamptz) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
    SELECT pg_catalog.tidegate_dateadd($1, $2, $3 AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' $$;
CREATE FUNCTION pg_catalog.datediff(part text, a timestamp, b timestamp) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE part
        WHEN 'year' THEN extract(year FROM b) - extract(year FROM a)
        WHEN 'quarter' THEN (extract(year FROM b) - extract(year FROM a)) * 4 + extract(quarter FROM b) - extract(quarter FROM a)
        WHEN 'month' THEN (extract(year FROM b) - extract(year FROM a)) * 12 + extract(month FROM b) - extract(month FROM a)
        WHEN 'day' THEN b::date - a::date
        WHEN 'hour' THEN extract(epoch FROM date_trunc('hour', b) - date_trunc('hour', a)) / 3600
        WHEN 'minute' THEN extract(epoch FROM date_trunc('minute', b) - date_trunc('minute', a)) / 60
        WHEN 'second' THEN extract(epoch FROM date_trunc('second', b) - date_trunc('second', a))
        WHEN 'millisecond' THEN extract(epoch FROM date_trunc('milliseconds', b) - date_trunc('milliseconds', a)) * 1000
        WHEN 'microsecond' THEN extract(epoch FROM b - a) * 1000000
    END::bigint $$;
CREATE FUNCTION pg_catalog.datediff(text, timestamptz, timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT pg_catalog.datediff($1, $2 AT TIME ZONE 'UTC', $3 AT TIME ZONE 'UTC') $$;
CREATE FUNCTION pg_catalog.convert_timezone(text, text, timestamp) RETURNS timestamp LANGUAGE sql IMMUTABLE AS $$
    SELECT ($3 AT TIME ZONE $1) AT TIME ZONE $2 $$;
CREATE FUNCTION pg_catalog.convert_timezone(text, timestamp) RETURNS timestamp LANGUAGE sql IMMUTABLE AS $$
    SELECT ($2 AT TIME ZONE 'UTC') AT TIME ZONE $1 $$;
CREATE FUNCTION pg_catalog.convert_timezone(text, timestamptz) RETURNS timestamp LANGUAGE sql IMMUTABLE AS $$
    SELECT $2 AT TIME ZONE $1 $$;
CREATE FUNCTION pg_catalog.last_day(timestamp) RETURNS date LANGUAGE sql IMMUTABLE AS $$
    SELECT (date_trunc('month', $1) + interval '1 month' - interval '1 day')::date $$;

CREATE FUNCTION pg_catalog.tidegate_concat(text, text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT $1 || $2 $$;
CREATE FUNCTION pg_catalog.charindex(text, text) RETURNS integer LANGUAGE sql IMMUTABLE AS $$ SELECT strpos($2, $1) $$;
CREATE FUNCTION pg_catalog.sha2(text, integer) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT encode(CASE $2 WHEN 224 THEN sha224(convert_to($1, 'UTF8')) WHEN 384 THEN sha384(convert_to($1, 'UTF8'))
                          WHEN 512 THEN sha512(convert_to($1, 'UTF8')) ELSE sha256(convert_to($1, 'UTF8')) END, 'hex') $$;
CREATE FUNCTION pg_catalog.tidegate_regexp_replace(text, text, text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT regexp_replace($1, $2, $3, 'g') $$;
CREATE FUNCTION pg_catalog.tidegate_regexp_substr(text, text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce((regexp_match($1, '(' || $2 || ')'))[1], CASE WHEN $1 IS NOT NULL THEN '' END) $$;
CREATE FUNCTION pg_catalog.tidegate_regexp_count(text, text) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN $1 IS NOT NULL THEN (SELECT count(*)::integer FROM regexp_matches($1, $2, 'g')) END $$;
CREATE FUNCTION pg_catalog.is_valid_json(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
    BEGIN RETURN json_typeof($1::json) = 'object'; EXCEPTION WHEN others THEN RETURN false; END $$;
CREATE FUNCTION pg_catalog.tidegate_json_path(text, VARIADIC text[]) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT $1::json #>> $2 $$;

-- Binary values, as TO_VARBYTE and FROM_VARBYTE of the Database Developer Guide make them of text and text of them.
CREATE FUNCTION pg_catalog.to_varbyte(text, text) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE lower($2) WHEN 'hex' THEN pg_catalog.decode($1, 'hex') WHEN 'utf8' THEN convert_to($1, 'UTF8')
                          WHEN 'utf-8' THEN convert_to($1, 'UTF8') END $$;
CREATE FUNCTION pg_catalog.from_varbyte(bytea, text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE lower($2) WHEN 'hex' THEN encode($1, 'hex') WHEN 'utf8' THEN convert_from($1, 'UTF8')
                          WHEN 'utf-8' THEN convert_from($1, 'UTF8') END $$;
