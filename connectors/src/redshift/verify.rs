//! Whether the control tables and the targets keep their promise, by SQL that anyone can run, and the digest chain.
//!
//! Each check is a statement that gives no row when all is well. They run in one transaction, so they look at one moment.

use std::collections::BTreeMap;

use checkpoint::{Cut, Digest, Epoch, EpochRecord, History, Position, Span, protocol};

use super::{
    database::Redshift,
    fold::decisions,
    session::{Row, Session},
    snapshot::{manifest_row, position},
    tables::{Tables, fates_do_not_add_up},
    text::{literal, name},
};
use crate::{
    Fault, Result,
    inspect::{Check, Filled, Found, Scope, Topic, Verification},
};

/// How many rows of a finding are shown.
const SHOWN: usize = 3;
/// How many epochs of the chain are read at once.
const PAGE: u64 = 2_000;

/// The epochs that are looked at: all, or those after one with a whole cut.
#[derive(Clone, Copy, Default)]
struct Part {
    cut: Option<Epoch>,
    /// The base into which all older epochs were folded, if there is one.
    base: Option<Epoch>,
    /// No offset of theirs is below this one. Rows come in the order of their loads, so that a constant lets Redshift pass over nearly
    /// all older blocks of a target, whatever its sort key.
    low: Option<i64>,
}

impl Part {
    /// Whether all is looked at that there is.
    fn is_all(self) -> bool {
        self.cut == self.base
    }

    /// A condition for a table with a column of this name.
    fn of(self, column: &str) -> String {
        self.cut.map_or("true".into(), |cut| format!("{column} > {cut}"))
    }
}

/// What the chain of digests is looked at for.
const EDITED: &str = "the digest of an epoch is not that of its history: the manifest or the offsets were edited";

/// What was looked for in the history as a whole; with what was found, if anything was.
fn of_history(what: &str, column: &str, found: Option<String>) -> Found {
    let rows = found.into_iter().map(|value| vec![value]).collect();
    Found { what: what.into(), target: None, edits_disturb: false, columns: vec![column.into()], rows, more: false }
}

/// All checks that are one statement.
/// `renewed` are topics of which more than one was read under the same name: a row's partition and offset do not say of which it is.
fn checks(tables: &Tables, targets: &[(&Filled, Option<Part>)], renewed: &[String], part: Part) -> Vec<Check> {
    let Tables { fence, manifest, rows, offsets, cuts, dead_letters, .. } = tables;
    let decisions = decisions();
    let letters = literal(&tables.dead_letters_name());
    let first = part.cut.map_or(0, |cut| cut.next().0);
    let (in_part, of_m, of_r, of_d) = (part.of("epoch"), part.of("m.epoch"), part.of("r.epoch"), part.of("d.epoch"));
    let of_job = |what: &str, sql: String| Check { what: what.into(), target: None, edits_disturb: false, sql };
    let mut checks = vec![
        of_job(
            "an epoch is missing from the manifest, or there twice",
            format!(
                "SELECT epoch, place AS expected FROM (SELECT epoch, row_number() OVER (ORDER BY epoch) - 1 + {first} AS place FROM {manifest} \
                 WHERE {in_part}) m WHERE epoch <> place"
            ),
        ),
        of_job(
            "the fence does not follow the last epoch",
            format!(
                "SELECT f.next_epoch, m.number AS follows FROM {fence} f, \
                 (SELECT count(*) + {first} AS number FROM {manifest} WHERE {in_part}) m WHERE f.next_epoch <> m.number"
            ),
        ),
        of_job(
            "the digest of the fence is not that of the last epoch",
            format!(
                "SELECT f.digest AS digest_of_fence, m.digest AS digest_of_epoch FROM {fence} f JOIN {manifest} m ON m.epoch = f.next_epoch - 1 \
                 WHERE f.digest <> m.digest AND {of_m}"
            ),
        ),
        of_job(
            // Where a topic is another one from some epoch on, by its id or because somebody said so, its offsets begin anew.
            "offsets of a partition do not begin where those of the epoch before it ended",
            format!(
                "SELECT topic, kafka_partition, epoch, start_offset, before AS ended_before FROM (SELECT topic, kafka_partition, epoch, \
                 start_offset, lag(end_offset) OVER (PARTITION BY topic, topic_id, kafka_partition ORDER BY epoch) AS before \
                 FROM {offsets} WHERE {in_part}) o WHERE start_offset <> before \
                 AND epoch NOT IN (SELECT epoch FROM {manifest} WHERE kind = 'new-source' AND {in_part})"
            ),
        ),
        of_job(
            "offsets of a partition go backwards",
            format!(
                "SELECT topic, kafka_partition, epoch, start_offset, end_offset FROM {offsets} WHERE end_offset < start_offset AND {in_part}"
            ),
        ),
        of_job(
            "offsets or counts of an epoch that is not in the manifest",
            format!(
                "SELECT DISTINCT x.epoch FROM (SELECT epoch FROM {offsets} WHERE {in_part} UNION ALL \
                 SELECT epoch FROM {rows} WHERE {in_part}) x \
                 LEFT JOIN (SELECT epoch FROM {manifest} WHERE {in_part}) m ON m.epoch = x.epoch WHERE m.epoch IS NULL"
            ),
        ),
        of_job(
            "an epoch has no counts",
            format!(
                "SELECT m.epoch FROM {manifest} m LEFT JOIN (SELECT DISTINCT epoch FROM {rows} WHERE {in_part}) r \
                 ON r.epoch = m.epoch WHERE r.epoch IS NULL AND m.kind = 'data' AND {of_m}"
            ),
        ),
        of_job(
            "the counts of an epoch do not add up",
            format!(
                "SELECT epoch, target, records_read, loaded FROM {rows} WHERE target <> {letters} AND {} AND {in_part}",
                fates_do_not_add_up()
            ),
        ),
        of_job(
            "an epoch has other dead letters than were counted",
            format!(
                "SELECT r.epoch, r.loaded AS counted, coalesce(d.number, 0) AS there FROM {rows} r LEFT JOIN (SELECT epoch, count(*) AS number \
                 FROM {dead_letters} WHERE {in_part} GROUP BY epoch) d ON d.epoch = r.epoch \
                 WHERE r.target = {letters} AND r.loaded <> coalesce(d.number, 0) AND {of_r}"
            ),
        ),
        of_job(
            "a dead letter lies outside of what its epoch read",
            format!(
                "SELECT d.epoch, d.topic, d.kafka_partition, d.kafka_offset FROM {dead_letters} d \
                 LEFT JOIN {offsets} o ON o.epoch = d.epoch AND o.topic = d.topic AND o.kafka_partition = d.kafka_partition \
                 AND d.kafka_offset >= o.start_offset AND d.kafka_offset < o.end_offset WHERE o.epoch IS NULL AND {of_d}"
            ),
        ),
    ];
    if let Some(base) = part.base {
        let older = format!("epoch < {base}");
        checks.push(of_job(
            "what was folded into the base is still there",
            format!(
                "SELECT epoch FROM {manifest} WHERE {older} AND kind NOT IN ({decisions}) UNION ALL SELECT epoch FROM {rows} WHERE {older} \
                 UNION ALL SELECT epoch FROM {cuts} WHERE {older}"
            ),
        ));
    }
    for (target, own) in targets {
        if let Some(part) = own {
            checks.extend(of_target(tables, target, renewed, *part));
        }
    }
    checks
}

/// The checks of a target. A row has no epoch of its own, only its offset. The epochs of a partition follow each other without a gap, so
/// what was read is one range a partition; and of which epoch a row is says the newest one that begins at its offset or before it. So
/// no statement joins rows with epochs: each reads either once, and sorts.
fn of_target(tables: &Tables, target: &Filled, renewed: &[String], part: Part) -> Vec<Check> {
    let Tables { rows, offsets, cuts, .. } = tables;
    let (shown, known) = (target.table.to_string(), literal(&target.table.to_string()));
    let table = format!("{}.{}", name(&target.table.schema), name(&target.table.table));
    let check = |what: String, sql: String| Check { what, target: Some(shown.clone()), edits_disturb: true, sql };
    let mut checks = Vec::new();
    if part.is_all() && target.from.is_none() {
        checks.push(check(
            format!("table {shown} does not have as many rows as were counted"),
            format!(
                "SELECT c.counted, t.there FROM (SELECT coalesce(sum(loaded), 0) AS counted FROM {rows} WHERE target = {known}) c, \
                 (SELECT count(*) AS there FROM {table}) t WHERE c.counted <> t.there"
            ),
        ));
    }
    let Some(origin) = &target.origin else { return checks };
    // A target of several topics is left out whole as soon as one of them is another one by now.
    if !renewed.is_empty() && !matches!(&origin.topic, Topic::Only(topic) if !renewed.contains(topic)) {
        return checks;
    }
    let (partition, offset) = (name(&origin.partition), name(&origin.offset));
    let (topic, only) = match &origin.topic {
        Topic::Column(column) => (format!("t.{}", name(column)), "true".into()),
        Topic::Only(topic) => (literal(topic), format!("topic = {}", literal(topic))),
    };
    let in_part = part.of("epoch");
    // Where each partition was read: from where the whole cut left it.
    let cut = part.cut.map_or(String::new(), |cut| {
        format!(
            "SELECT topic, kafka_partition, end_offset AS low, end_offset AS high FROM {cuts} WHERE epoch = {cut} AND {only} UNION ALL "
        )
    });
    let read = format!(
        "(SELECT topic, kafka_partition, min(low) AS low, max(high) AS high FROM ({cut}SELECT topic, kafka_partition, \
         start_offset AS low, end_offset AS high FROM {offsets} WHERE {only} AND {in_part}) s GROUP BY topic, kafka_partition)"
    );
    let low = part.low.map_or(String::new(), |low| format!("t.{offset} >= {low} AND "));
    let joined = format!("b.topic = {topic} AND b.kafka_partition = t.{partition}");
    let above = if part.cut.is_some() { "" } else { &format!(" OR t.{offset} < b.low") };
    checks.push(check(
        format!("a row of table {shown} comes from outside of what was read"),
        format!(
            "SELECT t.{partition} AS kafka_partition, t.{offset} AS kafka_offset FROM {table} t LEFT JOIN {read} b ON {joined} \
             WHERE {low}(b.topic IS NULL OR t.{offset} >= b.high{above})"
        ),
    ));
    let inside =
        format!("FROM {table} t JOIN {read} b ON {joined} WHERE {low}t.{offset} >= b.low AND t.{offset} < b.high");
    checks.push(check(
        format!("a record is in table {shown} twice"),
        format!(
            "SELECT b.topic, t.{partition} AS kafka_partition, t.{offset} AS kafka_offset, count(*) AS times {inside} GROUP BY b.topic, t.{partition}, t.{offset} \
             HAVING count(*) > 1"
        ),
    ));
    let begins = format!(
        "SELECT topic, kafka_partition, start_offset AS at, 0 AS is_row, epoch FROM {offsets} \
         WHERE end_offset > start_offset AND {only} AND {in_part}"
    );
    checks.push(check(
        format!("table {shown} does not have as many rows of an epoch as were counted"),
        format!(
            "SELECT r.epoch, r.loaded AS counted, coalesce(p.there, 0) AS there FROM (SELECT epoch, loaded FROM {rows} WHERE target = {known} \
             AND {in_part}) r LEFT JOIN (SELECT epoch, count(*) AS there FROM (SELECT is_row, max(epoch) OVER (PARTITION BY topic, \
             kafka_partition ORDER BY at, is_row ROWS UNBOUNDED PRECEDING) AS epoch FROM ({begins} UNION ALL \
             SELECT b.topic, t.{partition}, t.{offset}, 1, CAST(NULL AS bigint) {inside}) x) y WHERE is_row = 1 \
             GROUP BY epoch) p ON p.epoch = r.epoch WHERE r.loaded <> coalesce(p.there, 0)"
        ),
    ));
    checks
}

impl Redshift {
    /// The statements of [`Redshift::run_checks`] over all epochs from the base on, for anyone to run. Where the base is, and from where on a
    /// target is to be verified, the tables are asked.
    pub(super) fn list_checks(&self, targets: &[Filled]) -> Result<Vec<Check>> {
        let mut session = self.connect_to_read()?;
        self.tables.check(&mut session)?;
        let next = self.read_fence(&mut session)?.next_epoch;
        let part = self.part(&mut session, Scope::All, next)?;
        let parts = targets.iter().map(|target| Ok((target, self.part_of_target(&mut session, target, part)?)));
        Ok(checks(&self.tables, &parts.collect::<Result<Vec<_>>>()?, &[], part))
    }

    /// Runs all checks in one transaction, and recomputes the digests of the epochs and their whole cuts. Where nothing is wrong it is
    /// marked how far it was looked at.
    pub(super) fn run_checks(&self, targets: &[Filled], scope: Scope) -> Result<Verification> {
        let mut session = self.connect()?;
        self.tables.check(&mut session)?;
        session.limit(self.settings.statement_timeout)?;
        session.run("BEGIN")?;
        let fence = self.read_fence(&mut session)?;
        let part = self.part(&mut session, scope, fence.next_epoch)?;
        let first = part.cut.map_or(0, |cut| cut.next().0);
        let renewed = self.renewed(&mut session)?;
        let mut done =
            Verification { first, epochs: fence.next_epoch.0.saturating_sub(first), ..Verification::default() };
        done.unproved.extend(renewed.iter().map(|topic| {
            format!(
                "which records of topic {topic} are in the targets: a new topic took its place, and the offsets of both are \
                 the same numbers"
            )
        }));
        let mut parts = Vec::new();
        for target in targets {
            let own = self.part_of_target(&mut session, target, part)?;
            if own.is_none() {
                let what = "there is no whole cut after the moment from which it is to be verified";
                done.unproved.push(format!("which rows are in {}: {what}", target.table));
            }
            parts.push((target, own));
        }
        for check in checks(&self.tables, &parts, &renewed, part) {
            let answer = session.run(&format!("{} LIMIT {}", check.sql, SHOWN + 1))?;
            let (rows, more) = (answer.rows.iter().take(SHOWN).map(Row::shown).collect(), answer.rows.len() > SHOWN);
            let Check { what, target, edits_disturb, .. } = check;
            done.look(Found { what, target, edits_disturb, columns: answer.columns, rows, more });
        }
        let broken = self.broken_link(&mut session, &fence.fence_id, part)?;
        let (epoch, what) = broken.unzip();
        done.look(of_history(what.as_deref().unwrap_or(EDITED), "epoch", epoch.map(|epoch| epoch.to_string())));
        session.run("ROLLBACK")?;
        // As a start would read them.
        let halt = match self.snapshot(&mut session) {
            Ok(facts) => protocol::admit(&facts).err().map(|halt| halt.to_string()),
            Err(error) if error.fault == Fault::Corrupt => Some(error.what),
            Err(error) => return Err(error),
        };
        done.look(of_history("the next start will halt: the fence does not belong to the other tables", "why", halt));
        // A mark says that all up to it was looked at: so it continues the mark before it, or begins at the first epoch.
        let continues = matches!(scope, Scope::New) || part.is_all();
        if done.found.is_empty() && continues && fence.next_epoch.0 > 0 {
            self.mark(&mut session, fence.next_epoch.0 - 1, &fence.digest, &mut done)?;
        }
        Ok(done)
    }

    /// The epochs of a scope. A part begins after a whole cut, which says where each partition stood.
    fn part(&self, session: &mut Session, scope: Scope, next: Epoch) -> Result<Part> {
        let Tables { manifest, cuts, verified, .. } = &self.tables;
        let one = |session: &mut Session, sql: String| -> Result<Option<u64>> {
            session.run(&sql)?.rows.first().map_or(Ok(None), |row| row.maybe_number(0))
        };
        let before = match scope {
            Scope::All => 0,
            Scope::Last(number) => next.0.saturating_sub(number),
            Scope::Since(since) => {
                let since = format!("'{}+00'", since.to_text());
                one(session, format!("SELECT min(epoch) FROM {manifest} WHERE closed_at >= {since}"))?.unwrap_or(next.0)
            }
            Scope::New => {
                let sql = format!(
                    "SELECT max(v.epoch) FROM {verified} v JOIN {manifest} m ON m.epoch = v.epoch AND m.digest = v.digest"
                );
                match one(session, sql)? {
                    Some(epoch) => epoch + 1,
                    None => 0,
                }
            }
        };
        let base = self.oldest(session)?.filter(|(_, is_base)| *is_base).map(|(epoch, _)| epoch);
        let cut = one(session, format!("SELECT max(epoch) FROM {cuts} WHERE epoch < {before}"))?.map(Epoch);
        match cut.max(base) {
            None => Ok(Part::default()),
            Some(cut) => self.after(session, cut, base),
        }
    }

    /// What comes after a whole cut.
    fn after(&self, session: &mut Session, cut: Epoch, base: Option<Epoch>) -> Result<Part> {
        let offsets = &self.tables.offsets;
        let low = format!("SELECT min(start_offset) FROM {offsets} WHERE epoch > {cut} AND end_offset > start_offset");
        let low = session.run(&low)?.rows.first().map_or(Ok(None), |row| row.maybe_number(0))?;
        Ok(Part { cut: Some(cut), base, low })
    }

    /// Where a target's rows are taken away by others up to a moment: what comes after the first whole cut since then. `None` if there
    /// is none.
    fn part_of_target(&self, session: &mut Session, target: &Filled, part: Part) -> Result<Option<Part>> {
        let Some(from) = target.from else { return Ok(Some(part)) };
        let Tables { manifest, cuts, .. } = &self.tables;
        let from = format!("'{}+00'", from.to_text());
        let first = session.run(&format!(
            "SELECT min(m.epoch) FROM {manifest} m JOIN (SELECT DISTINCT epoch FROM {cuts}) c ON c.epoch = m.epoch \
             WHERE m.closed_at >= {from}"
        ))?;
        let first: Option<u64> = first.rows.first().map_or(Ok(None), |row| row.maybe_number(0))?;
        match first.map(Epoch) {
            None => Ok(None),
            Some(first) if part.cut.is_some_and(|cut| cut >= first) => Ok(Some(part)),
            Some(first) => self.after(session, first, part.base).map(Some),
        }
    }

    /// Remembers how far everything was found good. Who may only read does not, and is told.
    fn mark(&self, session: &mut Session, epoch: u64, digest: &Digest, done: &mut Verification) -> Result<()> {
        let marked = session.run(&format!(
            "INSERT INTO {} (epoch, digest, findings, verified_at) VALUES ({epoch}, {}, 0, sysdate)",
            self.tables.verified,
            literal(&digest.0)
        ));
        match marked {
            Err(error) if error.fault == Fault::Denied => {
                done.unproved.push(format!(
                    "for --new, that epochs up to {epoch} were verified: this user may not insert into {}",
                    self.tables.verified
                ));
                Ok(())
            }
            other => other.map(drop),
        }
    }

    /// The topics of which more than one was read under the same name.
    fn renewed(&self, session: &mut Session) -> Result<Vec<String>> {
        let (manifest, offsets) = (&self.tables.manifest, &self.tables.offsets);
        let rows = session.run(&format!("SELECT epoch FROM {manifest} WHERE kind = 'new-source'"))?.rows;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let epochs: Vec<String> = rows.iter().map(|row| row.text(0).map(String::from)).collect::<Result<_>>()?;
        let sql = format!("SELECT DISTINCT topic FROM {offsets} WHERE epoch IN ({})", epochs.join(", "));
        session.run(&sql)?.rows.iter().map(|row| row.text(0).map(String::from)).collect()
    }

    /// The history before the epochs that are looked at.
    fn history_before(&self, session: &mut Session, fence_id: &str, part: Part) -> Result<Option<History>> {
        let manifest = &self.tables.manifest;
        if let Some(cut_epoch) = part.cut {
            let rows =
                session.run(&format!("SELECT digest, cut_digest FROM {manifest} WHERE epoch = {cut_epoch}"))?.rows;
            let (Some(row), Some(cut)) = (rows.first(), self.whole_cut(session, cut_epoch)?) else { return Ok(None) };
            if cut.digest().0 != row.text(1)? {
                return Ok(None);
            }
            let (digest, next_epoch) = (Digest(row.text(0)?.into()), cut_epoch.next());
            return Ok(Some(History { next_epoch, digest, cut, cut_epoch: Some(cut_epoch) }));
        }
        let adopted = session
            .run(&format!("SELECT adopted FROM {manifest} WHERE adopted IS NOT NULL ORDER BY epoch LIMIT 1"))?
            .rows;
        Ok(Some(match adopted.first() {
            // The chain begins with the id that the tables had first.
            Some(row) => History::new(row.text(0)?.split(',').next().unwrap_or_default()),
            None => History::new(fence_id),
        }))
    }

    /// The first epoch whose digests are not those of everything up to it, and what that means.
    fn broken_link(&self, session: &mut Session, fence_id: &str, part: Part) -> Result<Option<(Epoch, String)>> {
        let tables = &self.tables;
        let Some(mut history) = self.history_before(session, fence_id, part)? else {
            let what =
                "the whole cut before the epochs that are looked at is not there, or not the one that was written";
            return Ok(part.cut.map(|epoch| (epoch, what.into())));
        };
        let mut from = history.next_epoch.0;
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
                    return Ok(Some((epoch, EDITED.into())));
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
