//! Why records of an epoch were rejected: counted by kind where dead letters are made, and carried beside the rows to whoever is asked.

use std::cmp::Reverse;

use arrow_array::{Array, cast::AsArray, types::Int32Type, types::Int64Type};
use connectors::dead_letter_columns;
use serde::{Deserialize, Serialize};

use crate::rows::Fitted;

/// How many kinds are told apart; what comes after them is not counted.
const KINDS_MAX: usize = 32;

/// A kind of reason: words that do not depend on the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Where on its way a record was rejected: decode, query or fit.
    pub stage: String,
    /// The column, if one is to blame.
    pub column: Option<String>,
    /// The words.
    pub kind: String,
    /// How many records.
    pub records: u64,
    /// One of them: its topic, partition and offset, and its reason in full.
    pub example: (String, i32, i64, String),
}

/// Reasons by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reasons(Vec<Reason>);

impl Reasons {
    /// Counts a batch of dead letters.
    pub fn add(&mut self, letters: &Fitted) {
        let text = |name: &str, row: usize| {
            let texts = column(letters, name)?.as_string_opt::<i32>()?;
            texts.is_valid(row).then(|| texts.value(row))
        };
        let partition = column(letters, "kafka_partition").and_then(|column| column.as_primitive_opt::<Int32Type>());
        let offset = column(letters, "kafka_offset").and_then(|column| column.as_primitive_opt::<Int64Type>());
        for row in 0..letters.len() {
            let (Some(stage), Some(reason)) = (text("stage", row), text("reason", row)) else { continue };
            let (column, kind) = (text("column_name", row), reason.split(':').next().unwrap_or(reason));
            let example = || {
                let at = (partition.map_or(-1, |p| p.value(row)), offset.map_or(-1, |o| o.value(row)));
                (text("topic", row).unwrap_or_default().to_string(), at.0, at.1, reason.to_string())
            };
            self.count(stage, column, kind, 1, example);
        }
    }

    /// Adds what others counted.
    pub fn merge(&mut self, others: &Reasons) {
        for Reason { stage, column, kind, records, example } in &others.0 {
            self.count(stage, column.as_deref(), kind, *records, || example.clone());
        }
    }

    fn count(
        &mut self,
        stage: &str,
        column: Option<&str>,
        kind: &str,
        records: u64,
        example: impl FnOnce() -> (String, i32, i64, String),
    ) {
        let same =
            |known: &&mut Reason| known.kind == kind && known.column.as_deref() == column && known.stage == stage;
        if let Some(known) = self.0.iter_mut().find(same) {
            known.records += records;
            return;
        }
        if self.0.len() < KINDS_MAX {
            let (stage, column, kind) = (stage.to_string(), column.map(String::from), kind.to_string());
            self.0.push(Reason { stage, column, kind, records, example: example() });
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The kind that most records were rejected for; of two the one that came first.
    pub fn commonest(&self) -> Option<&Reason> {
        self.0.iter().min_by_key(|reason| Reverse(reason.records))
    }
}

fn column<'a>(letters: &'a Fitted, name: &str) -> Option<&'a dyn Array> {
    let place = dead_letter_columns().iter().position(|column| column.name == name)?;
    letters.columns.get(place).map(|column| &**column)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use checkpoint::TopicPartition;
    use connectors::RawBatch;

    use super::*;
    use crate::{
        dead_letters::{RejectOptions, Rejects},
        places::Place,
        rows::{Index, Origin, Rejected},
    };

    fn letters(reasons: &[(Option<&str>, &str)]) -> Fitted {
        let mut raw = RawBatch::default();
        for offset in 0..reasons.len() as i64 {
            raw.partitions.push(0);
            raw.offsets.push(offset);
            raw.timestamps_ms.push(0);
            raw.keys.push(None).unwrap();
            raw.values.push(Some(b"{}")).unwrap();
        }
        let partition = TopicPartition::new("t", 3);
        let place = Place { partition, topic_id: String::new(), stream: 0, start: 0, leader_epoch: None, until: None };
        let rejected = |(row, (column, reason)): (usize, &(Option<&str>, &str))| Rejected {
            row,
            column: column.map(String::from),
            reason: reason.to_string(),
        };
        let rejected: Vec<Rejected> = reasons.iter().enumerate().map(rejected).collect();
        let rejects = Rejects::new(RejectOptions::default(), Arc::from([place]));
        let index = Index::all(reasons.len());
        rejects.set_aside(7, "decode", "", &Origin::new(raw, &[0]), &index, &rejected).unwrap()
    }

    #[test]
    fn the_commonest_reason_is_that_of_most_records() {
        let mut reasons = Reasons::default();
        assert!(reasons.is_empty() && reasons.commonest().is_none());
        reasons.add(&letters(&[(None, "not JSON: a"), (Some("a"), "out of range: 5"), (Some("a"), "out of range: 6")]));
        let mut others = Reasons::default();
        others.add(&letters(&[(Some("b"), "out of range: 7"), (None, "not JSON: b"), (None, "not JSON: c")]));
        reasons.merge(&others);
        let found = reasons.commonest().unwrap();
        assert_eq!((found.kind.as_str(), found.records, found.stage.as_str()), ("not JSON", 3, "decode"));
        assert_eq!(found.example, ("t".into(), 3, 0, "not JSON: a".into()));
        // However many kinds there are, they are bounded.
        let many: Vec<String> = (0..100).map(|n| format!("kind {n}: x")).collect();
        reasons.add(&letters(&many.iter().map(|kind| (None, kind.as_str())).collect::<Vec<_>>()));
        assert_eq!(reasons.0.len(), KINDS_MAX);
    }
}
