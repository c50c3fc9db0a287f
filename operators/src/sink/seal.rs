//! An epoch is sealed when nothing of it can still come.
//!
//! * Input: the reports of all workers' fetch, and all their files and counts; both go to worker 0.
//! * Output: sealed epochs, in order, to load on the same worker.
//! * Time: it holds a capability for each epoch it has heard of, until the frontiers of *both* inputs have passed it.
//! * State: what it has heard of open epochs, the cut and the digest behind the last sealed one.
//! * The last epoch of a run is closed whether anything moved or not. If nothing did, it ends here: there is nothing to
//!   record, and the next run begins with its number.
//! * Failure: an epoch that is not whole ends the process; [`protocol::check_whole`] says what whole means.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

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
    stamp::{epoch_of, hold},
};

/// What seal must know.
#[derive(Clone)]
pub struct SealOptions {
    /// The first epoch.
    pub first: Epoch,
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
    /// When the workers were told that it was closed, and whether as the last one: all the same.
    closed: BTreeSet<(i64, bool)>,
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
        let (cut, digest) = (options.cut.clone(), options.digest.clone());
        let mut state = Sealer { next: Some(options.first), cut, digest };
        let mut open: BTreeMap<Time, (Capability<Time>, Heard)> = BTreeMap::new();
        move |frontiers| {
            reports.for_each(|capability, data: &mut Vec<Report>| {
                let new = || (hold(&capability, 0), Heard::default());
                let (_, heard) = open.entry(epoch_of(&capability)).or_insert_with(new);
                for report in data.drain(..) {
                    heard.closed.insert((report.closed_at, report.last));
                    heard.spans.extend(report.spans);
                }
            });
            pieces.for_each(|capability, data: &mut Vec<Piece>| {
                let new = || (hold(&capability, 0), Heard::default());
                let (_, heard) = open.entry(epoch_of(&capability)).or_insert_with(new);
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
                if let Some(sealed) = sealed {
                    output.activate().session(&held).give(sealed);
                }
            }
        }
    });
    sealed
}

/// The history so far.
struct Sealer {
    /// The epoch that must be sealed next; none after the last one.
    next: Option<Epoch>,
    cut: Cut,
    digest: Digest,
}

impl Sealer {
    /// `None` for a last epoch in which nothing moved.
    fn seal(&mut self, epoch: Epoch, heard: Heard, options: &SealOptions) -> Result<Option<SealedEpoch>, Halt> {
        let Heard { closed, mut spans, mut files, counts } = heard;
        let not_whole = |what: &str| Halt::NotWhole { epoch, what: what.into() };
        let mut closed = closed.into_iter();
        let (closed_at, last) = closed.next().ok_or_else(|| not_whole("no worker reported its spans"))?;
        if closed.next().is_some() {
            return Err(not_whole("its workers do not agree on how it was closed"));
        }
        if self.next != Some(epoch) {
            let next = self.next.map_or("none".into(), |next| next.to_string());
            return Err(not_whole(&format!("the epoch to be sealed is {next}")));
        }
        self.next = (!last).then(|| epoch.next());
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
        let nothing = |counts: &Counts| *counts == Counts::default();
        if last && record.spans.is_empty() && files.is_empty() && record.counts.values().all(nothing) {
            return Ok(None);
        }
        self.digest = record.digest(&self.digest);
        Ok(Some(SealedEpoch { record, digest: self.digest.clone(), files }))
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
