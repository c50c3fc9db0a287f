//! How many records of each target were rejected: when that is worth a warning, and how many they were in the whole run. Pure.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use operators::{events::TargetCounts, reasons::Reasons};

/// Above which share of a load it is worth a warning.
const WORTH_SAYING: f64 = 0.5;
/// How soon it is said again, however often it ends and begins.
const AGAIN_AFTER: Duration = Duration::from_secs(600);

/// Records of a target.
#[derive(Clone, Debug, Default)]
pub struct Share {
    /// How many were read.
    pub read: u64,
    /// How many of these were rejected.
    pub rejected: u64,
    /// Why they were.
    pub reasons: Reasons,
}

impl Share {
    fn add(&mut self, counts: &TargetCounts) {
        self.read += counts.read;
        self.rejected += counts.rejected;
        self.reasons.merge(&counts.reasons);
    }

    fn is_above(&self, share: f64) -> bool {
        self.rejected as f64 > share * self.read as f64
    }

    /// What there is to say of it, for a person: `90 of 100 records were rejected (90 %), ...`.
    pub fn text(&self) -> String {
        let Share { read, rejected, reasons } = self;
        let mut text = format!(
            "{rejected} of {read} records were rejected ({})",
            percent(*rejected as f64 / (*read).max(1) as f64)
        );
        if let Some(reason) = reasons.commonest() {
            let (topic, partition, offset, why) = &reason.example;
            let column = reason.column.as_ref().map_or(String::new(), |column| format!(", column {column}"));
            text += &format!(
                "; {} of them at {}{column}: {}, like {topic}[{partition}] at offset {offset}: {why}",
                reason.records, reason.stage, reason.kind
            );
        }
        text
    }
}

/// A share as people write it.
pub fn percent(share: f64) -> String {
    let rounded = (share * 1000.0).round() / 10.0;
    format!("{rounded} %")
}

/// What there is to say after a load.
#[derive(Debug)]
pub enum News {
    /// More than half were rejected, since it was said last.
    Many(Share),
    /// They are not any more: this load.
    Over(Share),
}

/// All targets of a run.
#[derive(Default)]
pub struct Rejections(BTreeMap<String, Standing>);

#[derive(Default)]
struct Standing {
    /// Of the whole run.
    all: Share,
    /// What was not said yet, while more than half are rejected.
    unsaid: Option<Share>,
    /// Whether it was said of this stretch.
    is_said: bool,
    /// When it was said last.
    said_at: Option<Instant>,
}

impl Rejections {
    /// Hears of a load.
    pub fn hear(&mut self, counts: &TargetCounts, now: Instant) -> Option<News> {
        let standing = self.0.entry(counts.target.clone()).or_default();
        standing.all.add(counts);
        let mut load = Share::default();
        load.add(counts);
        if load.read == 0 {
            return None;
        }
        if !load.is_above(WORTH_SAYING) {
            let was_said = std::mem::take(&mut standing.is_said);
            standing.unsaid = None;
            return was_said.then_some(News::Over(load));
        }
        standing.unsaid.get_or_insert_default().add(counts);
        if standing.said_at.is_some_and(|said_at| now.saturating_duration_since(said_at) < AGAIN_AFTER) {
            return None;
        }
        (standing.is_said, standing.said_at) = (true, Some(now));
        standing.unsaid.take().map(News::Many)
    }

    /// The targets of which more than this share was rejected in the whole run.
    pub fn above(&self, share: f64) -> impl Iterator<Item = (&str, &Share)> {
        let all = self.0.iter().map(|(target, standing)| (target.as_str(), &standing.all));
        all.filter(move |(_, all)| all.is_above(share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(read: u64, rejected: u64) -> TargetCounts {
        TargetCounts { target: "public.t".into(), read, rejected, reasons: Reasons::default() }
    }

    /// What is said of loads, a second apart: `many 3/4`, `over 0/9`, or nothing.
    fn said(rejections: &mut Rejections, start: Instant, loads: &[(u64, u64, u64)]) -> Vec<String> {
        let say = |&(second, read, rejected): &(u64, u64, u64)| match rejections
            .hear(&load(read, rejected), start + Duration::from_secs(second))
        {
            None => String::new(),
            Some(News::Many(share)) => format!("many {}/{}", share.rejected, share.read),
            Some(News::Over(share)) => format!("over {}/{}", share.rejected, share.read),
        };
        loads.iter().map(say).collect()
    }

    #[test]
    fn it_is_said_once_and_when_it_is_over() {
        let (mut rejections, start) = (Rejections::default(), Instant::now());
        let first = [(0, 10, 5), (1, 10, 6), (2, 10, 10), (3, 0, 0), (4, 10, 9), (5, 10, 5), (6, 10, 0)];
        assert_eq!(said(&mut rejections, start, &first), ["", "many 6/10", "", "", "", "over 5/10", ""]);
        // It comes and goes: not said again before its time, and then with all that was not said.
        let again = [(7, 10, 9), (8, 10, 0), (9, 10, 9), (300, 10, 9), (601, 10, 9), (602, 10, 0)];
        assert_eq!(said(&mut rejections, start, &again), ["", "", "", "", "many 27/30", "over 0/10"]);
        // It lasts: said each ten minutes, however many loads there are.
        let (mut rejections, start) = (Rejections::default(), Instant::now());
        let lasts: Vec<_> = (0..3600).map(|second| (second, 10, 10)).collect();
        assert_eq!(said(&mut rejections, start, &lasts).iter().filter(|said| !said.is_empty()).count(), 6);
    }

    #[test]
    fn a_run_is_judged_by_target_and_as_a_whole() {
        let mut rejections = Rejections::default();
        let other = TargetCounts { target: "public.u".into(), ..load(100, 10) };
        for counts in [load(10, 10), load(90, 0), other] {
            rejections.hear(&counts, Instant::now());
        }
        let above = |share| rejections.above(share).map(|(target, _)| target.to_string()).collect::<Vec<_>>();
        assert_eq!((above(0.5), above(0.1)), (vec![], vec![]), "at the limit is not above it");
        assert_eq!((above(0.09), above(1.0)), (vec!["public.t".to_string(), "public.u".into()], vec![]));
        assert_eq!(Share { read: 3, rejected: 2, ..Share::default() }.text(), "2 of 3 records were rejected (66.7 %)");
        assert_eq!((percent(0.5), percent(1.0), percent(0.0)), ("50 %".into(), "100 %".into(), "0 %".into()));
    }
}
