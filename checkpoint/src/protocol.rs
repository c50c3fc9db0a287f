//! The protocol as pure functions: facts in, decision out.
//!
//! Exactly-once is argued here and nowhere else. The shape of the argument:
//!
//! 1. A start takes the *fence*, a row of one table, by one statement that commits itself: `UPDATE ... SET generation = s + 1,
//!    nonce = n WHERE generation = s`. Redshift makes it wait for a load that is under way. Nobody holds the row after it, and a
//!    copy of the statement that arrives late changes nothing ([`after_taking`] says whose the fence is).
//!    Only then it reads, in one snapshot whose fence row must be exactly its own ([`check_snapshot`]); [`admit`] makes sure
//!    that what it reads is whole, and [`announcement`] says which topics are new.
//! 2. A load's first statement is `UPDATE fence SET next_epoch = b + 1 WHERE generation = g AND nonce = n AND
//!    next_epoch = a`. It changes one row, or the load is over ([`after_refusal`]). So of all processes that ever
//!    believed to be this job, one can load epoch `a`, and only once.
//! 3. COPY, manifest row and fence row are one transaction; [`check_copy`] sees that COPY loaded what was written.
//! 4. When the answer to COMMIT is lost, a *barrier* (an UPDATE of the fence that changes nothing) waits until the
//!    doubtful session is gone, and what is read after it is final ([`after_barrier`]). Looking without the barrier
//!    is a race with a COMMIT still under way.
//! 5. A restart reads where the manifest ends, never where it believes it was ([`check_source`] makes sure that the
//!    log is still the one the manifest speaks of).

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    Broken, Counts, Cut, Digest, Epoch, EpochRecord, Fate, Fates, Generation, History, Kind, LastRecord, Micros, Nonce,
    Position, Span, Tally, TopicPartition, check, witness::Witnessed,
};

pub use crate::fence::Fence;

/// The right to load: what a start got when it took the fence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The generation it took.
    pub generation: Generation,
    /// The nonce it wrote.
    pub nonce: Nonce,
}

/// Sealed epochs that one transaction loads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub first: Epoch,
    /// The last; the same if it is one.
    pub last: Epoch,
    /// The digest of the last.
    pub digest: Digest,
}

/// Why a job stops for good: what it promises can no longer be kept, and a restart would not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// The control tables were made in another database, so this one is a copy of it.
    #[error(
        "the control tables were made in database namespace {made_in}, and this is {here}: a restored or cloned database, whose original may still be loading"
    )]
    OtherDatabase {
        /// As the fence says.
        made_in: String,
        /// As the database says.
        here: String,
    },
    /// The control tables contradict themselves or us.
    #[error(transparent)]
    Tables(#[from] Broken),
    /// The control tables are not those that earlier starts bear witness of.
    #[error(transparent)]
    Witness(#[from] Witnessed),
    /// The topic is not there any more.
    #[error("topic {0} was read before and does not exist any more")]
    TopicGone(Arc<str>),
    /// The topic was deleted and made again.
    #[error("topic {topic} has id {found} and the manifest knows it as {known}: it was deleted and made again")]
    TopicReplaced {
        /// The topic.
        topic: Arc<str>,
        /// Id in the manifest.
        known: String,
        /// Id now.
        found: String,
    },
    /// Fewer partitions than before.
    #[error("{0} was read before and does not exist any more")]
    PartitionGone(TopicPartition),
    /// Records were deleted before they were read.
    #[error("{partition}: offsets {from}..{to} were deleted (retention) before they were loaded")]
    RecordsLost {
        /// The partition.
        partition: TopicPartition,
        /// First missing offset.
        from: i64,
        /// First offset that exists.
        to: i64,
    },
    /// A batch of the log cannot be read: its checksum is wrong, or its compression, or its form.
    #[error("{partition}: the batch at offset {offset} is damaged ({why}); offsets {from}..{to} cannot be read")]
    Damaged {
        /// The partition.
        partition: TopicPartition,
        /// First offset that is not loaded.
        from: i64,
        /// First offset after the damage that can be read.
        to: i64,
        /// Where the damaged batch begins.
        offset: i64,
        /// What is wrong with it.
        why: String,
    },
    /// The log ends before what was loaded from it.
    #[error("{partition}: the log ends at offset {high} and offsets up to {end} were read from it: it was cut off")]
    Truncated {
        /// The partition.
        partition: TopicPartition,
        /// The end of the log.
        high: i64,
        /// The end of the cut.
        end: i64,
    },
    /// Another record stands at an offset that was loaded.
    #[error("{partition}: the record at offset {offset} is not the one that was loaded: the log was written anew")]
    Rewritten {
        /// The partition.
        partition: TopicPartition,
        /// Its offset.
        offset: i64,
    },
    /// COPY was answered and did not run.
    #[error("COPY into {target} was answered and did not run: pg_last_copy_id() is still {id}")]
    CopyIdle {
        /// The target.
        target: String,
        /// The id of the COPY before it.
        id: i64,
    },
    /// COPY did not load what was written.
    #[error("COPY into {target} loaded {loaded} rows of {written}")]
    CopyCount {
        /// The target.
        target: String,
        /// What the session's last COPY loaded.
        loaded: u64,
        /// Rows in the files.
        written: u64,
    },
    /// The client gave a record again.
    #[error("{partition}: the Kafka client gave offset {offset} where it stood at {position} already")]
    ReadTwice {
        /// The partition.
        partition: TopicPartition,
        /// The offset that came again.
        offset: i64,
        /// Where the partition stood.
        position: i64,
    },
    /// An epoch that is closed is not whole.
    #[error("epoch {epoch} is not whole: {what}")]
    NotWhole {
        /// The epoch.
        epoch: Epoch,
        /// What is missing.
        what: String,
    },
}

/// Whether the source failed or the protocol: they have exit codes of their own.
impl Halt {
    /// True if Kafka lost data or is not the Kafka of the manifest.
    pub fn is_source(&self) -> bool {
        use Halt::*;
        match self {
            TopicGone(_)
            | TopicReplaced { .. }
            | PartitionGone(_)
            | RecordsLost { .. }
            | Damaged { .. }
            | Truncated { .. }
            | Rewritten { .. } => true,
            OtherDatabase { .. }
            | Tables(_)
            | Witness(_)
            | CopyIdle { .. }
            | CopyCount { .. }
            | ReadTwice { .. }
            | NotWhole { .. } => false,
        }
    }
}

/// Where a partition that no epoch has read would begin, as Kafka says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Kafka's id of the topic.
    pub topic_id: String,
    /// The offset to begin at.
    pub offset: i64,
}

/// A row of the manifest, as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestRow {
    /// The epoch, without its counts and, until [`admit`] has put them to it, without its spans.
    pub record: EpochRecord,
    /// The digest of the history that it ends.
    pub digest: Digest,
    /// The digest of the cut after it.
    pub cut_digest: Digest,
}

/// The control tables in one snapshot, as far as a start must know them: all from the newest whole cut on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFacts {
    /// The fence.
    pub fence: Fence,
    /// Identity of the database we are in.
    pub namespace: String,
    /// The rows of the manifest from that of the newest whole cut on, in order.
    pub manifest: Vec<ManifestRow>,
    /// The newest whole cut.
    pub cut: Vec<(TopicPartition, Position)>,
    /// The spans of all epochs after it.
    pub spans: Vec<(Epoch, Span)>,
}

/// Decides whether the control tables are whole, and where they end. Everything that is read is held against the digests of the
/// fence, so a row or column that somebody changed or took away halts the job, or does not matter.
pub fn admit(facts: &TableFacts) -> Result<History, Halt> {
    let fence = &facts.fence;
    if fence.namespace != facts.namespace {
        return Err(Halt::OtherDatabase { made_in: fence.namespace.clone(), here: facts.namespace.clone() });
    }
    let next = fence.next_epoch;
    let Some(from) = fence.cut_epoch else {
        let new = History::new(&fence.fence_id);
        check!(I1, next.0 == 0, "next_epoch is {next} and the fence names no epoch with a whole cut");
        check!(
            I1,
            facts.manifest.is_empty(),
            "next_epoch is 0 and the manifest has epoch {}",
            first_of(&facts.manifest)
        );
        check!(I1, facts.cut.is_empty() && facts.spans.is_empty(), "next_epoch is 0 and there are offsets");
        check!(I1, fence.digest == new.digest, "the fence has a digest before its first epoch");
        check!(I1, fence.cut_digest == new.cut.digest(), "the fence has the digest of a cut before its first epoch");
        return Ok(new);
    };
    let found: Vec<Epoch> = facts.manifest.iter().map(|row| row.record.epoch).collect();
    let follow = (from.0..).zip(&found).all(|(expected, found)| found.0 == expected);
    check!(
        I1,
        from < next && follow && found.len() as u64 == next.0 - from.0,
        "the epochs of the manifest from the newest whole cut on are to be {from} to {next}, without the last, and are {}",
        listed(&found)
    );
    let whole = Cut::new(facts.cut.iter().cloned());
    let [base, rows @ ..] = facts.manifest.as_slice() else {
        return Err(Broken { invariant: crate::Invariant::I1, seen: "the manifest is empty".into() }.into());
    };
    check!(
        I2,
        whole.iter().count() == facts.cut.len() && whole.digest() == base.cut_digest,
        "the whole cut of epoch {from} is not the one that was written"
    );
    let mut history =
        History { next_epoch: from.next(), digest: base.digest.clone(), cut: whole, cut_epoch: Some(from) };
    let mut spans: BTreeMap<Epoch, Vec<Span>> = BTreeMap::new();
    facts.spans.iter().for_each(|(epoch, span)| spans.entry(*epoch).or_default().push(span.clone()));
    for row in rows {
        let epoch = row.record.epoch;
        let mut of_epoch = spans.remove(&epoch).unwrap_or_default();
        of_epoch.sort_by(|a, b| a.partition.cmp(&b.partition));
        let record = EpochRecord { spans: of_epoch, ..row.record.clone() };
        let broken = |e: crate::cut::CutError| Broken { invariant: crate::Invariant::I2, seen: e.to_string() };
        let link = history.link(record).map_err(broken)?;
        check!(
            I1,
            link.digest == row.digest && link.cut_digest == row.cut_digest,
            "epoch {epoch} is not the one that was loaded: the manifest or the offsets were changed"
        );
        check!(I1, link.full_cut.is_none(), "epoch {epoch} has a whole cut, which the fence does not know");
    }
    if let Some(epoch) = spans.keys().next() {
        check!(I1, false, "there are offsets of epoch {epoch}, which is not in the manifest");
    }
    check!(I1, history.digest == fence.digest, "the digest of the fence is not that of the last epoch");
    check!(
        I1,
        history.cut.digest() == fence.cut_digest,
        "the cut is not the one that the fence knows: offsets were changed or removed"
    );
    Ok(history)
}

fn first_of(manifest: &[ManifestRow]) -> Epoch {
    manifest.first().map_or(Epoch(0), |row| row.record.epoch)
}

/// Epochs for a message: all, if they are few.
fn listed(epochs: &[Epoch]) -> String {
    let shown: Vec<String> = epochs.iter().take(8).map(Epoch::to_string).collect();
    match epochs.len() {
        0 => "none".into(),
        n if n > 8 => format!("{} ... ({n} rows)", shown.join(", ")),
        _ => shown.join(", "),
    }
}

/// Decides which topics are new to the job. `starts` has every partition of every topic of the job; those of topics that the cut
/// knows are thrown away, because only the manifest says where they stand. `targets` get counts of zero in the epoch that
/// announces new topics; `None` if there are none.
pub fn announcement(
    history: &History,
    starts: &BTreeMap<TopicPartition, Start>,
    targets: &[String],
    now: Micros,
    plan: &str,
) -> Option<EpochRecord> {
    let new = starts.iter().filter(|(partition, _)| !history.cut.knows_topic(&partition.topic));
    let spans: Vec<Span> = new.map(|(partition, start)| standing(partition, start)).collect();
    (!spans.is_empty()).then(|| EpochRecord {
        epoch: history.next_epoch,
        kind: Kind::Announcement,
        closed_at: now,
        watermark: None,
        plan: plan.into(),
        spans,
        decision: None,
        counts: targets.iter().map(|t| (t.clone(), Counts::default())).collect(),
    })
}

/// An empty span at a start.
fn standing(partition: &TopicPartition, start: &Start) -> Span {
    Span {
        partition: partition.clone(),
        topic_id: start.topic_id.clone(),
        start: start.offset,
        end: start.offset,
        leader_epoch: None,
        last: None,
    }
}

/// Whose the fence is, as it was read after the statement that takes it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Ours, whether the answer said so or not.
    Ours(Holder),
    /// Nobody's yet: the statement did not arrive. The same again, which cannot take it twice.
    NotYet,
    /// Another start was faster.
    Moved {
        /// Its generation.
        by: Generation,
    },
}

/// Decides whose the fence is. `from` is the generation that was read before; the nonce is of this start, in each of its tries.
pub fn after_taking(from: Generation, nonce: &Nonce, fence: &Fence) -> Result<Taken, Halt> {
    check!(I6, fence.generation >= from, "the generation went back from {from} to {}", fence.generation);
    if fence.nonce == *nonce {
        return Ok(Taken::Ours(Holder { generation: fence.generation, nonce: nonce.clone() }));
    }
    if fence.generation == from {
        return Ok(Taken::NotYet);
    }
    Ok(Taken::Moved { by: fence.generation })
}

/// Whether a snapshot may be believed by who holds the fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snapshot {
    /// Its fence is ours: nothing of an older generation can come into the tables any more that is not in it.
    Valid,
    /// It was taken before the fence was: once more.
    Older,
    /// A newer start has the fence.
    Fenced {
        /// Its generation.
        by: Generation,
    },
}

/// Decides whether a snapshot is valid, by its fence row: generation *and* nonce must be ours.
pub fn check_snapshot(me: &Holder, fence: &Fence) -> Result<Snapshot, Halt> {
    if fence.generation > me.generation {
        return Ok(Snapshot::Fenced { by: fence.generation });
    }
    if fence.generation < me.generation {
        return Ok(Snapshot::Older);
    }
    check!(I6, fence.nonce == me.nonce, "generation {} has another nonce than the start that took it", me.generation);
    Ok(Snapshot::Valid)
}

/// What Kafka says about a partition that the job reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFacts {
    /// Kafka's id of the topic; empty where the broker has none.
    pub topic_id: String,
    /// The first offset there is.
    pub low: i64,
    /// The last stable offset: what is below it can be read.
    pub last_stable: i64,
    /// The high watermark: what is below it is in the log, records of open transactions too. Not below the last stable offset.
    pub high_watermark: i64,
    /// The record that stands now at the offset of the cut's last record; `None` if it was not asked for, or is gone.
    pub last: Option<LastRecord>,
}

/// Decides what it means that a topic which the job reads is not there: a mistake in the job file, unless it was read before.
/// The topics that are such mistakes.
pub fn check_topics<'t>(cut: &Cut, wanted: &[&'t str], there: &[&str]) -> Result<Vec<&'t str>, Halt> {
    let missing: Vec<&str> = wanted.iter().copied().filter(|topic| !there.contains(topic)).collect();
    match missing.iter().find(|topic| cut.knows_topic(topic)) {
        Some(gone) => Err(Halt::TopicGone((*gone).into())),
        None => Ok(missing),
    }
}

/// Decides whether a topic is still the one that was read. Its id is asked for *after* the last record was read: ids never
/// come back, so what lies before an answer with the same id is of the same topic.
pub fn check_topic(topic: &Arc<str>, known: &str, found: &str) -> Result<(), Halt> {
    if crate::cut::same_topic(known, found) {
        return Ok(());
    }
    Err(Halt::TopicReplaced { topic: topic.clone(), known: known.into(), found: found.into() })
}

/// Decides why the log does not go on where a partition stands, if it is known to have been cut off below or above.
pub fn check_position(partition: &TopicPartition, position: i64, facts: &SourceFacts) -> Result<(), Halt> {
    if facts.low > position {
        return Err(Halt::RecordsLost { partition: partition.clone(), from: position, to: facts.low });
    }
    if facts.last_stable < position {
        return Err(Halt::Truncated { partition: partition.clone(), high: facts.last_stable, end: position });
    }
    Ok(())
}

/// Decides whether the log is still the one that the cut speaks of, and from where each partition is read.
/// `source` has every partition of every topic that the job reads.
pub fn check_source(
    cut: &Cut,
    source: &BTreeMap<TopicPartition, SourceFacts>,
) -> Result<BTreeMap<TopicPartition, i64>, Halt> {
    let topics: std::collections::BTreeSet<&Arc<str>> = source.keys().map(|p| &p.topic).collect();
    let mut seek = BTreeMap::new();
    for (partition, position) in cut.iter().filter(|(p, _)| topics.contains(&p.topic)) {
        let facts = source.get(partition).ok_or_else(|| Halt::PartitionGone(partition.clone()))?;
        check_topic(&partition.topic, &position.topic_id, &facts.topic_id)?;
        check_position(partition, position.end, facts)?;
        if let (Some(loaded), Some(found)) = (&position.last, &facts.last)
            && loaded.offset == found.offset
            && loaded.fingerprint != found.fingerprint
        {
            return Err(Halt::Rewritten { partition: partition.clone(), offset: loaded.offset });
        }
        seek.insert(partition.clone(), position.end);
    }
    for (partition, facts) in source {
        if cut.get(partition).is_some() {
            continue;
        }
        // A partition that was added since: it begins at 0, or records of it are lost.
        if facts.low > 0 {
            return Err(Halt::RecordsLost { partition: partition.clone(), from: 0, to: facts.low });
        }
        seek.insert(partition.clone(), 0);
    }
    Ok(seek)
}

/// What was heard of one target in an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetHeard {
    /// Its name in the counts.
    pub name: String,
    /// The stream that it reads, by number; `None` for the dead letters.
    pub stream: Option<usize>,
    /// What became of the records, as the operators saw it: those of its stream and its own.
    pub fates: Fates,
    /// Rows in its files.
    pub rows: u64,
}

/// Decides whether a closed epoch is whole: every partition of the job reported, spans follow the cut, each record that left
/// fetch met one fate for each target of its stream, and every row is in a file. Returns the counts of the targets.
///
/// `reported` are the spans of all partitions, moved or not; `read` what left fetch, by stream.
pub fn check_whole(
    cut: &Cut,
    partitions: usize,
    epoch: Epoch,
    reported: &[Span],
    read: &BTreeMap<usize, Tally>,
    targets: &[TargetHeard],
) -> Result<BTreeMap<String, Counts>, Halt> {
    let not_whole = |what: String| Halt::NotWhole { epoch, what };
    if reported.len() != partitions {
        return Err(not_whole(format!("{} of {partitions} partitions reported", reported.len())));
    }
    cut.advance(reported).map_err(|e| not_whole(e.to_string()))?;
    let letters = set_aside(targets);
    let mut all = BTreeMap::new();
    for target in targets {
        let name = &target.name;
        // Dead letters were read elsewhere; of them there is one for each record that was set aside.
        let expected = match target.stream {
            Some(stream) => read.get(&stream).copied().unwrap_or_default(),
            None => letters,
        };
        let met = target.fates.total();
        if met.count != expected.count {
            return Err(not_whole(format!("of {} records for {name} {} met a fate", expected.count, met.count)));
        }
        if met.sum != expected.sum {
            return Err(not_whole(format!("the {} records for {name} are not those that were read", met.count)));
        }
        let read = if target.stream.is_some() { expected } else { Tally::default() };
        let counts = Counts::new(read, &target.fates, target.rows);
        let taken = counts.of(Fate::Taken);
        if target.rows != taken {
            return Err(not_whole(format!("{name} took {taken} records and its files have {} rows", target.rows)));
        }
        all.insert(name.clone(), counts);
    }
    Ok(all)
}

/// The records that were set aside. One that does not decode is one dead letter, and counts for every target of its stream; one
/// that fails later is one for each target that it fails for.
fn set_aside(targets: &[TargetHeard]) -> Tally {
    let mut undecoded: BTreeMap<usize, Tally> = BTreeMap::new();
    let mut all = Tally::default();
    for target in targets {
        let Some(stream) = target.stream else { continue };
        undecoded.entry(stream).or_insert(target.fates.get(Fate::Undecoded));
        all.add(target.fates.get(Fate::DeadLetter));
    }
    undecoded.into_values().for_each(|tally| all.add(tally));
    all
}

/// Decides whether COPY loaded what was written. `before` and `after` are `pg_last_copy_id()` around it: a count alone
/// proves nothing, because a COPY that was refused leaves the count of the one before it.
pub fn check_copy(target: &str, before: i64, after: i64, count: u64, counts: &Counts) -> Result<(), Halt> {
    if after == before {
        return Err(Halt::CopyIdle { target: target.into(), id: after });
    }
    if count != counts.loaded {
        return Err(Halt::CopyCount { target: target.into(), loaded: count, written: counts.loaded });
    }
    Ok(())
}

/// What became of a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in: acknowledge it.
    Committed,
    /// It is not in, and cannot come in any more: load the same files again.
    NotCommitted,
    /// A newer start holds the fence: stop at once, change nothing.
    Fenced {
        /// Its generation.
        by: Generation,
    },
    /// Neither: stop, a person must look.
    Halt(Halt),
}

/// Decides after the load's first UPDATE changed no row, from what was read after ROLLBACK. `loaded` is the digest that
/// the manifest has for the last epoch of the range, if it has one.
pub fn after_refusal(me: &Holder, range: &Range, fence: &Fence, loaded: Option<&Digest>) -> Outcome {
    let outcome = judge(me, range, fence, loaded);
    match outcome {
        // Ours, and the epoch is next: then the UPDATE must have changed a row.
        Outcome::NotCommitted => contradiction(range, fence, "the fence refused its own holder"),
        other => other,
    }
}

/// Decides after a barrier, when the answer to COMMIT was lost. `rows` is how many rows the barrier touched: none means
/// that the generation has moved on, and then the fence that was read after it says who has it.
pub fn after_barrier(me: &Holder, range: &Range, rows: u64, fence: &Fence, loaded: Option<&Digest>) -> Outcome {
    if rows == 0 && fence.generation == me.generation && fence.nonce == me.nonce {
        return contradiction(range, fence, "the barrier found no fence");
    }
    judge(me, range, fence, loaded)
}

fn judge(me: &Holder, range: &Range, fence: &Fence, loaded: Option<&Digest>) -> Outcome {
    if fence.generation != me.generation || fence.nonce != me.nonce {
        return match fence.generation > me.generation {
            true => Outcome::Fenced { by: fence.generation },
            false => contradiction(range, fence, "the generation went back (I6)"),
        };
    }
    if fence.next_epoch == range.first {
        return match loaded {
            None => Outcome::NotCommitted,
            Some(_) => contradiction(range, fence, "the manifest is ahead of the fence"),
        };
    }
    if fence.next_epoch == range.last.next() && loaded == Some(&range.digest) && fence.digest == range.digest {
        return Outcome::Committed;
    }
    contradiction(range, fence, "the fence stands elsewhere, or the epoch has another history")
}

fn contradiction(range: &Range, fence: &Fence, what: &str) -> Outcome {
    let seen = format!(
        "{what}: epochs {} to {}, fence at next_epoch {} of generation {}",
        range.first, range.last, fence.next_epoch, fence.generation
    );
    Outcome::Halt(Halt::Tables(Broken { invariant: crate::Invariant::I5, seen }))
}

#[cfg(test)]
#[path = "admit_tests.rs"]
mod admit_tests;
#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
