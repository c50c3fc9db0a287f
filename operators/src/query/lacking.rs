//! What is said of functions that are not here: those of Redshift and its neighbours have another way each, and of others the
//! nearest name is guessed.

/// What to write in place of a function that is known elsewhere.
pub fn instead(name: &str) -> Option<&'static str> {
    const IN_REDSHIFT: &str = "load the columns, and compute this in Redshift";
    Some(match name {
        "greatest" => "write CASE WHEN a >= b THEN a ELSE b END",
        "least" => "write CASE WHEN a <= b THEN a ELSE b END",
        "iif" | "if" => "write CASE WHEN condition THEN a ELSE b END",
        "ifnull" | "isnull" => "write nvl(a, b), or a IS NULL",
        "zeroifnull" => "write nvl(a, 0)",
        "nullifzero" => "write nullif(a, 0)",
        "convert" | "try_cast" | "safe_cast" | "try_convert" | "to_number" | "to_decimal" | "to_numeric" | "int"
        | "int2" | "int4" | "int8" | "integer" | "bigint" | "smallint" | "float" | "float4" | "float8" | "numeric"
        | "decimal" | "text" | "varchar" | "char" | "date" | "timestamp" | "timestamptz" | "boolean" | "bool"
        | "to_varchar" => "write CAST(x AS type)",
        "add_months" => "write dateadd(month, n, t)",
        "months_between" => "write datediff(month, a, b)",
        "date_sub" | "subdate" => "write dateadd(day, -n, t)",
        "adddate" => "write dateadd(day, n, t)",
        "date_format" | "strftime" | "format_date" | "format_timestamp" => "write to_char(t, 'YYYY-MM-DD')",
        "from_unixtime" | "to_timestamp_ntz" | "timestamp_seconds" | "timestamp_millis" | "from_epoch" => {
            "write timestamp 'epoch' + n * interval '1 second'"
        }
        "unix_timestamp" | "to_unixtime" => "write extract(epoch FROM t)",
        "timezone" | "at_timezone" | "from_utc_timestamp" | "to_utc_timestamp" => {
            "write convert_timezone('from', 'to', t)"
        }
        "year" | "month" | "day" | "hour" | "minute" | "second" | "quarter" | "week" | "dayofweek" | "dayofyear" => {
            "write extract(part FROM t)"
        }
        "date_cmp"
        | "timestamp_cmp"
        | "timestamptz_cmp"
        | "date_cmp_timestamp"
        | "date_cmp_timestamptz"
        | "timestamp_cmp_date"
        | "timestamp_cmp_timestamptz"
        | "timestamptz_cmp_date"
        | "timestamptz_cmp_timestamp" => "compare the two with CASE",
        "instr" | "locate" => "write strpos(text, what)",
        "contains" => "write strpos(text, what) > 0",
        "startswith" | "starts_with" => "write left(text, n) = what",
        "endswith" | "ends_with" => "write right(text, n) = what",
        "textlen" | "size" => "write len(text)",
        "bit_length" => "write octet_length(text) * 8",
        "space" => "write repeat(' ', n)",
        "concat_ws" => "write a || ',' || b",
        "ucase" => "write upper(text)",
        "lcase" => "write lower(text)",
        "mid" => "write substring(text, start, number)",
        "regexp_like" | "regexp_matches" | "rlike" => "write text ~ 'pattern'",
        "pow" | "power" => "write a * a, or compute it in Redshift",
        "sha" | "sha1" | "func_sha1" | "sha256" | "sha512" | "hash" => "write sha2(text, 256)",
        "json_extract"
        | "json_value"
        | "get_json_object"
        | "json_query"
        | "json_extract_array_element_text"
        | "json_parse"
        | "json_array_length"
        | "json_serialize"
        | "json_typeof"
        | "get_path" => {
            "declare the value as a column of the stream, with `path`, or write json_extract_path_text(text, 'key')"
        }
        "can_json_parse" | "is_valid_json_array" => "write is_valid_json(text)",
        "uuid_generate_v4" | "generate_uuid" | "uuid" => "make it of _topic, _partition and _offset",
        "ascii"
        | "chr"
        | "bpcharcmp"
        | "bttext_pattern_cmp"
        | "crc32"
        | "difference"
        | "soundex"
        | "quote_ident"
        | "quote_literal"
        | "strtol"
        | "to_hex"
        | "from_hex"
        | "hex"
        | "unhex"
        | "fnv_hash"
        | "farmhashfingerprint64"
        | "to_varbyte"
        | "from_varbyte"
        | "getbit"
        | "next_day"
        | "date_part_year"
        | "interval_cmp"
        | "timeofday"
        | "acos"
        | "asin"
        | "atan"
        | "atan2"
        | "cbrt"
        | "cos"
        | "cot"
        | "degrees"
        | "dexp"
        | "dlog1"
        | "dlog10"
        | "exp"
        | "ln"
        | "log"
        | "log10"
        | "pi"
        | "radians"
        | "sin"
        | "sqrt"
        | "tan"
        | "checksum"
        | "url_encode"
        | "url_decode"
        | "translate_regex"
        | "explode_array"
        | "split_to_array"
        | "array"
        | "array_concat"
        | "array_flatten"
        | "get_array_length"
        | "subarray"
        | "object"
        | "lower_attribute_names"
        | "upper_attribute_names"
        | "collate"
        | "octetindex" => IN_REDSHIFT,
        _ => return None,
    })
}

/// What to write in place of what has another value each time.
pub fn steady(name: &str) -> &'static str {
    match name {
        "random" | "gen_random_uuid" => "make it of _topic, _partition and _offset",
        "user" | "current_user" | "session_user" => "write it in quotes, or give the table's column a default",
        _ => "use _timestamp, the time of the record",
    }
}

/// The parts of a time by the names that are suggested.
pub const TIME_PARTS: [&str; 13] = [
    "microsecond",
    "millisecond",
    "second",
    "minute",
    "hour",
    "day",
    "week",
    "month",
    "quarter",
    "year",
    "dayofweek",
    "dayofyear",
    "epoch",
];

/// Types by the names that are suggested.
pub const TYPES: [&str; 17] = [
    "smallint",
    "integer",
    "int",
    "bigint",
    "decimal",
    "numeric",
    "real",
    "float",
    "double",
    "boolean",
    "char",
    "varchar",
    "text",
    "varbyte",
    "date",
    "timestamp",
    "timestamptz",
];

/// "did you mean x?", if something is as near as a slip of the finger.
pub fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    let near = known.map(|other| (strsim::damerau_levenshtein(name, other), other)).min();
    let is_slip = |distance: usize, other: &str| distance <= name.chars().count().min(other.chars().count()) / 3;
    near.filter(|(distance, other)| is_slip(*distance, other))
        .map_or(String::new(), |(_, other)| format!("did you mean {other}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_parts_that_are_near() {
        for (name, said) in
            [("timestmp", "did you mean timestamp?"), ("interger", "did you mean integer?"), ("jsonb", "")]
        {
            assert_eq!(nearest(name, TYPES.into_iter()), said, "{name}");
        }
        assert_eq!(nearest("dya", TIME_PARTS.into_iter()), "did you mean day?");
    }

    #[test]
    fn what_is_near() {
        let known = ["left", "upper", "substring", "ts", "at", "date_trunc", "regexp_replace"];
        for (name, said) in [
            ("uper", "did you mean upper?"),
            ("substing", "did you mean substring?"),
            ("datetrunc", "did you mean date_trunc?"),
            ("regex_replace", "did you mean regexp_replace?"),
            ("lfet", "did you mean left?"),
            ("least", ""),
            ("ta", ""),
            ("x", ""),
            ("", ""),
            ("lower", ""),
        ] {
            assert_eq!(nearest(name, known.into_iter()), said, "{name}");
        }
    }
}
