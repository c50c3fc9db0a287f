//! An epoch is sealed when nothing of it can still come.
//!
//! * Input: the reports of all workers' fetch, and their files and what they made of the other records; both go to worker 0.
//! * Output: sealed epochs, in order, to load on the same worker.
//! * Time: it holds a capability for each epoch it has heard of, until the frontiers of *both* inputs have passed it.
//! * State: what it has heard of open epochs, and the history that ends with the last sealed one.
//! * The last epoch of a run is closed whether anything moved or not. If nothing did, it ends here: there is nothing to
//!   record, and the next run begins with its number.
//! * Failure: an epoch that is not whole ends the process; [`protocol::check_whole`] says what whole means.
//!
//! An epoch that moved over five control records, and has no rows:
//!
//! ```
//! use std::sync::Arc;
//!
//! use checkpoint::{Epoch, History, Span, TopicPartition};
//! use connectors::TableName;
//! use operators::{
//!     schema::Target,
//!     signals::ReadReport,
//!     sink::seal::{SealOptions, seal},
//! };
//! use timely::dataflow::operators::{Capture, capture::Event, vec::ToStream};
//!
//! let target = |number, stream, table: &str| {
//!     let table = TableName { schema: "public".into(), table: table.into() };
//!     Arc::new(Target { number, stream, table, ..Target::default() })
//! };
//! let options = SealOptions {
//!     history: History::new("fence"),
//!     plan: "plan".into(),
//!     partitions: 1,
//!     targets: [target(0, Some(0), "clicks"), target(1, None, "dead_letters")].into(),
//! };
//! let partition = TopicPartition::new("clicks", 0);
//! let span = Span { partition, topic_id: "id".into(), start: 0, end: 5, leader_epoch: None, last: None };
//! let report = ReadReport { closed_at: 7, last: false, spans: vec![span], read: Vec::new() };
//! let sealed = timely::example(move |scope| {
//!     seal(scope, [report].to_stream(scope), [].to_stream(scope), options).capture()
//! });
//!
//! let mut sealed = sealed.into_iter().filter_map(|event| if let Event::Messages(_, epochs) = event { Some(epochs) } else { None });
//! let epoch = sealed.next().unwrap().remove(0);
//! assert_eq!((epoch.link.record.epoch, epoch.files.len()), (Epoch(0), 0));
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use checkpoint::{
    Counts, Epoch, EpochRecord, Fate, Fates, History, Kind, Link, Micros, Span, Tally,
    protocol::{self, Halt, TargetHeard},
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

use crate::{
    Time,
    failure::{Failure, fail},
    reasons::Reasons,
    schema::Target,
    signals::{Of, Piece, ReadReport, StagedFile},
    stamp::{epoch_of, hold},
};

/// What seal must know.
#[derive(Clone)]
pub struct SealOptions {
    /// Where the first epoch begins.
    pub history: History,
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
    pub link: Link,
    /// Its files.
    pub files: Vec<StagedFile>,
    /// Why records of it were rejected, by whose they are.
    pub reasons: BTreeMap<Of, Reasons>,
}

/// What was heard of an epoch.
#[derive(Default)]
struct Heard {
    /// When the workers were told that it was closed, and whether as the last one: all the same.
    closed: BTreeSet<(i64, bool)>,
    spans: Vec<Span>,
    /// What left fetch, by stream.
    read: BTreeMap<usize, Tally>,
    files: Vec<StagedFile>,
    /// What became of records that are in no file.
    fates: BTreeMap<Of, Fates>,
    /// Why records were rejected.
    reasons: BTreeMap<Of, Reasons>,
}

/// Builds seal.
pub fn seal<'s>(
    scope: Scope<'s, Time>,
    reports: Stream<'s, Time, Vec<ReadReport>>,
    pieces: Stream<'s, Time, Vec<Piece>>,
    options: SealOptions,
) -> Stream<'s, Time, Vec<SealedEpoch>> {
    let mut builder = OperatorBuilder::new("Seal".into(), scope);
    let mut reports = builder.new_input(reports, Exchange::new(|_: &ReadReport| 0));
    let mut pieces = builder.new_input(pieces, Exchange::new(|_: &Piece| 0));
    let (output, sealed) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<SealedEpoch>>>::from(output);
    builder.build(move |capabilities| {
        drop(capabilities);
        let mut state = Sealer { history: options.history.clone(), ended: false };
        let mut open: BTreeMap<Time, (Capability<Time>, Heard)> = BTreeMap::new();
        move |frontiers| {
            reports.for_each(|capability, data: &mut Vec<ReadReport>| {
                let new = || (hold(&capability, 0), Heard::default());
                let (_, heard) = open.entry(epoch_of(&capability)).or_insert_with(new);
                for report in data.drain(..) {
                    heard.closed.insert((report.closed_at, report.last));
                    heard.spans.extend(report.spans);
                    for (stream, tally) in report.read {
                        heard.read.entry(stream).or_default().add(tally);
                    }
                }
            });
            pieces.for_each(|capability, data: &mut Vec<Piece>| {
                let new = || (hold(&capability, 0), Heard::default());
                let (_, heard) = open.entry(epoch_of(&capability)).or_insert_with(new);
                for piece in data.drain(..) {
                    match piece {
                        Piece::File(file) => heard.files.push(file),
                        Piece::Fates { of, fates } => heard.fates.entry(of).or_default().merge(&fates),
                        Piece::Reasons { of, reasons } => heard.reasons.entry(of).or_default().merge(&reasons),
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

/// What is sealed so far.
struct Sealer {
    history: History,
    /// The last epoch was sealed.
    ended: bool,
}

impl Sealer {
    /// `None` for a last epoch in which nothing moved.
    fn seal(&mut self, epoch: Epoch, heard: Heard, options: &SealOptions) -> Result<Option<SealedEpoch>, Halt> {
        let Heard { closed, mut spans, read, mut files, mut fates, reasons } = heard;
        let not_whole = |what: &str| Halt::NotWhole { epoch, what: what.into() };
        let mut closed = closed.into_iter();
        let (closed_at, last) = closed.next().ok_or_else(|| not_whole("no worker reported its spans"))?;
        if closed.next().is_some() {
            return Err(not_whole("its workers do not agree on how it was closed"));
        }
        if self.ended || self.history.next_epoch != epoch {
            let next = if self.ended { "none".into() } else { self.history.next_epoch.to_string() };
            return Err(not_whole(&format!("the epoch to be sealed is {next}")));
        }
        self.ended = last;
        spans.sort_by(|a, b| a.partition.cmp(&b.partition));
        files.sort_by(|a, b| (a.target, &a.key).cmp(&(b.target, &b.key)));
        let mut rows: BTreeMap<usize, u64> = BTreeMap::new();
        for file in &files {
            *rows.entry(file.target).or_default() += file.rows;
            fates.entry(Of::Target(file.target)).or_default().add(Fate::Taken, file.records);
        }
        let is_known = |of: &Of| match of {
            Of::Target(number) => *number < options.targets.len(),
            Of::Stream(number) => options.targets.iter().any(|target| target.stream == Some(*number)),
        };
        if !fates.keys().all(is_known) {
            return Err(not_whole("records of an unknown target or stream"));
        }
        let heard = options.targets.iter().map(|target| {
            let mut all = fates.get(&Of::Target(target.number)).copied().unwrap_or_default();
            let of_stream = target.stream.and_then(|stream| fates.get(&Of::Stream(stream)));
            of_stream.iter().for_each(|fates| all.merge(fates));
            let rows = rows.get(&target.number).copied().unwrap_or(0);
            TargetHeard { name: target.name(), stream: target.stream, fates: all, rows }
        });
        let heard: Vec<TargetHeard> = heard.collect();
        let counts = protocol::check_whole(&self.history.cut, options.partitions, epoch, &spans, &read, &heard)?;
        spans.retain(|span| span.start != span.end);
        let nothing = |counts: &Counts| *counts == Counts::default();
        if last && spans.is_empty() && counts.values().all(nothing) {
            return Ok(None);
        }
        let record = EpochRecord {
            epoch,
            kind: Kind::Data,
            closed_at: Micros(closed_at),
            watermark: None,
            plan: options.plan.clone(),
            spans,
            decision: None,
            counts,
        };
        let link = self.history.link(record).map_err(|e| not_whole(&e.to_string()))?;
        Ok(Some(SealedEpoch { link, files, reasons }))
    }
}
