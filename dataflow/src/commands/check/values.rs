//! What the records of a stream have: the values of its columns, and all paths. Pure.

use std::collections::{BTreeSet, HashMap};

use operators::{
    decode::Format,
    trial::Sample,
    values::{
        json,
        path::{Path, Segment},
    },
};

use super::{nearest::Paths, seen::Seen};
use crate::job::StreamOptions;

/// How many distinct paths are remembered of a stream: a record may have ids for keys.
const PATHS_MAX: usize = 10_000;

/// A value of a declared column.
pub(super) struct Valued {
    /// The sample's number.
    pub sample: usize,
    /// The record's place in it.
    pub record: usize,
    /// As the record has it.
    pub text: String,
    /// `None` for what is no text.
    pub seen: Option<Seen>,
}

/// What the records have.
pub(super) struct Values {
    /// Records that can be read.
    pub records: usize,
    /// The values of each declared column.
    pub columns: Vec<Vec<Valued>>,
    /// The paths of all records.
    pub paths: Paths,
}

impl Values {
    /// Those of all samples of a stream.
    pub fn of(stream: &StreamOptions, samples: &[&Sample]) -> Values {
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

/// The values that stand at a path, as records spell it.
pub(super) fn at(samples: &[&Sample], path: &Path) -> Vec<Seen> {
    let records = samples.iter().flat_map(|sample| (0..sample.len()).filter_map(|record| sample.value(record)));
    let texts = records.filter_map(|bytes| std::str::from_utf8(bytes).ok());
    let found = texts.filter_map(|text| json::find(text, &path.0).ok().flatten());
    found.filter_map(Seen::of_json).collect()
}
