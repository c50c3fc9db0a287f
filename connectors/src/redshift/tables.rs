//! The control tables: their names, how they are made, and their rows as text.

use checkpoint::{Counts, Cut, Digest, Epoch, Fate, Link, Micros, Position, Span, TopicPartition, protocol::Holder};

use super::{
    session::{Session, conflict},
    text::{literal, name},
};
use crate::{Error, Fault, HaltNote, Process, Result, TableName, dead_letter_columns};

/// The format of the tables. A program that needs another one refuses them.
pub(super) const FORMAT: u32 = 2;

/// The control tables of a job, as quoted names.
pub(super) struct Tables {
    pub(super) schema: String,
    job: String,
    pub(super) version: String,
    pub(super) fence: String,
    pub(super) manifest: String,
    pub(super) rows: String,
    pub(super) offsets: String,
    pub(super) cuts: String,
    pub(super) plans: String,
    pub(super) sessions: String,
    pub(super) halts: String,
    pub(super) verified: String,
    pub(super) dead_letters: String,
}

pub(super) const FENCE_COLUMNS: &str =
    "fence_id, namespace, generation, nonce, next_epoch, digest, cut_digest, cut_epoch";
pub(super) const MANIFEST_COLUMNS: &str = "epoch, kind, generation, nonce, closed_at, watermark, digest, cut_digest, plan, \
     adopted, decided_by, decided_why, loaded_at";
pub(super) const OFFSETS_COLUMNS: &str = "epoch, topic, topic_id, kafka_partition, start_offset, end_offset, leader_epoch, \
     last_offset, last_timestamp, last_fingerprint";
pub(super) const CUTS_COLUMNS: &str =
    "epoch, topic, topic_id, kafka_partition, end_offset, leader_epoch, last_offset, last_fingerprint";
pub(super) const SESSIONS_COLUMNS: &str = "generation, nonce, host, process_id, started_at, pid, session_start";

/// Each table and its columns. What no process writes yet is NULL until it does, because tables are never altered: event times and
/// watermarks, state, the digest of rows, the mark of what was verified.
const TABLES: &[(&str, &str)] = &[
    ("version", "format integer NOT NULL, program varchar(32) NOT NULL, made_at timestamp NOT NULL"),
    (
        "fence",
        "fence_id varchar(36) NOT NULL, namespace varchar(64) NOT NULL, generation bigint NOT NULL, nonce varchar(32) NOT NULL, \
         next_epoch bigint NOT NULL, digest varchar(64) NOT NULL, cut_digest varchar(64) NOT NULL, cut_epoch bigint, \
         changed_at timestamp NOT NULL",
    ),
    (
        "manifest",
        "epoch bigint NOT NULL, kind varchar(16) NOT NULL, generation bigint NOT NULL, nonce varchar(32) NOT NULL, \
         closed_at timestamptz NOT NULL, watermark timestamptz, digest varchar(64) NOT NULL, cut_digest varchar(64) NOT NULL, \
         plan varchar(64) NOT NULL, state_key varchar(1024), state_sha256 varchar(64), state_sum varchar(32), \
         adopted varchar(4096), decided_by varchar(256), decided_why varchar(1024), loaded_at timestamp NOT NULL",
    ),
    ("rows", ""),
    (
        "offsets",
        "epoch bigint NOT NULL, topic varchar(249) NOT NULL, topic_id varchar(36) NOT NULL, kafka_partition integer NOT NULL, \
         start_offset bigint NOT NULL, end_offset bigint NOT NULL, leader_epoch integer, last_offset bigint, \
         last_timestamp timestamp, last_fingerprint varchar(64)",
    ),
    (
        "cuts",
        "epoch bigint NOT NULL, topic varchar(249) NOT NULL, topic_id varchar(36) NOT NULL, kafka_partition integer NOT NULL, \
         end_offset bigint NOT NULL, leader_epoch integer, last_offset bigint, last_fingerprint varchar(64)",
    ),
    (
        "times",
        "epoch bigint NOT NULL, stream varchar(256) NOT NULL, topic varchar(249) NOT NULL, kafka_partition integer NOT NULL, \
         largest_event_time timestamptz NOT NULL, behind boolean NOT NULL",
    ),
    ("watermarks", "epoch bigint NOT NULL, stream varchar(256) NOT NULL, watermark timestamptz NOT NULL"),
    ("plans", "hash varchar(64) NOT NULL, part integer NOT NULL, text varchar(65535) NOT NULL"),
    (
        "sessions",
        "generation bigint, nonce varchar(32) NOT NULL, host varchar(255) NOT NULL, process_id bigint NOT NULL, \
         started_at timestamp NOT NULL, pid integer NOT NULL, session_start timestamp",
    ),
    (
        "halts",
        "generation bigint NOT NULL, host varchar(255) NOT NULL, process_id bigint NOT NULL, code varchar(8) NOT NULL, \
         reason varchar(8192) NOT NULL, since timestamp NOT NULL",
    ),
    (
        "verified",
        "epoch bigint NOT NULL, digest varchar(64) NOT NULL, findings bigint NOT NULL, verified_at timestamp NOT NULL",
    ),
    ("dead_letters", ""),
];

/// The columns of a table.
fn columns_of(suffix: &str, columns: &str) -> String {
    match suffix {
        "rows" => {
            let fate =
                |fate: &Fate| format!("{} bigint{}", fate.column(), if fate.is_used() { " NOT NULL" } else { "" });
            let fates: Vec<String> = Fate::ALL.iter().map(fate).collect();
            format!(
                "epoch bigint NOT NULL, target varchar(256) NOT NULL, records_read bigint NOT NULL, {}, late_taken bigint, \
                 loaded bigint NOT NULL, removed bigint, row_digest varchar(64)",
                fates.join(", ")
            )
        }
        "dead_letters" => {
            let letters = dead_letter_columns();
            let column =
                |c: &crate::TargetColumn| format!("{} {}{}", c.name, c.kind, if c.not_null { " NOT NULL" } else { "" });
            letters.iter().map(column).collect::<Vec<_>>().join(", ")
        }
        _ => columns.into(),
    }
}

/// The columns of the table of counts, as they are written and read.
pub(super) fn rows_columns() -> String {
    let used = Fate::ALL.iter().filter(|fate| fate.is_used()).map(|fate| fate.column());
    format!("epoch, target, records_read, {}, loaded", used.collect::<Vec<_>>().join(", "))
}

/// Every record that was read meets one fate: what does not is found by this condition.
pub(super) fn fates_do_not_add_up() -> String {
    let fates: Vec<String> = Fate::ALL.iter().map(|fate| format!("coalesce({}, 0)", fate.column())).collect();
    format!("(records_read <> {} OR loaded <> taken)", fates.join(" + "))
}

impl Tables {
    pub(super) fn new(schema: &str, job: &str) -> Tables {
        let table = |suffix: &str| format!("{}.{}", name(schema), name(&format!("{job}_{suffix}")));
        Tables {
            schema: schema.into(),
            job: job.into(),
            version: table("version"),
            fence: table("fence"),
            manifest: table("manifest"),
            rows: table("rows"),
            offsets: table("offsets"),
            cuts: table("cuts"),
            plans: table("plans"),
            sessions: table("sessions"),
            halts: table("halts"),
            verified: table("verified"),
            dead_letters: table("dead_letters"),
        }
    }

    /// Schema and name of the fence.
    pub(super) fn fence_name(&self) -> (&str, String) {
        (&self.schema, format!("{}_fence", self.job))
    }

    /// The name of a table, by what comes after the job's name.
    pub(super) fn table_name(&self, suffix: &str) -> TableName {
        TableName { schema: self.schema.clone(), table: format!("{}_{suffix}", self.job) }
    }

    /// The job.
    pub(super) fn job(&self) -> &str {
        &self.job
    }

    /// The name of the dead letters in the counts.
    pub(super) fn dead_letters_name(&self) -> String {
        crate::dead_letter_table(&self.schema, &self.job).to_string()
    }

    /// The names of the job's tables that are there, and of those that are not.
    pub(super) fn there(&self, session: &mut Session) -> Result<(Vec<String>, Vec<String>)> {
        let schema = literal(&self.schema);
        let found = session.run(&format!("SELECT tablename FROM pg_tables WHERE schemaname = {schema}"))?.rows;
        let all = TABLES.iter().map(|(suffix, _)| format!("{}_{suffix}", self.job));
        let is_there = |table: &String| found.iter().any(|row| row.optional(0).as_deref() == Some(table));
        let (there, missing): (Vec<String>, Vec<String>) = all.partition(is_there);
        let named = |tables: Vec<String>| tables.iter().map(|table| format!("{}.{table}", self.schema)).collect();
        Ok((named(there), named(missing)))
    }

    /// Makes all tables in one transaction, or finds them made. Some without others, or without a version, are refused.
    pub(super) fn make(&self, session: &mut Session, fence_id: &str) -> Result<Vec<String>> {
        session.run("BEGIN")?;
        let schema = literal(&self.schema);
        let found = session.run(&format!("SELECT 1 FROM pg_namespace WHERE nspname = {schema}"))?;
        if found.rows.is_empty() {
            session.run(&format!("CREATE SCHEMA {}", name(&self.schema)))?;
        }
        let (there, missing) = self.there(session)?;
        if !there.is_empty() {
            let whole = self.refuse_others(session, &there, &missing);
            session.run("ROLLBACK")?;
            return whole.map(|()| Vec::new());
        }
        for (suffix, columns) in TABLES {
            let quoted = format!("{}.{}", name(&self.schema), name(&format!("{}_{suffix}", self.job)));
            let columns = columns_of(suffix, columns);
            // Rows of one epoch lie together, so that a start reads what is recent and no more.
            let sorted = if columns.starts_with("epoch ") { " SORTKEY(epoch)" } else { "" };
            session.run(&format!("CREATE TABLE {quoted} ({columns}){sorted}"))?;
        }
        let namespace = session.one_text("SELECT current_namespace")?;
        session.run(&format!(
            "INSERT INTO {} (format, program, made_at) VALUES ({FORMAT}, {}, sysdate)",
            self.version,
            literal(env!("CARGO_PKG_VERSION"))
        ))?;
        session.run(&format!(
            "INSERT INTO {} ({FENCE_COLUMNS}, changed_at) VALUES ({}, {}, 0, '', 0, {}, {}, NULL, sysdate)",
            self.fence,
            literal(fence_id),
            literal(&namespace),
            literal(&Digest::first(fence_id).0),
            literal(&Cut::default().digest().0)
        ))?;
        session.run("COMMIT").map_err(Error::unknown)?;
        Ok(missing)
    }

    /// Fails unless all tables are there, and of our format. `there` is not empty.
    fn refuse_others(&self, session: &mut Session, there: &[String], missing: &[String]) -> Result<()> {
        let version = format!("{}.{}_version", self.schema, self.job);
        let format = match there.contains(&version) {
            true => self.format(session)?,
            false => None,
        };
        let foreign = |what: String| Err(Error::new(Fault::Foreign, what));
        match format {
            Some(FORMAT) if missing.is_empty() => Ok(()),
            Some(FORMAT) => foreign(format!(
                "control tables {} of the job are missing, and the others are there",
                missing.join(", ")
            )),
            Some(other) => foreign(format!("{version} says format {other}, and this program has format {FORMAT}")),
            None => foreign(format!(
                "tables without a version, of an older program or of somebody else: {}",
                there.join(", ")
            )),
        }
    }

    /// The format that the tables say they have.
    fn format(&self, session: &mut Session) -> Result<Option<u32>> {
        let rows = session.run(&format!("SELECT format FROM {}", self.version))?.rows;
        match rows.as_slice() {
            [] => Ok(None),
            [row] => row.number(0).map(Some),
            _ => Err(Error::new(Fault::Corrupt, format!("{} has {} rows instead of 1", self.version, rows.len()))),
        }
    }

    /// Fails unless all tables are there and of our format.
    pub(super) fn check(&self, session: &mut Session) -> Result<()> {
        let (there, missing) = self.there(session)?;
        if !there.is_empty() {
            return self.refuse_others(session, &there, &missing);
        }
        let what =
            format!("the control tables of the job are not in schema {}; make them with `tidegate init`", self.schema);
        Err(Error::new(Fault::Missing, what))
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

/// The columns of the counts that are numbers.
pub(super) fn counts_columns() -> Vec<&'static str> {
    let fates = Fate::ALL.iter().map(|fate| fate.column());
    ["records_read"].into_iter().chain(fates).chain(["late_taken", "loaded", "removed"]).collect()
}

pub(super) fn number(value: Option<impl ToString>) -> String {
    value.map_or("NULL".into(), |v| v.to_string())
}

fn text_or_null(text: Option<&str>) -> String {
    text.map_or("NULL".into(), literal)
}

/// One row of the manifest.
pub(super) fn manifest_row(link: &Link, holder: &Holder) -> String {
    let Link { record, digest, cut_digest, .. } = link;
    let decision = record.decision.as_ref();
    let adopted = decision.map(|d| d.adopted.join(",")).filter(|ids| !ids.is_empty());
    format!(
        "({}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, sysdate)",
        record.epoch,
        literal(record.kind.text()),
        holder.generation,
        literal(holder.nonce.as_str()),
        moment(record.closed_at),
        record.watermark.map_or("NULL".into(), moment),
        literal(&digest.0),
        literal(&cut_digest.0),
        literal(&record.plan),
        text_or_null(adopted.as_deref()),
        text_or_null(decision.map(|d| d.by.as_str())),
        text_or_null(decision.map(|d| d.why.as_str())),
    )
}

/// One row of the counts.
pub(super) fn counts_row(epoch: Epoch, target: &str, counts: &Counts) -> String {
    let used = Fate::ALL.iter().filter(|fate| fate.is_used());
    let fates: Vec<String> = used.map(|fate| counts.of(*fate).to_string()).collect();
    let (target, read, loaded) = (literal(target), counts.records_read, counts.loaded);
    format!("({epoch}, {target}, {read}, {}, {loaded})", fates.join(", "))
}

/// One row of the offsets.
pub(super) fn offsets_row(epoch: Epoch, span: &Span) -> String {
    let last = span.last.as_ref();
    // A producer may have written any number; what is not a moment of the years 1 to 9999 stays unknown.
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
        text_or_null(last.map(|l| l.fingerprint.as_str()))
    )
}

/// One row of a whole cut.
pub(super) fn cuts_row(epoch: Epoch, partition: &TopicPartition, position: &Position) -> String {
    let last = position.last.as_ref();
    format!(
        "({epoch}, {}, {}, {}, {}, {}, {}, {})",
        literal(&partition.topic),
        literal(&position.topic_id),
        partition.partition,
        position.end,
        number(position.leader_epoch),
        number(last.map(|l| l.offset)),
        text_or_null(last.map(|l| l.fingerprint.as_str()))
    )
}

/// A process: host, id, and when it began.
pub(super) fn process_values(process: &Process) -> String {
    format!("{}, {}, '{}'", literal(&process.host), process.id, process.started_at.to_text())
}

/// One row of the halts. The reason is cut to its column.
pub(super) fn halts_row(note: &HaltNote) -> String {
    let reason = &note.reason[..note.reason.floor_char_boundary(8192)];
    let HaltNote { generation, process, code, since, .. } = note;
    format!(
        "({generation}, {}, {}, {}, {}, '{}')",
        literal(&process.host),
        process.id,
        literal(code),
        literal(reason),
        since.to_text()
    )
}
