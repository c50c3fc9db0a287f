//! The SELECT of a target.
//!
//! * Input: decoded rows of one stream. Output: the rows that its WHERE lets through, with the columns of the SELECT list;
//!   the dead letters of those on which an expression fails; and the fates of these and of those that WHERE leaves out.
//! * Time: each batch at its own; see [`mod@crate::stage`].
//! * Failure: none that a record could cause, unless the job says to halt at them; what a SELECT may say is decided once,
//!   in [`select`].
//!
//! Expressions are evaluated on whole batches. When one fails on a batch, halves of it are tried until the rows that it
//! fails on stand by themselves; they are taken out, and the others go on.

pub mod compile;
pub mod functions;
mod input;
mod lacking;
pub mod names;
pub mod refusal;
pub mod select;
mod source_text;

use std::{collections::BTreeMap, sync::Arc};

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray,
    cast::AsArray,
    new_empty_array, new_null_array,
    types::{Int32Type, Int64Type},
};
use arrow_select::{
    concat::concat,
    filter::{filter, filter_record_batch},
};
use checkpoint::{Fate, Fates, Micros};
use datafusion_common::DataFusionError;
use datafusion_physical_expr::PhysicalExpr;
use timely::dataflow::Stream;

use crate::{
    Rows, Time,
    dead_letters::Rejects,
    failure::{Failure, fail},
    places::Place,
    rows::{Rejected, constant},
    signals::Of,
    stage::{Outputs, Split, split},
    step::{Step, Tools},
};
use select::{Selection, Value};
use source_text::NotText;

pub use input::{Input, SourceValue};

/// The query of one target.
#[derive(Clone, Debug)]
pub struct Query {
    /// Its SELECT.
    pub selection: Arc<Selection>,
}

impl Step for Query {
    fn name(&self) -> &'static str {
        "query"
    }

    fn build<'s>(&self, rows: Stream<'s, Time, Rows>, tools: &Tools) -> Outputs<'s, Rows> {
        let Tools { target, places, rejects, .. } = tools.clone();
        let (of, selection) = (Of::Target(target.number), self.selection.clone());
        let query = Evaluate { target: target.name(), selection, places, rejects };
        split("Query", of, rows, move |epoch, rows| query.batch(epoch, rows))
    }
}

/// Query without a dataflow around it.
pub struct Evaluate {
    /// The name of the target.
    pub target: String,
    /// Its SELECT.
    pub selection: Arc<Selection>,
    /// All partitions of the job.
    pub places: Arc<[Place]>,
    /// Where dead letters are made.
    pub rejects: Rejects,
}

impl Evaluate {
    /// A decoded batch as the SELECT wants it, and the dead letters of those on which it fails.
    pub fn batch(&self, epoch: Time, rows: Rows) -> Split<Rows> {
        let evaluated = evaluate(&rows, &self.selection, &self.places);
        let mut fates = Fates::default();
        fates.add(Fate::Filtered, rows.tally_of(evaluated.filtered(rows.len())));
        let Evaluated { columns, kept, rejected } = evaluated;
        fates.add(Fate::DeadLetter, rows.tally_of(rejected.iter().map(|r| r.row)));
        let letters = self.rejects.set_aside(epoch, "query", &self.target, &rows.origin, &rows.index, &rejected);
        let index = kept.map_or_else(|| rows.index.clone(), |kept| rows.index.only(&kept));
        Split { rows: Rows { columns, index, ..rows }, letters, fates }
    }
}

/// What came of a batch.
pub(crate) struct Evaluated {
    /// The columns of the SELECT list, of the rows that stay.
    pub(crate) columns: Vec<ArrayRef>,
    /// Which rows those are, in order; `None` for all.
    pub(crate) kept: Option<Vec<usize>>,
    /// The rows on which it failed, in order.
    pub(crate) rejected: Vec<Rejected>,
}

impl Evaluated {
    /// The rows that WHERE left out of so many: those that neither stay nor were rejected.
    pub(crate) fn filtered(&self, rows: usize) -> impl Iterator<Item = usize> + '_ {
        let mut kept = self.kept.iter().flatten().copied().peekable();
        let mut rejected = self.rejected.iter().map(|r| r.row).peekable();
        let all = if self.kept.is_some() { rows } else { 0 };
        (0..all).filter(move |row| kept.next_if_eq(row).is_none() & rejected.next_if_eq(row).is_none())
    }
}

/// The rows of a batch as a SELECT wants them.
pub(crate) fn evaluate(rows: &Rows, selection: &Selection, places: &[Place]) -> Evaluated {
    let mut rejected: BTreeMap<usize, Rejected> = BTreeMap::new();
    let inputs = selection.inputs.iter().map(|input| match input {
        Input::Column(number) => rows.columns[*number].clone(),
        Input::Source(value) => source_value(*value, rows, places),
    });
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let batch = RecordBatch::try_new_with_options(selection.schema.clone(), inputs.collect(), &options);
    let mut batch = batch.unwrap_or_else(|e| fail(Failure::Bug(format!("the inputs of a query: {e}"))));
    // The row of the whole batch for each row of `batch`; `None` while they are the same.
    let mut of_whole: Option<Vec<usize>> = None;
    if let Some(condition) = &selection.filter {
        let Attempt { values, failed } = attempt(condition, &batch);
        rejected.extend(failed.into_iter().map(|(row, why)| (row, why.of_row(row, None))));
        let passes = values.as_boolean();
        // One that failed is NULL.
        let whole: Vec<usize> =
            (0..batch.num_rows()).filter(|row| passes.is_valid(*row) && passes.value(*row)).collect();
        if whole.len() < batch.num_rows() {
            batch = only(&batch, &mask(batch.num_rows(), &whole));
            of_whole = Some(whole);
        }
    }
    let place = |row: usize, of_whole: &Option<Vec<usize>>| of_whole.as_ref().map_or(row, |whole| whole[row]);
    let mut computed: Vec<Option<ArrayRef>> = vec![None; selection.columns.len()];
    let mut failed: BTreeMap<usize, Rejected> = BTreeMap::new();
    for (column, computed) in selection.columns.iter().zip(&mut computed) {
        let Value::Computed(expr) = &column.value else { continue };
        let attempt = attempt(expr, &batch);
        for (row, why) in attempt.failed {
            // The first column wins.
            failed.entry(row).or_insert_with(|| why.of_row(place(row, &of_whole), Some(&column.name)));
        }
        *computed = Some(attempt.values);
    }
    if !failed.is_empty() {
        let good: Vec<usize> = (0..batch.num_rows()).filter(|row| !failed.contains_key(row)).collect();
        let keep = mask(batch.num_rows(), &good);
        batch = only(&batch, &keep);
        for values in computed.iter_mut().flatten() {
            *values =
                filter(values, &keep).unwrap_or_else(|e| fail(Failure::Bug(format!("cannot filter a batch: {e}"))));
        }
        of_whole = Some(good.iter().map(|row| place(*row, &of_whole)).collect());
        rejected.extend(failed.into_values().map(|rejection| (rejection.row, rejection)));
    }
    let columns = selection.columns.iter().zip(computed).map(|(column, computed)| match (&column.value, computed) {
        (Value::Input(place), _) => batch.column(*place).clone(),
        (Value::Computed(_), Some(values)) => values,
        (Value::Computed(expr), None) => fail(Failure::Bug(format!("{expr} was not evaluated"))),
    });
    Evaluated { columns: columns.collect(), kept: of_whole, rejected: rejected.into_values().collect() }
}

/// True at these rows.
fn mask(rows: usize, these: &[usize]) -> BooleanArray {
    let mut keep = vec![false; rows];
    these.iter().for_each(|row| keep[*row] = true);
    BooleanArray::from(keep)
}

/// The rows of a batch at which `keep` is true.
fn only(batch: &RecordBatch, keep: &BooleanArray) -> RecordBatch {
    let filtered = filter_record_batch(batch, keep);
    filtered.unwrap_or_else(|e| fail(Failure::Bug(format!("cannot filter a batch: {e}"))))
}

/// What came of an expression on a batch.
struct Attempt {
    /// The value of each row; NULL where it failed.
    values: ArrayRef,
    /// The rows it failed on, in order, and why.
    failed: Vec<(usize, Why)>,
}

/// Why an expression failed on a row.
struct Why {
    /// What of the record could not be read, if it is that.
    column: Option<&'static str>,
    reason: String,
}

impl Why {
    /// That row as rejected; for `column` of the SELECT list, unless something of the record is to blame.
    fn of_row(self, row: usize, column: Option<&str>) -> Rejected {
        Rejected { row, column: self.column.or(column).map(String::from), reason: self.reason }
    }
}

/// Below so many rows, each is tried by itself.
const FEW: usize = 8;

fn attempt(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Attempt {
    if let Ok(values) = whole(expr, batch) {
        return Attempt { values, failed: Vec::new() };
    }
    let kind = expr.data_type(batch.schema_ref());
    let kind = kind.unwrap_or_else(|e| fail(Failure::Bug(format!("{expr} has no type: {e}"))));
    let missing = new_null_array(&kind, 1);
    let mut failed = Vec::new();
    // The left half comes off first, so the pieces are in order.
    let mut todo = vec![(0, batch.num_rows())];
    let mut pieces: Vec<ArrayRef> = Vec::new();
    while let Some((start, count)) = todo.pop() {
        match whole(expr, &batch.slice(start, count)) {
            Ok(values) => pieces.push(values),
            Err(error) if count <= 1 => {
                failed.push((start, reason(error)));
                pieces.push(missing.clone());
            }
            Err(_) if count <= FEW => todo.extend((start..start + count).rev().map(|row| (row, 1))),
            Err(_) => todo.extend([(start + count / 2, count - count / 2), (start, count / 2)]),
        }
    }
    let pieces: Vec<&dyn Array> = pieces.iter().map(|piece| &**piece).collect();
    let values = concat(&pieces).unwrap_or_else(|e| fail(Failure::Bug(format!("pieces of {expr}: {e}"))));
    Attempt { values, failed }
}

/// The value of each row. Without rows nothing fails, whatever constants the expression has.
fn whole(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<ArrayRef, DataFusionError> {
    match batch.num_rows() {
        0 => Ok(new_empty_array(&expr.data_type(batch.schema_ref())?)),
        rows => expr.evaluate(batch)?.into_array(rows),
    }
}

/// Why an expression failed, without what the crates put around it.
fn reason(error: DataFusionError) -> Why {
    if let DataFusionError::External(source) = error.find_root()
        && let Some(unreadable) = source.downcast_ref::<NotText>()
    {
        return Why { column: Some(unreadable.column), reason: unreadable.to_string() };
    }
    let text = match error {
        DataFusionError::Execution(text) => text,
        other => other.strip_backtrace(),
    };
    let reason = text.trim_start_matches("Arrow error: ").trim_start_matches("Execution error: ").to_string();
    Why { column: None, reason }
}

fn source_value(value: SourceValue, rows: &Rows, places: &[Place]) -> ArrayRef {
    let Rows { origin, index, .. } = rows;
    match value {
        // A batch has one topic.
        SourceValue::Topic => {
            let place = origin.place.values().first().and_then(|p| places.get(*p as usize));
            constant(place.map_or("", |p| &p.partition.topic), rows.len())
        }
        SourceValue::Partition => {
            let number = |place: i32| places.get(place as usize).map_or(-1, |p| p.partition.partition);
            let place = index.gather(&origin.place);
            Arc::new(place.as_primitive::<Int32Type>().unary::<_, Int32Type>(number))
        }
        SourceValue::Offset => index.gather(&origin.offset),
        SourceValue::Timestamp => {
            let ms = index.gather(&origin.timestamp_ms);
            let ms = ms.as_primitive::<Int64Type>().values().iter();
            let micros = ms.map(|ms| Micros::from_millis(*ms).map(|at| at.0));
            Arc::new(TimestampMicrosecondArray::from_iter(micros).with_timezone("UTC"))
        }
        SourceValue::Key => index.gather(&origin.key),
        SourceValue::Headers => match &origin.headers {
            Some(headers) => index.gather(headers),
            None => Arc::new(BinaryArray::from_iter_values(std::iter::repeat_n("[]", rows.len()))),
        },
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int64Array, StringArray, types::*};
    use checkpoint::TopicPartition;
    use connectors::{ColumnKind, RawBatch};

    use super::*;
    use crate::{
        rows::{Index, Origin},
        schema::SourceColumn,
    };

    fn place(partition: i32) -> Place {
        let partition = TopicPartition::new("t", partition);
        Place { partition, topic_id: String::new(), stream: 0, start: 0, leader_epoch: None, until: None }
    }

    fn selection(query: &str) -> Selection {
        let columns = vec![SourceColumn::new("n", ColumnKind::BigInt), SourceColumn::new("s", ColumnKind::Varchar(20))];
        select::parse(query, &[("t".into(), columns)]).unwrap()
    }

    /// Rows with these numbers, and their text.
    fn rows(numbers: &[Option<i64>]) -> Rows {
        let mut raw = RawBatch::default();
        for (i, _) in numbers.iter().enumerate() {
            raw.partitions.push(0);
            raw.offsets.push(100 + i as i64);
            raw.timestamps_ms.push(5);
            raw.keys.push(None).unwrap();
            raw.values.push(Some(b"{}")).unwrap();
        }
        let texts = StringArray::from_iter(numbers.iter().map(|n| n.map(|n| n.to_string())));
        Rows {
            columns: vec![Arc::new(Int64Array::from(numbers.to_vec())), Arc::new(texts)],
            origin: Arc::new(Origin::new(raw, &[0])),
            index: Index::all(numbers.len()),
            lease: None,
        }
    }

    fn run(query: &str, numbers: &[Option<i64>]) -> Evaluated {
        let rows = rows(numbers);
        evaluate(&rows, &selection(query), &[place(0)])
    }

    #[test]
    fn columns_and_where_they_came_from() {
        let places = [place(3), place(4)];
        let mut raw = RawBatch {
            partitions: vec![0, 1, 1],
            offsets: vec![10, 20, 21],
            timestamps_ms: vec![5, -1, i64::MAX],
            ..RawBatch::default()
        };
        for key in [Some(&b"k"[..]), None, Some(b"\xff")] {
            raw.keys.push(key).unwrap();
            raw.values.push(Some(b"{}")).unwrap();
            raw.headers.push(Some(b"[1]")).unwrap();
        }
        let rows = Rows {
            columns: vec![Arc::new(Int64Array::from(vec![1, 2, 3])), Arc::new(StringArray::from(vec!["a", "b", "c"]))],
            origin: Arc::new(Origin::new(raw, &[0, 1])),
            index: Index::all(3),
            lease: None,
        };
        let query = selection("SELECT _topic, _partition, _offset, _timestamp, _key, _headers, n FROM t");
        let got = evaluate(&rows, &query, &places);
        assert_eq!(got.rejected.iter().map(|r| (r.row, r.column.as_deref())).collect::<Vec<_>>(), [(2, Some("_key"))]);
        assert_eq!(got.kept, Some(vec![0, 1]));
        let columns = got.columns;
        assert_eq!(columns[0].as_string::<i32>().iter().collect::<Vec<_>>(), [Some("t"); 2]);
        assert_eq!(columns[1].as_primitive::<Int32Type>().values(), &[3, 4]);
        assert_eq!(columns[2].as_primitive::<Int64Type>().values(), &[10, 20]);
        assert_eq!(
            columns[3].as_primitive::<TimestampMicrosecondType>().iter().collect::<Vec<_>>(),
            [Some(5000), None]
        );
        assert_eq!(columns[4].as_string::<i32>().iter().collect::<Vec<_>>(), [Some("k"), None]);
        assert_eq!(columns[5].as_string::<i32>().iter().collect::<Vec<_>>(), [Some("[1]"); 2]);
        assert_eq!(columns[6].as_primitive::<Int64Type>().values(), &[1, 2]);
    }

    #[test]
    fn a_key_that_is_no_text_matters_where_it_is_looked_at() {
        let mut raw = RawBatch::default();
        for row in 0..4 {
            raw.partitions.push(0);
            raw.offsets.push(row);
            raw.timestamps_ms.push(5);
            raw.keys.push(Some(if row < 2 { b"\xff" } else { b"k" })).unwrap();
            raw.values.push(Some(b"{}")).unwrap();
        }
        let rows = Rows {
            columns: vec![
                Arc::new(Int64Array::from(vec![1, 2, 1, 2])),
                Arc::new(StringArray::from(vec!["a", "b", "c", "d"])),
            ],
            origin: Arc::new(Origin::new(raw, &[0])),
            index: Index::all(4),
            lease: None,
        };
        for (query, bad, filtered) in [
            ("SELECT n FROM t", vec![], 0),
            ("SELECT _key AS k FROM t", vec![0, 1], 0),
            ("SELECT _key AS k FROM t WHERE n = 1", vec![0], 2),
            // What decides before it is looked at leaves it alone.
            ("SELECT n FROM t WHERE n = 1 AND _key = 'k'", vec![0], 2),
            ("SELECT n FROM t WHERE n = 2 OR _key = 'x'", vec![0], 1),
            ("SELECT n FROM t WHERE _key = 'k'", vec![0, 1], 0),
            ("SELECT CASE WHEN n = 1 THEN 'one' ELSE _key END AS k FROM t", vec![1], 0),
            ("SELECT CASE n WHEN 1 THEN 'one' ELSE upper(_key) END AS k FROM t", vec![1], 0),
            ("SELECT CASE WHEN n = 1 THEN 'a' WHEN _key = 'x' THEN 'b' END AS k FROM t", vec![1], 0),
            ("SELECT CASE WHEN n = 3 THEN _key END AS k FROM t", vec![], 0),
            ("SELECT nvl(s, _key) AS k FROM t", vec![], 0),
            ("SELECT nvl2(s, 'there', _key) AS k FROM t", vec![], 0),
            ("SELECT decode(n, 1, 'one', _key) AS k FROM t", vec![1], 0),
            ("SELECT nullif(s, _key) AS k FROM t", vec![0, 1], 0),
            ("SELECT n BETWEEN 2 AND CASE WHEN _key = 'k' THEN 3 ELSE 4 END AS k FROM t", vec![1], 0),
            ("SELECT n IN (1, len(_key)) AS k FROM t", vec![1], 0),
            ("SELECT _key IS NULL AS k, _key IS NOT NULL AS l, nvl2(_key, 1, 0) AS m FROM t", vec![], 0),
            ("SELECT _key IS NULL AS k FROM t WHERE _key IS NOT NULL", vec![], 0),
        ] {
            let got = evaluate(&rows, &selection(query), &[place(0)]);
            assert_eq!(
                (got.rejected.iter().map(|r| r.row).collect::<Vec<_>>(), got.filtered(4).count()),
                (bad, filtered),
                "{query}"
            );
            assert!(got.rejected.iter().all(|r| r.column.as_deref() == Some("_key")), "{query}");
            assert!(got.rejected.iter().all(|r| r.reason == "not UTF-8: at byte 0"), "{query}");
        }
    }

    #[test]
    fn times_and_intervals_of_each_row() {
        let micros = |got: &Evaluated| {
            let times = got.columns[0].as_primitive::<TimestampMicrosecondType>();
            times.iter().flatten().collect::<Vec<_>>()
        };
        let second = 1_000_000;
        let far = i64::MAX;
        for (expression, numbers, times) in [
            (
                "timestamp 'epoch' + n * interval '1 second'",
                vec![0, 1, -1, 1_732_575_600],
                vec![0, second, -second, 1_732_575_600 * second],
            ),
            ("timestamp 'epoch' + interval '1 millisecond' * n", vec![1_732_575_600_123], vec![1_732_575_600_123_000]),
            ("timestamptz 'epoch' + interval '1 microsecond' * n", vec![7], vec![7]),
            ("timestamp 'epoch' + n::decimal(18,0) / 4 * interval '1 second'", vec![1, -1], vec![250_000, -250_000]),
            ("timestamp 'epoch' + n::decimal(18,7) / 10000000 * interval '1 second'", vec![4, 5, 6], vec![0, 1, 1]),
            (
                "timestamp 'epoch' + n::double precision / 8 * interval '1 second'",
                vec![1, 12],
                vec![125_000, 1_500_000],
            ),
            (
                "timestamp 'epoch' + n::double precision * interval '1 month'",
                vec![1, 12],
                vec![31 * 86_400 * second, 365 * 86_400 * second],
            ),
            (
                "date '1970-01-31' + n * interval '1 month'",
                vec![1, 13],
                vec![58 * 86_400 * second, (365 + 58) * 86_400 * second],
            ),
            ("dateadd(day, 0, 'epoch') - n * interval '1 day'", vec![1], vec![-86_400 * second]),
        ] {
            let rows: Vec<Option<i64>> = numbers.into_iter().map(Some).collect();
            let got = run(&format!("SELECT {expression} AS x FROM t"), &rows);
            assert_eq!((micros(&got), got.rejected.len()), (times, 0), "{expression}");
        }
        let outside = "a time outside of the years 1 to 9999";
        for (expression, number, why) in [
            ("timestamp 'epoch' + n * interval '1 second'", far, "out of range for interval"),
            ("timestamp 'epoch' + n * interval '1 second'", 300_000_000_000, outside),
            ("timestamp 'epoch' - n * interval '1 second'", 300_000_000_000, outside),
            ("timestamp 'epoch' + n * interval '1 year'", 8_030, outside),
            ("timestamp 'epoch' + n * interval '1 year'", far, "out of range for interval"),
            (
                "timestamp 'epoch' + n * interval '1 year' - interval '1 day'",
                i64::from(i32::MAX),
                "out of range for interval",
            ),
            ("timestamp 'epoch' + n::double precision * interval '1 second'", far, "out of range for interval"),
            ("timestamp 'epoch' + interval '1 day' / n", 0, "division by zero"),
            ("timestamp 'epoch' + interval '1 month' / n", 2, "a part of a month has no length: use days"),
            ("s::date", 25, "not a date: \"25\" (it has no whole date)"),
        ] {
            let got = run(&format!("SELECT {expression} AS x FROM t"), &[None, Some(number)]);
            assert_eq!(
                got.rejected.iter().map(|r| (r.row, r.reason.as_str())).collect::<Vec<_>>(),
                [(1, why)],
                "{expression}"
            );
            assert_eq!(got.columns[0].null_count(), 1, "{expression}");
        }
        let got = run("SELECT s::timestamp AS x FROM t", &[Some(20_261_125), Some(20_261_325), Some(261_125)]);
        assert_eq!(micros(&got), [1_795_564_800 * second; 2]);
        assert_eq!(
            got.rejected[0].reason,
            "not a timestamp: \"20261325\" (there is no day 25 of month 13 in the year 2026)"
        );
    }

    #[test]
    fn a_filter_leaves_out_what_is_not_true() {
        let got = run("SELECT n, n * 2 AS d FROM t WHERE n > 1", &[Some(1), Some(2), None, Some(3)]);
        assert_eq!((got.filtered(4).collect::<Vec<_>>(), &got.rejected), (vec![0, 2], &vec![]));
        assert_eq!(got.kept, Some(vec![1, 3]));
        assert_eq!(got.columns[0].as_primitive::<Int64Type>().values(), &[2, 3]);
        assert_eq!(got.columns[1].as_primitive::<Int64Type>().values(), &[4, 6]);
        let all = run("SELECT n FROM t", &[Some(1)]);
        assert!(all.kept.is_none() && all.filtered(1).count() == 0);
    }

    #[test]
    fn a_row_on_which_an_expression_fails_costs_itself_alone() {
        let numbers: Vec<Option<i64>> = (0..1000).map(Some).collect();
        let query = "SELECT 10 / (n - 500) AS q, n AS plain, 1 / (n - 7) AS r FROM t WHERE 5 / (n - 3) >= 0 AND n <> 9";
        let got = run(query, &numbers);
        let named: Vec<_> = got.rejected.iter().map(|r| (r.row, r.column.as_deref(), r.reason.as_str())).collect();
        let zero = "division by zero";
        assert_eq!(named, [(3, None, zero), (7, Some("r"), zero), (500, Some("q"), zero)]);
        // 0, 1 and 2 give something negative; 9 is left out.
        assert_eq!(got.filtered(1000).collect::<Vec<_>>(), [0, 1, 2, 9]);
        assert_eq!(got.columns[1].len(), 1000 - 3 - 4);
        assert!(got.columns.iter().all(|column| column.len() == 993 && column.null_count() == 0));
        let plain = got.columns[1].as_primitive::<Int64Type>().values();
        assert_eq!((plain[0], plain[992]), (4, 999));
        // All of them.
        let got = run("SELECT n / 0 AS q FROM t", &numbers);
        assert_eq!((got.rejected.len(), got.columns[0].len()), (1000, 0));
        // What guards a division in WHERE, CASE or a column guards it.
        let guarded = "SELECT CASE WHEN n <> 5 AND 10 / (n - 5) > 0 THEN 'a' ELSE 'b' END AS c, n <> 6 AND 1 / (n - 6) = 0 AS d, \
                       10 / (n - 400) AS e FROM t WHERE n = 7 OR n <> 8 AND 10 / (n - 8) >= 0 OR n < 8";
        let got = run(guarded, &numbers);
        assert_eq!(got.rejected.iter().map(|r| r.row).collect::<Vec<_>>(), [400]);
        assert_eq!((got.filtered(1000).collect::<Vec<_>>(), got.columns[0].len()), (vec![8], 998));
        assert_eq!(got.columns[0].as_string::<i32>().iter().flatten().filter(|c| *c == "a").count(), 9);
        // No row is left to evaluate anything on.
        let got = run("SELECT CAST(nvl2(s, 'n/a', 'x') AS integer) AS c, n / 0 AS d FROM t WHERE n < 0", &numbers);
        assert_eq!(
            (got.rejected.len(), got.filtered(1000).count(), got.columns[0].data_type()),
            (0, 1000, &arrow_schema::DataType::Int32)
        );
        let got = run("SELECT CAST(nvl2(s, 'n/a', 'x') AS integer) AS c FROM t", &numbers[..1]);
        assert_eq!((got.rejected.len(), got.columns[0].len()), (1, 0));
        // A branch that is not taken fails on no row.
        let got = run("SELECT CASE WHEN n = 5 THEN 0 ELSE 10 / (n - 5) END AS q FROM t", &numbers);
        assert!(got.rejected.is_empty());
    }
}
