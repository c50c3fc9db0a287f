//! Our JSON decoder and a strict parser agree: on what is JSON, and on every value that a column takes from it.
//!
//! The reference is slow and simple: serde_json reads the record into a tree, numbers as their text, and each column is
//! looked up in it by hand.

#![no_main]

use std::cell::RefCell;

use arrow_array::{Array, cast::AsArray, types::*};
use connectors::ColumnKind;
use libfuzzer_sys::fuzz_target;
use operators::{
    decode::{columns::Builders, json::Decoder},
    schema::SourceColumn,
    values::{path::Path, reading::Reading},
};
use serde_json::Value;

/// One column of each kind that has rules of its own, and some by path.
fn columns() -> Vec<SourceColumn> {
    // The reference knows each type's own form alone.
    let column = |name: &str, path: &str, kind| SourceColumn {
        path: Path::parse(path).unwrap(),
        reading: Reading { strict: true, ..Reading::default() },
        ..SourceColumn::new(name, kind)
    };
    vec![
        column("id", "id", ColumnKind::BigInt),
        column("n", "n", ColumnKind::Decimal(20, 4)),
        column("d", "d", ColumnKind::Double),
        column("t", "t", ColumnKind::Varchar(40)),
        column("b", "b", ColumnKind::Boolean),
        column("inner", "a.b[1].c", ColumnKind::Varchar(1000)),
        column("whole", "a", ColumnKind::Varchar(1000)),
    ]
}

struct Ours {
    columns: Vec<SourceColumn>,
    decoder: Decoder,
    builders: Builders,
}

thread_local! {
    static OURS: RefCell<Ours> = RefCell::new({
        let columns = columns();
        Ours { decoder: Decoder::new(&columns), builders: Builders::new(&columns), columns }
    });
}

fuzz_target!(|record: &[u8]| {
    OURS.with_borrow_mut(|ours| check(record, ours));
});

/// Every column has a value.
const GOOD: &[u8] = br#"{"id":-7,"n":1.5,"d":2.5,"t":"good","b":true,"a":{"b":[0,{"c":"in"}]}}"#;

fn check(record: &[u8], ours: &mut Ours) {
    // Between two good ones, which it must leave alone.
    ours.decoder.decode(GOOD, &mut ours.builders).unwrap();
    let result = ours.decoder.decode(record, &mut ours.builders);
    ours.decoder.decode(GOOD, &mut ours.builders).unwrap();
    let (arrays, _) = ours.builders.finish();
    let rows = 2 + usize::from(result.is_ok());
    assert!(arrays.iter().all(|array| array.len() == rows), "a row that is half there");
    let good: serde_json::Map<String, Value> = serde_json::from_slice(GOOD).unwrap();
    for (column, array) in ours.columns.iter().zip(&arrays) {
        for row in [0, rows - 1] {
            assert_eq!(Ok(shown(&good, column, array, row)), expected(&good, column), "{}: a good one", column.name);
        }
    }
    let theirs = serde_json::from_slice::<Value>(record);
    match (&result, &theirs) {
        // Each has a depth at which it gives up, and they differ by one.
        (Err(error), _) if error.reason.starts_with("objects and arrays nested more than 128") => return,
        (_, Err(error)) if error.to_string().starts_with("recursion limit") => return,
        (Ok(()), Ok(Value::Object(_))) => {}
        // Half a surrogate pair in what nobody asks for is JSON, and no text of the reference's.
        (Ok(()), Err(_)) if String::from_utf8_lossy(record).to_lowercase().contains("\\ud") => return,
        (Ok(()), theirs) => panic!("we take what is not a JSON object: {theirs:?}"),
        (Err(_), Err(_)) => return,
        (Err(error), Ok(Value::Object(_))) if error.column.is_none() => panic!("we refuse JSON: {}", error.reason),
        (Err(error), Ok(Value::Object(object))) => {
            let column = &ours.columns[error.column.unwrap()];
            // Of what is not a string the text as it was sent is measured, which the reference does not have.
            let written = !matches!(look(object, column), Some(Value::String(_) | Value::Bool(_)));
            if written && error.reason.starts_with("longer than varchar") && record.len() > 40 {
                return;
            }
            assert!(
                expected(object, column).is_err(),
                "{}: {} is refused: {}",
                column.name,
                look(object, column).unwrap(),
                error.reason
            );
            return;
        }
        (Err(_), Ok(_)) => return,
    }
    let Ok(Value::Object(record)) = theirs else { return };
    for (column, array) in ours.columns.iter().zip(&arrays) {
        let found = shown(&record, column, array, 1);
        match expected(&record, column) {
            Ok(expected) => assert_eq!(found, expected, "{}", column.name),
            Err(()) => panic!("{}: {found:?} should be refused", column.name),
        }
    }
}

/// What stands in a row of a column.
fn shown(
    record: &serde_json::Map<String, Value>,
    column: &SourceColumn,
    array: &dyn Array,
    row: usize,
) -> Option<String> {
    array.is_valid(row).then(|| match &column.kind {
        ColumnKind::BigInt => array.as_primitive::<Int64Type>().value(row).to_string(),
        ColumnKind::Decimal(..) => array.as_primitive::<Decimal128Type>().value(row).to_string(),
        ColumnKind::Double => format!("{:?}", array.as_primitive::<Float64Type>().value(row)),
        ColumnKind::Boolean => array.as_boolean().value(row).to_string(),
        // Nested text is as it was sent; the reference knows only what it means.
        _ if matches!(look(record, column), Some(Value::Array(_) | Value::Object(_))) => {
            let text = array.as_string::<i32>().value(row);
            serde_json::from_str::<Value>(text).expect("JSON out of JSON").to_string()
        }
        // And of a number as it was sent, what it means.
        _ if matches!(look(record, column), Some(Value::Number(_))) => {
            serde_json::from_str::<Value>(array.as_string::<i32>().value(row)).expect("a number").to_string()
        }
        _ => array.as_string::<i32>().value(row).to_string(),
    })
}

/// The value of a column, by hand.
fn look<'a>(record: &'a serde_json::Map<String, Value>, column: &SourceColumn) -> Option<&'a Value> {
    match column.name.as_str() {
        "inner" => record.get("a")?.as_object()?.get("b")?.as_array()?.get(1)?.as_object()?.get("c"),
        "whole" => record.get("a"),
        name => record.get(name),
    }
}

/// What a column must have of a record; `Err` if the record must be refused.
fn expected(record: &serde_json::Map<String, Value>, column: &SourceColumn) -> Result<Option<String>, ()> {
    let value = match look(record, column) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    match (&column.kind, value) {
        (ColumnKind::BigInt, Value::Number(number)) => {
            let text = number.to_string();
            text.parse::<i64>().map(|n| Some(n.to_string())).map_err(|_| ())
        }
        (ColumnKind::Decimal(precision, scale), Value::Number(number)) => {
            decimal(&number.to_string(), usize::from(*precision), i64::from(*scale)).map(Some)
        }
        (ColumnKind::Double, Value::Number(number)) => {
            let text = number.to_string();
            let value: f64 = text.parse().map_err(|_| ())?;
            let zero = !text.split(['e', 'E']).next().unwrap_or_default().bytes().any(|b| (b'1'..=b'9').contains(&b));
            if value.is_finite() && (value != 0.0 || zero) { Ok(Some(format!("{value:?}"))) } else { Err(()) }
        }
        (ColumnKind::Double, Value::String(text)) => match text.as_str() {
            "NaN" => Ok(Some("NaN".into())),
            "Infinity" => Ok(Some("inf".into())),
            "-Infinity" => Ok(Some("-inf".into())),
            _ => Err(()),
        },
        (ColumnKind::Boolean, Value::Bool(value)) => Ok(Some(value.to_string())),
        (ColumnKind::Varchar(most), value) => {
            let (text, written) = match value {
                Value::String(text) => (text.clone(), text.len()),
                Value::Bool(value) => (value.to_string(), value.to_string().len()),
                other => (other.to_string(), 0),
            };
            if text.contains('\0') || written > *most as usize { Err(()) } else { Ok(Some(text)) }
        }
        _ => Err(()),
    }
}

/// A decimal by schoolbook: the digits, the point moved, nothing but zeros where there is no room.
fn decimal(text: &str, precision: usize, scale: i64) -> Result<String, ()> {
    let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Ok("0".into());
    }
    let exponent: i64 = exponent
        .parse()
        .unwrap_or(if exponent.starts_with('-') { -1_000_000 } else { 1_000_000 })
        .clamp(-1_000_000, 1_000_000);
    let shift = exponent - fraction.len() as i64 + scale;
    let units = if shift >= 0 {
        if digits.len() as i64 + shift > precision as i64 {
            return Err(());
        }
        format!("{digits}{}", "0".repeat(shift as usize))
    } else {
        let cut = digits.len().saturating_sub(shift.unsigned_abs() as usize);
        if digits[cut..].bytes().any(|b| b != b'0') {
            return Err(());
        }
        digits[..cut].to_string()
    };
    if units.len() > precision {
        return Err(());
    }
    Ok(format!("{}{units}", if negative { "-" } else { "" }))
}
