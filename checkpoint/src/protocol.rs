//! The protocol as pure functions: facts in, decision out.
//!
//! Exactly-once is argued here and nowhere else. The shape of the argument:
//!
//! 1. A start takes the *fence*, a row of one table, by `UPDATE ... SET generation = generation + 1`, before it reads
//!    anything ([`admit`] decides on what it then reads). Redshift makes this wait for a rival that holds the row.
//! 2. A load's first statement is `UPDATE fence SET next_epoch = b + 1 WHERE generation = g AND nonce = n AND
//!    next_epoch = a`. It changes one row, or the load is over ([`after_refusal`]). So of all processes that ever
//!    believed to be this job, one can load epoch `a`, and only once.
//! 3. COPY, manifest row and fence row are one transaction; [`check_copy`] sees that COPY loaded what was written.
//! 4. When the answer to COMMIT is lost, a *barrier* (an UPDATE of the fence that changes nothing) waits until the
//!    doubtful session is gone, and what is read behind it is final ([`after_barrier`]). Looking without the barrier
//!    is a race with a COMMIT still under way.
//! 5. A restart reads where the manifest ends, never where it believes it was ([`check_source`] makes sure that the
//!    log is still the one the manifest speaks of).

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    Broken, Counts, Cut, Digest, Epoch, EpochRecord, Generation, LastRecord, Micros, Nonce, Span, TopicPartition, check,
};

/// The fence, as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// Minted with the row.
    pub fence_id: String,
    /// Identity of the database that the row was made in.
    pub namespace: String,
    /// Who holds it.
    pub generation: Generation,
    /// Of the holder.
    pub nonce: Nonce,
    /// The epoch to load next.
    pub next_epoch: Epoch,
    /// The digest of the epoch before it.
    pub digest: Digest,
}

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
    #[error("the control tables do not add up")]
    Tables(#[from] Broken),
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
        /// Where.
        partition: TopicPartition,
        /// First missing offset.
        from: i64,
        /// First offset that exists.
        to: i64,
    },
    /// The log ends before what was loaded from it.
    #[error("{partition}: the log ends at offset {high} and offsets up to {end} were read from it: it was cut off")]
    Truncated {
        /// Where.
        partition: TopicPartition,
        /// The end of the log.
        high: i64,
        /// The end of the cut.
        end: i64,
    },
    /// Another record stands at an offset that was loaded.
    #[error("{partition}: the record at offset {offset} is not the one that was loaded: the log was written anew")]
    Rewritten {
        /// Where.
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
    /// An epoch that is sealed is not whole.
    #[error("epoch {epoch} is not whole: {what}")]
    NotWhole {
        /// Which.
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
            | Truncated { .. }
            | Rewritten { .. } => true,
            OtherDatabase { .. } | Tables(_) | CopyIdle { .. } | CopyCount { .. } | NotWhole { .. } => false,
        }
    }
}

/// Where a partition that no epoch has read would begin, as Kafka was asked before the fence was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Kafka's id of the topic.
    pub topic_id: String,
    /// The offset to begin at.
    pub offset: i64,
}

/// What the manifest says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestFacts {
    /// Its rows.
    pub rows: u64,
    /// Its lowest epoch.
    pub lowest: Option<Epoch>,
    /// Its highest epoch.
    pub highest: Option<Epoch>,
    /// The digest in the row of the highest.
    pub digest: Option<Digest>,
}

/// Everything that is read in the transaction that takes the fence, after its UPDATE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcquireFacts {
    /// The fence, already ours.
    pub fence: Fence,
    /// Identity of the database we are in.
    pub namespace: String,
    /// The manifest.
    pub manifest: ManifestFacts,
    /// Where all its epochs end.
    pub cut: Cut,
}

/// What a start does with the fence it has just taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// To be written in the same transaction: an epoch without rows that brings new topics into the cut.
    pub announce: Option<EpochRecord>,
    /// The first epoch to read.
    pub next_epoch: Epoch,
    /// The digest of the one before it.
    pub digest: Digest,
    /// Where it starts.
    pub cut: Cut,
}

/// Decides on a start, given what it read behind the fence. `starts` has every partition of every topic of the job;
/// those of topics that the cut knows are thrown away, because only the manifest says where they stand. `targets` get
/// counts of zero in the epoch that announces new topics.
pub fn admit(
    facts: &AcquireFacts,
    starts: &BTreeMap<TopicPartition, Start>,
    targets: &[String],
    now: Micros,
    plan: &str,
) -> Result<Admitted, Halt> {
    let fence = &facts.fence;
    if fence.namespace != facts.namespace {
        return Err(Halt::OtherDatabase { made_in: fence.namespace.clone(), here: facts.namespace.clone() });
    }
    let manifest = &facts.manifest;
    let next = fence.next_epoch;
    check!(I1, manifest.rows == next.0, "next_epoch is {next} and the manifest has {} rows", manifest.rows);
    if next.0 > 0 {
        check!(I1, manifest.lowest == Some(Epoch(0)), "the manifest begins at {:?}", manifest.lowest);
        check!(
            I1,
            manifest.highest == Some(Epoch(next.0 - 1)),
            "next_epoch is {next} and the manifest ends at {:?}",
            manifest.highest
        );
        check!(
            I1,
            manifest.digest.as_ref() == Some(&fence.digest),
            "the digest of the fence is not that of the last epoch"
        );
    } else {
        check!(I1, fence.digest == Digest::first(&fence.fence_id), "the fence has a digest before its first epoch");
    }
    let spans: Vec<Span> = starts
        .iter()
        .filter(|(partition, _)| !facts.cut.knows_topic(&partition.topic))
        .map(|(partition, start)| Span {
            partition: partition.clone(),
            topic_id: start.topic_id.clone(),
            start: start.offset,
            end: start.offset,
            leader_epoch: None,
            last: None,
        })
        .collect();
    if spans.is_empty() {
        return Ok(Admitted { announce: None, next_epoch: next, digest: fence.digest.clone(), cut: facts.cut.clone() });
    }
    let cut = facts.cut.advance(&spans).map_err(|e| Broken { invariant: crate::Invariant::I2, seen: e.to_string() })?;
    let announce = EpochRecord {
        epoch: next,
        closed_at: now,
        watermark: None,
        plan: plan.into(),
        spans,
        counts: targets.iter().map(|t| (t.clone(), Counts::default())).collect(),
    };
    let digest = announce.digest(&fence.digest);
    Ok(Admitted { announce: Some(announce), next_epoch: next.next(), digest, cut })
}

/// What Kafka says about a partition that the job reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFacts {
    /// Kafka's id of the topic; empty where the broker has none.
    pub topic_id: String,
    /// The first offset there is.
    pub low: i64,
    /// The end: the last stable offset.
    pub high: i64,
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
    if facts.high < position {
        return Err(Halt::Truncated { partition: partition.clone(), high: facts.high, end: position });
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

/// The dead letters of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLetters<'a> {
    /// The name of their table in the counts.
    pub table: &'a str,
    /// How many records were set aside, as the counts of the streams' targets say.
    pub records: u64,
}

/// Decides whether a sealed epoch is whole: every partition of the job reported, spans follow the cut, every record is
/// accounted for and every row is in a file. Returns the cut behind it.
///
/// `reported` are the spans of all partitions, moved or not; `files` the rows of the files by target.
pub fn check_whole(
    cut: &Cut,
    partitions: usize,
    record: &EpochRecord,
    reported: &[Span],
    files: &BTreeMap<String, u64>,
    dead_letters: &DeadLetters<'_>,
) -> Result<Cut, Halt> {
    let not_whole = |what: String| Halt::NotWhole { epoch: record.epoch, what };
    if reported.len() != partitions {
        return Err(not_whole(format!("{} of {partitions} partitions reported", reported.len())));
    }
    let next = cut.advance(reported).map_err(|e| not_whole(e.to_string()))?;
    for (target, counts) in &record.counts {
        // Dead letters were read elsewhere; of them there is one for each record that another count says was set aside.
        let add_up = match target == dead_letters.table {
            true => *counts == Counts { row_count: dead_letters.records, ..Counts::default() },
            false => counts.add_up(),
        };
        if !add_up {
            let expected = dead_letters.records;
            return Err(not_whole(format!(
                "the counts of {target} do not add up, with {expected} records set aside in all: {counts:?}"
            )));
        }
        let rows = files.get(target).copied().unwrap_or(0);
        if rows != counts.row_count {
            return Err(not_whole(format!("{target} has {} rows and its files have {rows}", counts.row_count)));
        }
    }
    if let Some(target) = files.keys().find(|t| !record.counts.contains_key(*t)) {
        return Err(not_whole(format!("there is a file for {target}, which has no counts")));
    }
    Ok(next)
}

/// Decides whether COPY loaded what was written. `before` and `after` are `pg_last_copy_id()` around it: a count alone
/// proves nothing, because a COPY that was refused leaves the count of the one before it.
pub fn check_copy(target: &str, before: i64, after: i64, count: u64, counts: &Counts) -> Result<(), Halt> {
    if after == before {
        return Err(Halt::CopyIdle { target: target.into(), id: after });
    }
    if count != counts.row_count {
        return Err(Halt::CopyCount { target: target.into(), loaded: count, written: counts.row_count });
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
/// that the generation has moved on, and then the fence that was read behind it says who has it.
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
#[path = "protocol_tests.rs"]
mod tests;
