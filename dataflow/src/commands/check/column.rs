//! What to do about a column of a table that values do not fit into. Pure.

use connectors::{ColumnKind, TableName, TargetColumn};
use operators::{
    query::{names::is_reserved, select::SelectedColumn},
    sink::fit,
    trial::policy_for,
    values::Action,
};

use crate::job::explain::{policy_text, quoted};

/// What to write so that these values, which do not fit as `selected` says, do. `source` is the stream's column that it is, if it is one as
/// it is.
pub fn remedy(
    table: &TableName,
    selected: &SelectedColumn,
    source: Option<&str>,
    column: &TargetColumn,
    values: &[Option<String>],
) -> String {
    let name = &column.name;
    let selected_as = in_sql(&selected.name);
    let given = source.map_or("...".into(), in_sql);
    if column.not_null && values.contains(&None) {
        return format!(
            "write nvl({given}, ...) AS {selected_as} in the query, leave such records out with WHERE, or drop NOT NULL from column {name} of \
             {table}"
        );
    }
    let policy = policy_for(values, &selected.kind, column);
    let longest = values.iter().flatten().map(String::len).max().unwrap_or(0);
    let wider = match &column.kind {
        ColumnKind::Varchar(_) => room(longest).map(|bytes| grow(table, name, bytes)),
        // Of types, Redshift alters the length of VARCHAR and nothing else.
        // <https://docs.aws.amazon.com/redshift/latest/dg/r_ALTER_TABLE.html>
        ColumnKind::Char(_) => room(longest).map(|bytes| format!("make column {name} of {table} a varchar({bytes})")),
        kind if *kind == selected.kind => None,
        kind => {
            let wider = format!("make column {name} of {table} {}", selected.kind);
            // A CAST rounds digits, and fails on what is out of range.
            let rounds = policy.is_some_and(|policy| policy.scale == Action::Round && policy.range == Action::Reject);
            Some(if rounds { format!("{wider}, or write CAST({given} AS {kind}) AS {selected_as}") } else { wider })
        }
    };
    let on = policy.and_then(|policy| policy_text(&policy));
    // A key of TOML may be as it is where a name of SQL may.
    let key = if selected_as == selected.name { selected_as } else { quoted(&selected.name) };
    let on = on.map(|on| format!("write on = {{ {key} = {on} }} in this [[target]]"));
    match (wider, on) {
        (Some(wider), Some(on)) => format!("{wider}; or {on}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "change the query or the table, or let such records become dead letters".into(),
    }
}

/// What the table needs to be filled with values of this type; `None` if it can stay.
pub fn table_needs(table: &TableName, column: &TargetColumn, kind: &ColumnKind) -> Option<String> {
    let name = &column.name;
    if fit::can_fit(kind, &column.kind).is_err() {
        return Some(format!("column {name} of {table} is {}: make it {kind}", column.kind));
    }
    match (&column.kind, kind) {
        (ColumnKind::Varchar(now), ColumnKind::Varchar(wanted)) if now < wanted => Some(grow(table, name, *wanted)),
        (now, wanted) if is_narrower(now, wanted) => {
            Some(format!("column {name} of {table} is {now}, which is narrower: make it {wanted}"))
        }
        _ => None,
    }
}

fn is_narrower(now: &ColumnKind, wanted: &ColumnKind) -> bool {
    use ColumnKind::*;
    let size = |kind: &ColumnKind| match kind {
        SmallInt => Some(5),
        Integer => Some(10),
        BigInt => Some(19),
        Decimal(precision, scale) => Some(u32::from(precision - scale)),
        _ => None,
    };
    match (now, wanted) {
        (Char(now), Char(wanted) | Varchar(wanted)) | (Varbyte(now), Varbyte(wanted)) => now < wanted,
        (Decimal(_, now), Decimal(_, wanted)) if now < wanted => true,
        _ => size(now).zip(size(wanted)).is_some_and(|(now, wanted)| now < wanted),
    }
}

fn grow(table: &TableName, name: &str, bytes: u32) -> String {
    let (schema, table, name) = (in_sql(&table.schema), in_sql(&table.table), in_sql(name));
    format!("ALTER TABLE {schema}.{table} ALTER COLUMN {name} TYPE varchar({bytes})")
}

/// A name as SQL has it: in quotes where it would be another one, or a word of SQL.
pub fn in_sql(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let is_bare = name.chars().all(is_plain) && !name.starts_with(|c: char| c.is_ascii_digit()) && !is_reserved(name);
    if is_bare { name.to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn room(longest: usize) -> Option<u32> {
    let steps = [64, 256, 1024, 4096, 16_384, 65_535];
    steps.into_iter().find(|step| *step as usize >= longest * 2).or((longest <= 65_535).then_some(65_535))
}

#[cfg(test)]
mod tests {
    use operators::{query::select::Value, values::Policy};

    use super::*;

    fn column(kind: &str, not_null: bool) -> TargetColumn {
        let kind = ColumnKind::parse(kind).unwrap();
        TargetColumn { name: "c".into(), kind, not_null, has_default: false, is_identity: false }
    }

    fn table() -> TableName {
        TableName { schema: "public".into(), table: "t".into() }
    }

    #[test]
    fn a_column_that_is_too_narrow() {
        let long = "x".repeat(300);
        let huge = "x".repeat(40_000);
        for (selected, to, not_null, values, parts) in [
            (
                "varchar(900)",
                "varchar(5)",
                false,
                &[Some(long.as_str())][..],
                &[
                    "ALTER TABLE public.t ALTER COLUMN c TYPE varchar(1024); or ",
                    "on = { c = { long = \"truncate\" } }",
                ][..],
            ),
            ("varchar(65535)", "varchar(5)", false, &[Some(huge.as_str())], &["TYPE varchar(65535); or "]),
            ("varchar(900)", "char(5)", false, &[Some("ä")], &["make column c of public.t a varchar(64)"]),
            (
                "bigint",
                "integer",
                false,
                &[Some("3000000000")],
                &["make column c of public.t bigint; or ", "on = { c = { range = \"null\" } }"],
            ),
            (
                "decimal(9,3)",
                "decimal(9,2)",
                false,
                &[Some("1.005")],
                &["CAST(c AS decimal(9,2)) AS c", "on = { c = { scale = \"round\" } }"],
            ),
            ("bigint", "bigint", true, &[None], &["nvl(c, ...) AS c", "WHERE", "drop NOT NULL"]),
            ("integer", "smallint", true, &[Some("70000")], &["make column c of public.t integer"]),
        ] {
            let kind = ColumnKind::parse(selected).unwrap();
            let selected = SelectedColumn { name: "c".into(), value: Value::Input(0), kind, policy: Policy::default() };
            let values: Vec<Option<String>> = values.iter().map(|value| value.map(String::from)).collect();
            let remedy = remedy(&table(), &selected, Some("c"), &column(to, not_null), &values);
            assert!(parts.iter().all(|part| remedy.contains(part)), "{to}: {remedy}");
        }
    }

    #[test]
    fn names_are_quoted_where_sql_needs_it() {
        let table = TableName { schema: "public".into(), table: "order".into() };
        let column = TargetColumn { name: "Note".into(), ..column("varchar(5)", false) };
        let kind = ColumnKind::Varchar(9);
        let selected = SelectedColumn { name: "Note".into(), value: Value::Input(0), kind, policy: Policy::default() };
        assert_eq!(
            remedy(&table, &selected, Some("note"), &column, &[Some("abcdefg".into())]),
            "ALTER TABLE public.\"order\" ALTER COLUMN \"Note\" TYPE varchar(64); or write on = { \"Note\" = { long = \"truncate\" } } in \
             this [[target]]"
        );
        // The name in the query may be written otherwise than that of the table's column.
        let column = TargetColumn { name: "note".into(), not_null: true, ..column };
        let of = |source| remedy(&table, &selected, source, &column, &[None]);
        assert!(of(Some("note")).starts_with("write nvl(note, ...) AS \"Note\" in"));
        assert!(of(Some("order")).starts_with("write nvl(\"order\", ...) AS \"Note\" in"), "the stream's own name");
        assert!(of(None).starts_with("write nvl(..., ...) AS \"Note\" in"), "what it is made of, whatever that is");
    }

    #[test]
    fn a_table_follows_its_stream() {
        let follows = |now: &str, wanted: &str| {
            table_needs(&table(), &column(now, false), &ColumnKind::parse(wanted).unwrap()).unwrap_or_default()
        };
        assert_eq!(follows("bigint", "integer"), "");
        assert_eq!(follows("decimal(12,2)", "decimal(12,2)"), "");
        assert_eq!(follows("varchar(5)", "varchar(64)"), "ALTER TABLE public.t ALTER COLUMN c TYPE varchar(64)");
        assert_eq!(follows("integer", "decimal(12,2)"), "column c of public.t is integer: make it decimal(12,2)");
        for (now, wanted) in [("integer", "bigint"), ("decimal(9,2)", "decimal(9,3)"), ("char(3)", "char(64)")] {
            let said = format!("is {now}, which is narrower: make it {wanted}");
            assert!(follows(now, wanted).contains(&said), "{now} {wanted}");
        }
    }
}
