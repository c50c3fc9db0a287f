//! Every value against the target's column.
//!
//! * Input: rows with the columns of the query. Output: rows whose columns have exactly the types that COPY wants for the
//!   target's columns, and of their origin only where they came from; the dead letters of those that do not fit, and their fates.
//! * Time: each batch at its own; see [`mod@crate::stage`].
//! * Failure: none that a row could cause, unless the job says to halt at them. Redshift's Parquet COPY is all or nothing,
//!   so a value that does not fit there would fail the whole load: nothing may be left for it to find.

use std::{collections::BTreeMap, sync::Arc};

use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, PrimitiveArray,
    builder::{BinaryBuilder, StringBuilder},
    cast::AsArray,
    types::{Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type},
};
use arrow_buffer::NullBufferBuilder;
use arrow_schema::DataType;
use checkpoint::{Fate, Fates};
use connectors::{ColumnKind, TargetColumn};
use timely::dataflow::Stream;

use crate::{
    Rows, Time,
    dead_letters::Rejects,
    events::{Changes, Watch},
    failure::{Failure, fail},
    rows::{Fitted, Records, Rejected, only, others},
    schema::Target,
    signals::Of,
    stage::{Outputs, Split, split},
    values::{Action, Policy, Problem, arrow::arrow_type, check_text, fit_text, number},
};

/// Whether values of a type can be checked against a column at all, or why not; decided once, when the job starts.
pub fn can_fit(kind: &ColumnKind, column: &ColumnKind) -> Result<(), &'static str> {
    use ColumnKind::*;
    match (kind, column) {
        (_, Other(name)) if name == "super" => Err("SUPER columns come later; use varchar for now"),
        (_, Other(name)) if name.starts_with("time") => {
            Err("whether Redshift loads TIME from Parquet is not known; use varchar")
        }
        (_, Other(_)) => Err("columns of that type are not supported"),
        (SmallInt | Integer | BigInt, SmallInt | Integer | BigInt | Decimal(..))
        | (SmallInt, Real)
        | (SmallInt | Integer, Double)
        | (Decimal(..), Decimal(..))
        | (Real, Real | Double)
        | (Double, Double)
        | (Boolean, Boolean)
        | (Char(_) | Varchar(_), Char(_) | Varchar(_))
        | (Varbyte(_), Varbyte(_))
        | (Date, Date)
        | (Timestamp, Timestamp)
        | (TimestampTz, TimestampTz) => Ok(()),
        _ => Err("values would be changed or lost on the way; say how, with a CAST in the query"),
    }
}

/// Builds fit for one target.
pub fn fit<'s>(
    rows: Stream<'s, Time, Rows>,
    target: Arc<Target>,
    rejects: Rejects,
    watch: Watch,
) -> Outputs<'s, Fitted> {
    let of = Of::Target(target.number);
    let changes = Changes::new(target.name(), watch);
    let fit = Fit { target, rejects, changes };
    split("Fit", of, rows, move |epoch, rows| fit.batch(epoch, rows))
}

/// Fit without a dataflow around it.
pub struct Fit {
    /// Whose columns decide.
    pub target: Arc<Target>,
    /// Where dead letters are made.
    pub rejects: Rejects,
    /// The values that a policy changed.
    pub changes: Changes,
}

impl Fit {
    /// A batch with the types of the target's columns and without the bytes of its records, and the dead letters of those that do
    /// not fit.
    pub fn batch(&self, epoch: Time, rows: Rows) -> Split<Fitted> {
        let FitColumns { columns, changed, rejected } =
            fit_batch(&rows.columns, self.target.columns.at(epoch), &self.target.policies);
        for (column, values) in self.target.columns.at(epoch).iter().zip(changed).filter(|(_, values)| *values > 0) {
            self.changes.add(&column.name, values);
        }
        let (origin, index) = (&rows.origin, &rows.index);
        let letters = self.rejects.set_aside(epoch, "fit", &self.target.name(), origin, index, &rejected);
        let mut fates = Fates::default();
        fates.add(Fate::DeadLetter, rows.tally_of(rejected.iter().map(|r| r.row)));
        let (columns, records) = match rejected.is_empty() {
            true => (columns, Records::of(origin, index)),
            false => {
                let others = others(rows.len(), &rejected);
                (only(&columns, rows.len(), &others), Records::of(origin, &index.only(&others)))
            }
        };
        Split { rows: Fitted { columns, records, lease: rows.lease }, letters, fates }
    }
}

/// What came of a batch.
pub(crate) struct FitColumns {
    /// The columns of all rows, those that are rejected too.
    pub(crate) columns: Vec<ArrayRef>,
    /// How many values of each column a policy changed, in rows that stay.
    pub(crate) changed: Vec<u64>,
    /// The rows that do not fit, each with the first column that is to blame.
    pub(crate) rejected: Vec<Rejected>,
}

/// Columns as their target wants them.
pub(crate) fn fit_batch(columns: &[ArrayRef], wanted: &[TargetColumn], policies: &[Policy]) -> FitColumns {
    let mut rejected: BTreeMap<usize, Rejected> = BTreeMap::new();
    let mut fitted = Vec::with_capacity(columns.len());
    for ((array, column), policy) in columns.iter().zip(wanted).zip(policies) {
        let column_fit = fit_column(array, column, policy);
        for (row, reason) in &column_fit.bad {
            let rejection = || Rejected { row: *row, column: Some(column.name.clone()), reason: reason.clone() };
            rejected.entry(*row).or_insert_with(rejection);
        }
        fitted.push(column_fit);
    }
    if widest_row(wanted) > ROW_BYTES {
        let rows = fitted.first().map_or(0, |column| column.array.len());
        for row in 0..rows {
            let bytes: usize = fitted.iter().map(|column| bytes_at(&column.array, row)).sum();
            if bytes > ROW_BYTES {
                let reason = format!("a row of more than {ROW_BYTES} bytes: {bytes}");
                rejected.entry(row).or_insert(Rejected { row, column: None, reason });
            }
        }
    }
    let stays = |row: &&usize| !rejected.contains_key(row);
    FitColumns {
        changed: fitted.iter().map(|column| column.changed.iter().filter(stays).count() as u64).collect(),
        columns: fitted.into_iter().map(|column| column.array).collect(),
        rejected: rejected.into_values().collect(),
    }
}

/// The longest row that COPY takes, in bytes.
/// <https://docs.aws.amazon.com/redshift/latest/dg/r_COPY.html>
const ROW_BYTES: usize = 4 * 1024 * 1024;

/// The most bytes that a row of these columns can have.
fn widest_row(columns: &[TargetColumn]) -> usize {
    let widest = |column: &TargetColumn| match column.kind {
        ColumnKind::Char(most) | ColumnKind::Varchar(most) | ColumnKind::Varbyte(most) => most as usize,
        _ => 16,
    };
    columns.iter().map(widest).sum()
}

fn bytes_at(array: &ArrayRef, row: usize) -> usize {
    let length = |ends: &[i32]| (ends[row + 1] - ends[row]) as usize;
    match array.data_type() {
        DataType::Utf8 => length(array.as_string::<i32>().value_offsets()),
        DataType::Binary => length(array.as_binary::<i32>().value_offsets()),
        _ => 16,
    }
}

/// A column with the target's type.
#[derive(Debug)]
struct ColumnFit {
    array: ArrayRef,
    /// Rows whose value does not fit, in order, and why. What stands there in the array means nothing.
    bad: Vec<(usize, String)>,
    /// Rows whose value a policy changed.
    changed: Vec<usize>,
}

impl ColumnFit {
    fn as_it_is(array: &ArrayRef) -> ColumnFit {
        ColumnFit { array: array.clone(), bad: Vec::new(), changed: Vec::new() }
    }
}

fn fit_column(array: &ArrayRef, column: &TargetColumn, policy: &Policy) -> ColumnFit {
    let mut fit = convert(array, &column.kind, policy).unwrap_or_else(|| {
        fail(Failure::Bug(format!("column {}: {} for {}", column.name, array.data_type(), column.kind)))
    });
    if column.not_null && fit.array.null_count() > 0 {
        // A bad value left a NULL behind, and has its own reason.
        let known: Vec<usize> = fit.bad.iter().map(|(row, _)| *row).collect();
        let missing = (0..fit.array.len()).filter(|row| fit.array.is_null(*row) && known.binary_search(row).is_err());
        let reason = "NULL where the target's column is NOT NULL";
        fit.bad.extend(missing.map(|row| (row, reason.to_string())).collect::<Vec<_>>());
        fit.bad.sort();
    }
    fit
}

/// `None` for a pair that [`can_fit`] excludes.
fn convert(array: &ArrayRef, kind: &ColumnKind, policy: &Policy) -> Option<ColumnFit> {
    use ColumnKind::*;
    let from = array.data_type();
    if Some(from) == arrow_type(kind).as_ref() {
        return Some(match kind {
            Char(most) => texts(array, *most, true, policy),
            Varchar(most) => texts(array, *most, false, policy),
            Varbyte(most) => bytes(array, *most, policy),
            _ => ColumnFit::as_it_is(array),
        });
    }
    let name = kind.to_string();
    let out_of_range = |value: &dyn std::fmt::Display| Problem::Range(format!("out of range for {name}: {value}"));
    macro_rules! narrow {
        ($from:ty, $to:ty) => {
            each::<$from, $to>(array, kind, policy, |value| match value.try_into() {
                Ok(value) => Ok((value, false)),
                Err(_) => Err(out_of_range(&value)),
            })
        };
    }
    macro_rules! widen {
        ($from:ty, $to:ty) => {
            each::<$from, $to>(array, kind, policy, |value| Ok((value.into(), false)))
        };
    }
    Some(match (from, kind) {
        (DataType::Int16, Integer) => widen!(Int16Type, Int32Type),
        (DataType::Int16, BigInt) => widen!(Int16Type, Int64Type),
        (DataType::Int32, SmallInt) => narrow!(Int32Type, Int16Type),
        (DataType::Int32, BigInt) => widen!(Int32Type, Int64Type),
        (DataType::Int64, SmallInt) => narrow!(Int64Type, Int16Type),
        (DataType::Int64, Integer) => narrow!(Int64Type, Int32Type),
        (DataType::Int16, Real) => widen!(Int16Type, Float32Type),
        (DataType::Int16, Double) => widen!(Int16Type, Float64Type),
        (DataType::Int32, Double) => widen!(Int32Type, Float64Type),
        (DataType::Float32, Double) => widen!(Float32Type, Float64Type),
        (DataType::Int16, Decimal(p, s)) => each::<Int16Type, Decimal128Type>(array, kind, policy, |value| {
            number::rescale(value.into(), 0, *p, *s, policy.scale)
        }),
        (DataType::Int32, Decimal(p, s)) => each::<Int32Type, Decimal128Type>(array, kind, policy, |value| {
            number::rescale(value.into(), 0, *p, *s, policy.scale)
        }),
        (DataType::Int64, Decimal(p, s)) => each::<Int64Type, Decimal128Type>(array, kind, policy, |value| {
            number::rescale(value.into(), 0, *p, *s, policy.scale)
        }),
        (DataType::Decimal128(_, from), Decimal(p, s)) => {
            each::<Decimal128Type, Decimal128Type>(array, kind, policy, |value| {
                number::rescale(value, *from as u8, *p, *s, policy.scale)
            })
        }
        _ => return None,
    })
}

/// Converts value by value.
fn each<From, To>(
    array: &ArrayRef,
    kind: &ColumnKind,
    policy: &Policy,
    convert: impl Fn(From::Native) -> Result<(To::Native, bool), Problem>,
) -> ColumnFit
where
    From: ArrowPrimitiveType,
    To: ArrowPrimitiveType,
{
    let from = array.as_primitive::<From>();
    let (mut bad, mut changed, mut made_null) = (Vec::new(), Vec::new(), Vec::new());
    let values: Vec<To::Native> = (0..from.len())
        .map(|row| {
            if from.is_null(row) {
                return To::Native::default();
            }
            let problem = match convert(from.value(row)) {
                Ok((value, false)) => return value,
                Ok((value, true)) => {
                    changed.push(row);
                    return value;
                }
                Err(problem) => problem,
            };
            if policy.action(&problem) == Action::Null {
                changed.push(row);
                made_null.push(row);
            } else {
                bad.push((row, problem.reason()));
            }
            To::Native::default()
        })
        .collect();
    let nulls = match made_null.as_slice() {
        [] => from.nulls().cloned(),
        rows => {
            let mut nulls = NullBufferBuilder::new(from.len());
            (0..from.len()).for_each(|row| nulls.append(from.is_valid(row) && rows.binary_search(&row).is_err()));
            nulls.finish()
        }
    };
    let array = PrimitiveArray::<To>::new(values.into(), nulls);
    let array = match arrow_type(kind) {
        Some(kind) => array.with_data_type(kind),
        None => array,
    };
    ColumnFit { array: Arc::new(array), bad, changed }
}

fn texts(array: &ArrayRef, most: u32, single: bool, policy: &Policy) -> ColumnFit {
    let texts = array.as_string::<i32>();
    let most = most as usize;
    // Nearly always nothing is wrong, which one pass over lengths and bytes shows.
    let bytes = &texts.values()[texts.value_offsets()[0] as usize..texts.value_offsets()[texts.len()] as usize];
    let clean = !bytes.contains(&0) && (!single || bytes.is_ascii());
    if clean && texts.offsets().lengths().all(|length| length <= most) {
        return ColumnFit::as_it_is(array);
    }
    let mut built = StringBuilder::with_capacity(texts.len(), bytes.len());
    let (mut bad, mut changed, mut spare) = (Vec::new(), Vec::new(), String::new());
    for (row, text) in texts.iter().enumerate() {
        let Some(text) = text else {
            built.append_null();
            continue;
        };
        if check_text(text, most, single).is_ok() {
            built.append_value(text);
            continue;
        }
        match fit_text(text, most, single, policy, &mut spare) {
            Ok((fitted, _)) => {
                changed.push(row);
                built.append_option(fitted);
            }
            Err(problem) => {
                bad.push((row, problem.reason()));
                built.append_null();
            }
        }
    }
    ColumnFit { array: Arc::new(built.finish()), bad, changed }
}

fn bytes(array: &ArrayRef, most: u32, policy: &Policy) -> ColumnFit {
    let values: &BinaryArray = array.as_binary::<i32>();
    let most = most as usize;
    if values.offsets().lengths().all(|length| length <= most) {
        return ColumnFit::as_it_is(array);
    }
    let mut built = BinaryBuilder::new();
    let (mut bad, mut changed) = (Vec::new(), Vec::new());
    for (row, value) in values.iter().enumerate() {
        match (value, policy.long) {
            (Some(value), _) if value.len() <= most => built.append_value(value),
            (None, _) => built.append_null(),
            (Some(value), Action::Truncate) => {
                changed.push(row);
                built.append_value(&value[..most]);
            }
            (Some(_), Action::Null) => {
                changed.push(row);
                built.append_null();
            }
            (Some(value), _) => {
                bad.push((row, format!("longer than varbyte({most}): {} bytes", value.len())));
                built.append_null();
            }
        }
    }
    ColumnFit { array: Arc::new(built.finish()), bad, changed }
}

#[cfg(test)]
mod tests {
    use arrow_array::{
        BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array,
        StringArray, TimestampMicrosecondArray,
    };

    use super::*;

    fn column(kind: ColumnKind, not_null: bool) -> TargetColumn {
        TargetColumn { name: "c".into(), kind, not_null, has_default: false, is_identity: false }
    }

    fn fit(array: &ArrayRef, kind: ColumnKind) -> ColumnFit {
        fit_column(array, &column(kind, false), &Policy::default())
    }

    #[test]
    fn every_pair_that_is_promised_is_kept() {
        let decimal = Decimal128Array::from(vec![Some(1), None]).with_precision_and_scale(5, 0).unwrap();
        let micros = || TimestampMicrosecondArray::from(vec![Some(1), None]);
        let arrays: [(ColumnKind, ArrayRef); 13] = [
            (ColumnKind::SmallInt, Arc::new(Int16Array::from(vec![Some(1), None]))),
            (ColumnKind::Integer, Arc::new(Int32Array::from(vec![Some(1), None]))),
            (ColumnKind::BigInt, Arc::new(Int64Array::from(vec![Some(1), None]))),
            (ColumnKind::Decimal(5, 0), Arc::new(decimal)),
            (ColumnKind::Real, Arc::new(Float32Array::from(vec![Some(1.0), None]))),
            (ColumnKind::Double, Arc::new(Float64Array::from(vec![Some(1.0), None]))),
            (ColumnKind::Boolean, Arc::new(BooleanArray::from(vec![Some(true), None]))),
            (ColumnKind::Char(9), Arc::new(StringArray::from(vec![Some("1"), None]))),
            (ColumnKind::Varchar(9), Arc::new(StringArray::from(vec![Some("1"), None]))),
            (ColumnKind::Varbyte(9), Arc::new(BinaryArray::from_opt_vec(vec![Some(b"1"), None]))),
            (ColumnKind::Date, Arc::new(Date32Array::from(vec![Some(1), None]))),
            (ColumnKind::Timestamp, Arc::new(micros())),
            (ColumnKind::TimestampTz, Arc::new(micros().with_timezone("UTC"))),
        ];
        let mut kinds: Vec<ColumnKind> = arrays.iter().map(|(kind, _)| kind.clone()).collect();
        kinds.extend([
            ColumnKind::Decimal(38, 37),
            ColumnKind::Varchar(1),
            ColumnKind::Char(1),
            ColumnKind::Varbyte(1),
        ]);
        let mut pairs = 0;
        for (kind, array) in &arrays {
            for to in kinds.iter().filter(|to| can_fit(kind, to).is_ok()) {
                let fitted = fit(array, to.clone());
                assert_eq!(Some(fitted.array.data_type().clone()), arrow_type(to), "{kind} to {to}");
                assert_eq!((fitted.array.len(), fitted.array.null_count(), fitted.bad), (2, 1, vec![]));
                pairs += 1;
            }
            assert!(can_fit(kind, &ColumnKind::Other("super".into())).is_err());
        }
        assert_eq!(pairs, 37);
    }

    #[test]
    fn what_does_not_fit_is_found_at_its_row() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(32_767), None, Some(32_768), Some(-40_000)]));
        let small = fit(&numbers, ColumnKind::SmallInt);
        let range = |value: i64| format!("out of range for smallint: {value}");
        assert_eq!(small.bad, [(2, range(32_768)), (3, range(-40_000))]);
        assert!(fit(&numbers, ColumnKind::Integer).bad.is_empty());
        let required = fit_column(&numbers, &column(ColumnKind::SmallInt, true), &Policy::default());
        assert_eq!(required.bad.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(required.bad[0].1, "NULL where the target's column is NOT NULL");
        assert_eq!(fit(&numbers, ColumnKind::Decimal(6, 2)).bad.iter().map(|b| b.0).collect::<Vec<_>>(), [0, 2, 3]);
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("abcd"), Some("äöü"), None, Some("a\0")]));
        let fitted = fit(&texts, ColumnKind::Varchar(4));
        assert_eq!(fitted.bad.iter().map(|b| b.0).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(fitted.array.as_string::<i32>().value(0), "abcd");
        assert_eq!(fit(&texts, ColumnKind::Char(4)).bad.len(), 2);
        // A slice looks at its own rows only.
        assert!(fit(&texts.slice(0, 1), ColumnKind::Char(4)).bad.is_empty());
        let bytes: ArrayRef = Arc::new(BinaryArray::from_vec(vec![b"ab", b"abc"]));
        assert_eq!(fit(&bytes, ColumnKind::Varbyte(2)).bad, [(1, "longer than varbyte(2): 3 bytes".to_string())]);
    }

    #[test]
    fn a_row_has_its_limit_too() {
        let half: ArrayRef = Arc::new(BinaryArray::from_vec(vec![b"x", &vec![0; ROW_BYTES / 2 + 1]]));
        let kind = || ColumnKind::Varbyte(ROW_BYTES as u32);
        let wanted = [column(kind(), false), column(kind(), false)];
        let fitted = fit_batch(&[half.clone(), half], &wanted, &[Policy::default(); 2]);
        assert_eq!(fitted.rejected.len(), 1);
        assert_eq!((fitted.rejected[0].row, fitted.rejected[0].column.as_deref()), (1, None));
        assert_eq!(fitted.rejected[0].reason, "a row of more than 4194304 bytes: 4194306");
    }

    #[test]
    fn what_a_policy_changes_is_counted_where_the_row_stays() {
        let policy = Policy {
            long: Action::Truncate,
            range: Action::Null,
            scale: Action::Round,
            nul: Action::Truncate,
            ..Policy::default()
        };
        let decimals = Decimal128Array::from(vec![155, 99_950, 1]).with_precision_and_scale(5, 2).unwrap();
        let wanted = [
            column(ColumnKind::Decimal(4, 1), false),
            column(ColumnKind::SmallInt, true),
            column(ColumnKind::Varchar(2), false),
        ];
        let fitted = fit_batch(
            &[
                Arc::new(decimals),
                Arc::new(Int32Array::from(vec![1, 2, 40_000])),
                Arc::new(StringArray::from(vec!["ab", "a\0bc", "abc"])),
            ],
            &wanted,
            &[policy; 3],
        );
        assert_eq!(fitted.changed, [1, 0, 1]);
        let rejected: Vec<_> = fitted.rejected.iter().map(|r| (r.row, r.reason.as_str())).collect();
        assert_eq!(rejected, [(2, "NULL where the target's column is NOT NULL")]);
        assert_eq!(fitted.columns[0].as_primitive::<Decimal128Type>().values(), &[16, 9995, 0]);
        assert_eq!(fitted.columns[2].as_string::<i32>().value(1), "ab");
    }
}
