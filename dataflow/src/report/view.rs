//! The lines of the live view: what is said of the job, in which order, and what gives way where a terminal is narrow or low. Pure.

use std::time::Duration;

use checkpoint::Micros;

use super::{
    facts::{HeldUp, LONG, Retrying, Snapshot, TopicLag},
    line::{Line, columns_of},
    painter::{Drawn, Size},
    rates::Rates,
    words::{clock, moment, short, spoken},
};
use crate::{state::State, visible};

/// How much of what is tried again is shown.
const RETRIES: usize = 3;
/// Topics that have a line of their own; of more those that lag most.
const TOPICS: usize = 8;
/// From here on a clock alone does not say which day it was.
const CLOCK_HOLDS: Duration = Duration::from_secs(12 * 3600);

/// What is known of the moment, beside the job.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Now.
    pub(super) now: Micros,
    /// Since when the state is what it is.
    pub(super) since: Micros,
    /// When the process ends although it has not drained.
    pub(super) drains_until: Option<Micros>,
}

impl Moment {
    fn ago(&self, ms: u64) -> Micros {
        Micros(self.now.0.saturating_sub_unsigned(ms.saturating_mul(1000)))
    }

    fn after(&self, ms: u64) -> Micros {
        Micros(self.now.0.saturating_add_unsigned(ms.saturating_mul(1000)))
    }

    fn since(&self, at: Micros) -> Duration {
        Duration::from_micros(self.now.0.saturating_sub(at.0).max(0) as u64)
    }

    /// A moment of the past.
    fn told(&self, at: Micros) -> String {
        if self.since(at) < CLOCK_HOLDS { clock(at) } else { moment(at) }
    }
}

/// A line, and how soon it gives way where there are too many: the larger, the sooner.
struct Ranked(u8, Line);

/// The view on a terminal of this size.
pub(super) fn view(snapshot: &Snapshot, rates: &Rates, moment: &Moment, size: Size, colour: bool) -> Vec<Drawn> {
    let room = size.rows.saturating_sub(1);
    let mut lines = job(snapshot, rates, moment);
    // A row of its own, so that somebody who presses Enter pushes away nothing but that.
    lines.insert(0, Ranked(9, Line::default()));
    let left = room.saturating_sub(lines.len());
    lines.extend(topics(snapshot, moment, left.min(TOPICS + 1)).into_iter().map(|line| Ranked(8, line)));
    while lines.len() > room {
        let Some(least) = lines.iter().map(|Ranked(rank, _)| *rank).max() else { break };
        let Some(last) = lines.iter().rposition(|Ranked(rank, _)| *rank == least) else { break };
        lines.remove(last);
    }
    let columns = size.columns.saturating_sub(1);
    let mut drawn: Vec<Drawn> = lines.into_iter().map(|Ranked(_, line)| plain(line.fit(columns))).collect();
    if colour {
        let name = snapshot.state.name();
        let code = if snapshot.state.is_good() { 32 } else { 33 };
        for line in &mut drawn {
            if let Some(rest) = line.text.strip_prefix(name) {
                line.text = format!("\u{1b}[{code}m\u{1b}[1m{name}\u{1b}[0m{rest}");
            }
        }
    }
    drawn
}

fn plain(text: String) -> Drawn {
    Drawn { columns: columns_of(&text), text }
}

/// All but the topics.
fn job(snapshot: &Snapshot, rates: &Rates, moment: &Moment) -> Vec<Ranked> {
    let mut lines = vec![Ranked(0, state(snapshot, moment))];
    if let Some(silent) = snapshot.silent_ms {
        let (since, lasts) = (moment.told(moment.ago(silent)), spoken(Duration::from_millis(silent)));
        let line = Line::default()
            .or(2, ["  Kafka has not answered", "  Kafka silent"])
            .maybe(3, format!(" since {since},"))
            .or(1, [format!(" for {lasts}"), format!(" {lasts}")]);
        lines.push(Ranked(1, line));
    }
    for (doing, retrying) in snapshot.retrying.iter().take(RETRIES) {
        lines.push(Ranked(1, failing(doing, retrying)));
        lines.push(Ranked(2, next(retrying, moment)));
    }
    if snapshot.retrying.len() > RETRIES {
        lines.push(Ranked(2, Line::new(format!("  and {} more", snapshot.retrying.len() - RETRIES))));
    }
    if let Some(total) = snapshot.total {
        lines.push(Ranked(3, progress(snapshot.offsets, total, rates)));
    }
    lines.push(Ranked(3, complete(snapshot, moment)));
    lines.extend(snapshot.held_up.as_ref().map(|held| Ranked(3, held_up(held, moment))));
    lines.push(Ranked(4, flow(snapshot, rates)));
    let loading =
        snapshot.loading.as_ref().filter(|l| snapshot.retrying.is_empty() && l.ago_ms >= LONG.as_millis() as u64);
    if let Some(loading) = loading {
        let line = Line::new("  ")
            .or(2, [format!("loading epoch {}: ", loading.epoch), String::new()])
            .or(1, [format!("waits for {}", loading.waits_for), loading.waits_for.clone()])
            .or(0, [format!(" for {}", spoken(Duration::from_millis(loading.ago_ms)))]);
        lines.push(Ranked(5, line));
    }
    lines.extend(snapshot.unanswered.iter().take(RETRIES).map(|asked| {
        let lasts = spoken(Duration::from_millis(asked.ago_ms));
        let line = Line::new("  ")
            .context(2, &format!("{}: ", asked.doing), 8)
            .or(1, [format!("no answer for {lasts}"), format!("no answer, {lasts}")]);
        Ranked(5, line)
    }));
    if let Some(last) = &snapshot.last {
        let ago = spoken(Duration::from_millis(last.ago_ms));
        let line = Line::new("  ")
            .or(4, ["last load: epoch ", "epoch "])
            .or(0, [last.epoch.to_string()])
            .or(1, [format!(", {ago} ago"), format!(", {ago}")])
            .maybe(2, format!(", {} rows", last.rows))
            .maybe(3, format!(" in {:.2} s", last.took_ms as f64 / 1000.0));
        lines.push(Ranked(6, line));
    }
    if let Some((stage, share)) = rates.slowest {
        let line = Line::new("  ")
            .or(2, ["slowest stage: ", "slowest: "])
            .or(0, [stage.name()])
            .maybe(1, format!(", {:.0} %", share * 100.0))
            .maybe(3, " of the time".into());
        lines.push(Ranked(7, line));
    }
    lines
}

/// The state, since when, how far the tables are behind, and until when.
fn state(snapshot: &Snapshot, moment: &Moment) -> Line {
    let (since, lasts) = (moment.told(moment.since), spoken(moment.since(moment.since)));
    let line = Line::new(snapshot.state.name())
        .or(5, [format!(" since {since}, {lasts}"), format!(" since {since}"), format!(" for {lasts}"), String::new()]);
    let line = match (snapshot.unloaded(), snapshot.silent_ms) {
        _ if snapshot.topics.is_empty() => line,
        (None, _) => line.or(3, [": Kafka has not said how far its topics go", ": lag unknown", ""]),
        (Some(0), None) => line.or(3, [": all loaded", ""]),
        (Some(0), Some(_)) => line.or(3, [": all loaded that Kafka had then", ": all loaded then", ""]),
        (Some(unloaded), _) => line.ranked(not_loaded(unloaded)),
    };
    let line = match snapshot.behind() {
        Some(behind) => line.ranked(so_far_behind(behind)),
        None => line,
    };
    let until = match (moment.drains_until, snapshot.due_in_ms) {
        (Some(until), _) => format!(", at most until {}", clock(until)),
        (None, Some(due)) if snapshot.retrying.is_empty() => format!(", epoch closes by {}", clock(moment.after(due))),
        _ => return line,
    };
    line.or(6, [until, String::new()])
}

/// Its words give way before a name is cut, and the number before its time is left out.
fn not_loaded(unloaded: u64) -> [(u8, String); 4] {
    let offsets = if unloaded == 1 { "offset" } else { "offsets" };
    [
        (4, format!(": {unloaded} {offsets} not loaded")),
        (2, format!(": {unloaded} not loaded")),
        (1, format!(": {unloaded}")),
        (0, format!(": {}", short(unloaded))),
    ]
}

fn so_far_behind(behind: Duration) -> [(u8, String); 3] {
    let behind = spoken(behind);
    [(2, format!(", {behind} behind")), (1, format!(", {behind}")), (0, String::new())]
}

/// What is tried again, and why it failed. What somebody may do gives way first, then what was being done; the cause is what matters, and
/// stands at the end of an error.
fn failing(doing: &str, Retrying { why, advice, .. }: &Retrying) -> Line {
    let why = visible::line(why);
    let mut causes = vec![why.as_ref()];
    while let Some((_, cause)) = causes.last().and_then(|cause| cause.split_once(": ")) {
        causes.push(cause);
    }
    let advice = advice.as_ref().map_or(String::new(), |advice| format!("; {}", visible::line(advice)));
    Line::new("  ").maybe(5, "trying again ".into()).context(3, &format!("{doing}: "), 8).or(4, causes).maybe(6, advice)
}

/// Since when something is tried again, when it is tried next, and when that is given up: a stop may be sooner.
fn next(retrying: &Retrying, moment: &Moment) -> Line {
    let lasts = spoken(Duration::from_millis(retrying.since_ago_ms));
    let since = moment.told(moment.ago(retrying.since_ago_ms));
    let next = match retrying.next_in_ms {
        0 => "now".into(),
        ms => format!("in {}", spoken(Duration::from_millis(ms.next_multiple_of(1000)))),
    };
    let until = moment.after(retrying.left_ms);
    let until = match moment.drains_until.filter(|stop| *stop < until) {
        Some(stop) => format!(", the stop gives up at {}", clock(stop)),
        None => format!(", gives up at {}", clock(until)),
    };
    Line::new("    ")
        .or(3, [format!("since {since}, {lasts}"), format!("since {since}"), format!("for {lasts}")])
        .or(1, [format!(", next try {next}"), format!(", next {next}"), String::new()])
        .or(2, [until, String::new()])
}

/// What was read of what there was at the start.
fn progress(read: u64, total: u64, rates: &Rates) -> Line {
    let percent = if total == 0 { 100 } else { (read.min(total) as u128 * 100 / total as u128) as usize };
    let left = match (total.saturating_sub(read), rates.offsets_per_s) {
        (0, _) => String::new(),
        (_, per_s) if per_s <= 0.0 => ", time left unknown".into(),
        (left, per_s) => format!(", {} left", spoken(Duration::from_secs_f64(left as f64 / per_s))),
    };
    let bar = |columns: usize| {
        let full = columns * percent / 100;
        format!("[{}{}] ", "#".repeat(full), ".".repeat(columns - full))
    };
    Line::new("  ")
        .or(4, [bar(30), bar(20), bar(10), String::new()])
        .or(0, [format!("{percent} %")])
        .or(2, [format!(" of {total} offsets read"), format!(" of {}", short(total)), " read".into(), String::new()])
        .or(1, [left, String::new()])
}

fn complete(snapshot: &Snapshot, now: &Moment) -> Line {
    let Some(at) = snapshot.complete_up_to_us.map(Micros) else {
        return Line::new("  ").or(1, ["not caught up since the start", "not caught up"]);
    };
    Line::new("  ")
        .or(2, ["complete up to ", "complete to ", "up to "])
        .or(3, if now.since(at) < CLOCK_HOLDS { vec![moment(at), clock(at)] } else { vec![moment(at)] })
        .maybe(1, format!(", {} ago", spoken(now.since(at))))
}

/// The partition that an open transaction holds up the longest.
fn held_up(held: &HeldUp, moment: &Moment) -> Line {
    let HeldUp { topic, partition, offset, since_us, others } = held;
    let since = moment.told(Micros(*since_us));
    let line = Line::new("  ")
        .name(3, topic, 8)
        .or(0, [format!("[{partition}]")])
        .or(
            4,
            [
                format!(" is held up at offset {offset} by a transaction that is open"),
                format!(" is held up at offset {offset}"),
                " is held up".into(),
                " held up".into(),
            ],
        )
        .maybe(2, format!(" since {since}"));
    if *others > 0 { line.maybe(5, format!(", and {others} more")) } else { line }
}

/// How fast it goes, or for how long nothing was loaded.
fn flow(snapshot: &Snapshot, rates: &Rates) -> Line {
    let letters = match snapshot.dead_letters {
        0 => Vec::new(),
        1 => vec![(4, ", 1 dead letter".to_string()), (1, ", 1 dead".into()), (0, String::new())],
        many => {
            let few = short(many);
            let forms = [(4, format!(", {many} dead letters")), (4, format!(", {few} dead letters"))];
            forms.into_iter().chain([(1, format!(", {few} dead")), (0, String::new())]).collect()
        }
    };
    let may_stand = snapshot.state == State::Draining || !snapshot.state.is_good();
    let stands = snapshot.last.as_ref().filter(|_| may_stand);
    let stands = stands.map(|last| Duration::from_millis(last.ago_ms)).filter(|ago| *ago > LONG);
    let rows = rates.rows_per_s;
    let line = match stands {
        Some(ago) => {
            Line::default().or(3, [format!("  no load for {}", spoken(ago)), format!("  no load, {}", spoken(ago))])
        }
        None => Line::default()
            .or(
                3,
                [
                    format!("  {rows:.0} rows/s loaded"),
                    format!("  {rows:.0} rows/s"),
                    format!("  {}/s", short(rows as u64)),
                ],
            )
            .maybe(6, format!(" over {}", spoken(rates.rows_over))),
    };
    let records = rates.records_per_s;
    line.or(5, [format!(", {records:.0} records/s read"), format!(", {} read", short(records as u64)), String::new()])
        .ranked(letters)
}

/// So many lines about topics.
fn topics(snapshot: &Snapshot, moment: &Moment, room: usize) -> Vec<Line> {
    let topics = &snapshot.topics;
    if topics.len() <= room.min(TOPICS) {
        return topics.iter().map(|lag| topic(lag, snapshot.silent_ms, moment)).collect();
    }
    let Some(shown) = room.checked_sub(1) else { return Vec::new() };
    let mut order: Vec<usize> = (0..topics.len()).collect();
    // What is unknown first.
    order.sort_by_key(|place| {
        let TopicLag { unloaded, behind_ms, .. } = &topics[*place];
        std::cmp::Reverse((unloaded.is_none(), *behind_ms, *unloaded))
    });
    let (most, others) = order.split_at(shown);
    let mut most = most.to_vec();
    most.sort_unstable();
    let mut lines: Vec<Line> = most.iter().map(|place| topic(&topics[*place], snapshot.silent_ms, moment)).collect();
    let left: Option<u64> = others.iter().map(|place| topics[*place].unloaded).sum();
    let more = if others.len() == 1 { "topic" } else { "topics" };
    let line = Line::new(format!("  and {} more", others.len())).maybe(2, format!(" {more}"));
    lines.push(match left {
        Some(0) => line.maybe(1, ": all loaded".into()),
        Some(left) => line.ranked(not_loaded(left)),
        None => line.maybe(1, ": lag unknown".into()),
    });
    lines
}

/// How far one topic is ahead of the tables.
fn topic(lag: &TopicLag, silent_ms: Option<u64>, moment: &Moment) -> Line {
    let line = Line::default().or(5, ["  topic ", "  "]).name(3, &lag.topic, 8);
    let line = match (lag.unloaded, silent_ms) {
        (None, _) => line.or(4, [": Kafka has not said how far it goes", ": lag unknown", ": ?"]),
        (Some(0), None) => line.ranked([(4, ": all loaded"), (2, ": loaded")]),
        (Some(0), Some(silent)) => {
            let then = moment.told(moment.ago(silent));
            line.or(4, [format!(": all loaded that Kafka had at {then}"), format!(": loaded at {then}"), ": ?".into()])
        }
        (Some(unloaded), _) => line.ranked(not_loaded(unloaded)),
    };
    match lag.behind_ms {
        Some(behind) => line.ranked(so_far_behind(Duration::from_millis(behind))),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use operators::events::Stage;

    use super::*;
    use crate::report::facts::{LastLoad, Loading, Unanswered, snapshot_of};

    /// 12:03:30 on the 24th of November 2026.
    const NOW: Micros = Micros(1_795_521_810_000_000);

    fn moment() -> Moment {
        Moment { now: NOW, since: Micros(NOW.0 - 25_000_000), drains_until: None }
    }

    fn lag(topic: &str, unloaded: u64, behind_s: u64) -> TopicLag {
        let behind_ms = (unloaded > 0).then_some(behind_s * 1000);
        TopicLag { topic: topic.into(), unloaded: Some(unloaded), behind_ms }
    }

    /// 25 seconds into an outage of Redshift.
    fn outage() -> Snapshot {
        let why = "cannot reach Redshift: connect to dw.example.com:5439: connection refused".into();
        let retrying = Retrying { why, advice: None, since_ago_ms: 25_000, next_in_ms: 7_800, left_ms: 1_775_000 };
        let last = LastLoad { epoch: 11, rows: 1200, took_ms: 310, ago_ms: 30_000 };
        Snapshot {
            retrying: BTreeMap::from([("loading epochs into Redshift".into(), retrying)]),
            dead_letters: 1,
            topics: vec![lag("orders_of_the_whole_of_europe_2026", 1204, 40)],
            complete_up_to_us: Some(NOW.0 - 31_000_000),
            last: Some(last),
            ..snapshot_of(State::Retrying)
        }
    }

    fn rates() -> Rates {
        let rows_over = Duration::from_secs(10);
        Rates {
            records_per_s: 10.4,
            rows_per_s: 9.0,
            rows_over,
            slowest: Some((Stage::Encode, 0.5)),
            ..Rates::default()
        }
    }

    fn shown(snapshot: &Snapshot, rows: usize, columns: usize) -> Vec<String> {
        let lines = view(snapshot, &rates(), &moment(), Size { rows, columns }, false);
        lines
            .iter()
            .for_each(|line| assert!(line.columns < columns && line.columns == columns_of(&line.text), "{line:?}"));
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn a_view_says_the_state_since_when_and_until_when() {
        assert_eq!(
            shown(&outage(), 24, 120),
            [
                "",
                "retrying since 12:03:05Z, 25 s: 1204 offsets not loaded, 40 s behind",
                "  trying again loading epochs into Redshift: cannot reach Redshift: connect to dw.example.com:5439: connection refused",
                "    since 12:03:05Z, 25 s, next try in 8 s, gives up at 12:33:05Z",
                "  complete up to 2026-11-24T12:02:59Z, 31 s ago",
                "  no load for 30 s, 10 records/s read, 1 dead letter",
                "  last load: epoch 11, 30 s ago, 1200 rows in 0.31 s",
                "  slowest stage: encode, 50 % of the time",
                "  topic orders_of_the_whole_of_europe_2026: 1204 offsets not loaded, 40 s behind",
            ]
        );
        let idle = Snapshot { topics: vec![lag("t", 0, 0)], ..snapshot_of(State::Idle) };
        assert_eq!(
            shown(&idle, 24, 80),
            [
                "",
                "idle since 12:03:05Z, 25 s: all loaded",
                "  not caught up since the start",
                "  9 rows/s loaded over 10 s, 10 records/s read",
                "  slowest stage: encode, 50 % of the time",
                "  topic t: all loaded",
            ]
        );
        let long = Snapshot { topics: vec![lag("orders_of_europe", 0, 0)], ..idle };
        assert_eq!(shown(&long, 24, 20)[5], "  ord...ope: loaded");
        let running = Snapshot { topics: vec![lag("t", 1, 3)], due_in_ms: Some(5_000), ..snapshot_of(State::Running) };
        assert_eq!(
            shown(&running, 24, 100)[1],
            "running since 12:03:05Z, 25 s: 1 offset not loaded, 3 s behind, epoch closes by 12:03:35Z"
        );
        let draining = Moment { drains_until: Some(Micros(NOW.0 + 20_000_000)), ..moment() };
        let lines = view(&snapshot_of(State::Draining), &rates(), &draining, Size { rows: 24, columns: 80 }, false);
        assert_eq!(lines[1].text, "draining since 12:03:05Z, 25 s, at most until 12:03:50Z");
        // Told to stop in an outage: what gives up first is said, and that nothing is loaded.
        let stop = Snapshot { state: State::Draining, ..outage() };
        let lines: Vec<String> = view(&stop, &rates(), &draining, Size { rows: 24, columns: 100 }, false)
            .into_iter()
            .map(|line| line.text)
            .collect();
        assert_eq!(lines[3], "    since 12:03:05Z, 25 s, next try in 8 s, the stop gives up at 12:03:50Z");
        assert_eq!(lines[5], "  no load for 30 s, 10 records/s read, 1 dead letter");
        let loading = Loading { epoch: 12, waits_for: "COPY".into(), ago_ms: 25_000 };
        let loading = Snapshot { loading: Some(loading), ..snapshot_of(State::Running) };
        assert!(shown(&loading, 24, 80).contains(&"  loading epoch 12: waits for COPY for 25 s".to_string()));
    }

    /// At 60 to 80 columns the cause stays whole; what can be done about it goes first, then what was being done.
    #[test]
    fn the_cause_of_an_outage_stays() {
        let why =
            "S3 PUT s3://bucket/prefix/staging/job-0123456789/data/12/0-0-0123456789abcdef.parquet: 127.0.0.1:45901: ";
        let line = |cause: &str, columns| {
            let retrying = Retrying {
                why: format!("{why}{cause}"),
                advice: Some("look at `staging.endpoint`, `staging.region` and the way there".into()),
                since_ago_ms: 25_000,
                next_in_ms: 7_800,
                left_ms: 1_775_000,
            };
            let retrying = BTreeMap::from([("writing to s3://bucket/prefix".into(), retrying)]);
            shown(&Snapshot { retrying, ..snapshot_of(State::Retrying) }, 24, columns)[2].clone()
        };
        let refused = |columns| line("Connection refused", columns);
        assert_eq!(refused(80), "  writing to s3://bucket/prefix: 127.0.0.1:45901: Connection refused");
        assert_eq!(refused(60), "  writing to s3://bucket/prefix: Connection refused");
        assert_eq!(refused(40), "  writing ...prefix: Connection refused");
        assert_eq!(line("no answer within 30 s", 60), "  writing to s3://bucket/prefix: no answer within 30 s");
        assert!(refused(300).ends_with("; look at `staging.endpoint`, `staging.region` and the way there"));
    }

    #[test]
    fn who_does_not_answer_is_named() {
        let unanswered = vec![Unanswered { doing: "writing to s3://bucket/prefix".into(), ago_ms: 12_000 }];
        let snapshot = Snapshot { unanswered, ..snapshot_of(State::Running) };
        assert_eq!(shown(&snapshot, 24, 80)[4], "  writing to s3://bucket/prefix: no answer for 12 s");
        assert_eq!(shown(&snapshot, 24, 20)[4], "  no answer, 12 s");
    }

    #[test]
    fn what_kafka_said_long_ago_is_not_said_of_now() {
        let silent = Snapshot { silent_ms: Some(25_000), topics: vec![lag("t", 0, 0)], ..snapshot_of(State::Retrying) };
        assert_eq!(
            shown(&silent, 24, 80)[..3],
            [
                "",
                "retrying since 12:03:05Z, 25 s: all loaded that Kafka had then",
                "  Kafka has not answered since 12:03:05Z, for 25 s",
            ]
        );
        assert_eq!(shown(&silent, 24, 80).last().unwrap(), "  topic t: all loaded that Kafka had at 12:03:05Z");
        assert_eq!(shown(&silent, 24, 20)[1..3], ["retrying", "  Kafka silent 25 s"]);
    }

    #[test]
    fn on_a_narrow_terminal_the_number_that_matters_is_whole() {
        assert_eq!(
            shown(&outage(), 24, 60),
            [
                "",
                "retrying for 25 s: 1204 offsets not loaded, 40 s behind",
                "  loading epochs into Redshift: connection refused",
                "    since 12:03:05Z, next try in 8 s, gives up at 12:33:05Z",
                "  complete up to 2026-11-24T12:02:59Z, 31 s ago",
                "  no load for 30 s, 10 records/s read, 1 dead letter",
                "  last load: epoch 11, 30 s ago, 1200 rows in 0.31 s",
                "  slowest stage: encode, 50 % of the time",
                "  orders_of_th..._europe_2026: 1204 not loaded, 40 s behind",
            ]
        );
        assert_eq!(
            shown(&outage(), 24, 40),
            [
                "",
                "retrying: 1204 not loaded, 40 s behind",
                "  loading ...dshift: connection refused",
                "    for 25 s, next try in 8 s",
                "  complete up to 12:02:59Z, 31 s ago",
                "  no load for 30 s, 1 dead letter",
                "  epoch 11, 30 s ago, 1200 rows",
                "  slowest stage: encode, 50 %",
                "  ord...26: 1204 not loaded, 40 s",
            ]
        );
        assert_eq!(
            shown(&outage(), 24, 20),
            [
                "",
                "retrying: 1204",
                "  connection ref...",
                "    for 25 s",
                "  up to 12:02:59Z",
                "  no load, 30 s",
                "  epoch 11, 30 s",
                "  slowest: encode",
                "  ord...26: 1204",
            ]
        );
    }

    #[test]
    fn a_low_terminal_keeps_what_matters_most() {
        assert_eq!(shown(&outage(), 2, 80), ["retrying since 12:03:05Z, 25 s: 1204 offsets not loaded, 40 s behind"]);
        let starts =
            |rows| shown(&outage(), rows, 40).iter().map(|line| line.trim_start()[..8].into()).collect::<Vec<String>>();
        assert_eq!(starts(3), ["retrying", "loading "]);
        assert_eq!(starts(6), ["retrying", "loading ", "for 25 s", "complete", "no load "]);
        for rows in 0..30 {
            assert!(shown(&outage(), rows, 40).len() <= rows.saturating_sub(1), "{rows}");
        }
    }

    #[test]
    fn what_an_open_transaction_holds_up_is_named() {
        let held = HeldUp { topic: "t".into(), partition: 3, offset: 17, since_us: NOW.0 - 90_000_000, others: 2 };
        let snapshot = Snapshot { held_up: Some(held), ..snapshot_of(State::Running) };
        let line = |columns| shown(&snapshot, 24, columns)[3].clone();
        let all = "  t[3] is held up at offset 17 by a transaction that is open since 12:02:00Z, and 2 more";
        assert_eq!(line(100), all);
        assert_eq!(line(60), "  t[3] is held up at offset 17 since 12:02:00Z");
        assert_eq!(line(20), "  t[3] held up");
    }

    #[test]
    fn of_many_topics_those_that_lag_are_shown() {
        let mut topics: Vec<TopicLag> = (10..30).map(|n| lag(&format!("t{n}"), 0, 0)).collect();
        topics[15] = lag("t25", 7, 3);
        topics[18] = TopicLag { unloaded: None, ..lag("t28", 0, 0) };
        let snapshot = Snapshot { topics, ..snapshot_of(State::Running) };
        let lines = shown(&snapshot, 10, 80);
        assert_eq!(
            lines[5..],
            [
                "  topic t10: all loaded",
                "  topic t25: 7 offsets not loaded, 3 s behind",
                "  topic t28: Kafka has not said how far it goes",
                "  and 17 more topics: all loaded",
            ]
        );
        assert_eq!(shown(&snapshot, 50, 80).len(), 5 + TOPICS + 1);
    }

    #[test]
    fn names_cannot_steer_a_terminal_and_are_measured_as_it_does() {
        let topics = vec![lag("订单_来自整个欧洲的订单_2026", 5, 3), lag("a\u{1b}[2J\r\nb", 5, 3)];
        let snapshot = Snapshot { topics, ..snapshot_of(State::Running) };
        for columns in 0..100 {
            assert!(shown(&snapshot, 24, columns + 1).iter().all(|line| !line.contains(char::is_control)));
        }
        assert_eq!(
            shown(&snapshot, 24, 40)[5..],
            ["  订单...2026: 5 not loaded, 3 s behind", "  a<U+...0A>b: 5 not loaded, 3 s behind"]
        );
    }

    #[test]
    fn a_bar_gives_way_before_its_number() {
        let snapshot = Snapshot { total: Some(20_000), offsets: 9_000, ..snapshot_of(State::Running) };
        let rates = Rates { offsets_per_s: 100.0, ..rates() };
        let bar = |rates: &Rates, columns| {
            view(&snapshot, rates, &moment(), Size { rows: 24, columns }, false)[2].text.clone()
        };
        assert_eq!(bar(&rates, 80), "  [#############.................] 45 % of 20000 offsets read, 110 s left");
        assert_eq!(bar(&rates, 40), "  45 % of 20 k, 110 s left");
        assert_eq!(bar(&rates, 20), "  45 %, 110 s left");
        assert_eq!(
            bar(&Rates::default(), 80),
            "  [#########...........] 45 % of 20000 offsets read, time left unknown"
        );
    }

    #[test]
    fn the_state_has_a_colour_where_colours_are_wanted() {
        let size = Size { rows: 24, columns: 80 };
        let line = |state| view(&snapshot_of(state), &rates(), &moment(), size, true)[1].text.clone();
        assert!(line(State::Idle).starts_with("\u{1b}[32m\u{1b}[1midle\u{1b}[0m since "));
        assert!(line(State::Behind).starts_with("\u{1b}[33m\u{1b}[1mbehind\u{1b}[0m since "));
    }
}
