//! The page on types says what the program does, cell by cell.

#![allow(clippy::unwrap_used)] // a test from end to end

use std::collections::BTreeMap;

use arrow_array::{Array, cast::AsArray, types::*};
use connectors::ColumnKind;
use operators::{
    decode::columns::{Builders, Value},
    schema::SourceColumn,
    sink::fit,
    values::{Action, Policy, Problem, reading::Reading},
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

/// What a column makes of a value: NULL, a value as text, or a refusal.
fn push(kind: &ColumnKind, value: Value<'_>) -> String {
    let mut builders = Builders::new(&[SourceColumn::new("c", kind.clone())]);
    if builders.set(0, value).is_err() {
        return "refused".into();
    }
    builders.end_row();
    let array = builders.finish().0.remove(0);
    if array.is_null(0) {
        return "NULL".into();
    }
    match kind {
        ColumnKind::SmallInt => array.as_primitive::<Int16Type>().value(0).to_string(),
        ColumnKind::Integer => array.as_primitive::<Int32Type>().value(0).to_string(),
        ColumnKind::BigInt => array.as_primitive::<Int64Type>().value(0).to_string(),
        ColumnKind::Decimal(..) => array.as_primitive::<Decimal128Type>().value_as_string(0),
        ColumnKind::Real => array.as_primitive::<Float32Type>().value(0).to_string(),
        ColumnKind::Double => array.as_primitive::<Float64Type>().value(0).to_string(),
        ColumnKind::Boolean => array.as_boolean().value(0).to_string(),
        ColumnKind::Char(_) | ColumnKind::Varchar(_) => array.as_string::<i32>().value(0).to_string(),
        ColumnKind::Varbyte(_) => format!("{:?}", array.as_binary::<i32>().value(0)),
        // Days and microseconds since 1970.
        ColumnKind::Date => array.as_primitive::<Date32Type>().value(0).to_string(),
        ColumnKind::Timestamp | ColumnKind::TimestampTz => {
            array.as_primitive::<TimestampMicrosecondType>().value(0).to_string()
        }
        ColumnKind::Other(name) => panic!("{name}"),
    }
}

/// What each word of the table means for these values, as JSON has them: what is left of each.
fn from_string(kind: &ColumnKind, cell: &str) -> Vec<(&'static str, &'static str)> {
    match (cell, kind) {
        ("a number", ColumnKind::Decimal(..)) => vec![
            ("12.34", "12.34"),
            (" +1e2 ", "100.00"),
            ("1.005", "refused"),
            ("1,5", "refused"),
            ("", "refused"),
            ("NaN", "refused"),
        ],
        ("a number", _) => vec![
            ("7", "7"),
            (" +12 ", "12"),
            ("7E+3", "7000"),
            ("1.0", "1"),
            ("12.34", "refused"),
            ("0x1f", "refused"),
            ("", "refused"),
            ("NaN", "refused"),
        ],
        ("a number, NaN, Infinity", _) => vec![
            ("1", "1"),
            (" -2.5e1", "-25"),
            ("nan", "refused"),
            ("1,5", "refused"),
            ("", "refused"),
            ("NaN", "NaN"),
            ("Infinity", "inf"),
            ("-Infinity", "-inf"),
        ],
        ("true, false", _) => vec![
            ("true", "true"),
            (" FALSE", "false"),
            ("t", "true"),
            ("No", "false"),
            ("y", "true"),
            ("0", "false"),
            ("on", "refused"),
            ("", "refused"),
        ],
        ("base64", _) => vec![("AAEC", "[0, 1, 2]"), ("", "[]"), ("!", "refused")],
        ("its value", ColumnKind::Date) => vec![
            ("2026-11-24", "20781"),
            ("2026-11-24T00:00:00Z", "20781"),
            ("2026-11-24 00:00", "20781"),
            ("2026-11-24T01:00", "refused"),
            ("1", "refused"),
        ],
        ("its value", ColumnKind::Timestamp) => vec![
            ("2026-11-24T10:54:54.5", "1795517694500000"),
            ("2026-11-24 10:54", "1795517640000000"),
            ("2026-11-24T10:54:54Z", "refused"),
        ],
        ("its value", ColumnKind::TimestampTz) => vec![
            ("2026-11-24T10:54:54+01:00", "1795514094000000"),
            ("2026-11-24T10:54Z", "1795517640000000"),
            ("2026-11-24T10:54:54", "refused"),
        ],
        ("its value", ColumnKind::Char(_) | ColumnKind::Varchar(_)) => vec![("a b", "a b"), ("", ""), ("1.50", "1.50")],
        (cell, kind) => panic!("{cell:?} for a string as {kind}"),
    }
}

fn from_number(kind: &ColumnKind, cell: &str) -> Vec<(&'static str, &'static str)> {
    match (cell, kind) {
        ("refused", _) => vec![("1", "refused"), ("0", "refused")],
        ("its text", _) => vec![("1.50", "1.50"), ("-0e+1", "-0e+1")],
        ("its value", ColumnKind::Decimal(..)) => vec![("1.5", "1.50"), ("-15e-1", "-1.50"), ("1.005", "refused")],
        ("its value", ColumnKind::Real | ColumnKind::Double) => {
            vec![("1.50", "1.5"), ("-2e1", "-20"), ("1e400", "refused")]
        }
        ("0 and 1", _) => vec![("0", "false"), ("1", "true"), ("2", "refused"), ("1.0", "refused")],
        ("its value", _) => {
            vec![("-7", "-7"), ("1.0", "1"), ("1e3", "1000"), ("1.5", "refused"), ("1e30", "refused")]
        }
        (cell, kind) => panic!("{cell:?} for a number as {kind}"),
    }
}

#[test]
fn from_json_to_the_declared_type() {
    let rows = table("declared");
    let kinds = kinds();
    assert_eq!(rows.len(), kinds.len() + 1);
    for row in &rows[1..] {
        let (name, kind) = (row[0].as_str(), &kinds[row[0].as_str()]);
        assert_eq!(row[1], push(kind, Value::Null), "{name}");
        for (text, left) in from_string(kind, &row[2]) {
            assert_eq!(push(kind, Value::Text(text)), left, "{name}: {text:?}");
        }
        for (number, left) in from_number(kind, &row[3]) {
            assert_eq!(push(kind, Value::Number(number)), left, "{name}: {number}");
        }
        for truth in [true, false] {
            let left = match row[4].as_str() {
                "refused" => "refused".to_string(),
                "its value" if *kind == ColumnKind::Boolean => truth.to_string(),
                "its text" if *kind != ColumnKind::Boolean => truth.to_string(),
                cell => panic!("{cell:?} for {truth} as {name}"),
            };
            assert_eq!(push(kind, Value::Boolean(truth)), left, "{name}: {truth}");
        }
        for nested in ["{}", "[]", r#"{"a": [1, 2.50]}"#] {
            let left = match row[5].as_str() {
                "refused" => "refused",
                "its text" => nested,
                cell => panic!("{cell:?} for {nested} as {name}"),
            };
            assert_eq!(push(kind, Value::Nested(nested)), left, "{name}: {nested}");
        }
    }
}

/// With `strict` a column takes what it took before: its type's own form.
#[test]
fn strict_columns_take_one_form() {
    let reading = Reading { strict: true, ..Reading::default() };
    for (kind, value) in [
        (ColumnKind::SmallInt, Value::Text("7")),
        (ColumnKind::Integer, Value::Number("1.0")),
        (ColumnKind::BigInt, Value::Number("1e3")),
        (ColumnKind::Decimal(9, 2), Value::Text("12.34")),
        (ColumnKind::Real, Value::Text("1")),
        (ColumnKind::Double, Value::Text("1")),
        (ColumnKind::Boolean, Value::Text("true")),
        (ColumnKind::Boolean, Value::Number("1")),
        (ColumnKind::Date, Value::Text("2026-11-24T00:00:00Z")),
        (ColumnKind::Timestamp, Value::Text("2026-11-24T10:54")),
        (ColumnKind::TimestampTz, Value::Text("2026-11-24T10:54Z")),
    ] {
        let loose = SourceColumn::new("c", kind.clone());
        assert!(Builders::new(std::slice::from_ref(&loose)).set(0, value).is_ok(), "{kind}: {value:?}");
        let strict = SourceColumn { reading: reading.clone(), ..loose };
        let problem = Builders::new(&[strict]).set(0, value).unwrap_err();
        assert!(matches!(problem, Problem::Kind(_)), "{kind}: {value:?}: {problem:?}");
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
        ("empty", (ColumnKind::Integer, Value::Text(" "))),
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
                "empty" => Policy { empty: action, ..Policy::default() },
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
