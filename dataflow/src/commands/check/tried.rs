//! What a sample of the records says of a job: which rows come of it, everything that fails, and what to write instead. Pure.

use checkpoint::Micros;
use connectors::{ColumnKind, TargetColumn};
use operators::{
    decode::Format,
    query::{
        Input,
        select::{SelectedColumn, Value},
    },
    schema::SourceColumn,
    sink::fit,
    trial::{self, Decoded, Fault, Loaded, Sample},
    values::{path::Path, reading::Epoch},
};

use super::{
    column::remedy,
    epoch,
    follow::Proposed,
    groups::Groups,
    instead::{instead, same_family},
    nearest::{Near, nearest, top},
    said::{Advice, counted},
    sample::TopicSample,
    seen::{Seen, take},
    shown::shown,
    target::{Catalog, named},
    values::{Valued, Values, at},
};
use crate::job::{Job, StreamOptions, TargetOptions, explain::column_text};

/// Above which share of records that are rejected a job does not do what was meant.
const TOO_MANY: f64 = 0.5;
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
                (1, 0) => "the one sampled record has no value, and a job skips such records".into(),
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
                let decode = if records == 1 { "decodes" } else { "decode" };
                tried.good.push(format!("topic {}: {} {decode}", topic.topic, counted(records, "record")));
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
        self.say_other_units(&samples, &values, &mut tried.notes);
        self.say_missing(&samples, &values, &mut tried.notes);
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
                Some(name) => {
                    let all = counted(records, "record");
                    format!("column {name} does not decode in {} of {all}", group.records.len())
                }
                None => format!("{} of {} cannot be read", group.records.len(), counted(records, "record")),
            };
            let what = format!("{of}: {}", group.text(value.map(|value| value.text.as_str())));
            let remedy = match declared {
                Some(number) => self.line(number, seen, samples),
                None => self.unreadable(samples, group.first),
            };
            let key = format!("stream {}: columns", self.stream.name);
            said.push(Advice { key, what, remedy });
        }
    }

    /// The line to write instead of a column, and what its queries and tables need then.
    fn line(&self, number: usize, seen: &[Valued], samples: &[&Sample]) -> String {
        let values: Vec<Seen> = seen.iter().filter_map(|value| value.seen.clone()).collect();
        let found = self.stream.columns.get(number).and_then(|column| instead(column, self.stream.format, &values));
        let Some(found) = found else {
            return "no declaration takes all values that were seen: mend the producer, or let such records become dead letters".into();
        };
        self.written(number, &found.column, found.but.as_deref(), samples)
    }

    /// A line to write, what is to say of it, and what its queries and tables need then.
    fn written(&self, number: usize, column: &SourceColumn, but: Option<&str>, samples: &[&Sample]) -> String {
        let mut line = format!("write {}", column_text(column, self.stream.strict));
        if let Some(but) = but {
            line += &format!(" ({but})");
        }
        let targets = self.job.targets.iter().filter(|target| target.selection.stream == self.stream.name);
        let proposed = Proposed { stream: self.stream, number, column, samples };
        proposed.needs(targets, self.catalog).iter().for_each(|needs| line += &format!("; {needs}"));
        line
    }

    /// Columns whose numbers are taken as times, and count something else.
    fn say_other_units(&self, samples: &[&Sample], values: &Values, said: &mut Vec<Advice>) {
        for (number, column) in self.stream.columns.iter().enumerate() {
            let is_time = matches!(column.kind, ColumnKind::Timestamp | ColumnKind::TimestampTz);
            let Some(unit) = column.reading.epoch.filter(|_| is_time) else { continue };
            let seen = values.columns.get(number).map(Vec::as_slice).unwrap_or_default();
            let all: Vec<Seen> = seen.iter().filter_map(|value| value.seen.clone()).collect();
            // What it does not take was said with the line.
            let is_taken = take(column, self.stream.format, &all).is_some();
            let (true, Some(odd)) = (is_taken && epoch::is_mixed(&all, unit), epoch::far(&all, unit)) else { continue };
            let is_odd = |value: &&Valued| {
                value.seen.as_ref().is_some_and(|value| epoch::is_mixed(std::slice::from_ref(value), unit))
            };
            let example = seen.iter().find(is_odd).map_or(String::new(), |value| self.example(samples, value, unit));
            let what = format!("column {}: {odd}{example}", column.name);
            let remedy = match epoch::epoch(&all) {
                Some(other) if other != unit => {
                    let mut meant = column.clone();
                    meant.reading.epoch = Some(other);
                    self.written(number, &meant, epoch::far(&all, other).as_deref(), samples)
                }
                _ => "mend the producer; or declare the column bigint, and tell the units apart in the query with CASE"
                    .into(),
            };
            said.push(Advice { key: format!("stream {}: columns", self.stream.name), what, remedy });
        }
    }

    /// One of the values, where it stands, and the time that it would be.
    fn example(&self, samples: &[&Sample], value: &Valued, unit: Epoch) -> String {
        let place = samples.get(value.sample).and_then(|sample| sample.at(value.record));
        let place = place.map_or(String::new(), |(partition, offset)| {
            format!("{}[{}] at offset {offset}, ", partition.topic, partition.partition)
        });
        let number = value.seen.as_ref().and_then(Seen::number);
        let time = number.and_then(|number| unit.moment(number).ok());
        let time = time.map_or(String::new(), |(micros, _)| format!(" is {} UTC", Micros(micros).to_text()));
        format!(" ({place}given {}{time} as {})", shown(&value.text), unit.word())
    }

    fn unreadable(&self, samples: &[&Sample], (sample, record): (usize, usize)) -> String {
        let value = samples.get(sample).and_then(|sample| sample.value(record));
        // The wire format of schema registries: a zero, four bytes of an id, then Avro or another format.
        match (self.stream.format, value) {
            (Format::Json, Some([0, _, _, _, _, ..])) => {
                "these values begin with a zero byte, as those of a schema registry do (Avro, Protobuf, JSON Schema): such formats are not \
                 read yet; have the producer write plain JSON"
            }
            (Format::Json, Some(bytes)) if std::str::from_utf8(bytes).is_err() => {
                "mend the producer, or read the bytes as they are: format = \"raw\", with one column of type varbyte"
            }
            (Format::Json, _) => {
                "mend the producer, or read values as they are: format = \"raw\", with one column of type varchar or varbyte"
            }
            _ => "read the bytes as they are, with a column of type varbyte",
        }
        .into()
    }

    /// Columns of which no record has anything.
    fn say_missing(&self, samples: &[&Sample], values: &Values, said: &mut Vec<Advice>) {
        if values.records == 0 {
            return;
        }
        let all = values.records;
        let key = format!("stream {}: columns", self.stream.name);
        let paths: Vec<&Path> = self.stream.columns.iter().map(|column| &column.path).collect();
        let missing = |number: usize| values.columns.get(number).is_none_or(Vec::is_empty);
        let near = |column: &SourceColumn| {
            let fits = |path: &Path| self.read_from(samples, column, path).is_some();
            nearest(&column.path, &values.paths, &paths, &fits)
        };
        let absent: Vec<Option<Near>> = self
            .stream
            .columns
            .iter()
            .enumerate()
            .map(|(n, column)| missing(n).then(|| near(column)).flatten())
            .collect();
        let mut all_absent = absent.iter().enumerate().filter(|(number, _)| missing(*number));
        let all_by_case = all_absent.all(|(_, near)| near.as_ref().is_some_and(|near| near.is_case));
        let (none_has, in_all) = match all {
            1 => ("the one sampled record has no".to_string(), "the one sampled record".to_string()),
            _ => (format!("none of {all} sampled records has"), format!("all of {all} sampled records")),
        };
        let some_have = |records: usize| match (records, all) {
            (1, 1) => "it has".to_string(),
            (1, _) => "1 of them has".to_string(),
            _ => format!("{records} of them have"),
        };
        for (number, column) in self.stream.columns.iter().enumerate() {
            let SourceColumn { name, path, .. } = column;
            if !missing(number) {
                let is_null = |value: &Valued| value.seen == Some(Seen::Null);
                if values.columns.get(number).is_some_and(|values| values.iter().all(is_null)) {
                    let what =
                        format!("column {name}: `{path}` is null in {in_all}, so nothing of it could be checked");
                    said.push(Advice { key: key.clone(), what, remedy: "nothing, if that was meant".into() });
                }
                continue;
            }
            let none = format!("column {name}: {none_has} `{path}`, so it would be NULL");
            let found = absent[number].clone().and_then(|near| {
                let found = self.read_from(samples, column, &near.path)?;
                Some((near, found))
            });
            let (what, remedy) = match found {
                None => {
                    let keys = top(&values.paths, 8);
                    let has =
                        if keys.is_empty() { "no keys at all".into() } else { format!("the keys {}", keys.join(", ")) };
                    let who = if all == 1 { "it has" } else { "the records have" };
                    (format!("{none}; {who} {has}"), "correct `path`, or take the column out".to_string())
                }
                Some((Near { path, records, is_case }, found)) => {
                    let line = column_text(&found, self.stream.strict);
                    let what = format!("{none}; {} `{path}`", some_have(records));
                    let is_as_declared = SourceColumn { path, ..column.clone() } == found;
                    match is_case && all_by_case && is_as_declared {
                        true => (what, format!("write keys = \"ignore-case\" in this [[stream]], or {line}")),
                        false => (what, format!("write {line}, if that is what was meant")),
                    }
                }
            };
            said.push(Advice { key: key.clone(), what, remedy });
        }
    }

    /// The column as it would be read from another path: as it is declared if it takes most of what stands there, or else with the reading or
    /// the type of its family that takes all.
    fn read_from(&self, samples: &[&Sample], column: &SourceColumn, path: &Path) -> Option<SourceColumn> {
        let moved = SourceColumn { path: path.clone(), ..column.clone() };
        let values: Vec<Seen> = at(samples, path).into_iter().filter(|value| *value != Seen::Null).collect();
        let is_taken = |value: &&Seen| take(&moved, self.stream.format, std::slice::from_ref(*value)).is_some();
        if values.iter().filter(is_taken).count() * 2 > values.len() || values.is_empty() {
            return Some(moved);
        }
        same_family(&moved, self.stream.format, &values)
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
        let mut sum_up = match is_fitted {
            true => format!(
                "table {table}: {rows} of {} {}",
                counted(records, "sampled record"),
                if records == 1 { "becomes a row" } else { "become rows" }
            ),
            false => format!(
                "table {table}: the query gives {} of {}, and whether they fit is not known",
                counted(rows, "row"),
                counted(records, "sampled record")
            ),
        };
        for (count, what) in [(filtered, "left out by WHERE"), (skipped, "without a value"), (rejected, "rejected")] {
            sum_up += &if count > 0 { format!(", {count} {what}") } else { String::new() };
        }
        let is_bad = self.is_too_many(rejected, records);
        let key = format!("target {table}: query");
        if rejected > 0 {
            let remedy = match rejected - undecoded {
                0 => format!("see what stream {} says above", self.stream.name),
                _ => "see the columns that are listed".to_string(),
            };
            let said = Advice { key: key.clone(), what: sum_up, remedy };
            if is_bad { tried.findings.push(said) } else { tried.notes.push(said) }
        } else if filtered + skipped == records && filtered > 0 {
            let what = format!("table {table}: 0 of {} pass WHERE", counted(records, "sampled record"));
            let remedy = "nothing, if these records are not for it; else correct the condition".to_string();
            tried.notes.push(Advice { key: key.clone(), what, remedy });
        } else {
            tried.good.push(sum_up);
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
                    "{of} in {} of {}: {}",
                    group.records.len(),
                    counted(records, "record"),
                    group.text(group.value.as_deref())
                );
                let selected = number.and_then(|number| selection.columns.get(number));
                let remedy = match (stage, selected.zip(number.and_then(|number| columns.get(number)?.as_ref()))) {
                    ("fit", Some((selected, column))) => {
                        remedy(table, selected, source(self.stream, target, selected), column, &group.values)
                    }
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

/// The stream's column that a selected one is as it is, if it is one.
fn source<'s>(stream: &'s StreamOptions, target: &TargetOptions, selected: &SelectedColumn) -> Option<&'s str> {
    let Value::Input(place) = selected.value else { return None };
    match target.selection.inputs.get(place) {
        Some(Input::Column(number)) => stream.columns.get(*number).map(|column| column.name.as_str()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use checkpoint::TopicPartition;
    use connectors::{RawBatch, TableName};
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
                 decimal(12,2), or write CAST(amount AS integer) AS amount in its query, which rounds",
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
                "stream s: columns: column order_id: none of 2 sampled records has `order.id`, so it would be NULL; 1 of them has `orderId` \
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
                .contains("the query gives 0 rows of 1 sampled record, and whether they fit is not known, 1 rejected")
        );
        assert!(said[1].contains("column q fails in the query in 1 of 1 record: division by zero"), "{said:?}");
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
        assert!(of("stream a: columns: column n").contains("given \"<U+009B>31m\""), "{said:?}");
        assert!(of("stream a: columns: 1 of 2 records cannot be read").contains("schema registry"));
        let bytes = [topic(0, "a", &[Some(b"\xff\xfe")])];
        let bytes = lines(&tried(&job(text), &bytes, &Catalog::new()).findings).join("\n");
        assert!(bytes.contains("1 of 1 record cannot be read: not UTF-8"), "{bytes}");
        assert!(bytes.contains("one column of type varbyte") && !bytes.contains("varchar"), "{bytes}");
        assert!(
            of("stream b: columns: column body does not decode in 1 of 3 records: longer than varchar(4)")
                .contains("| write {")
        );
        assert!(of("stream b: columns: 1 of 3 records cannot be read: not UTF-8").contains("varbyte"));
    }

    /// The findings of a stream with the column `v`, whose records have these values, and the notes.
    fn of_column(kind: &str, selects: &str, table: &[(&str, &str, bool)], values: &[&str]) -> (String, String) {
        let text = format!(
            "[[stream]]\nname = \"s\"\ntopic = \"t\"\ncolumns = [ {{ name = \"v\", type = {kind} }} ]\n[[target]]\ntable = \"public.t\"\n\
             query = \"\"\"SELECT {selects} FROM s\"\"\"\n"
        );
        let values: Vec<String> = values.iter().map(|value| format!("{{\"v\":{value}}}")).collect();
        let topic = topic(0, "t", &values.iter().map(|value| Some(value.as_bytes())).collect::<Vec<_>>());
        let tried = tried(&job(&text), &[topic], &catalog(table));
        (lines(&tried.findings).join("\n"), lines(&tried.notes).join("\n"))
    }

    #[test]
    fn what_stands_beside_the_line_was_tried_too() {
        for (kind, selects, table, values, parts, absent) in [
            ("date", "v", ("v", "date", false), &["20052", "20053"][..], &["is date: make it bigint"][..], "CAST"),
            (
                "decimal(12,2)",
                "v",
                ("v", "decimal(12,2)", false),
                &["\"1,5\"", "\"2,75\""],
                &["type = \"varchar(64)\"", "is decimal(12,2): make it varchar(64)"],
                "CAST",
            ),
            (
                "integer",
                "v",
                ("v", "integer", false),
                &["\"N/A\"", "\"5\"", "true", "true"],
                &["is integer: make it varchar(64)"],
                "CAST",
            ),
            (
                "integer",
                "v AS w",
                ("w", "integer", false),
                &["1.5", "2.5"],
                &["is integer: make it decimal(11,1), or write CAST(v AS integer) AS w in its query, which rounds"],
                "then",
            ),
            (
                "date",
                "v",
                ("v", "date", false),
                &["\"2026-11-24 10:00:00\""],
                &["or write CAST(v AS date) AS v in its query, which leaves out the time of the day"],
                "then",
            ),
            (
                "timestamptz",
                "date_trunc('day', v) AS w",
                ("w", "timestamptz", false),
                &["\"soon\""],
                &["change the query of public.t, which is refused then: "],
                "CAST",
            ),
            (
                "integer",
                "v * 2 AS w",
                ("w", "integer", false),
                &["1.5"],
                &["column w of public.t is integer: make it decimal("],
                "CAST",
            ),
            (
                "boolean",
                "v",
                ("v", "boolean", false),
                &["\"on\"", "\"off\""],
                &["is boolean: make it varchar(64)"],
                "CAST",
            ),
            (
                "smallint",
                "v",
                ("v", "integer", true),
                &["40000", "50000", "1e400"],
                &["column v of public.t fails then in 1 of 3 records: NULL where the target's column is NOT NULL"],
                "widen",
            ),
            (
                "varchar(3)",
                "CAST(v AS integer) AS v",
                ("v", "integer", false),
                &["\"12345\"", "\"many\""],
                &["change the query of public.t: its column v fails then in 1 of 2 records: "],
                "or write",
            ),
        ] {
            let (findings, _) = of_column(&format!("\"{kind}\""), selects, &[table], values);
            let line = findings.lines().next().unwrap_or_default();
            assert!(parts.iter().all(|part| line.contains(part)), "{kind} {parts:?}: {line}");
            assert!(!line.contains(absent), "{kind} {absent}: {line}");
        }
        let values = ["1", "2", "3", "4.5", "\"N/A\"", "\"N/A\""];
        let (_, notes) = of_column("\"integer\", strict = true", "v", &[("v", "integer", false)], &values);
        assert!(notes.contains("CAST"), "{notes}");
    }

    #[test]
    fn numbers_that_count_another_unit_are_a_note() {
        let table = [("v", "timestamptz", false)];
        let of = |unit: &str, values: &[&str]| {
            let (findings, notes) = of_column(&format!("\"timestamptz\", time = \"{unit}\""), "v", &table, values);
            assert_eq!(findings, "");
            notes
        };
        assert_eq!(
            of("epoch_ms", &["1732575600", "1732575601"]),
            "stream s: columns: column v: 2 of 2 numbers would be times before 1980, as if they counted something else (t[2] at offset 10, \
             given 1732575600 is 1970-01-21 01:16:15.600000 UTC as epoch_ms) | write { name = \"v\", type = \"timestamptz\", time = \"epoch_s\" }"
        );
        let mixed = of("epoch_ms", &["1732575600123", "1732575600123", "1732575600"]);
        assert!(
            mixed.contains("1 of 3 numbers") && mixed.contains("at offset 12") && mixed.contains("CASE"),
            "{mixed}"
        );
        assert_eq!(of("epoch_ms", &["1732575600123", "157766400000", "0"]), "", "times may be old");
        assert_eq!(of("epoch_s", &["1732575600"]), "");
    }

    #[test]
    fn a_path_is_tried_before_it_is_named() {
        let of = |columns: &str, record: &'static str| {
            let text = format!(
                "[[stream]]\nname = \"s\"\ntopic = \"t\"\ncolumns = [ {columns} ]\n[[target]]\ntable = \"public.t\"\nquery = \"SELECT 1 \
                 AS one FROM s\"\n"
            );
            let catalog = catalog(&[("one", "integer", false)]);
            lines(&tried(&job(&text), &[records(&[record])], &catalog).notes).join("\n")
        };
        let qty = r#"{ name = "qty", type = "integer", path = "payload.order.qty" }"#;
        let said = of(qty, r#"{"payload":{"order":{"id":"A1","total":"12.345"}}}"#);
        assert_eq!(
            said,
            "stream s: columns: column qty: the one sampled record has no `payload.order.qty`, so it would be NULL; it has the keys payload | \
             correct `path`, or take the column out"
        );
        let said = of(r#"{ name = "qty", type = "integer" }"#, r#"{"order":{"qty":{"a":1}},"line":{"qty":5}}"#);
        assert!(
            said.contains("it has `line.qty` | write { name = \"qty\", type = \"integer\", path = \"line.qty\" }"),
            "{said}"
        );
        let said = of(r#"{ name = "at", type = "timestamptz" }"#, r#"{"At":1795514400000}"#);
        assert!(
            said.contains("write { name = \"at\", type = \"timestamptz\", path = \"At\", time = \"epoch_ms\" }"),
            "{said}"
        );
    }
}
