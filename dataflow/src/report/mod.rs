//! What `tidegate run` says: a live view on a terminal, and a log. Both go to standard error.
//!
//! * [`facts`]: what is known of the job, counted as it happens; [`partition`]: where one partition stands; [`meter`]: where the time goes; [`rates`]: how fast it goes;
//! * [`state`]: the job in one word, decided on those facts;
//! * `rejections`: how many records were rejected, and when that is worth a warning;
//! * [`handed`]: the facts of a child process, for its supervisor;
//! * [`screen`]: the live view on a terminal; [`view`]: what it says, in [`mod@line`]s; [`painter`]: how it is drawn;
//! * [`log`]: lines for people, or JSON; [`fold`]: fewer of them, above a live view.
//!
//! Here is what is said, and when: one line for each load; one for each change of the state that somebody should know
//! of; and where no live view is, one each half minute in which nothing else was said. On a terminal a minute of loads is one line.

pub mod facts;
mod fold;
pub mod handed;
mod line;
pub mod log;
pub mod meter;
mod painter;
pub mod partition;
pub mod rates;
mod rejections;
pub mod screen;
pub mod state;
#[cfg(test)]
#[path = "../../../tests/src/terminal.rs"]
mod terminal;
mod view;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use checkpoint::Micros;

use connectors::LoadStep;
use operators::{
    events::{Event, TargetCounts, Task, Watch},
    threads::named,
    time::now,
};
use tracing::{debug, info, warn};

use crate::{
    error::{Code, CodedError, dead_letters_command},
    state::State,
};
use facts::{ChangedColumn, Facts, Snapshot};
use fold::{Fold, Load, Told};
use rates::{Rates, Readings};
use rejections::{News, Rejections, percent};
use view::Moment;
use words::{counted, spoken};

/// How often the job is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// After how long without a line there is one, off a terminal.
const QUIET_FOR: Duration = Duration::from_secs(30);
/// The same with `--until-caught-up`.
const QUIET_FOR_TO_THE_END: Duration = Duration::from_secs(10);

/// The thread that looks at the job now and then.
static LOOKER: OnceLock<Thread> = OnceLock::new();

/// When the process ends although it has not drained, once it was told to stop.
static DRAINS_UNTIL: OnceLock<Micros> = OnceLock::new();

/// The job is told to stop, and may take so long. A person who watches sees that at once.
pub fn stops_within(within: Duration) {
    let until = Micros(now().0.saturating_add_unsigned(within.as_micros() as u64));
    let _ = DRAINS_UNTIL.set(until); // of several stops the first counts
    if let Some(looker) = LOOKER.get() {
        looker.unpark();
    }
}

/// How what happens is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voice {
    /// With a live view.
    pub live: bool,
    /// Fewer lines, for a person who watches.
    pub folded: bool,
}

/// What a look found.
struct Looked {
    state: State,
    /// Since when it is that.
    since: Micros,
    /// The state that was said last, or needed no line.
    said: State,
}

/// Work of one kind that is tried again.
#[derive(Default)]
struct Outage {
    tasks: BTreeSet<Task>,
    /// Whether anything was said of it.
    is_said: bool,
}

/// Counts what happens and says it.
pub struct Report {
    /// What is known.
    pub facts: Facts,
    since: Instant,
    live: bool,
    /// `None` where each thing is said.
    fold: Option<Mutex<Fold>>,
    /// What is tried again, by the kind of work.
    outages: Mutex<BTreeMap<String, Outage>>,
    /// When the last line was said.
    said_at: Mutex<Instant>,
    /// How many changed values were said already, by stream or table, and column.
    said_changed: Mutex<BTreeMap<(String, String), u64>>,
    /// What was rejected, as loads say it.
    rejections: Mutex<Rejections>,
}

impl Report {
    /// A report with this voice.
    pub fn new(facts: Facts, voice: Voice) -> Arc<Report> {
        let now = Instant::now();
        Arc::new(Report {
            facts,
            since: now,
            live: voice.live,
            fold: voice.folded.then(Mutex::default),
            outages: Mutex::default(),
            said_at: Mutex::new(now),
            said_changed: Mutex::default(),
            rejections: Mutex::default(),
        })
    }

    /// The watch that operators call.
    pub fn watch(self: &Arc<Report>) -> Watch {
        let report = self.clone();
        Arc::new(move |event| {
            report.facts.happened(&event);
            report.say(&event);
        })
    }

    fn say(&self, event: &Event) {
        match event {
            Event::Step { step: LoadStep::Queued, .. } if !self.may_say("queued") => {}
            Event::Step { first, step: LoadStep::Queued } => {
                info!(
                    event = "queued",
                    first_epoch = first.0,
                    "epoch {first}: Redshift has queued its load, nobody is in the way"
                );
                self.said();
            }
            Event::Step { first, step } => {
                debug!(event = "step", first_epoch = first.0, step = ?step, "epoch {first}: {step:?}");
            }
            Event::Loaded { first, last, rows, dead_letters, records, bytes, took, attempts, targets, .. } => {
                let (first, last, rows, records) = (*first, *last, *rows, *records);
                let (dead_letters, took, attempts) = (*dead_letters, *took, *attempts);
                let load = Load { first, last, records, rows, dead_letters, took, attempts };
                let told = self.fold(|fold| fold.load(&load, self.facts.patience, now()));
                let Told { sum, quiet, itself } = told.unwrap_or(Told { sum: None, quiet: None, itself: true });
                sum.into_iter().chain(quiet).for_each(|line| info!("{line}"));
                if !itself {
                    targets.iter().for_each(|counts| self.say_rejected(counts));
                    return;
                }
                let epochs = if first == last { format!("epoch {first}") } else { format!("epochs {first} to {last}") };
                let tries = if attempts > 1 { format!(", {attempts} tries") } else { String::new() };
                let letters = counted(dead_letters, "dead letter");
                let seconds = took.as_secs_f64();
                info!(
                    event = "loaded",
                    first_epoch = first.0,
                    last_epoch = last.0,
                    records,
                    rows,
                    dead_letters,
                    bytes,
                    seconds,
                    attempts,
                    complete_up_to = self.facts.complete_up_to().map(|at| at.to_string()),
                    "loaded {epochs}: {records} records, {rows} rows{letters}, {bytes} bytes, {seconds:.2} s{tries}",
                );
                self.say_changed();
                targets.iter().for_each(|counts| self.say_rejected(counts));
                self.said();
            }
            Event::Retrying { doing, task, why, advice, pause, left } => {
                if !self.fails(doing, *task) {
                    return;
                }
                let why = advice.as_ref().map_or(why.clone(), |advice| format!("{why}; {advice}"));
                let (next_seconds, seconds_left) = (pause.as_secs_f64(), left.as_secs_f64());
                warn!(event = "retrying", doing, why, next_seconds, seconds_left, "trying again: {doing}: {why}");
                self.said();
            }
            Event::Recovered { doing, task, done } => {
                if !self.is_over(doing, *task) {
                    return;
                }
                info!(event = "recovered", doing, "recovered: {done}");
                self.said();
            }
            Event::Folded { base, epochs } => {
                info!(
                    event = "folded",
                    base = base.0,
                    epochs,
                    "folded {epochs} old epochs into one row, that of epoch {base}"
                );
                self.said();
            }
            Event::Unfolded { why } => {
                warn!(event = "not-folded", why, "old epochs are not folded, which is tried again later: {why}");
                self.said();
            }
            Event::Unseen { why } => {
                warn!(
                    event = "not-looked",
                    why, "whether the targets changed is not known, and looked at again: {why}"
                );
                self.said();
            }
            Event::Draining { why } => {
                warn!(event = "draining", why, "{why}: draining");
                self.said();
            }
            Event::Fetched { .. } | Event::Opened { .. } | Event::Changed { .. } => {}
            Event::Asked { .. } | Event::Answered { .. } | Event::Works(_) | Event::Rests => {}
        }
    }

    /// A piece of work failed. Whether that is said: of all that fails alike one speaks, the oldest.
    fn fails(&self, doing: &str, task: Task) -> bool {
        let mut outages = self.outages();
        let outage = outages.entry(doing.into()).or_default();
        outage.tasks.insert(task);
        let says = outage.tasks.first() == Some(&task) && self.may_say(doing);
        outage.is_said |= says;
        says
    }

    /// A piece of work is done. Whether it is said that the outage is over: it was the last that failed.
    fn is_over(&self, doing: &str, task: Task) -> bool {
        let mut outages = self.outages();
        let Some(outage) = outages.get_mut(doing) else { return false };
        outage.tasks.remove(&task);
        outage.tasks.is_empty() && outages.remove(doing).is_some_and(|outage| outage.is_said)
    }

    fn fold<T>(&self, act: impl FnOnce(&mut Fold) -> T) -> Option<T> {
        self.fold.as_ref().map(|fold| act(&mut fold.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Whether something of this kind may be said, which may come again and again.
    fn may_say(&self, kind: &str) -> bool {
        self.fold(|fold| fold.may_say(kind, now())).unwrap_or(true)
    }

    /// The sum of what was not said one by one.
    fn say_folded(&self, at_the_end: bool) {
        if let Some(sum) = self.fold(|fold| fold.due(at_the_end, now())).flatten() {
            info!("{sum}");
            self.say_changed();
        }
    }

    fn outages(&self) -> MutexGuard<'_, BTreeMap<String, Outage>> {
        self.outages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What policies changed since this was said last.
    fn say_changed(&self) {
        let mut said = self.said_changed.lock().unwrap_or_else(PoisonError::into_inner);
        for ChangedColumn { place, column, values: all } in self.facts.snapshot(Instant::now(), now_ms()).changed {
            let before = said.entry((place.clone(), column.clone())).or_default();
            let values = all - std::mem::replace(before, all);
            if values == 0 {
                continue;
            }
            let counted = if values == 1 { "1 value".to_string() } else { format!("{values} values") };
            let were = if values == 1 { "was" } else { "were" };
            let text = format!("{place}: {counted} of column {column} did not fit and {were} changed");
            info!(event = "changed", place, column, values, "{text}");
        }
    }

    /// That more than half of a target's records are rejected, and that they are not any more.
    fn say_rejected(&self, counts: &TargetCounts) {
        let news = self.rejections.lock().unwrap_or_else(PoisonError::into_inner).hear(counts, Instant::now());
        let target = &counts.target;
        match news {
            None => {}
            Some(News::Many(share)) => {
                let reason = share.reasons.commonest();
                let (stage, column) = (reason.map(|r| r.stage.as_str()), reason.and_then(|r| r.column.as_deref()));
                let command = dead_letters_command();
                warn!(
                    event = "rejecting",
                    target,
                    records = share.read,
                    rejected = share.rejected,
                    stage,
                    column,
                    reason = reason.map(|reason| reason.kind.as_str()),
                    command,
                    "table {target}: {}; look at them with: {command}",
                    share.text()
                );
            }
            Some(News::Over(share)) => {
                let (records, rejected) = (share.read, share.rejected);
                info!(
                    event = "rejecting-over",
                    target,
                    records,
                    rejected,
                    "table {target}: no longer are most records rejected, {rejected} of the newest {records} were"
                );
            }
        }
    }

    /// The error of a run in which more than this share of a target's records was rejected.
    pub fn rejected_above(&self, share: f64) -> Option<CodedError> {
        let rejections = self.rejections.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<String> =
            rejections.above(share).map(|(target, all)| format!("table {target}: {}", all.text())).collect();
        if lines.is_empty() {
            return None;
        }
        let (limit, command) = (percent(share), dead_letters_command());
        let what = format!(
            "{}\nall that was read is loaded, the rejected records as dead letters; --max-rejected allows {limit}; look at them with: \
             {command}",
            lines.join("\n")
        );
        Some(CodedError::new(Code::Rejected, what))
    }

    fn said(&self) {
        *self.said_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Looks at the job now and then, until it is dropped. On a thread of its own.
    pub fn start(self: &Arc<Report>) {
        if self.live {
            screen::start();
        }
        let report = Arc::downgrade(self);
        // If the thread cannot be started there are fewer lines.
        let _ = named("report", move || {
            let _ = LOOKER.set(thread::current()); // one process has one
            let mut before = Looked { state: State::Starting, since: now(), said: State::Starting };
            let mut readings = Readings::default();
            while let Some(report) = report.upgrade() {
                before = report.look(&before, &mut readings);
                drop(report);
                thread::park_timeout(LOOK);
            }
        });
    }

    fn look(&self, before: &Looked, readings: &mut Readings) -> Looked {
        let at = Instant::now();
        let snapshot = self.facts.snapshot(at, now_ms());
        let rates = readings.rates(&snapshot, self.facts.interval, at);
        let state = snapshot.state;
        let since = if state == before.state { before.since } else { now() };
        let is_said = self.say_change(before.said, &snapshot, &rates);
        let looked = Looked { state, since, said: if is_said { state } else { before.said } };
        self.say_folded(false);
        if self.live {
            let drains_until = DRAINS_UNTIL.get().copied().filter(|_| state == State::Draining);
            screen::draw(snapshot, rates, Moment { now: now(), since, drains_until });
            return looked;
        }
        let patience = if snapshot.total.is_some() { QUIET_FOR_TO_THE_END } else { QUIET_FOR };
        let quiet_for = at - *self.said_at.lock().unwrap_or_else(PoisonError::into_inner);
        if quiet_for >= patience {
            self.say_standing(&snapshot);
            self.said();
        }
        looked
    }

    /// That data comes and goes is not news. Whether all was said that there is to say; else it is said later, if it is still so.
    fn say_change(&self, before: State, snapshot: &Snapshot, rates: &Rates) -> bool {
        let state = snapshot.state;
        let usual = |state| matches!(state, State::Starting | State::Running | State::Idle);
        // What is tried again has said so itself.
        let has_said = state == State::Retrying && !snapshot.retrying.is_empty();
        if state == before || usual(state) && usual(before) || has_said {
            return true;
        }
        let (name, was) = (state.name(), before.name());
        if !self.may_say(name) {
            return false;
        }
        match state {
            State::Behind => {
                let ago = snapshot
                    .last
                    .as_ref()
                    .map_or("none".into(), |last| spoken(Duration::from_millis(last.ago_ms)) + " ago");
                let slowest = rates.slowest.map_or("none", |(stage, _)| stage.name());
                warn!(
                    event = "state",
                    state = name,
                    was,
                    "{name}: {}; last load: {ago}; slowest stage: {slowest}",
                    all_lags(snapshot)
                );
            }
            State::Retrying => {
                let silent = spoken(Duration::from_millis(snapshot.silent_ms.unwrap_or_default()));
                warn!(event = "state", state = name, was, "{name} (was {was}): Kafka has not answered for {silent}");
            }
            _ => info!(event = "state", state = name, was, "{name} (was {was})"),
        }
        self.said();
        true
    }

    fn say_standing(&self, snapshot: &Snapshot) {
        let state = snapshot.state.name();
        let Snapshot { records, rows, offsets, .. } = snapshot;
        let unloaded = snapshot.unloaded();
        if let Some(total) = snapshot.total {
            info!(
                event = "progress",
                state, offsets, total, rows, "{state}: {offsets} of {total} offsets read, {rows} rows loaded"
            );
            return;
        }
        let last = match &snapshot.last {
            Some(last) => {
                format!("last load: epoch {}, {} ago", last.epoch, spoken(Duration::from_millis(last.ago_ms)))
            }
            None => "nothing was loaded yet".into(),
        };
        info!(
            event = "progress",
            state,
            records,
            rows,
            unloaded_offsets = unloaded,
            behind_seconds = snapshot.behind().map(|b| b.as_secs_f64()),
            "{state}: {}; {last}",
            all_lags(snapshot)
        );
    }

    /// The last line. Only the first process of a cluster knows what was loaded.
    pub fn done(&self, is_first: bool) {
        screen::clear();
        let snapshot = self.facts.snapshot(Instant::now(), now_ms());
        self.say_folded(true);
        self.say_changed();
        let Snapshot { records, rows, dead_letters, .. } = snapshot;
        if !is_first {
            info!(event = "done", state = State::Stopped.name(), records, "done: {records} records read here");
            return;
        }
        let seconds = self.since.elapsed().as_secs_f64();
        info!(
            event = "done",
            state = State::Stopped.name(),
            records,
            rows,
            dead_letters,
            seconds,
            "done: {records} records read, {rows} rows loaded{}, {seconds:.1} s",
            counted(dead_letters, "dead letter")
        );
    }
}

fn now_ms() -> i64 {
    now().0 / 1000
}

/// All topics in one line, what holds one up, and who does not answer.
fn all_lags(snapshot: &Snapshot) -> String {
    let held_up = snapshot.held_up.as_ref().map(words::held_up);
    let unanswered = snapshot.unanswered.iter().map(|asked| {
        let lasts = spoken(Duration::from_millis(asked.ago_ms));
        format!("{}: no answer for {lasts}", asked.doing)
    });
    let parts: Vec<String> = [lag_of_all(snapshot)].into_iter().chain(held_up).chain(unanswered).collect();
    parts.join("; ")
}

fn lag_of_all(snapshot: &Snapshot) -> String {
    match (snapshot.unloaded(), snapshot.behind()) {
        (None, _) => "Kafka has not said how far its topics go".into(),
        (Some(0), _) => "all is loaded".into(),
        (Some(unloaded), None) => format!("{unloaded} offsets not loaded"),
        (Some(unloaded), Some(behind)) => format!("{unloaded} offsets not loaded, {} behind", spoken(behind)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use checkpoint::{Micros, TopicPartition};
    use operators::places::Place;

    use super::{partition::Ends, *};

    #[test]
    fn an_outage_is_said_by_one_and_over_with_the_last() {
        let facts = Facts::new(&[], 1, Duration::from_secs(1), false, Arc::default());
        let report = Report::new(facts, Voice { live: false, folded: false });
        let [one, two, three] = [Task::new(), Task::new(), Task::new()];
        let doing = "writing to s3://b/p";
        assert_eq!([one, two, one, three].map(|task| report.fails(doing, task)), [true, false, true, false]);
        assert_eq!([one, three, two].map(|task| report.is_over(doing, task)), [false, false, true]);
        assert!(!report.is_over(doing, two), "it is over");
    }

    #[test]
    fn a_line_names_who_does_not_answer() {
        let unanswered = vec![facts::Unanswered { doing: "writing to s3://b/p".into(), ago_ms: 12_345 }];
        let snapshot = Snapshot { unanswered, ..facts::snapshot_of(State::Behind) };
        assert!(all_lags(&snapshot).ends_with("; writing to s3://b/p: no answer for 12 s"), "{}", all_lags(&snapshot));
    }

    #[test]
    fn a_line_names_the_partition_that_is_held_up_and_since_when() {
        let place = |partition| Place {
            partition: TopicPartition::new("clicks", partition),
            topic_id: String::new(),
            stream: 0,
            start: 5,
            leader_epoch: None,
            until: None,
        };
        let facts = Facts::new(&[place(0), place(1)], 1, Duration::from_secs(1), false, Arc::default());
        let open = |partition| (TopicPartition::new("clicks", partition), Ends { last_stable: 5, high_watermark: 9 });
        let ended = (TopicPartition::new("clicks", 1), Ends { last_stable: 5, high_watermark: 5 });
        let line = || all_lags(&facts.snapshot(Instant::now(), 0));
        facts.ends(&[open(0), ended.clone()], Micros(0));
        assert_eq!(line(), "4 offsets not loaded");
        facts.ends(&[open(0), ended], Micros(1_000_000));
        assert_eq!(
            line(),
            "4 offsets not loaded, 0 s behind; clicks[0] is held up at offset 5 by a transaction that is open since 1970-01-01T00:00:00Z"
        );
        for at in [2_000_000, 3_000_000] {
            facts.ends(&[open(0), open(1)], Micros(at));
        }
        assert!(line().ends_with("00:00:00Z, and so is 1 other partition"), "{}", line());
    }
}
