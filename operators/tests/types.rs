//! The page on types says what the program does, cell by cell.

#![allow(clippy::unwrap_used)] // a test from end to end

use std::collections::BTreeMap;

use connectors::ColumnKind;
use operators::{
    decode::columns::{Builders, SourceColumn, Value},
    sink::fit,
    values::{Action, Policy, Problem},
};

const PAGE: &str = include_str!("../../docs/types.md");

/// The table whose first heading is this: its heads, then its rows.
fn table(first: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_string()).collect::<Vec<_>>();
    let mut lines = PAGE.lines().skip_while(|line| !line.starts_with(&format!("| {first} |")));
    let head = cells(lines.next().unwrap_or_else(|| panic!("no table of {first}")));
    let rows = lines.skip(1).take_while(|line| line.starts_with('|')).map(cells).collect::<Vec<_>>();
    assert!(!rows.is_empty() && rows.iter().all(|row| row.len() == head.len()));
    std::iter::once(head).chain(rows).collect()
}

/// One kind of each, as the page spells it.
fn kinds() -> BTreeMap<&'static str, ColumnKind> {
    [
        ("smallint", ColumnKind::SmallInt),
        ("integer", ColumnKind::Integer),
        ("bigint", ColumnKind::BigInt),
        ("decimal(p,s)", ColumnKind::Decimal(9, 2)),
        ("real", ColumnKind::Real),
        ("double precision", ColumnKind::Double),
        ("boolean", ColumnKind::Boolean),
        ("char(n)", ColumnKind::Char(40)),
        ("varchar(n)", ColumnKind::Varchar(40)),
        ("varbyte(n)", ColumnKind::Varbyte(40)),
        ("date", ColumnKind::Date),
        ("timestamp", ColumnKind::Timestamp),
        ("timestamptz", ColumnKind::TimestampTz),
    ]
    .into()
}

/// What a column makes of a value: NULL, a value, or a refusal.
fn push(kind: &ColumnKind, value: Value<'_>) -> &'static str {
    let mut builders = Builders::new(&[SourceColumn::new("c", kind.clone())]);
    match builders.set(0, value) {
        Err(_) => "refused",
        Ok(()) => {
            builders.end_row();
            if builders.finish().0[0].is_null(0) { "NULL" } else { "a value" }
        }
    }
}

#[test]
fn from_json_to_the_declared_type() {
    let rows = table("declared");
    let kinds = kinds();
    assert_eq!(rows.len(), kinds.len() + 1);
    for row in &rows[1..] {
        let (name, kind) = (row[0].as_str(), &kinds[row[0].as_str()]);
        // A string that is a value of the type, if the type has strings at all.
        let good = match kind {
            ColumnKind::Date => "2026-11-24",
            ColumnKind::Timestamp => "2026-11-24T10:54:54",
            ColumnKind::TimestampTz => "2026-11-24T10:54:54Z",
            ColumnKind::Varbyte(_) => "AAEC",
            _ => "1",
        };
        let kept = |cell: &str| if cell == "refused" { "refused" } else { "a value" };
        assert_eq!((row[1].as_str(), push(kind, Value::Null)), ("NULL", "NULL"), "{name}");
        match row[2].as_str() {
            "NaN, Infinity" => {
                assert_eq!(push(kind, Value::Text("1")), "refused", "{name}");
                for special in ["NaN", "Infinity", "-Infinity"] {
                    assert_eq!(push(kind, Value::Text(special)), "a value", "{name}");
                }
            }
            "base64" => {
                assert_eq!((push(kind, Value::Text(good)), push(kind, Value::Text("!"))), ("a value", "refused"));
            }
            cell => assert_eq!(push(kind, Value::Text(good)), kept(cell), "{name}: a string"),
        }
        assert_eq!(push(kind, Value::Number("1")), kept(&row[3]), "{name}: a number");
        assert_eq!(push(kind, Value::Boolean(true)), kept(&row[4]), "{name}: true");
        assert_eq!(push(kind, Value::Nested("{}")), kept(&row[5]), "{name}: an object");
        assert_eq!(push(kind, Value::Nested("[]")), kept(&row[5]), "{name}: an array");
    }
}

#[test]
fn from_the_querys_type_to_the_targets() {
    let rows = table("query gives");
    let kinds = kinds();
    assert_eq!(rows.len(), kinds.len() + 1);
    for row in &rows[1..] {
        let listed: Vec<&str> = row[1].split(", ").collect();
        for (name, to) in &kinds {
            let bare = name.split('(').next().unwrap();
            let may = fit::can_fit(&kinds[row[0].as_str()], to).is_ok();
            assert_eq!(may, listed.contains(&bare), "{} to {name}", row[0]);
        }
    }
}

/// Each problem under each action: whether the value changes, becomes NULL, or is refused.
#[test]
fn what_a_policy_may_say() {
    let rows = table("problem");
    assert_eq!(rows[0][1..], ["reject", "null", "truncate", "round", "strip"].map(String::from));
    let problems: BTreeMap<&str, (ColumnKind, Value<'_>)> = [
        ("long", (ColumnKind::Varchar(2), Value::Text("abc"))),
        ("range", (ColumnKind::SmallInt, Value::Number("40000"))),
        ("scale", (ColumnKind::Decimal(5, 1), Value::Number("1.25"))),
        ("nul", (ColumnKind::Varchar(9), Value::Text("a\0b"))),
    ]
    .into();
    assert_eq!(rows.len(), problems.len() + 1);
    for row in &rows[1..] {
        let name = row[0].split(':').next().unwrap();
        let (kind, value) = &problems[name];
        let with = |action| {
            let policy = match name {
                "long" => Policy { long: action, ..Policy::default() },
                "range" => Policy { range: action, ..Policy::default() },
                "scale" => Policy { scale: action, ..Policy::default() },
                _ => Policy { nul: action, ..Policy::default() },
            };
            let column = SourceColumn { policy, ..SourceColumn::new("c", kind.clone()) };
            let mut builders = Builders::new(&[column]);
            builders.set(0, *value).map_err(Problem::reason)?;
            builders.end_row();
            let (arrays, changed) = builders.finish();
            assert_eq!(changed, [1], "{name}: a change is counted");
            Ok::<bool, String>(arrays[0].is_null(0))
        };
        assert!(row[1] == "default" && with(Action::default()).is_err(), "{name}");
        assert_eq!((row[2].as_str(), with(Action::Null)), ("yes", Ok(true)), "{name}");
        let cuts = if name == "nul" { &row[5] } else { &row[3] };
        assert_eq!(with(Action::Truncate).is_ok(), cuts != "no", "{name}: truncate or strip");
        assert_eq!(with(Action::Round).is_ok(), row[4] != "no", "{name}: round");
    }
}
