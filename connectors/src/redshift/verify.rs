//! Whether the control tables and the targets keep their promise, by SQL that anyone can run, and the digest chain.
//!
//! Each check is a statement that gives no row when all is well. They run in one transaction, so they look at one moment.

use std::collections::BTreeMap;

use checkpoint::{Digest, Epoch, EpochRecord, LastRecord, Micros, Span, TopicPartition};

use super::{
    Redshift,
    session::Session,
    tables::Tables,
    text::{literal, name},
};
use crate::{Error, Fault, Result, TableName};

/// A target as the checks look at it.
#[derive(Clone, Debug)]
pub struct Filled {
    /// Its table.
    pub table: TableName,
    /// The columns that say where a row came from, where the query selects them.
    pub origin: Option<OriginColumns>,
}

/// Columns of a target that say where each row came from.
#[derive(Clone, Debug)]
pub struct OriginColumns {
    /// Filled from `_topic`; or, where the stream has one topic, its name.
    pub topic: Topic,
    /// Filled from `_partition`.
    pub partition: String,
    /// Filled from `_offset`.
    pub offset: String,
}

/// What says the topic of a row.
#[derive(Clone, Debug)]
pub enum Topic {
    /// This column.
    Column(String),
    /// It is this one for all.
    Only(String),
}

/// A statement that gives no row when all is well.
#[derive(Clone, Debug)]
pub struct Check {
    /// What a row of it means.
    pub what: String,
    /// The target that it is about, if it is about one.
    pub target: Option<String>,
    /// Whether rows that somebody else wrote to the target can make it fail.
    pub edits_disturb: bool,
    /// The statement.
    pub sql: String,
}

/// What a check found.
#[derive(Clone, Debug)]
pub struct Found {
    /// What is wrong.
    pub what: String,
    /// The target.
    pub target: Option<String>,
    /// Whether edits of the target by others explain it.
    pub edits_disturb: bool,
    /// The first rows, as text.
    pub rows: Vec<String>,
}

/// How many rows of a finding are shown.
const SHOWN: usize = 3;
/// How many epochs of the chain are read at once.
const PAGE: u64 = 2_000;

/// All checks that are one statement.
fn checks(tables: &Tables, targets: &[Filled]) -> Vec<Check> {
    let Tables { fence, manifest, rows, offsets, dead_letters, .. } = tables;
    let letters = literal(&tables.dead_letters_name());
    let of_job = |what: &str, sql: String| Check { what: what.into(), target: None, edits_disturb: false, sql };
    let mut checks = vec![
        of_job(
            "an epoch is missing from the manifest, or there twice",
            format!(
                "SELECT epoch FROM (SELECT epoch, row_number() OVER (ORDER BY epoch) - 1 AS place FROM {manifest}) m \
                 WHERE epoch <> place"
            ),
        ),
        of_job(
            "the fence does not stand behind the last epoch",
            format!(
                "SELECT f.next_epoch, m.number FROM {fence} f, (SELECT count(*) AS number FROM {manifest}) m \
                 WHERE f.next_epoch <> m.number"
            ),
        ),
        of_job(
            "the digest of the fence is not that of the last epoch",
            format!(
                "SELECT f.digest, m.digest FROM {fence} f JOIN {manifest} m ON m.epoch = f.next_epoch - 1 \
                 WHERE f.digest <> m.digest"
            ),
        ),
        of_job(
            "offsets of a partition do not begin where those of the epoch before it ended",
            format!(
                "SELECT topic, kafka_partition, epoch, start_offset, before FROM (SELECT topic, kafka_partition, epoch, \
                 start_offset, lag(end_offset) OVER (PARTITION BY topic, kafka_partition ORDER BY epoch) AS before \
                 FROM {offsets}) o WHERE start_offset <> before"
            ),
        ),
        of_job(
            "offsets of a partition go backwards",
            format!("SELECT topic, kafka_partition, epoch FROM {offsets} WHERE end_offset < start_offset"),
        ),
        of_job(
            "offsets or counts of an epoch that is not in the manifest",
            format!(
                "SELECT DISTINCT x.epoch FROM (SELECT epoch FROM {offsets} UNION ALL SELECT epoch FROM {rows}) x \
                 LEFT JOIN {manifest} m ON m.epoch = x.epoch WHERE m.epoch IS NULL"
            ),
        ),
        of_job(
            "an epoch has no counts",
            format!(
                "SELECT m.epoch FROM {manifest} m LEFT JOIN (SELECT DISTINCT epoch FROM {rows}) r ON r.epoch = m.epoch \
                 WHERE r.epoch IS NULL"
            ),
        ),
        of_job(
            "the counts of an epoch do not add up",
            format!(
                "SELECT epoch, target FROM {rows} WHERE target <> {letters} \
                 AND records_read <> row_count + filtered + skipped + undecoded + dead_letters"
            ),
        ),
        of_job(
            "an epoch has other dead letters than were counted",
            format!(
                "SELECT r.epoch, r.row_count, coalesce(d.number, 0) FROM {rows} r \
                 LEFT JOIN (SELECT epoch, count(*) AS number FROM {dead_letters} GROUP BY epoch) d ON d.epoch = r.epoch \
                 WHERE r.target = {letters} AND r.row_count <> coalesce(d.number, 0)"
            ),
        ),
        of_job(
            "a dead letter lies outside of what its epoch read",
            format!(
                "SELECT d.epoch, d.topic, d.kafka_partition, d.kafka_offset FROM {dead_letters} d \
                 LEFT JOIN {offsets} o ON o.epoch = d.epoch AND o.topic = d.topic AND o.kafka_partition = d.kafka_partition \
                 AND d.kafka_offset >= o.start_offset AND d.kafka_offset < o.end_offset WHERE o.epoch IS NULL"
            ),
        ),
    ];
    targets.iter().for_each(|target| checks.extend(of_target(tables, target)));
    checks
}

fn of_target(tables: &Tables, target: &Filled) -> Vec<Check> {
    let Tables { rows, offsets, .. } = tables;
    let (shown, known) = (target.table.to_string(), literal(&target.table.to_string()));
    let table = format!("{}.{}", name(&target.table.schema), name(&target.table.table));
    let check = |what: String, sql: String| Check { what, target: Some(shown.clone()), edits_disturb: true, sql };
    let mut checks = vec![check(
        format!("table {shown} has other rows than were counted"),
        format!(
            "SELECT c.counted, t.there FROM (SELECT coalesce(sum(row_count), 0) AS counted FROM {rows} WHERE target = {known}) c, \
             (SELECT count(*) AS there FROM {table}) t WHERE c.counted <> t.there"
        ),
    )];
    let Some(origin) = &target.origin else { return checks };
    let (partition, offset) = (name(&origin.partition), name(&origin.offset));
    let (topic, same_topic) = match &origin.topic {
        Topic::Column(column) => (format!("{}, ", name(column)), format!("o.topic = t.{}", name(column))),
        Topic::Only(topic) => (String::new(), format!("o.topic = {}", literal(topic))),
    };
    checks.push(check(
        format!("a record is in table {shown} twice"),
        format!("SELECT {topic}{partition}, {offset}, count(*) FROM {table} GROUP BY {topic}{partition}, {offset} HAVING count(*) > 1"),
    ));
    let inside = format!(
        "{same_topic} AND o.kafka_partition = t.{partition} AND t.{offset} >= o.start_offset AND t.{offset} < o.end_offset"
    );
    checks.push(check(
        format!("a row of table {shown} comes from outside of what was read"),
        format!(
            "SELECT t.{partition}, t.{offset} FROM {table} t LEFT JOIN {offsets} o ON {inside} WHERE o.epoch IS NULL"
        ),
    ));
    checks.push(check(
        format!("table {shown} has other rows of an epoch than were counted"),
        format!(
            "SELECT r.epoch, r.row_count, coalesce(p.there, 0) FROM {rows} r LEFT JOIN (SELECT o.epoch, count(*) AS there \
             FROM {table} t JOIN {offsets} o ON {inside} GROUP BY o.epoch) p ON p.epoch = r.epoch \
             WHERE r.target = {known} AND r.row_count <> coalesce(p.there, 0)"
        ),
    ));
    checks
}

impl Redshift {
    /// The statements of [`Redshift::verify`], for anyone to run.
    pub fn verify_sql(&self, targets: &[Filled]) -> Vec<Check> {
        checks(&self.tables, targets)
    }

    /// Runs all checks in one transaction, and recomputes the digest of every epoch. The epochs that were looked at, and what
    /// was found.
    pub fn verify(&self, targets: &[Filled]) -> Result<(u64, Vec<Found>)> {
        let mut session = self.connect()?;
        session.limit(self.settings.statement_timeout)?;
        session.run("BEGIN")?;
        let mut found = Vec::new();
        for check in checks(&self.tables, targets) {
            let rows = session.run(&format!("{} LIMIT {}", check.sql, SHOWN + 1))?.rows;
            if rows.is_empty() {
                continue;
            }
            let mut shown: Vec<String> = rows.iter().take(SHOWN).map(|row| row.joined()).collect();
            if rows.len() > SHOWN {
                shown.push("...".into());
            }
            let Check { what, target, edits_disturb, .. } = check;
            found.push(Found { what, target, edits_disturb, rows: shown });
        }
        let epochs = session.one_number(&format!("SELECT count(*) FROM {}", self.tables.manifest))?;
        if let Some(epoch) = self.broken_link(&mut session)? {
            let what =
                "the digest of an epoch is not that of its history: the manifest or the offsets were edited".into();
            found.push(Found { what, target: None, edits_disturb: false, rows: vec![epoch.to_string()] });
        }
        session.run("ROLLBACK")?;
        Ok((epochs, found))
    }

    /// The first epoch whose digest is not that of everything up to it.
    fn broken_link(&self, session: &mut Session) -> Result<Option<Epoch>> {
        let mut digest = Digest::first(&session.one_text(&format!("SELECT fence_id FROM {}", self.tables.fence))?);
        let mut from = 0;
        loop {
            let page = format!("epoch >= {from} AND epoch < {}", from + PAGE);
            let mut spans = self.spans(session, &page)?;
            let rows = session.run(&format!(
                "SELECT epoch, closed_at::varchar, watermark::varchar, digest, plan FROM {} WHERE {page} ORDER BY epoch",
                self.tables.manifest
            ))?;
            if rows.rows.is_empty() {
                return Ok(None);
            }
            for row in &rows.rows {
                let epoch: u64 = row.number(0)?;
                let at = |text: &str| {
                    let read = Micros::from_text(text);
                    read.ok_or_else(|| Error::new(Fault::Refused, format!("{text:?} in the manifest is no moment")))
                };
                let record = EpochRecord {
                    epoch: Epoch(epoch),
                    closed_at: at(row.text(1)?)?,
                    watermark: row.optional(2).as_deref().map(at).transpose()?,
                    plan: row.text(4)?.into(),
                    spans: spans.remove(&epoch).unwrap_or_default(),
                    counts: BTreeMap::new(),
                };
                digest = record.digest(&digest);
                if digest.0 != row.text(3)? {
                    return Ok(Some(record.epoch));
                }
            }
            from += PAGE;
        }
    }

    /// The spans of these epochs, in the order of their partitions.
    fn spans(&self, session: &mut Session, condition: &str) -> Result<BTreeMap<u64, Vec<Span>>> {
        let mut spans: BTreeMap<u64, Vec<Span>> = BTreeMap::new();
        let rows = session.run(&format!(
            "SELECT epoch, topic, kafka_partition, topic_id, start_offset, end_offset, last_offset, last_fingerprint \
             FROM {} WHERE {condition}",
            self.tables.offsets
        ))?;
        for row in &rows.rows {
            let fingerprint = row.optional(7).unwrap_or_default();
            let last = row.maybe_number(6)?.map(|offset| LastRecord { offset, timestamp_ms: -1, fingerprint });
            spans.entry(row.number(0)?).or_default().push(Span {
                partition: TopicPartition::new(row.text(1)?, row.number(2)?),
                topic_id: row.optional(3).unwrap_or_default(),
                start: row.number(4)?,
                end: row.number(5)?,
                leader_epoch: None,
                last,
            });
        }
        spans.values_mut().for_each(|spans| spans.sort_by(|a, b| a.partition.cmp(&b.partition)));
        Ok(spans)
    }
}
