//! The control tables: their names, how they are made, and their rows as text.

use checkpoint::{Counts, Digest, Epoch, EpochRecord, Micros, Span, protocol::Holder};

use super::{
    session::{Session, conflict},
    text::{literal, name},
};
use crate::{Error, Result, dead_letter_columns};

/// The control tables of a job, as quoted names.
pub(super) struct Tables {
    pub(super) schema: String,
    job: String,
    pub(super) fence: String,
    pub(super) manifest: String,
    pub(super) rows: String,
    pub(super) offsets: String,
    pub(super) sessions: String,
    pub(super) dead_letters: String,
}

pub(super) const MANIFEST_COLUMNS: &str = "epoch, generation, nonce, closed_at, watermark, digest, plan, loaded_at";
pub(super) const ROWS_COLUMNS: &str =
    "epoch, target, records_read, row_count, filtered, skipped, undecoded, dead_letters";
pub(super) const OFFSETS_COLUMNS: &str = "epoch, topic, topic_id, kafka_partition, start_offset, end_offset, leader_epoch, \
     last_offset, last_timestamp, last_fingerprint";

/// Each table and its columns.
const TABLES: &[(&str, &str)] = &[
    (
        "fence",
        "fence_id varchar(36) NOT NULL, namespace varchar(64) NOT NULL, generation bigint NOT NULL, nonce varchar(32) NOT NULL, \
         next_epoch bigint NOT NULL, digest varchar(64) NOT NULL, changed_at timestamp NOT NULL",
    ),
    (
        "manifest",
        "epoch bigint NOT NULL, generation bigint NOT NULL, nonce varchar(32) NOT NULL, closed_at timestamptz NOT NULL, \
         watermark timestamptz, digest varchar(64) NOT NULL, plan varchar(64) NOT NULL, loaded_at timestamp NOT NULL",
    ),
    (
        "rows",
        "epoch bigint NOT NULL, target varchar(256) NOT NULL, records_read bigint NOT NULL, row_count bigint NOT NULL, \
         filtered bigint NOT NULL, skipped bigint NOT NULL, undecoded bigint NOT NULL, dead_letters bigint NOT NULL, \
         row_digest varchar(64)",
    ),
    (
        "offsets",
        "epoch bigint NOT NULL, topic varchar(249) NOT NULL, topic_id varchar(36) NOT NULL, kafka_partition integer NOT NULL, \
         start_offset bigint NOT NULL, end_offset bigint NOT NULL, leader_epoch integer, last_offset bigint, \
         last_timestamp timestamp, last_fingerprint varchar(64)",
    ),
    ("sessions", "generation bigint, nonce varchar(32) NOT NULL, pid integer NOT NULL, session_start timestamp"),
];

impl Tables {
    pub(super) fn new(schema: &str, job: &str) -> Tables {
        let table = |suffix: &str| format!("{}.{}", name(schema), name(&format!("{job}_{suffix}")));
        Tables {
            schema: schema.into(),
            job: job.into(),
            fence: table("fence"),
            manifest: table("manifest"),
            rows: table("rows"),
            offsets: table("offsets"),
            sessions: table("sessions"),
            dead_letters: table("dead_letters"),
        }
    }

    /// The name of the dead letters in the counts.
    pub(super) fn dead_letters_name(&self) -> String {
        crate::dead_letter_table(&self.schema, &self.job).to_string()
    }

    /// Makes what is missing, in one transaction. Never alters or empties what is there.
    pub(super) fn make(&self, session: &mut Session, fence_id: &str) -> Result<Vec<String>> {
        session.run("BEGIN")?;
        let schema = literal(&self.schema);
        let found = session.run(&format!("SELECT 1 FROM pg_namespace WHERE nspname = {schema}"))?;
        if found.rows.is_empty() {
            session.run(&format!("CREATE SCHEMA {}", name(&self.schema)))?;
        }
        let there = session.run(&format!("SELECT tablename FROM pg_tables WHERE schemaname = {schema}"))?.rows;
        let mut made = Vec::new();
        let letters: Vec<String> = dead_letter_columns()
            .iter()
            .map(|c| format!("{} {}{}", c.name, c.kind, if c.not_null { " NOT NULL" } else { "" }))
            .collect();
        let letters = letters.join(", ");
        for (suffix, columns) in TABLES.iter().chain(&[("dead_letters", letters.as_str())]) {
            let table = format!("{}_{suffix}", self.job);
            if there.iter().any(|row| row.optional(0).as_deref() == Some(&table)) {
                continue;
            }
            let quoted = format!("{}.{}", name(&self.schema), name(&table));
            session.run(&format!("CREATE TABLE {quoted} ({columns})"))?;
            if *suffix == "fence" {
                let namespace = session.one_text("SELECT current_namespace")?;
                session.run(&format!(
                    "INSERT INTO {quoted} (fence_id, namespace, generation, nonce, next_epoch, digest, changed_at) \
                     VALUES ({}, {}, 0, '', 0, {}, sysdate)",
                    literal(fence_id),
                    literal(&namespace),
                    literal(&Digest::first(fence_id).0)
                ))?;
            }
            made.push(format!("{}.{table}", self.schema));
        }
        session.run("COMMIT").map_err(Error::unknown)?;
        Ok(made)
    }
}

/// Whether a statement failed because somebody else made the same thing, or was about to. What is made at the same moment
/// is not "already there" but the same key twice in an index of the catalog, or a conflict of transactions.
pub(super) fn rival_made_it(error: &Error) -> bool {
    let said = error.source.as_ref().map(|e| e.to_string()).unwrap_or_default();
    said.contains("already exists") || said.contains("duplicate key") || conflict(error)
}

fn moment(at: Micros) -> String {
    format!("'{}+00'", at.to_text())
}

fn number(value: Option<impl ToString>) -> String {
    value.map_or("NULL".into(), |v| v.to_string())
}

/// One row of the manifest.
pub(super) fn manifest_row(record: &EpochRecord, digest: &Digest, holder: &Holder) -> String {
    format!(
        "({}, {}, {}, {}, {}, {}, {}, sysdate)",
        record.epoch,
        holder.generation,
        literal(holder.nonce.as_str()),
        moment(record.closed_at),
        record.watermark.map_or("NULL".into(), moment),
        literal(&digest.0),
        literal(&record.plan)
    )
}

/// One row of the counts.
pub(super) fn counts_row(epoch: Epoch, target: &str, counts: &Counts) -> String {
    let Counts { records_read, row_count, filtered, skipped, undecoded, dead_letters } = counts;
    let target = literal(target);
    format!("({epoch}, {target}, {records_read}, {row_count}, {filtered}, {skipped}, {undecoded}, {dead_letters})")
}

/// One row of the offsets.
pub(super) fn offsets_row(epoch: Epoch, span: &Span) -> String {
    let last = span.last.as_ref();
    // A producer may have written any number; what is no moment of the years 1 to 9999 stays unknown.
    let timestamp = last.and_then(|l| Micros::from_millis(l.timestamp_ms)).map(|at| format!("'{}'", at.to_text()));
    format!(
        "({epoch}, {}, {}, {}, {}, {}, {}, {}, {}, {})",
        literal(&span.partition.topic),
        literal(&span.topic_id),
        span.partition.partition,
        span.start,
        span.end,
        number(span.leader_epoch),
        number(last.map(|l| l.offset)),
        number(timestamp),
        last.map_or("NULL".into(), |l| literal(&l.fingerprint))
    )
}
