//! A sample of records the whole way, without a dataflow and column by column.
//!
//! A running job takes a record out at its first fault, which is all that it needs to know. Whoever looks at a sample wants all faults
//! at once. So here each declared column is decoded by itself, and each selected one is evaluated and fitted by itself, of all records
//! in which what it looks at has decoded. How many rows come of a sample is counted as a job counts them.

use std::{collections::BTreeSet, sync::Arc};

use arrow_array::{
    Array, ArrayRef, UInt32Array,
    cast::AsArray,
    types::{
        Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
    },
};
use arrow_schema::DataType;
use arrow_select::take::take;
use base64::{Engine, prelude::BASE64_STANDARD};
use checkpoint::{Micros, TopicPartition};
use connectors::{RawBatch, TargetColumn};
use datafusion_physical_expr::{PhysicalExpr, utils::collect_columns};

use crate::{
    Rows,
    decode::{self, Decoder, Format, columns::Builders},
    failure::{Failure, fail},
    places::Place,
    query::{
        self, Input,
        select::{SelectedColumn, Selection, Value},
    },
    rows::{Index, Origin, Rejected, only},
    schema::SourceColumn,
    sink::fit,
    values::{Action, Policy, number},
};

/// Records of one topic, as they were read.
pub struct Sample {
    origin: Arc<Origin>,
    places: Arc<[Place]>,
}

impl Sample {
    /// A batch whose partitions are these places, in the order of the list that its reader was given.
    pub fn new(batch: RawBatch, places: Arc<[Place]>) -> Sample {
        let numbers: Vec<i32> = (0..places.len() as i32).collect();
        Sample { origin: Arc::new(Origin::new(batch, &numbers)), places }
    }

    /// Records, those without a value too.
    pub fn len(&self) -> usize {
        self.origin.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a record; `None` if it has none, which a job skips.
    pub fn value(&self, record: usize) -> Option<&[u8]> {
        self.origin.value.is_valid(record).then(|| self.origin.value.value(record))
    }

    /// Where a record stands.
    pub fn at(&self, record: usize) -> Option<(&TopicPartition, i64)> {
        let place = self.places.get(self.origin.place.value(record) as usize)?;
        Some((&place.partition, self.origin.offset.value(record)))
    }
}

/// Something that keeps a record out of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The record, by its place in the sample.
    pub record: usize,
    /// The column, if one is to blame.
    pub column: Option<String>,
    /// Why: words that do not depend on the record, then a colon and what was found.
    pub reason: String,
    /// What the query or the column was given; `None` where it was NULL, and for decode, which has only the record.
    pub value: Option<String>,
}

impl Fault {
    fn of(rejected: &Rejected, record: usize) -> Fault {
        Fault { record, column: rejected.column.clone(), reason: rejected.reason.clone(), value: None }
    }
}

/// A sample with its declared columns.
pub struct Decoded<'s> {
    sample: &'s Sample,
    /// The records that a job would decode.
    rows: Rows,
    /// All records that are whole, with NULL where a value does not decode.
    whole: Rows,
    /// Which records a declared column fails in.
    failed: Vec<BTreeSet<usize>>,
    /// Everything that does not decode.
    pub faults: Vec<Fault>,
    /// How many records become dead letters here.
    pub undecoded: usize,
}

/// Decodes a sample, each column by itself.
pub fn decode<'s>(sample: &'s Sample, format: Format, columns: &[SourceColumn]) -> Decoded<'s> {
    let origin = &sample.origin;
    let (all, index) = decoded(format, columns, origin);
    let rows = Rows { columns: all.columns, origin: origin.clone(), index, lease: None };
    let undecoded = all.rejected.len();
    if undecoded == 0 {
        let (whole, failed) = (rows.clone(), vec![BTreeSet::new(); columns.len()]);
        return Decoded { sample, rows, whole, failed, faults: Vec::new(), undecoded };
    }
    let alone: Vec<_> = columns.iter().map(|column| decoded(format, std::slice::from_ref(column), origin)).collect();
    let (mut faults, mut broken) = (Vec::new(), BTreeSet::new());
    for rejected in alone.iter().flat_map(|(decoded, _)| &decoded.rejected) {
        // A record that cannot be read at all fails in every column.
        if rejected.column.is_some() || broken.insert(rejected.row) {
            faults.push(Fault::of(rejected, rejected.row));
        }
    }
    let good: Vec<usize> = (0..origin.len()).filter(|r| origin.value.is_valid(*r) && !broken.contains(r)).collect();
    let values = alone.iter().map(|(decoded, index)| {
        let mut rows: Vec<Option<u32>> = vec![None; origin.len()];
        (0..index.len()).for_each(|row| rows[index.record(row)] = Some(row as u32));
        let rows: UInt32Array = good.iter().map(|record| rows[*record]).collect();
        let values = decoded.columns.first().map(|column| take(column, &rows, None));
        values.and_then(Result::ok).unwrap_or_else(|| fail(Failure::Bug("a column without its records".into())))
    });
    let columns = values.collect();
    let whole = Rows { columns, origin: origin.clone(), index: Index::of(good.iter().copied()), lease: None };
    let failed = alone.iter().map(|(decoded, _)| decoded.rejected.iter().map(|rejected| rejected.row).collect());
    Decoded { sample, rows, whole, failed: failed.collect(), faults, undecoded }
}

fn decoded(format: Format, columns: &[SourceColumn], origin: &Origin) -> (decode::Decoded, Index) {
    let decoded = Decoder::new(format, columns).batch(origin, columns, &mut Builders::new(columns));
    let (index, _) = decode::leave_out(origin, &decoded.rejected);
    (decoded, index)
}

/// What comes of a sample for one target.
#[derive(Debug, Default)]
pub struct Loaded {
    /// How many records WHERE leaves out.
    pub filtered: usize,
    /// How many rows the table would get; where columns of it are not known, how many the query gives.
    pub rows: usize,
    /// How many values that are not NULL come of the columns, each by itself.
    pub values: usize,
    /// What the query fails on. Without a column it is WHERE.
    pub query: Vec<Fault>,
    /// What does not fit. Without a column it is the row as a whole.
    pub fit: Vec<Fault>,
}

impl Decoded<'_> {
    /// The way of the records from the query on. `columns` are those of the table, for each that is selected; `None` where it has none
    /// that could be filled, and nothing is fitted.
    pub fn load(&self, selection: &Selection, columns: &[Option<TargetColumn>]) -> Loaded {
        let mut loaded = self.count(selection, columns);
        let kept = self.kept(selection, &mut loaded);
        for (number, column) in selection.columns.iter().enumerate() {
            let inputs = inputs(column, selection);
            let failed = |row: &usize| inputs.iter().any(|input| self.failed(*input, self.whole.index.record(*row)));
            let rows: Vec<usize> = kept.iter().copied().filter(|row| !failed(row)).collect();
            self.column(selection, column, &inputs, columns.get(number).and_then(Option::as_ref), &rows, &mut loaded);
        }
        let place = |fault: &Fault| (fault.column.clone(), fault.record);
        // A key that is not text is found with every column that looks at it.
        let mut seen = BTreeSet::new();
        loaded.query.retain(|fault| seen.insert(place(fault)));
        loaded
    }

    /// As a job does it, with the records that decode.
    fn count(&self, selection: &Selection, columns: &[Option<TargetColumn>]) -> Loaded {
        let evaluated = query::evaluate(&self.rows, selection, &self.sample.places);
        let mut loaded = Loaded { filtered: evaluated.filtered(self.rows.len()).count(), ..Loaded::default() };
        let index = evaluated.kept.map_or_else(|| self.rows.index.clone(), |kept| self.rows.index.only(&kept));
        loaded.rows = index.len();
        let wanted: Option<Vec<TargetColumn>> = columns.iter().cloned().collect();
        if let Some(wanted) = wanted.filter(|wanted| wanted.len() == evaluated.columns.len()) {
            let policies: Vec<Policy> = selection.columns.iter().map(|column| column.policy).collect();
            let fitted = fit::fit_batch(&evaluated.columns, &wanted, &policies);
            loaded.rows -= fitted.rejected.len();
            let rows = fitted.rejected.iter().filter(|rejected| rejected.column.is_none());
            loaded.fit.extend(rows.map(|rejected| Fault::of(rejected, index.record(rejected.row))));
        }
        loaded
    }

    /// The rows that WHERE lets through. Whether it would, where what it looks at does not decode, nobody knows: these are looked at.
    fn kept(&self, selection: &Selection, loaded: &mut Loaded) -> Vec<usize> {
        let Some(filter) = &selection.filter else { return (0..self.whole.len()).collect() };
        let looks_at = declared(filter, selection);
        let unknown = |row: usize| looks_at.iter().any(|input| self.failed(*input, self.whole.index.record(row)));
        let condition = Selection { columns: Vec::new(), ..selection.clone() };
        let evaluated = query::evaluate(&self.whole, &condition, &self.sample.places);
        let failed = evaluated.rejected.iter().filter(|rejected| !unknown(rejected.row));
        loaded.query.extend(failed.map(|rejected| Fault {
            value: self.given(&looks_at, rejected.row),
            ..Fault::of(rejected, self.whole.index.record(rejected.row))
        }));
        let kept = evaluated.kept.map_or_else(|| (0..self.whole.len()).collect(), BTreeSet::from_iter);
        (0..self.whole.len()).filter(|row| kept.contains(row) || unknown(*row)).collect()
    }

    /// One column of the SELECT list on these rows.
    fn column(
        &self,
        selection: &Selection,
        column: &SelectedColumn,
        inputs: &[usize],
        wanted: Option<&TargetColumn>,
        rows: &[usize],
        loaded: &mut Loaded,
    ) {
        let columns = only(&self.whole.columns, self.whole.len(), rows);
        let some = Rows { columns, index: self.whole.index.only(rows), ..self.whole.clone() };
        let alone = Selection { filter: None, columns: vec![column.clone()], ..selection.clone() };
        let evaluated = query::evaluate(&some, &alone, &self.sample.places);
        loaded.query.extend(evaluated.rejected.iter().map(|rejected| Fault {
            value: self.given(inputs, rows[rejected.row]),
            ..Fault::of(rejected, some.index.record(rejected.row))
        }));
        let Some(values) = evaluated.columns.first() else { return };
        loaded.values += values.len() - values.null_count();
        let Some(wanted) = wanted else { return };
        let index = evaluated.kept.map_or_else(|| some.index.clone(), |kept| some.index.only(&kept));
        let fitted = fit::fit_batch(
            std::slice::from_ref(values),
            std::slice::from_ref(wanted),
            std::slice::from_ref(&column.policy),
        );
        let of_column = fitted.rejected.iter().filter(|rejected| rejected.column.is_some());
        loaded.values -= of_column.clone().filter(|rejected| values.is_valid(rejected.row)).count();
        loaded.fit.extend(of_column.map(|rejected| Fault {
            value: shown(values, rejected.row),
            ..Fault::of(rejected, index.record(rejected.row))
        }));
    }

    fn failed(&self, column: usize, record: usize) -> bool {
        self.failed.get(column).is_some_and(|failed| failed.contains(&record))
    }

    /// The declared columns that an expression was given.
    fn given(&self, columns: &[usize], row: usize) -> Option<String> {
        let values = columns.iter().filter_map(|column| self.whole.columns.get(*column));
        let shown: Vec<String> = values.map(|values| shown(values, row).unwrap_or_else(|| "NULL".into())).collect();
        (!shown.is_empty()).then(|| shown.join(", "))
    }
}

/// The declared columns that a selected one is made of, by number.
pub fn inputs(column: &SelectedColumn, selection: &Selection) -> Vec<usize> {
    match &column.value {
        Value::Computed(expr) => declared(expr, selection),
        Value::Input(place) => match selection.inputs.get(*place) {
            Some(Input::Column(number)) => vec![*number],
            _ => Vec::new(),
        },
    }
}

/// The declared columns that the WHERE looks at, by number.
pub fn filter_inputs(selection: &Selection) -> Vec<usize> {
    selection.filter.as_ref().map(|filter| declared(filter, selection)).unwrap_or_default()
}

fn declared(expr: &Arc<dyn PhysicalExpr>, selection: &Selection) -> Vec<usize> {
    let places: BTreeSet<usize> = collect_columns(expr).iter().map(|column| column.index()).collect();
    let number = |place: usize| match selection.inputs.get(place) {
        Some(Input::Column(number)) => Some(*number),
        _ => None,
    };
    places.into_iter().filter_map(number).collect()
}

/// The policy under which all of these values fit into a column, with the words alone that are needed; `None` if there is none. Values
/// are given as [`Fault::value`] has them, of a column that was selected with this type.
pub fn policy_for(values: &[Option<String>], kind: &connectors::ColumnKind, wanted: &TargetColumn) -> Option<Policy> {
    let most = Policy {
        scale: Action::Round,
        long: Action::Truncate,
        nul: Action::Truncate,
        range: Action::Null,
        empty: Action::Reject,
    };
    let declared = SourceColumn::new("value", kind.clone());
    let mut builders = Builders::new(std::slice::from_ref(&declared));
    for value in values {
        let value = value.as_deref();
        let is_number = value.is_some_and(crate::values::json::is_number);
        let value = match value {
            None => decode::columns::Value::Null,
            Some(text) if is_number => decode::columns::Value::Number(text),
            Some(text) => decode::columns::Value::Text(text),
        };
        builders.set(0, value).ok()?;
        builders.end_row();
    }
    let (columns, _) = builders.finish();
    let fits = |policy: &Policy| {
        fit::fit_batch(&columns, std::slice::from_ref(wanted), std::slice::from_ref(policy)).rejected.is_empty()
    };
    least(Policy::default(), most, fits)
}

/// As much of a policy as is needed: what can be as in `own` is. `None` if all of it is not enough.
pub fn least(own: Policy, most: Policy, is_enough: impl Fn(&Policy) -> bool) -> Option<Policy> {
    if !is_enough(&most) {
        return None;
    }
    // What loses a whole value is the first that is taken back.
    let take_back: [fn(&mut Policy, &Policy); 5] = [
        |policy, own| policy.range = own.range,
        |policy, own| policy.long = own.long,
        |policy, own| policy.scale = own.scale,
        |policy, own| policy.nul = own.nul,
        |policy, own| policy.empty = own.empty,
    ];
    Some(take_back.into_iter().fold(most, |policy, take_back| {
        let mut less = policy;
        take_back(&mut less, &own);
        if is_enough(&less) { less } else { policy }
    }))
}

/// A value for a person; `None` for NULL.
fn shown(values: &ArrayRef, row: usize) -> Option<String> {
    if values.is_null(row) {
        return None;
    }
    Some(match values.data_type() {
        DataType::Int16 => values.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => values.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => values.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float32 => number::float_text(values.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => number::float_text(values.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(_, scale) => {
            number::decimal_text(values.as_primitive::<Decimal128Type>().value(row), *scale as u8)
        }
        DataType::Boolean => values.as_boolean().value(row).to_string(),
        DataType::Utf8 => values.as_string::<i32>().value(row).to_string(),
        DataType::Binary => BASE64_STANDARD.encode(values.as_binary::<i32>().value(row)),
        DataType::Date32 => {
            let days = i64::from(values.as_primitive::<Date32Type>().value(row));
            Micros(days * 86_400_000_000).to_text().chars().take(10).collect()
        }
        DataType::Timestamp(..) => Micros(values.as_primitive::<TimestampMicrosecondType>().value(row)).to_text(),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use connectors::ColumnKind;

    use super::*;
    use crate::query::select;

    fn sample(values: &[Option<&str>]) -> Sample {
        let mut raw = RawBatch::default();
        for (offset, value) in values.iter().enumerate() {
            raw.partitions.push(0);
            raw.offsets.push(100 + offset as i64);
            raw.timestamps_ms.push(0);
            raw.keys.push(None).unwrap();
            raw.values.push(value.map(str::as_bytes)).unwrap();
        }
        let partition = TopicPartition::new("t", 0);
        let place = Place { partition, topic_id: String::new(), stream: 0, start: 0, leader_epoch: None, until: None };
        Sample::new(raw, [place].into())
    }

    fn columns() -> Vec<SourceColumn> {
        let kinds = [("a", ColumnKind::Integer), ("b", ColumnKind::Integer), ("c", ColumnKind::Varchar(9))];
        kinds.map(|(name, kind)| SourceColumn::new(name, kind)).into()
    }

    fn target(name: &str, kind: ColumnKind, not_null: bool) -> Option<TargetColumn> {
        Some(TargetColumn { name: name.into(), kind, not_null, has_default: false, is_identity: false })
    }

    fn named(faults: &[Fault]) -> Vec<(usize, Option<&str>, &str, Option<&str>)> {
        faults.iter().map(|f| (f.record, f.column.as_deref(), f.reason.as_str(), f.value.as_deref())).collect()
    }

    #[test]
    fn every_column_that_fails_is_found_in_one_go() {
        let sample = sample(&[
            Some(r#"{"a":"x","b":1.5,"c":"too long a text"}"#),
            Some("{"),
            None,
            Some(r#"{"a":1,"b":0,"c":"12345"}"#),
            Some(r#"{"a":2,"b":5,"c":"1"}"#),
            Some(r#"{"a":1,"b":true,"c":"123456"}"#),
        ]);
        let columns = columns();
        let decoded = decode(&sample, Format::Json, &columns);
        assert_eq!(decoded.undecoded, 3);
        assert_eq!(
            named(&decoded.faults),
            [
                (0, Some("a"), "a string that is not a number: \"x\"", None),
                (1, None, "not JSON: the end at byte 1 where '\"' should be", None),
                (0, Some("b"), "a number that is not whole: 1.5", None),
                (5, Some("b"), "a boolean where an integer is declared", None),
                (0, Some("c"), "longer than varchar(9): 15 bytes", None),
            ]
        );
        let selection = select::parse("SELECT a, 10 / b AS q, c FROM s WHERE a < 2", &[("s".into(), columns)]).unwrap();
        let wanted = [
            target("a", ColumnKind::SmallInt, false),
            target("q", ColumnKind::Integer, false),
            target("c", ColumnKind::Varchar(4), false),
        ];
        let loaded = decoded.load(&selection, &wanted);
        // Of the two that decode one is left out, and the other fails. Record 5 is looked at for its other columns.
        assert_eq!((loaded.filtered, loaded.rows), (1, 0));
        assert_eq!(named(&loaded.query), [(3, Some("q"), "division by zero", Some("0"))]);
        assert_eq!(
            named(&loaded.fit),
            [
                (3, Some("c"), "longer than varchar(4): 5 bytes", Some("12345")),
                (5, Some("c"), "longer than varchar(4): 6 bytes", Some("123456")),
            ]
        );
        // A table that is not there: the query is tried all the same.
        let loaded = decoded.load(&selection, &[None, None, None]);
        assert_eq!((loaded.rows, loaded.query.len(), loaded.fit.len()), (0, 1, 0));
    }

    #[test]
    fn rows_are_counted_as_a_job_counts_them() {
        let sample = sample(&[Some(r#"{"a":1}"#), Some(r#"{"a":2,"b":3}"#), Some(r#"{"a":70000,"b":3}"#)]);
        let columns = columns();
        let decoded = decode(&sample, Format::Json, &columns);
        let selection = select::parse("SELECT a, b FROM s", &[("s".into(), columns)]).unwrap();
        let wanted = [target("a", ColumnKind::SmallInt, false), target("b", ColumnKind::Integer, true)];
        let loaded = decoded.load(&selection, &wanted);
        assert_eq!((decoded.undecoded, loaded.filtered, loaded.rows), (0, 0, 1));
        assert_eq!(
            named(&loaded.fit),
            [
                (2, Some("a"), "out of range for smallint: 70000", Some("70000")),
                (0, Some("b"), "NULL where the target's column is NOT NULL", None),
            ]
        );
    }

    #[test]
    fn a_policy_is_tried_before_it_is_named() {
        let values = |texts: &[&str]| texts.iter().map(|text| Some(text.to_string())).collect::<Vec<_>>();
        let column = |kind, not_null| target("c", kind, not_null).unwrap();
        let words = |policy: Option<Policy>| {
            let said = policy?.words().into_iter().filter(|(_, action, _)| *action != Action::Reject);
            Some(said.map(|(key, _, word)| format!("{key} = {word}")).collect::<Vec<_>>().join(", "))
        };
        for (given, kind, wanted, policy) in [
            (&["70000"][..], ColumnKind::Integer, column(ColumnKind::SmallInt, false), Some("range = null")),
            (&["70000"], ColumnKind::Integer, column(ColumnKind::SmallInt, true), None),
            (&["1.25"], ColumnKind::Decimal(9, 2), column(ColumnKind::Decimal(9, 1), false), Some("scale = round")),
            (&["abcde"], ColumnKind::Varchar(9), column(ColumnKind::Varchar(4), false), Some("long = truncate")),
            (&["ä"], ColumnKind::Varchar(9), column(ColumnKind::Char(4), false), None),
            (
                &["12345.678"],
                ColumnKind::Decimal(13, 3),
                column(ColumnKind::Decimal(5, 2), false),
                Some("range = null, scale = round"),
            ),
            (
                &["12345.67", "1.12"],
                ColumnKind::Decimal(13, 3),
                column(ColumnKind::Decimal(5, 2), false),
                Some("range = null"),
            ),
        ] {
            assert_eq!(words(policy_for(&values(given), &kind, &wanted)).as_deref(), policy, "{given:?}");
        }
    }
}
