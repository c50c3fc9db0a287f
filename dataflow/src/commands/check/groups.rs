//! What fails in a sample, by column. Pure.

use std::collections::{BTreeMap, BTreeSet};

use operators::trial::{Fault, Sample};

use super::{said::shown_reason, shown::shown};

/// Faults by column.
pub(super) struct Groups(pub BTreeMap<Option<String>, Group>);

/// Faults of one column.
pub(super) struct Group {
    /// The first of them, by sample and place in it.
    pub first: (usize, usize),
    pub records: BTreeSet<(usize, usize)>,
    /// How many of each kind.
    kinds: BTreeMap<String, usize>,
    reason: String,
    at: String,
    pub value: Option<String>,
    /// What the query or the table was given.
    pub values: Vec<Option<String>>,
}

impl Groups {
    /// The faults of samples, each with the sample's number.
    pub fn of<'f>(faults: impl Iterator<Item = (usize, &'f Sample, &'f Fault)>) -> Groups {
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

fn times(count: usize) -> String {
    if count == 1 { "once".into() } else { format!("{count} times") }
}

/// The words of a reason that do not depend on the record.
fn kind(reason: &str) -> &str {
    reason.split(':').next().unwrap_or(reason)
}

impl Group {
    /// Why, with an example.
    pub fn text(&self, value: Option<&str>) -> String {
        let value = value.map_or(String::new(), |value| format!(", given {}", shown(value)));
        let others = self.kinds.iter().filter(|(other, _)| *other != kind(&self.reason));
        let others: Vec<String> = others.map(|(kind, count)| format!("{} {}", times(*count), shown(kind))).collect();
        let others = if others.is_empty() { String::new() } else { format!("; also {}", others.join(", ")) };
        format!("{} ({}{value}){others}", shown_reason(&self.reason), self.at)
    }
}
