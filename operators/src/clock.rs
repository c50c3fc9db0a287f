//! Ends epochs.
//!
//! * Input: what the fetch operators of all workers tell of their progress, each at the epoch that was open for it. Only
//!   worker 0 has a clock; the others' drop their capability at once.
//! * Output: one command to every worker's fetch, over a feedback loop: "close e", sent at e. The last one says that it is
//!   the last: to end the job is not a command of its own, because a fetch may read between two messages.
//! * Time: it holds one capability, at the open epoch, and moves it on when it closes the epoch.
//! * An epoch is closed only if some position moved, so an idle job has one epoch open for ever and sends no SQL. It is
//!   closed by the first of: age, bytes, rows, or a worker whose memory budget is used up by this epoch alone. At most
//!   [`OPEN_EPOCHS_MAX`] are closed and not loaded.
//! * The end of the job closes the open epoch in any case: a worker may have read and not have said so yet. If nothing
//!   moved, seal drops it. The end is asked for from outside, or by a reason to end ([`crate::ending`]), which the last command has.
//! * It alone knows what time it is: the time of an epoch is decided here and recorded with its cut.
//!
//! A worker has read all that there was; with `until_caught_up` the epoch that is open is the last one:
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//!
//! use checkpoint::Epoch;
//! use operators::{
//!     clock,
//!     clock::ClockOptions,
//!     ending::Reason,
//!     signals::{Close, Stat},
//! };
//! use timely::dataflow::operators::{Capture, capture::Event, vec::ToStream};
//!
//! let options = ClockOptions {
//!     first: Epoch(0),
//!     interval: Duration::from_secs(60),
//!     max_bytes: 1 << 30,
//!     max_rows: 1 << 20,
//!     until_caught_up: true,
//!     stop: Arc::default(),
//!     ending: Reason::default(),
//!     threads: 1,
//! };
//! let told = Stat { worker: 0, rows: 3, offsets: 3, bytes: 90, moved: true, full: false, reached: true, ending: None };
//! let commands = timely::example(move |scope| {
//!     let (stats, loaded) = ([told].to_stream(scope), [].to_stream(scope));
//!     clock(scope, stats, loaded, options, Arc::new(|_| {})).capture()
//! });
//!
//! // One command, for worker 0.
//! let sent = commands.into_iter().filter_map(|event| if let Event::Messages(_, sent) = event { Some(sent) } else { None });
//! let sent: Vec<(usize, Close)> = sent.flatten().collect();
//! let [(0, close)] = sent.as_slice() else { panic!("{sent:?}") };
//! assert_eq!((close.epoch, close.last), (0, true));
//! ```

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use checkpoint::{Epoch, Micros};
use timely::{
    container::CapacityContainerBuilder,
    dataflow::{
        Scope, Stream,
        channels::pact::{Exchange, Pipeline},
        operators::generic::{OutputBuilder, builder_rc::OperatorBuilder, operator::Operator},
    },
};

use crate::{
    Time,
    ending::{Ending, Reason},
    events::{Event, Watch},
    failure::{Failure, fail},
    signals::{Close, OPEN_EPOCHS_MAX, Stat},
    stamp::epoch_of,
    time::now,
};

/// How often the clock looks at the stop flag.
const LOOK: Duration = Duration::from_millis(50);

/// When epochs end.
#[derive(Clone, Debug)]
pub struct ClockOptions {
    /// The first epoch.
    pub first: Epoch,
    /// The longest an epoch stays open once something moved.
    pub interval: Duration,
    /// The most bytes of keys and values in an epoch, over all workers; overshot by what is in flight.
    pub max_bytes: u64,
    /// The most records in an epoch, over all workers.
    pub max_rows: u64,
    /// Ends the job once every partition has reached the offset it is to be read up to.
    pub until_caught_up: bool,
    /// Set from outside to end the job: the open epoch is closed and loaded.
    pub stop: Arc<AtomicBool>,
    /// A reason to end, given from outside: the same, and the job ends with it.
    pub ending: Reason,
    /// Worker threads of a process: what those of other processes read is told here.
    pub threads: usize,
}

/// What has come into the open epoch, and what the workers said of themselves.
#[derive(Clone, Debug, Default)]
struct Open {
    moved: bool,
    bytes: u64,
    rows: u64,
    full: bool,
    /// Workers that have read up to where they were asked to.
    reached: BTreeMap<usize, bool>,
    /// Why a worker cannot read on.
    ending: Option<Ending>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tick {
    /// Nothing to do for so long.
    Wait(Duration),
    Close,
    CloseAndStop,
}

impl Open {
    /// A worker told of its progress in an epoch. What came into one that is closed is not in the open one.
    fn hear(&mut self, stat: &Stat, is_open: bool) {
        if is_open {
            self.moved |= stat.moved;
            self.full |= stat.full;
            self.bytes += stat.bytes;
            self.rows += stat.rows;
        }
        // As is this of the job, whatever epoch it is told in.
        if self.ending.is_none() {
            self.ending.clone_from(&stat.ending);
        }
        // A partition does not go back, so this stays true.
        self.reached.insert(stat.worker, stat.reached);
    }
}

/// Decides, given the age of the epoch and how many are closed and not loaded.
fn decide(options: &ClockOptions, open: &Open, workers: usize, age: Duration, unloaded: u64, stop: bool) -> Tick {
    let caught_up = options.until_caught_up && open.reached.values().filter(|r| **r).count() == workers;
    if stop || caught_up || open.ending.is_some() {
        return Tick::CloseAndStop;
    }
    if !open.moved || unloaded >= OPEN_EPOCHS_MAX {
        return Tick::Wait(LOOK);
    }
    if open.full || open.bytes >= options.max_bytes || open.rows >= options.max_rows || age >= options.interval {
        return Tick::Close;
    }
    Tick::Wait(LOOK.min(options.interval - age))
}

/// Builds the clock. `loaded` is the stream of loaded epochs; only its frontier is looked at.
pub fn clock<'s>(
    scope: Scope<'s, Time>,
    stats: Stream<'s, Time, Vec<Stat>>,
    loaded: Stream<'s, Time, Vec<u64>>,
    options: ClockOptions,
    watch: Watch,
) -> Stream<'s, Time, Vec<(usize, Close)>> {
    let (me, workers) = (scope.index(), scope.peers());
    let mut builder = OperatorBuilder::new("Clock".into(), scope);
    let (output, commands) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<(usize, Close)>>>::from(output);
    // Neither input has a path to the output: the clock sends at its own capability, whenever it decides to.
    let mut stats = builder.new_input_connection(stats, Exchange::new(|_: &Stat| 0), Vec::new());
    let mut loaded = builder.new_input_connection(loaded, Pipeline, Vec::new());
    let again = scope.activator_for(builder.operator_info().address);
    builder.build(move |mut capabilities| {
        let mut capability = capabilities.pop().filter(|_| me == 0);
        if let Some(capability) = &mut capability {
            capability.downgrade(&options.first.0);
            again.activate();
        }
        let mut open = Open::default();
        let (mut opened, mut timer, mut last_time) = (Instant::now(), Instant::now(), 0);
        move |frontiers| {
            let now_open = capability.as_ref().map(|held| *held.time());
            stats.for_each(|message, data| {
                let is_open = now_open == Some(epoch_of(&message));
                for stat in data.drain(..) {
                    if stat.worker / options.threads != me / options.threads {
                        let (records, offsets) = (stat.rows, stat.offsets);
                        watch(Event::Fetched { records, offsets, positions: Vec::new() });
                    }
                    if is_open && stat.moved && !open.moved {
                        opened = Instant::now();
                        watch(Event::Opened { within: options.interval });
                    }
                    open.hear(&stat, is_open);
                }
            });
            loaded.for_each(|_, data| data.clear());
            let Some(held) = &mut capability else { return };
            let epoch = *held.time();
            // Feedback adds one: the frontier is the oldest epoch that is not loaded, plus one.
            let oldest = frontiers[1].frontier().first().map_or(epoch, |f| f.saturating_sub(1));
            let stop = options.stop.load(Ordering::Relaxed);
            open.ending = open.ending.take().or_else(|| options.ending.get());
            let decision = decide(&options, &open, workers, opened.elapsed(), epoch.saturating_sub(oldest), stop);
            let wait = if let Tick::Wait(wait) = decision { wait } else { LOOK };
            if matches!(decision, Tick::Close | Tick::CloseAndStop) {
                last_time = closed_at().max(last_time + 1);
                let last = decision == Tick::CloseAndStop;
                let close = Close { epoch, closed_at: last_time, last, ending: open.ending.take() };
                let mut output = output.activate();
                let mut session = output.session(held);
                (0..workers).for_each(|worker| session.give((worker, close.clone())));
                drop(session);
                if close.last {
                    capability = None;
                    return;
                }
                held.downgrade(&(epoch + 1));
                open = Open { reached: std::mem::take(&mut open.reached), ..Open::default() };
                opened = Instant::now();
            }
            // One timer at a time: each call adds an entry to a heap and none is ever merged.
            let now = Instant::now();
            if timer <= now || now + wait < timer {
                timer = now + wait;
                again.activate_after(wait);
            }
        }
    });
    // Each worker gets its own.
    commands.unary::<CapacityContainerBuilder<Vec<(usize, Close)>>, _, _, _>(
        Exchange::new(|c: &(usize, Close)| c.0 as u64),
        "Broadcast",
        |_, _| |input, output| input.for_each(|capability, data| output.session(&capability).give_container(data)),
    )
}

/// The time of an epoch that is closed now, in microseconds since 1970.
fn closed_at() -> i64 {
    match now() {
        Micros(at @ 0..) => at,
        Micros(_) => fail(Failure::Bug("the clock of this machine stands before 1970".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_ends_by_the_first_of_its_limits_and_only_if_something_moved() {
        let options = ClockOptions {
            first: Epoch(0),
            interval: Duration::from_secs(30),
            max_bytes: 100,
            max_rows: 10,
            until_caught_up: true,
            stop: Default::default(),
            ending: Reason::default(),
            threads: 1,
        };
        let open = Open { moved: true, ..Open::default() };
        let idle = Open::default();
        let reached = |workers: &[bool]| workers.iter().copied().enumerate().collect();
        let gone = Ending::TopicGone { topic: "t".into() };
        let young = Duration::from_secs(1);
        let old = Duration::from_secs(30);
        let cases = [
            ("young", open.clone(), young, 0, false, Tick::Wait(LOOK)),
            ("old", open.clone(), old, 0, false, Tick::Close),
            ("old, and nothing moved", idle.clone(), old, 0, false, Tick::Wait(LOOK)),
            ("bytes", Open { bytes: 100, ..open.clone() }, young, 0, false, Tick::Close),
            ("rows", Open { rows: 10, ..open.clone() }, young, 0, false, Tick::Close),
            ("a full budget", Open { full: true, ..open.clone() }, young, 0, false, Tick::Close),
            ("full of older epochs", Open { full: true, ..idle.clone() }, old, 3, false, Tick::Wait(LOOK)),
            ("too many unloaded", Open { bytes: 100, ..open.clone() }, old, OPEN_EPOCHS_MAX, false, Tick::Wait(LOOK)),
            ("stop", open.clone(), young, 0, true, Tick::CloseAndStop),
            ("stop, and nothing was heard", idle.clone(), young, 0, true, Tick::CloseAndStop),
            ("stop, and too many unloaded", open.clone(), young, OPEN_EPOCHS_MAX, true, Tick::CloseAndStop),
            ("a reason to end", Open { ending: Some(gone), ..idle.clone() }, young, 0, false, Tick::CloseAndStop),
            (
                "one of two caught up",
                Open { reached: reached(&[true, false]), ..open.clone() },
                young,
                0,
                false,
                Tick::Wait(LOOK),
            ),
            ("one of two heard", Open { reached: reached(&[true]), ..open.clone() }, young, 0, false, Tick::Wait(LOOK)),
            (
                "both caught up",
                Open { reached: reached(&[true, true]), ..open.clone() },
                young,
                0,
                false,
                Tick::CloseAndStop,
            ),
            (
                "both, and nothing moved",
                Open { reached: reached(&[true, true]), ..idle },
                young,
                0,
                false,
                Tick::CloseAndStop,
            ),
        ];
        for (name, open, age, unloaded, stop, expected) in cases {
            assert_eq!(decide(&options, &open, 2, age, unloaded, stop), expected, "{name}");
        }
        let almost = Duration::from_millis(29_990);
        assert_eq!(decide(&options, &open, 2, almost, 0, false), Tick::Wait(Duration::from_millis(10)));
    }
}
