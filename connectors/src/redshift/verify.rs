//! Whether the control tables and the targets keep their promise, by SQL that anyone can run, and the digest chain.
//!
//! Each check is a statement that gives no row when all is well. They run in one transaction, so they look at one moment.

use std::collections::BTreeMap;

use checkpoint::{Cut, Epoch, EpochRecord, History, Position, Span, protocol};

use super::{
    Redshift,
    session::Session,
    snapshot::{manifest_row, position},
    tables::{Tables, fates_do_not_add_up},
    text::{literal, name},
};
use crate::{Fault, Result, TableName};

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
/// `renewed` are topics of which more than one was read under the same name: a row's partition and offset do not say of which it is.
fn checks(tables: &Tables, targets: &[Filled], renewed: &[String]) -> Vec<Check> {
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
            "the fence does not stand after the last epoch",
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
            // Where a topic is another one from some epoch on, by its id or because somebody said so, its offsets begin anew.
            "offsets of a partition do not begin where those of the epoch before it ended",
            format!(
                "SELECT topic, kafka_partition, epoch, start_offset, before FROM (SELECT topic, kafka_partition, epoch, \
                 start_offset, lag(end_offset) OVER (PARTITION BY topic, topic_id, kafka_partition ORDER BY epoch) AS before \
                 FROM {offsets}) o WHERE start_offset <> before \
                 AND epoch NOT IN (SELECT epoch FROM {manifest} WHERE kind = 'new-source')"
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
                 WHERE r.epoch IS NULL AND m.kind = 'data'"
            ),
        ),
        of_job(
            "the counts of an epoch do not add up",
            format!("SELECT epoch, target FROM {rows} WHERE target <> {letters} AND {}", fates_do_not_add_up()),
        ),
        of_job(
            "an epoch has other dead letters than were counted",
            format!(
                "SELECT r.epoch, r.loaded, coalesce(d.number, 0) FROM {rows} r \
                 LEFT JOIN (SELECT epoch, count(*) AS number FROM {dead_letters} GROUP BY epoch) d ON d.epoch = r.epoch \
                 WHERE r.target = {letters} AND r.loaded <> coalesce(d.number, 0)"
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
    targets.iter().for_each(|target| checks.extend(of_target(tables, target, renewed)));
    checks
}

fn of_target(tables: &Tables, target: &Filled, renewed: &[String]) -> Vec<Check> {
    let Tables { rows, offsets, .. } = tables;
    let (shown, known) = (target.table.to_string(), literal(&target.table.to_string()));
    let table = format!("{}.{}", name(&target.table.schema), name(&target.table.table));
    let check = |what: String, sql: String| Check { what, target: Some(shown.clone()), edits_disturb: true, sql };
    let mut checks = vec![check(
        format!("table {shown} has other rows than were counted"),
        format!(
            "SELECT c.counted, t.there FROM (SELECT coalesce(sum(loaded), 0) AS counted FROM {rows} WHERE target = {known}) c, \
             (SELECT count(*) AS there FROM {table}) t WHERE c.counted <> t.there"
        ),
    )];
    let Some(origin) = &target.origin else { return checks };
    // A target of several topics is left out whole as soon as one of them is another one by now.
    if !renewed.is_empty() && !matches!(&origin.topic, Topic::Only(topic) if !renewed.contains(topic)) {
        return checks;
    }
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
            "SELECT r.epoch, r.loaded, coalesce(p.there, 0) FROM {rows} r LEFT JOIN (SELECT o.epoch, count(*) AS there \
             FROM {table} t JOIN {offsets} o ON {inside} GROUP BY o.epoch) p ON p.epoch = r.epoch \
             WHERE r.target = {known} AND r.loaded <> coalesce(p.there, 0)"
        ),
    ));
    checks
}

/// What a verification found.
#[derive(Clone, Debug, Default)]
pub struct Verification {
    /// The epochs that were looked at.
    pub epochs: u64,
    /// What is wrong.
    pub found: Vec<Found>,
    /// What could not be proved, and why.
    pub unproved: Vec<String>,
}

impl Redshift {
    /// The statements of [`Redshift::verify`], for anyone to run.
    pub fn verify_sql(&self, targets: &[Filled]) -> Vec<Check> {
        checks(&self.tables, targets, &[])
    }

    /// Runs all checks in one transaction, and recomputes the digests of every epoch and every whole cut.
    pub fn verify(&self, targets: &[Filled]) -> Result<Verification> {
        let mut session = self.connect()?;
        self.tables.check(&mut session)?;
        session.limit(self.settings.statement_timeout)?;
        session.run("BEGIN")?;
        let renewed = self.renewed(&mut session)?;
        let mut done = Verification::default();
        done.unproved.extend(renewed.iter().map(|topic| {
            format!(
                "which records of topic {topic} are in the targets: a new topic took its place, and the offsets of both are \
                 the same numbers"
            )
        }));
        for check in checks(&self.tables, targets, &renewed) {
            let rows = session.run(&format!("{} LIMIT {}", check.sql, SHOWN + 1))?.rows;
            if rows.is_empty() {
                continue;
            }
            let mut shown: Vec<String> = rows.iter().take(SHOWN).map(|row| row.joined()).collect();
            if rows.len() > SHOWN {
                shown.push("...".into());
            }
            let Check { what, target, edits_disturb, .. } = check;
            done.found.push(Found { what, target, edits_disturb, rows: shown });
        }
        done.epochs = session.one_number(&format!("SELECT count(*) FROM {}", self.tables.manifest))?;
        if let Some((epoch, what)) = self.broken_link(&mut session)? {
            done.found.push(Found { what, target: None, edits_disturb: false, rows: vec![epoch.to_string()] });
        }
        session.run("ROLLBACK")?;
        // As a start would read them.
        let halt = match self.snapshot(&mut session) {
            Ok(facts) => protocol::admit(&facts).err().map(|halt| halt.to_string()),
            Err(error) if error.fault == Fault::Corrupt => Some(error.what),
            Err(error) => return Err(error),
        };
        if let Some(why) = halt {
            let what = "the next start will halt: the fence does not belong to the other tables".into();
            done.found.push(Found { what, target: None, edits_disturb: false, rows: vec![why] });
        }
        Ok(done)
    }

    /// The topics of which more than one was read under the same name.
    fn renewed(&self, session: &mut Session) -> Result<Vec<String>> {
        let (manifest, offsets) = (&self.tables.manifest, &self.tables.offsets);
        let rows = session.run(&format!(
            "SELECT DISTINCT o.topic FROM {offsets} o JOIN {manifest} m ON m.epoch = o.epoch WHERE m.kind = 'new-source'"
        ))?;
        rows.rows.iter().map(|row| row.text(0).map(String::from)).collect()
    }

    /// The first epoch whose digests are not those of everything up to it, and what that means.
    fn broken_link(&self, session: &mut Session) -> Result<Option<(Epoch, String)>> {
        let tables = &self.tables;
        let adopted = session.run(&format!(
            "SELECT adopted FROM {} WHERE adopted IS NOT NULL ORDER BY epoch LIMIT 1",
            tables.manifest
        ))?;
        let first = match adopted.rows.first() {
            // The chain begins with the id that the tables had first.
            Some(row) => row.text(0)?.split(',').next().unwrap_or_default().to_string(),
            None => session.one_text(&format!("SELECT fence_id FROM {}", tables.fence))?,
        };
        let mut history = History::new(&first);
        let mut from = 0;
        loop {
            let page = format!("epoch >= {from} AND epoch < {}", from + PAGE);
            let mut spans = self.spans(session, &page)?;
            let rows = session.run(&format!(
                "SELECT epoch, kind, closed_at::varchar, watermark::varchar, digest, cut_digest, plan, adopted, decided_by, \
                 decided_why FROM {} WHERE {page} ORDER BY epoch",
                tables.manifest
            ))?;
            if rows.rows.is_empty() {
                return Ok(None);
            }
            for row in &rows.rows {
                let row = manifest_row(row)?;
                let epoch = row.record.epoch;
                let spans = spans.remove(&epoch.0).unwrap_or_default();
                let link = match history.link(EpochRecord { spans, ..row.record }) {
                    Ok(link) => link,
                    Err(error) => return Ok(Some((epoch, format!("the offsets of an epoch do not follow: {error}")))),
                };
                if (&link.digest, &link.cut_digest) != (&row.digest, &row.cut_digest) {
                    let what =
                        "the digest of an epoch is not that of its history: the manifest or the offsets were edited";
                    return Ok(Some((epoch, what.into())));
                }
                if let Some(cut) = &link.full_cut
                    && self.whole_cut(session, epoch)?.as_ref() != Some(&**cut)
                {
                    return Ok(Some((epoch, "the whole cut of an epoch is not the one that was written".into())));
                }
            }
            from += PAGE;
        }
    }

    /// The cut that was written as a whole with an epoch; `None` if a partition is in it twice.
    fn whole_cut(&self, session: &mut Session, epoch: Epoch) -> Result<Option<Cut>> {
        let rows = session.run(&format!(
            "SELECT topic, kafka_partition, topic_id, end_offset, leader_epoch, last_offset, last_fingerprint FROM {} \
             WHERE epoch = {epoch}",
            self.tables.cuts
        ))?;
        let positions = rows.rows.iter().map(position).collect::<Result<Vec<_>>>()?;
        let cut = Cut::new(positions.iter().cloned());
        Ok((cut.iter().count() == positions.len()).then_some(cut))
    }

    /// The spans of these epochs, in the order of their partitions.
    fn spans(&self, session: &mut Session, condition: &str) -> Result<BTreeMap<u64, Vec<Span>>> {
        let mut spans: BTreeMap<u64, Vec<Span>> = BTreeMap::new();
        let rows = session.run(&format!(
            "SELECT topic, kafka_partition, topic_id, end_offset, leader_epoch, last_offset, last_fingerprint, start_offset, \
             epoch FROM {} WHERE {condition}",
            self.tables.offsets
        ))?;
        for row in &rows.rows {
            let (partition, Position { topic_id, end, leader_epoch, last }) = position(row)?;
            let span = Span { partition, topic_id, start: row.number(7)?, end, leader_epoch, last };
            spans.entry(row.number(8)?).or_default().push(span);
        }
        spans.values_mut().for_each(|spans| spans.sort_by(|a, b| a.partition.cmp(&b.partition)));
        Ok(spans)
    }
}
