//! What a sample of the records says of a job: which rows come of it, everything that fails, and what to write instead. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use connectors::{TableName, TargetColumn};
use operators::{
    decode::Format,
    query::select::SelectedColumn,
    schema::SourceColumn,
    sink::fit,
    trial::{self, Decoded, Fault, Loaded, Sample},
    values::{
        json,
        path::{Path, Segment},
    },
};

use super::{
    column::{follows, remedy},
    instead::{Seen, instead},
    nearest::{Near, Paths, nearest, top},
    said::Advice,
    sample::TopicSample,
    shown::shown,
};
use crate::{
    job::{Job, StreamOptions, TargetOptions, explain::column_text},
    plan::column_of,
};

/// Above which share of records that are rejected a job does not do what was meant.
const TOO_MANY: f64 = 0.5;
/// How many distinct paths are remembered of a stream: a record may have ids for keys.
const PATHS_MAX: usize = 10_000;

/// All that there is to say.
#[derive(Debug, Default)]
pub struct Tried {
    /// What keeps the job from doing what was meant.
    pub findings: Vec<Advice>,
    /// What somebody should know.
    pub notes: Vec<Advice>,
    /// What is as it should be.
    pub good: Vec<String>,
}

/// The columns of the tables that are there.
pub type Catalog = BTreeMap<TableName, Vec<TargetColumn>>;

/// Tries a job on samples of its topics.
pub fn tried(job: &Job, topics: &[TopicSample], catalog: &Catalog) -> Tried {
    let mut tried = Tried::default();
    for (number, stream) in job.streams.iter().enumerate() {
        let of_stream: Vec<&TopicSample> = topics.iter().filter(|topic| topic.stream == number).collect();
        Stream { job, stream, catalog }.tried(&of_stream, &mut tried);
    }
    tried
}

/// The faults of one stage.
type FaultsOf = fn(&Loaded) -> &[Fault];

/// A stream of a job, and the tables.
struct Stream<'a> {
    job: &'a Job,
    stream: &'a StreamOptions,
    catalog: &'a Catalog,
}

impl Stream<'_> {
    fn tried(&self, topics: &[&TopicSample], tried: &mut Tried) {
        let key = format!("stream {}: topic", self.stream.name);
        for topic in topics {
            tried.notes.extend(self.held_up(topic));
            let records: usize = topic.samples.iter().map(Sample::len).sum();
            let values =
                topic.samples.iter().map(|sample| (0..sample.len()).filter(|r| sample.value(*r).is_some()).count());
            let why = match (records, values.sum()) {
                (0, _) if topic.error.is_some() => continue,
                (0, _) => topic.nothing.to_string(),
                (_, 0) => format!("none of {records} sampled records has a value, and a job skips such records"),
                _ => continue,
            };
            let what = format!("topic {}: nothing of it could be checked: {why}", topic.topic);
            let remedy = "run check again once it has records".to_string();
            tried.notes.push(Advice { key: key.clone(), what, remedy });
        }
        let decoded: Vec<Vec<Decoded<'_>>> = topics.iter().map(|topic| self.decoded(topic)).collect();
        for (topic, decoded) in topics.iter().zip(&decoded) {
            let records: usize = topic.samples.iter().map(Sample::len).sum();
            if records > 0 && decoded.iter().all(|decoded| decoded.undecoded == 0) {
                tried.good.push(format!("topic {}: {records} records decode", topic.topic));
            }
        }
        let decoded: Vec<Decoded<'_>> = decoded.into_iter().flatten().collect();
        let samples: Vec<&Sample> = topics.iter().flat_map(|topic| &topic.samples).collect();
        let records: usize = samples.iter().map(|sample| sample.len()).sum();
        if records == 0 {
            return;
        }
        let values = Values::of(self.stream, &samples);
        let undecoded: usize = decoded.iter().map(|decoded| decoded.undecoded).sum();
        let place = if self.is_too_many(undecoded, records) { &mut tried.findings } else { &mut tried.notes };
        self.say_undecoded(&samples, &decoded, &values, records, place);
        self.say_missing(&values, &mut tried.notes);
        for target in self.job.targets.iter().filter(|target| target.selection.stream == self.stream.name) {
            self.try_target(target, &samples, &decoded, (records, undecoded), tried);
        }
    }

    fn decoded<'s>(&self, topic: &'s TopicSample) -> Vec<Decoded<'s>> {
        let StreamOptions { format, columns, .. } = self.stream;
        topic.samples.iter().map(|sample| trial::decode(sample, *format, columns)).collect()
    }

    /// What open transactions keep from being read.
    fn held_up(&self, TopicSample { topic, held_up, .. }: &TopicSample) -> Option<Advice> {
        let what = match held_up.as_slice() {
            [] => return None,
            [(partition, offset)] => format!(
                "{topic}[{partition}] is held up at offset {offset} by a transaction that is open: nothing of it is read from there on"
            ),
            many => {
                let place = |(partition, offset): &(i32, i64)| format!("{topic}[{partition}] at offset {offset}");
                let places: Vec<String> = many.iter().map(place).collect();
                let places = places.join(", ");
                format!("transactions that are open hold up {places}: nothing of these is read from there on")
            }
        };
        let remedy = "nothing, if its producer is at work; else find it with `kafka-transactions.sh find-hanging`, and end the transaction \
                      with its `abort`";
        Some(Advice { key: format!("stream {}: topic", self.stream.name), what, remedy: remedy.into() })
    }

    fn is_too_many(&self, rejected: usize, records: usize) -> bool {
        let errors = self.job.errors;
        let most = if errors.halt { 0.0 } else { errors.halt_above.unwrap_or(TOO_MANY).min(TOO_MANY) };
        rejected as f64 > most * records as f64
    }

    /// Each column that fails, and records that cannot be read at all.
    fn say_undecoded(
        &self,
        samples: &[&Sample],
        decoded: &[Decoded<'_>],
        values: &Values,
        records: usize,
        said: &mut Vec<Advice>,
    ) {
        let faults = samples.iter().zip(decoded).enumerate();
        let groups =
            Groups::of(faults.flat_map(|(number, (sample, decoded))| {
                decoded.faults.iter().map(move |fault| (number, *sample, fault))
            }));
        for (name, group) in groups.0 {
            let declared = name.as_ref().and_then(|name| self.stream.columns.iter().position(|c| c.name == *name));
            let seen = declared.and_then(|number| values.columns.get(number)).map(Vec::as_slice).unwrap_or_default();
            let value = seen.iter().find(|value| (value.sample, value.record) == group.first);
            let of = match &name {
                Some(name) => format!("column {name} does not decode in {} of {records} records", group.records.len()),
                None => format!("{} of {records} records cannot be read", group.records.len()),
            };
            let what = format!("{of}: {}", group.text(value.map(|value| value.text.as_str())));
            let remedy = match declared.and_then(|number| self.stream.columns.get(number)) {
                Some(column) => self.line(column, seen),
                None => self.unreadable(samples, group.first),
            };
            let key = format!("stream {}: columns", self.stream.name);
            said.push(Advice { key, what, remedy });
        }
    }

    /// The line to write instead of a column, and what its tables need then.
    fn line(&self, column: &SourceColumn, seen: &[Valued]) -> String {
        let values: Vec<Seen> = seen.iter().filter_map(|value| value.seen.clone()).collect();
        let Some(instead) = instead(column, self.stream.format, &values) else {
            return "no declaration takes all values that were seen: mend the producer, or let such records become dead letters".into();
        };
        let mut line = format!("write {}", column_text(&instead.column, self.stream.strict));
        if let Some(but) = &instead.but {
            line += &format!(" ({but})");
        }
        let number = self.stream.columns.iter().position(|other| other.name == column.name);
        for target in self.job.targets.iter().filter(|target| target.selection.stream == self.stream.name) {
            let plain = target.selection.columns.iter().filter(|selected| is_plain(selected, target, number));
            let filled = plain.filter_map(|selected| named(self.catalog, target, selected));
            let needs: Vec<String> =
                filled.filter_map(|column| follows(&target.table, column, &instead.column.kind)).collect();
            needs.iter().for_each(|needs| line += &format!("; {needs}"));
        }
        line
    }

    fn unreadable(&self, samples: &[&Sample], (sample, record): (usize, usize)) -> String {
        let value = samples.get(sample).and_then(|sample| sample.value(record));
        // The wire format of schema registries: a zero, four bytes of an id, then Avro or another format.
        match (self.stream.format, value) {
            (Format::Json, Some([0, _, _, _, _, ..])) => {
                "these values begin with a zero byte, as those of a schema registry do (Avro, Protobuf, JSON Schema): such formats are not \
                 read yet; have the producer write plain JSON"
            }
            (Format::Json, _) => {
                "mend the producer, or read values as they are: format = \"raw\", with one column of type varchar or varbyte"
            }
            _ => "read the bytes as they are, with a column of type varbyte",
        }
        .into()
    }

    /// Columns of which no record has anything.
    fn say_missing(&self, values: &Values, said: &mut Vec<Advice>) {
        if values.records == 0 {
            return;
        }
        let all = values.records;
        let sampled = if all == 1 { "the one sampled record".to_string() } else { format!("{all} sampled records") };
        let key = format!("stream {}: columns", self.stream.name);
        let paths: Vec<&Path> = self.stream.columns.iter().map(|column| &column.path).collect();
        let missing = |number: usize| values.columns.get(number).is_none_or(Vec::is_empty);
        let near = |column: &SourceColumn| nearest(&column.path, &values.paths, &paths);
        let all_by_case = self.stream.columns.iter().enumerate().filter(|(number, _)| missing(*number));
        let all_by_case = all_by_case.map(|(_, column)| near(column)).all(|near| near.is_some_and(|near| near.is_case));
        for (number, column) in self.stream.columns.iter().enumerate() {
            let SourceColumn { name, path, .. } = column;
            if !missing(number) {
                let is_null = |value: &Valued| value.seen == Some(Seen::Null);
                if values.columns.get(number).is_some_and(|values| values.iter().all(is_null)) {
                    let what = format!(
                        "column {name}: `{path}` is null in all of {sampled}, so nothing of it could be checked"
                    );
                    said.push(Advice { key: key.clone(), what, remedy: "nothing, if that was meant".into() });
                }
                continue;
            }
            let none = format!("column {name}: none of {sampled} has `{path}`, so it would be NULL");
            let (what, remedy) = match near(column) {
                None => {
                    let keys = top(&values.paths, 8);
                    let has =
                        if keys.is_empty() { "no keys at all".into() } else { format!("the keys {}", keys.join(", ")) };
                    (format!("{none}; the records have {has}"), "correct `path`, or take the column out".to_string())
                }
                Some(Near { path, records, is_case }) => {
                    let found = SourceColumn { path, ..column.clone() };
                    let line = column_text(&found, self.stream.strict);
                    let what = format!("{none}; {records} of them have `{}`", found.path);
                    match is_case && all_by_case {
                        true => (what, format!("write keys = \"ignore-case\" in this [[stream]], or {line}")),
                        false => (what, format!("write {line}, if that is what was meant")),
                    }
                }
            };
            said.push(Advice { key: key.clone(), what, remedy });
        }
    }

    fn try_target(
        &self,
        target: &TargetOptions,
        samples: &[&Sample],
        decoded: &[Decoded<'_>],
        (records, undecoded): (usize, usize),
        tried: &mut Tried,
    ) {
        let (selection, table) = (&target.selection, &target.table);
        let columns: Vec<Option<TargetColumn>> =
            selection.columns.iter().map(|selected| find(self.catalog, target, selected).cloned()).collect();
        let is_fitted = columns.iter().all(Option::is_some);
        let loaded: Vec<Loaded> = decoded.iter().map(|decoded| decoded.load(selection, &columns)).collect();
        let sum = |count: fn(&Loaded) -> usize| loaded.iter().map(count).sum::<usize>();
        let (rows, filtered) = (sum(|loaded| loaded.rows), sum(|loaded| loaded.filtered));
        let skipped: usize =
            samples.iter().map(|sample| (0..sample.len()).filter(|r| sample.value(*r).is_none()).count()).sum();
        let rejected = records - skipped - filtered - rows;
        let mut counted = match is_fitted {
            true => format!("table {table}: {rows} of {records} sampled records become rows"),
            false => format!(
                "table {table}: the query gives {rows} rows of {records} sampled records, and whether they fit is not known"
            ),
        };
        for (count, what) in [(filtered, "left out by WHERE"), (skipped, "without a value"), (rejected, "rejected")] {
            counted += &if count > 0 { format!(", {count} {what}") } else { String::new() };
        }
        let is_bad = self.is_too_many(rejected, records);
        let key = format!("target {table}: query");
        if rejected > 0 {
            let remedy = match rejected - undecoded {
                0 => format!("see what stream {} says above", self.stream.name),
                _ => "see the columns that are listed".to_string(),
            };
            let said = Advice { key: key.clone(), what: counted, remedy };
            if is_bad { tried.findings.push(said) } else { tried.notes.push(said) }
        } else if filtered + skipped == records && filtered > 0 {
            let what = format!("table {table}: 0 of {records} sampled records pass WHERE");
            let remedy = "nothing, if these records are not for it; else correct the condition".to_string();
            tried.notes.push(Advice { key: key.clone(), what, remedy });
        } else {
            tried.good.push(counted);
        }
        let said = if is_bad { &mut tried.findings } else { &mut tried.notes };
        let stages: [(&str, FaultsOf); 2] = [("query", |loaded| &loaded.query), ("fit", |loaded| &loaded.fit)];
        for (stage, faults) in stages {
            let all = samples.iter().zip(&loaded).enumerate();
            let groups = Groups::of(all.flat_map(|(number, (sample, loaded))| {
                faults(loaded).iter().map(move |fault| (number, *sample, fault))
            }));
            for (name, group) in groups.0 {
                // The query names a column as it is selected, and fit as the table has it.
                let is = |number: &usize| match stage {
                    "fit" => columns[*number].as_ref().map(|column| &column.name) == name.as_ref(),
                    _ => Some(&selection.columns[*number].name) == name.as_ref(),
                };
                let number = name.as_ref().and_then(|_| (0..columns.len()).find(is));
                let of = match (&name, stage) {
                    (Some(name), "query") => format!("column {name} fails in the query"),
                    (None, "query") => "WHERE fails".into(),
                    (Some(name), _) => format!("column {name} does not fit"),
                    (None, _) => "the row does not fit".into(),
                };
                let what = format!(
                    "{of} in {} of {records} records: {}",
                    group.records.len(),
                    group.text(group.value.as_deref())
                );
                let selected = number.and_then(|number| selection.columns.get(number));
                let remedy = match (stage, selected.zip(number.and_then(|number| columns.get(number)?.as_ref()))) {
                    ("fit", Some((selected, column))) => remedy(table, selected, column, &group.values),
                    ("fit", None) => "shorten what the query gives: Redshift takes no row that is longer".into(),
                    _ => "have the query take such a value, with CASE or nullif, or leave such records out with WHERE"
                        .into(),
                };
                said.push(Advice { key: key.clone(), what, remedy });
            }
        }
    }
}

/// The column of the table that a selected one fills, if it can.
fn find<'c>(catalog: &'c Catalog, target: &TargetOptions, selected: &SelectedColumn) -> Option<&'c TargetColumn> {
    let column = named(catalog, target, selected)?;
    (!column.is_identity && fit::can_fit(&selected.kind, &column.kind).is_ok()).then_some(column)
}

/// The column of the table that the name of a selected one means.
fn named<'c>(catalog: &'c Catalog, target: &TargetOptions, selected: &SelectedColumn) -> Option<&'c TargetColumn> {
    column_of(catalog.get(&target.table)?, &selected.name)
}

/// Whether a selected column is this declared one as it is.
fn is_plain(selected: &SelectedColumn, target: &TargetOptions, declared: Option<usize>) -> bool {
    matches!(selected.value, operators::query::select::Value::Input(_))
        && trial::inputs(selected, &target.selection).first().copied() == declared
}

/// A value of a declared column.
struct Valued {
    sample: usize,
    record: usize,
    /// As the record has it.
    text: String,
    /// `None` for what is no text.
    seen: Option<Seen>,
}

/// What the records have.
struct Values {
    /// Records that can be read.
    records: usize,
    /// The values of each declared column.
    columns: Vec<Vec<Valued>>,
    paths: Paths,
}

impl Values {
    fn of(stream: &StreamOptions, samples: &[&Sample]) -> Values {
        let mut columns: Vec<Vec<Valued>> = stream.columns.iter().map(|_| Vec::new()).collect();
        let (mut records, mut paths) = (0, Paths::new());
        let key = |path: &[Segment]| -> Vec<Segment> {
            let lower = |step: &Segment| match step {
                Segment::Key(key) if stream.any_case => Segment::Key(key.to_ascii_lowercase()),
                other => other.clone(),
            };
            path.iter().map(lower).collect()
        };
        let mut wanted: HashMap<Vec<Segment>, Vec<usize>> = HashMap::new();
        for (number, column) in stream.columns.iter().enumerate() {
            wanted.entry(key(&column.path.0)).or_default().push(number);
        }
        for (sample, all) in samples.iter().enumerate() {
            for record in 0..all.len() {
                let Some(bytes) = all.value(record) else { continue };
                if stream.format == Format::Raw {
                    let (text, seen) = (String::from_utf8_lossy(bytes).into_owned(), Some(Seen::of_bytes(bytes)));
                    columns.iter_mut().for_each(|column| {
                        column.push(Valued { sample, record, text: text.clone(), seen: seen.clone() });
                    });
                    records += 1;
                    continue;
                }
                let Ok(text) = std::str::from_utf8(bytes) else { continue };
                // Whether it is JSON is known at its end.
                let mut found: Vec<(Vec<Segment>, String)> = Vec::new();
                let mut seen: Vec<Vec<Segment>> = Vec::new();
                let walked = json::walk(text, &mut |path, value| {
                    if wanted.contains_key(&key(path)) {
                        found.push((key(path), value.into()));
                    }
                    seen.push(path.to_vec());
                });
                if walked.is_err() || !text.trim_start().starts_with('{') {
                    continue;
                }
                records += 1;
                for path in seen.into_iter().collect::<BTreeSet<_>>() {
                    if paths.len() < PATHS_MAX || paths.contains_key(&path) {
                        *paths.entry(path).or_default() += 1;
                    }
                }
                // Of a key that stands twice the later counts.
                let latest: HashMap<Vec<Segment>, String> = found.into_iter().collect();
                for (path, text) in latest {
                    for number in wanted.get(&path).into_iter().flatten() {
                        let seen = Seen::of_json(&text);
                        columns[*number].push(Valued { sample, record, text: text.clone(), seen });
                    }
                }
            }
        }
        Values { records, columns, paths }
    }
}

/// Faults by column.
struct Groups(BTreeMap<Option<String>, Group>);

/// Faults of one column.
struct Group {
    /// The first of them, by sample and place in it.
    first: (usize, usize),
    records: BTreeSet<(usize, usize)>,
    /// How many of each kind.
    kinds: BTreeMap<String, usize>,
    reason: String,
    at: String,
    value: Option<String>,
    /// What the query or the table was given.
    values: Vec<Option<String>>,
}

impl Groups {
    fn of<'f>(faults: impl Iterator<Item = (usize, &'f Sample, &'f Fault)>) -> Groups {
        let mut groups: BTreeMap<Option<String>, Group> = BTreeMap::new();
        for (number, sample, fault) in faults {
            let place = (number, fault.record);
            let group = groups.entry(fault.column.clone()).or_insert_with(|| Group {
                first: place,
                records: BTreeSet::new(),
                kinds: BTreeMap::new(),
                reason: fault.reason.clone(),
                at: sample.at(fault.record).map_or(String::new(), |(partition, offset)| {
                    format!("{}[{}] at offset {offset}", partition.topic, partition.partition)
                }),
                value: fault.value.clone(),
                values: Vec::new(),
            });
            group.records.insert(place);
            *group.kinds.entry(kind(&fault.reason).to_string()).or_default() += 1;
            group.values.push(fault.value.clone());
        }
        Groups(groups)
    }
}

/// The words of a reason that do not depend on the record.
fn kind(reason: &str) -> &str {
    reason.split(':').next().unwrap_or(reason)
}

impl Group {
    /// Why, with an example.
    fn text(&self, value: Option<&str>) -> String {
        let value = value.map_or(String::new(), |value| format!(", given {}", shown(value)));
        let others = self.kinds.iter().filter(|(other, _)| *other != kind(&self.reason));
        let others: Vec<String> = others.map(|(kind, count)| format!("{count} times {}", shown(kind))).collect();
        let others = if others.is_empty() { String::new() } else { format!("; also {}", others.join(", ")) };
        format!("{} ({}{value}){others}", shown_reason(&self.reason), self.at)
    }
}

/// A reason, which may have a long value in it.
fn shown_reason(reason: &str) -> String {
    match reason.split_once(": ") {
        Some((kind, found)) => format!("{kind}: {}", shown(found)),
        None => shown(reason),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use checkpoint::TopicPartition;
    use connectors::{ColumnKind, RawBatch};
    use operators::places::Place;

    use super::*;
    use crate::job;

    fn job(streams_and_targets: &str) -> Job {
        job::of_text(&format!(
            "version = 1\njob = \"j\"\n[kafka]\nbrokers = \"b:1\"\n[staging]\nurl = \"s3://b/p\"\n\
             [redshift]\nhost = \"h\"\ndatabase = \"d\"\nuser = \"u\"\npassword = {{ env = \"P\" }}\niam_role = \"arn:r\"\n\
             {streams_and_targets}"
        ))
    }

    fn topic(stream: usize, name: &str, values: &[Option<&[u8]>]) -> TopicSample {
        let mut raw = RawBatch::default();
        for (offset, value) in values.iter().enumerate() {
            raw.partitions.push(0);
            raw.offsets.push(10 + offset as i64);
            raw.timestamps_ms.push(0);
            raw.keys.push(None).unwrap();
            raw.values.push(*value).unwrap();
        }
        let partition = TopicPartition::new(name, 2);
        let place = Place { partition, topic_id: String::new(), stream, start: 0, leader_epoch: None, until: None };
        let samples = if values.is_empty() { Vec::new() } else { vec![Sample::new(raw, Arc::from([place]))] };
        TopicSample { stream, topic: name.into(), samples, nothing: "it is empty", held_up: Vec::new(), error: None }
    }

    fn records(values: &[&'static str]) -> TopicSample {
        topic(0, "t", &values.iter().map(|value| Some(value.as_bytes())).collect::<Vec<_>>())
    }

    fn catalog(columns: &[(&str, &str, bool)]) -> Catalog {
        let column = |(name, kind, not_null): &(&str, &str, bool)| TargetColumn {
            name: name.to_string(),
            kind: ColumnKind::parse(kind).unwrap(),
            not_null: *not_null,
            has_default: false,
            is_identity: false,
        };
        let table = TableName { schema: "public".into(), table: "t".into() };
        [(table, columns.iter().map(column).collect())].into()
    }

    const JOB: &str = r#"
[[stream]]
name = "s"
topic = "t"
columns = [ { name = "id", type = "bigint" }, { name = "amount", type = "integer" }, { name = "at", type = "timestamptz" },
            { name = "note", type = "varchar(20)" } ]
[[target]]
table = "public.t"
query = "SELECT id, amount, at, note, 100 / id AS q FROM s WHERE id >= 0"
"#;

    const TABLE: [(&str, &str, bool); 5] = [
        ("id", "bigint", true),
        ("amount", "integer", false),
        ("at", "timestamptz", false),
        ("note", "varchar(5)", false),
        ("q", "bigint", false),
    ];

    /// What was said of these, each as `key: what | remedy`.
    fn lines(said: &[Advice]) -> Vec<String> {
        said.iter().map(|Advice { key, what, remedy }| format!("{key}: {what} | {remedy}")).collect()
    }

    #[test]
    fn all_that_fails_is_said_in_one_go_with_the_line_to_write() {
        let topic = records(&[
            r#"{"id":1,"amount":12.34,"at":1795514400123,"note":"abc"}"#,
            r#"{"id":0,"amount":1,"at":1795514400123,"note":"abcdefg"}"#,
            r#"{"id":2,"amount":5.5,"at":1795514400123,"note":"a"}"#,
        ]);
        let tried = tried(&job(JOB), &[topic], &catalog(&TABLE));
        assert_eq!(
            lines(&tried.findings),
            [
                "stream s: columns: column amount does not decode in 2 of 3 records: a number that is not whole: 12.34 (t[2] at offset 10, \
                 given 12.34) | write { name = \"amount\", type = \"decimal(12,2)\" }; column amount of public.t is integer: make it \
                 decimal(12,2), or write CAST(amount AS integer) AS amount in its query",
                "stream s: columns: column at does not decode in 3 of 3 records: a number where timestamptz is declared, without `time` = \
                 epoch_s, epoch_ms, epoch_us, epoch_ns: 1795514400123 (t[2] at offset 10, given 1795514400123) | write { name = \"at\", \
                 type = \"timestamptz\", time = \"epoch_ms\" }",
                "target public.t: query: table public.t: 0 of 3 sampled records become rows, 3 rejected | see what stream s says above",
                "target public.t: query: column q fails in the query in 1 of 3 records: division by zero (t[2] at offset 11, given 0) | have \
                 the query take such a value, with CASE or nullif, or leave such records out with WHERE",
                "target public.t: query: column note does not fit in 1 of 3 records: longer than varchar(5): 7 bytes (t[2] at offset 11, \
                 given abcdefg) | ALTER TABLE public.t ALTER COLUMN note TYPE varchar(64); or write on = { note = { long = \"truncate\" } } \
                 in this [[target]]",
            ]
        );
        assert!(tried.notes.is_empty() && tried.good.is_empty(), "{tried:?}");
    }

    #[test]
    fn a_few_are_a_note_and_many_a_finding() {
        let good = r#"{"id":1,"amount":1,"at":"2026-11-24T10:00:00Z","note":"a"}"#;
        let bad = r#"{"id":1,"amount":1.5,"at":"2026-11-24T10:00:00Z","note":"a"}"#;
        let of = |values: &[&'static str], errors: &str| {
            tried(&job(&format!("{JOB}{errors}")), &[records(values)], &catalog(&TABLE))
        };
        let few = of(&[good, bad], "");
        assert_eq!((few.findings.len(), few.notes.len()), (0, 2), "{few:?}");
        assert!(few.notes[1].what.contains("1 of 2 sampled records become rows, 1 rejected"), "{few:?}");
        assert_eq!(of(&[good, bad, bad], "").findings.len(), 2);
        assert_eq!(of(&[good, good, bad], "[errors]\nreject = \"halt\"").findings.len(), 2);
        assert_eq!(of(&[good, good, bad], "[errors]\nhalt_above = \"5%\"").findings.len(), 2);
        let all_good = of(&[good, good], "");
        assert_eq!(all_good.good, ["topic t: 2 records decode", "table public.t: 2 of 2 sampled records become rows"]);
        assert!(all_good.findings.is_empty() && all_good.notes.is_empty());
    }

    #[test]
    fn a_path_that_no_record_has_is_a_note_with_the_nearest_key() {
        let of = |columns: &str, values: &[&'static str]| {
            let text = format!(
                "[[stream]]\nname = \"s\"\ntopic = \"t\"\ncolumns = [ {columns} ]\n[[target]]\ntable = \"public.t\"\nquery = \"SELECT 1 \
                 AS one FROM s\"\n"
            );
            lines(&tried(&job(&text), &[records(values)], &catalog(&[("one", "integer", false)])).notes)
        };
        let records = [r#"{"userId":1,"orderId":5,"gone":null}"#, r#"{"userId":2,"gone":null}"#];
        let said = of(
            r#"{ name = "user_id", type = "bigint" }, { name = "order_id", type = "bigint", path = "order.id" }, { name = "country", type = "char(2)" }, { name = "gone", type = "char(2)" }"#,
            &records,
        );
        assert_eq!(
            said,
            [
                "stream s: columns: column user_id: none of 2 sampled records has `user_id`, so it would be NULL; 2 of them have `userId` | \
                 write { name = \"user_id\", type = \"bigint\", path = \"userId\" }, if that is what was meant",
                "stream s: columns: column order_id: none of 2 sampled records has `order.id`, so it would be NULL; 1 of them have `orderId` \
                 | write { name = \"order_id\", type = \"bigint\", path = \"orderId\" }, if that is what was meant",
                "stream s: columns: column country: none of 2 sampled records has `country`, so it would be NULL; the records have the keys \
                 gone, userId, orderId | correct `path`, or take the column out",
                "stream s: columns: column gone: `gone` is null in all of 2 sampled records, so nothing of it could be checked | nothing, if \
                 that was meant",
            ]
        );
        let said = of(r#"{ name = "userid", type = "bigint" }, { name = "ORDERID", type = "bigint" }"#, &records);
        assert!(
            said.iter().all(|said| said.contains("| write keys = \"ignore-case\" in this [[stream]], or {")),
            "{said:?}"
        );
        assert!(said[0].contains("path = \"userId\""), "{said:?}");
        // One that differs in more than its case: then it is no remedy for all.
        let said = of(r#"{ name = "userid", type = "bigint" }, { name = "order_id", type = "bigint" }"#, &records);
        assert!(said.iter().all(|said| !said.contains("ignore-case")), "{said:?}");
        assert_eq!(
            of(r#"{ name = "a", type = "bigint" }"#, &["{", "[]"]).len(),
            0,
            "nothing can be said of what is not JSON"
        );
    }

    #[test]
    fn where_there_is_nothing_to_check_it_is_said() {
        let of = |topic| tried(&job(JOB), &[topic], &catalog(&TABLE));
        let empty = of(records(&[]));
        assert_eq!(lines(&empty.notes).len(), 1);
        assert!(empty.notes[0].what.contains("topic t: nothing of it could be checked: it is empty"), "{empty:?}");
        let held =
            |held_up: &[(i32, i64)]| of(TopicSample { held_up: held_up.to_vec(), ..records(&[]) }).notes[0].clone();
        let one = "t[2] is held up at offset 12 by a transaction that is open: nothing of it is read from there on";
        assert_eq!(held(&[(2, 12)]).what, one);
        let two = "transactions that are open hold up t[0] at offset 5, t[2] at offset 12: nothing of these is read from there on";
        assert_eq!(held(&[(0, 5), (2, 12)]).what, two);
        let tombstones = of(topic(0, "t", &[None, None]));
        assert!(tombstones.notes[0].what.contains("none of 2 sampled records has a value"), "{tombstones:?}");
        assert!(empty.findings.is_empty() && tombstones.findings.is_empty());
        let good = r#"{"id":-1,"amount":1,"at":"2026-11-24T10:00:00Z","note":"a"}"#;
        let left_out = of(records(&[good, good]));
        assert_eq!(
            left_out.notes.iter().map(|said| said.what.as_str()).collect::<Vec<_>>(),
            ["table public.t: 0 of 2 sampled records pass WHERE"]
        );
        let values = [Some(good.replacen("-1", "1", 1).into_bytes()), None];
        let some = of(topic(0, "t", &values.iter().map(Option::as_deref).collect::<Vec<_>>()));
        assert_eq!(some.good[1], "table public.t: 1 of 2 sampled records become rows, 1 without a value", "{some:?}");
    }

    #[test]
    fn without_its_table_the_query_is_tried_all_the_same() {
        let zero = r#"{"id":0,"amount":1,"at":"2026-11-24T10:00:00Z","note":"abcdefghijkl"}"#;
        let tried = tried(&job(JOB), &[records(&[zero])], &Catalog::new());
        let said = lines(&tried.findings);
        assert!(
            said[0]
                .contains("the query gives 0 rows of 1 sampled records, and whether they fit is not known, 1 rejected")
        );
        assert!(said[1].contains("column q fails in the query in 1 of 1 records: division by zero"), "{said:?}");
        assert_eq!(said.len(), 2);
    }

    #[test]
    fn streams_and_formats_are_apart_and_values_made_safe() {
        let text = r#"
[[stream]]
name = "a"
topic = "a"
columns = [ { name = "n", type = "boolean" } ]
[[stream]]
name = "b"
topic = "b"
format = "raw"
columns = [ { name = "body", type = "varchar(4)" } ]
[[target]]
table = "public.t"
query = "SELECT n FROM a"
[[target]]
table = "public.u"
query = "SELECT body FROM b"
"#;
        let topics = [
            topic(0, "a", &[Some(b"{\"n\":\"\xc2\x9b31m\"}"), Some(b"\x00\x00\x00\x00\x05\x02a")]),
            topic(1, "b", &[Some(b"ok"), Some(b"\xff"), Some(b"toolong")]),
        ];
        let said = lines(&tried(&job(text), &topics, &Catalog::new()).findings);
        let of = |part: &str| {
            said.iter().find(|said| said.contains(part)).unwrap_or_else(|| panic!("{part}: {said:?}")).clone()
        };
        assert!(of("stream a: columns: column n").contains("given \"\\u{9b}31m\""), "{said:?}");
        assert!(of("stream a: columns: 1 of 2 records cannot be read").contains("schema registry"));
        assert!(
            of("stream b: columns: column body does not decode in 1 of 3 records: longer than varchar(4)")
                .contains("| write {")
        );
        assert!(of("stream b: columns: 1 of 3 records cannot be read: not UTF-8").contains("varbyte"));
    }
}
