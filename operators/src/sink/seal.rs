//! An epoch is sealed when nothing of it can still come.
//!
//! * Input: the reports of all workers' fetch, and all their files and counts; both go to worker 0.
//! * Output: sealed epochs, in order, to load on the same worker.
//! * Time: it holds a capability for each epoch it has heard of, until the frontiers of *both* inputs have passed it.
//! * State: what it has heard of open epochs, the cut and the digest behind the last sealed one.
//! * Failure: an epoch that is not whole ends the process; [`protocol::check_whole`] says what whole means.

use std::{collections::BTreeMap, sync::Arc};

use checkpoint::{
    Counts, Cut, Digest, Epoch, EpochRecord, Micros, Span,
    protocol::{self, DeadLetters, Halt},
};
use timely::{
    container::CapacityContainerBuilder,
    dataflow::{
        Scope, Stream,
        channels::pact::Exchange,
        operators::{
            Capability,
            generic::{OutputBuilder, builder_rc::OperatorBuilder},
        },
    },
};

use super::{Piece, StagedFile, Target};
use crate::{
    Time,
    failure::{Failure, fail},
    fetch::Report,
};

/// What seal must know.
#[derive(Clone)]
pub struct SealOptions {
    /// Where the first epoch begins.
    pub cut: Cut,
    /// The digest of the epoch before it.
    pub digest: Digest,
    /// Hash of the plan.
    pub plan: String,
    /// How many partitions report.
    pub partitions: usize,
    /// All targets, by number; the last one takes the dead letters.
    pub targets: Arc<[Arc<Target>]>,
}

/// An epoch that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedEpoch {
    /// Its rows of the control tables.
    pub record: EpochRecord,
    /// The digest of the history that it ends.
    pub digest: Digest,
    /// Its files.
    pub files: Vec<StagedFile>,
}

/// What was heard of an epoch.
#[derive(Default)]
struct Heard {
    closed_at: Option<i64>,
    spans: Vec<Span>,
    files: Vec<StagedFile>,
    counts: BTreeMap<usize, Counts>,
}

/// Builds seal.
pub fn seal<'s>(
    scope: Scope<'s, Time>,
    reports: Stream<'s, Time, Vec<Report>>,
    pieces: Stream<'s, Time, Vec<Piece>>,
    options: SealOptions,
) -> Stream<'s, Time, Vec<SealedEpoch>> {
    let mut builder = OperatorBuilder::new("Seal".into(), scope);
    let mut reports = builder.new_input(reports, Exchange::new(|_: &Report| 0));
    let mut pieces = builder.new_input(pieces, Exchange::new(|_: &Piece| 0));
    let (output, sealed) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<SealedEpoch>>>::from(output);
    builder.build(move |capabilities| {
        drop(capabilities);
        let mut state = Sealer { cut: options.cut.clone(), digest: options.digest.clone() };
        let mut open: BTreeMap<Time, (Capability<Time>, Heard)> = BTreeMap::new();
        move |frontiers| {
            let lost = || fail(Failure::Bug("a message without a capability".into()));
            reports.for_each(|capability, data: &mut Vec<Report>| {
                let Some(epoch) = capability.least().copied() else { return };
                let entry = open.entry(epoch);
                let (_, heard) =
                    entry.or_insert_with(|| (capability.retain_least(0).unwrap_or_else(lost), Heard::default()));
                for report in data.drain(..) {
                    heard.closed_at = Some(report.closed_at);
                    heard.spans.extend(report.spans);
                }
            });
            pieces.for_each(|capability, data: &mut Vec<Piece>| {
                let Some(epoch) = capability.least().copied() else { return };
                let entry = open.entry(epoch);
                let (_, heard) =
                    entry.or_insert_with(|| (capability.retain_least(0).unwrap_or_else(lost), Heard::default()));
                for piece in data.drain(..) {
                    match piece {
                        Piece::File(file) => heard.files.push(file),
                        Piece::Counts { target, counts } => heard.counts.entry(target).or_default().add(&counts),
                    }
                }
            });
            while let Some(entry) = open.first_entry() {
                if frontiers.iter().any(|frontier| frontier.less_equal(entry.key())) {
                    break;
                }
                let (epoch, (held, heard)) = entry.remove_entry();
                let sealed = state.seal(Epoch(epoch), heard, &options).unwrap_or_else(|halt| fail(Failure::Halt(halt)));
                output.activate().session(&held).give(sealed);
            }
        }
    });
    sealed
}

/// The history so far.
struct Sealer {
    cut: Cut,
    digest: Digest,
}

impl Sealer {
    fn seal(&mut self, epoch: Epoch, heard: Heard, options: &SealOptions) -> Result<SealedEpoch, Halt> {
        let Heard { closed_at, mut spans, mut files, counts } = heard;
        let not_whole = |what: &str| Halt::NotWhole { epoch, what: what.into() };
        let closed_at = closed_at.ok_or_else(|| not_whole("no worker reported its spans"))?;
        spans.sort_by(|a, b| a.partition.cmp(&b.partition));
        files.sort_by(|a, b| (a.target, &a.key).cmp(&(b.target, &b.key)));
        let mut rows: BTreeMap<String, u64> = BTreeMap::new();
        for file in &files {
            let target = options.targets.get(file.target).ok_or_else(|| not_whole("a file of an unknown target"))?;
            *rows.entry(target.name()).or_default() += file.rows;
        }
        let of = |target: &Target| counts.get(&target.number).copied().unwrap_or_default();
        let table = options.targets.last().map(|t| t.name()).unwrap_or_default();
        let dead_letters = DeadLetters { table: &table, records: set_aside(&options.targets, of) };
        let counts = options.targets.iter().map(|t| (t.name(), of(t)));
        let record = EpochRecord {
            epoch,
            closed_at: Micros(closed_at),
            watermark: None,
            plan: options.plan.clone(),
            spans: spans.iter().filter(|span| span.start != span.end).cloned().collect(),
            counts: counts.collect(),
        };
        self.cut = protocol::check_whole(&self.cut, options.partitions, &record, &spans, &rows, &dead_letters)?;
        self.digest = record.digest(&self.digest);
        Ok(SealedEpoch { record, digest: self.digest.clone(), files })
    }
}

/// How many records were set aside in all. One that does not decode is one dead letter, and counts for every target of its
/// stream; one that fails later is one for each target that it fails for.
fn set_aside(targets: &[Arc<Target>], counts: impl Fn(&Target) -> Counts) -> u64 {
    let mut undecoded: BTreeMap<usize, u64> = BTreeMap::new();
    let mut later = 0;
    for target in targets {
        let Some(stream) = target.stream else { continue };
        let counts = counts(target);
        undecoded.entry(stream).or_insert(counts.undecoded);
        later += counts.dead_letters;
    }
    later + undecoded.values().sum::<u64>()
}
