//! What the tables in memory say, for a person to read.

use std::{cmp::Reverse, collections::BTreeMap, ops::ControlFlow, time::Duration};

use checkpoint::{Counts, Epoch, EpochRecord, History, Link, Micros, TopicPartition, garbage::Live, protocol};

use super::{
    trouble::lock,
    warehouse::{MemoryWarehouse, Tables, facts, fence},
};
use crate::{
    Error, Fault, Inspect, Result, TableName, Warehouse,
    conformance::SetAside,
    inspect::{
        Check, DeadLetter, EpochSummary, Filled, Found, Group, MissingRight, OtherJob, Scope, Standing, Verification,
        Which,
    },
};

impl MemoryWarehouse {
    /// Puts a dead letter into its table, past all loads.
    pub fn set_aside(&self, letter: &SetAside) {
        lock(&self.tables).letters.push(letter.clone());
    }
}

/// What groups dead letters: target, stage, column and the reason up to its first colon.
type Kind<'a> = (&'a str, &'a str, Option<&'a str>, &'a str);

fn kind(letter: &SetAside) -> Kind<'_> {
    let reason = letter.reason.split(':').next().unwrap_or_default();
    (&letter.target, &letter.stage, letter.column.as_deref(), reason)
}

fn closed_at(tables: &Tables, epoch: Epoch) -> Option<Micros> {
    tables.links.iter().find(|link| link.record.epoch == epoch).map(|link| link.record.closed_at)
}

fn is_wanted(tables: &Tables, which: &Which, letter: &SetAside) -> bool {
    let is_young = || which.since.is_none_or(|since| closed_at(tables, letter.epoch).is_some_and(|at| at >= since));
    which.reason.as_ref().is_none_or(|part| letter.reason.contains(part)) && is_young()
}

fn dead_letter(tables: &Tables, letter: &SetAside) -> DeadLetter {
    let SetAside { epoch, target, partition, offset, stage, column, reason, bytes } = letter.clone();
    let (closed_at, bytes) = (closed_at(tables, epoch), Some(bytes));
    DeadLetter {
        target,
        stage,
        column,
        epoch,
        closed_at,
        partition,
        offset,
        index: 0,
        timestamp: None,
        reason,
        bytes,
        cut: false,
    }
}

impl Inspect for MemoryWarehouse {
    fn log_in(&mut self) -> Result<String> {
        self.bar.pass()?;
        Ok("Serializable".into())
    }

    fn slices(&mut self) -> Result<Option<u64>> {
        self.bar.pass()?;
        Ok(None)
    }

    fn missing_rights(&mut self, targets: &[TableName], _: bool) -> Result<Vec<MissingRight>> {
        self.bar.pass()?;
        let there = lock(&self.targets);
        match targets.iter().find(|table| !there.contains_key(table)) {
            None => Ok(Vec::new()),
            Some(table) => Err(Error::new(Fault::Missing, format!("there is no table {table}"))),
        }
    }

    fn other_jobs(&mut self) -> Result<Vec<OtherJob>> {
        self.bar.pass()?;
        Ok(Vec::new())
    }

    fn topics_of(&mut self, _: &OtherJob) -> Result<Vec<(String, String)>> {
        self.bar.pass()?;
        Ok(Vec::new())
    }

    fn standing(&mut self) -> Result<Standing> {
        let sessions = self.sessions()?;
        let mut tables = lock(&self.tables);
        let generation = fence(&mut tables)?.generation.0;
        let halt = tables.halts.iter().max_by_key(|note| (note.generation, note.since)).cloned();
        let changed_at = Micros(0);
        Ok(Standing { generation, changed_at, sessions, dead_letters: tables.letters.len() as u64, halt })
    }

    fn live(&mut self, minutes: u32) -> Result<(String, Live)> {
        self.bar.pass()?;
        let mut tables = lock(&self.tables);
        let fence = fence(&mut tables)?.clone();
        let age = Duration::from_secs(u64::from(minutes) * 60);
        let loaded = tables.links.iter().map(|link| link.record.epoch);
        let loaded = loaded.filter(|epoch| tables.loaded_at.get(epoch).is_some_and(|at| at.elapsed() >= age)).max();
        Ok((fence.fence_id, Live { generation: fence.generation, loaded }))
    }

    fn epochs(&mut self, most: u64) -> Result<Vec<EpochSummary>> {
        self.bar.pass()?;
        let mut tables = lock(&self.tables);
        let from = fence(&mut tables)?.next_epoch.0.saturating_sub(most);
        let letters = self.letters.as_deref().unwrap_or_default();
        let newest = tables.links.iter().rev().filter(|link| link.record.epoch.0 >= from);
        let summary = |Link { record, .. }: &Link| {
            let sum = |of: &dyn Fn(&Counts) -> u64, wanted: &dyn Fn(&str) -> bool| -> u64 {
                record.counts.iter().filter(|(target, _)| wanted(target)).map(|(_, counts)| of(counts)).sum()
            };
            EpochSummary {
                epoch: record.epoch.0,
                kind: record.kind.text().into(),
                generation: tables.generations.get(&record.epoch).map_or(0, |generation| generation.0),
                closed_at: record.closed_at,
                // Here an epoch is loaded when it is closed.
                loaded_at: record.closed_at,
                offsets: record.spans.iter().map(|span| (span.end - span.start) as u64).sum(),
                rows: sum(&|counts| counts.loaded, &|target| target != letters),
                filtered: sum(&|counts| counts.of(checkpoint::Fate::Filtered), &|_| true),
                dead_letters: sum(&|counts| counts.loaded, &|target| target == letters),
            }
        };
        Ok(newest.take(most as usize).map(summary).collect())
    }

    fn dead_letters(&mut self, which: &Which) -> Result<Vec<Group>> {
        self.bar.pass()?;
        let mut tables = lock(&self.tables);
        fence(&mut tables)?;
        let mut kinds: BTreeMap<Kind<'_>, Vec<&SetAside>> = BTreeMap::new();
        let wanted = tables.letters.iter().filter(|letter| is_wanted(&tables, which, letter));
        wanted.for_each(|letter| kinds.entry(kind(letter)).or_default().push(letter));
        let group = |((_, _, _, reason), mut letters): (Kind<'_>, Vec<&SetAside>)| {
            letters.sort_by_key(|letter| {
                (
                    Reverse(letter.epoch),
                    letter.partition.topic.clone(),
                    letter.partition.partition,
                    Reverse(letter.offset),
                )
            });
            let example = dead_letter(&tables, letters[0]);
            Group { reason: reason.into(), count: letters.len() as u64, example }
        };
        let mut groups: Vec<Group> = kinds.into_iter().map(group).collect();
        groups.sort_by_key(|group| Reverse(group.count)); // stable: the order of their names stays
        Ok(groups)
    }

    fn each_dead_letter(
        &mut self,
        which: &Which,
        each: &mut dyn FnMut(Vec<DeadLetter>) -> ControlFlow<()>,
    ) -> Result<()> {
        self.bar.pass()?;
        let mut tables = lock(&self.tables);
        fence(&mut tables)?;
        let wanted = tables.letters.iter().filter(|letter| is_wanted(&tables, which, letter));
        let mut letters: Vec<DeadLetter> = wanted.map(|letter| dead_letter(&tables, letter)).collect();
        letters.sort_by_key(|letter| (letter.epoch, letter.partition.clone(), letter.offset));
        let _ = letters.chunks(2).try_for_each(|page| each(page.to_vec())); // whoever wants no more has said so
        Ok(())
    }

    fn verify(&mut self, targets: &[Filled], scope: Scope) -> Result<Verification> {
        self.bar.pass()?;
        let mut tables = lock(&self.tables);
        let fence = fence(&mut tables)?.clone();
        let before = match scope {
            Scope::All => 0,
            Scope::Last(number) => fence.next_epoch.0.saturating_sub(number),
            Scope::Since(since) => {
                let young = tables.links.iter().find(|link| link.record.closed_at >= since);
                young.map_or(fence.next_epoch.0, |link| link.record.epoch.0)
            }
            Scope::New => tables.verified.map_or(0, |epoch| epoch.0 + 1),
        };
        let cut = tables.links.iter().rev().find(|link| link.full_cut.is_some() && link.record.epoch.0 < before);
        let first = cut.map_or(0, |link| link.record.epoch.0 + 1);
        let look = |done: &mut Verification, what: &str, target: Option<String>, rows: Vec<String>| {
            let rows = rows.into_iter().map(|row| vec![row]).collect();
            let (what, columns) = (what.into(), vec!["row".into()]);
            done.look(Found { what, target, edits_disturb: false, columns, rows, more: false });
        };
        let mut done = Verification { epochs: fence.next_epoch.0 - first, first, ..Verification::default() };
        look(&mut done, "the chain of digests is broken", None, broken_link(&tables, first).into_iter().collect());
        let halt = protocol::admit(&facts(&tables)?).err().map(|halt| halt.to_string());
        look(&mut done, "the next start will halt", None, halt.into_iter().collect());
        for target in targets.iter().filter(|_| first == 0) {
            let name = target.table.to_string();
            let counted: u64 =
                tables.links.iter().filter_map(|link| link.record.counts.get(&name)).map(|counts| counts.loaded).sum();
            let there: u64 = tables.copies.iter().filter(|(copy, _)| *copy == name).map(|(_, rows)| rows).sum();
            let wrong = (counted != there).then(|| there.to_string()).into_iter().collect();
            look(&mut done, "it does not have as many rows as were counted", Some(name), wrong);
        }
        let letters = self.letters.as_deref().unwrap_or_default();
        let (mut uncounted, mut outside) = (Vec::new(), Vec::new());
        for link in tables.links.iter().filter(|link| link.record.epoch.0 >= first) {
            let there = tables.letters.iter().filter(|letter| letter.epoch == link.record.epoch).count() as u64;
            if link.record.counts.get(letters).is_some_and(|counts| counts.loaded != there) {
                uncounted.push(link.record.epoch.to_string());
            }
            let is_inside = |letter: &SetAside| {
                link.record.spans.iter().any(|span| contains(span, &letter.partition, letter.offset))
            };
            if tables.letters.iter().any(|letter| letter.epoch == link.record.epoch && !is_inside(letter)) {
                outside.push(link.record.epoch.to_string());
            }
        }
        look(&mut done, "an epoch has other dead letters than were counted", None, uncounted);
        look(&mut done, "a dead letter lies outside of what its epoch read", None, outside);
        if done.found.is_empty() && (scope == Scope::New || first == 0) {
            tables.verified = tables.links.last().map(|link| link.record.epoch);
        }
        Ok(done)
    }

    fn verify_sql(&mut self, _: &[Filled]) -> Result<Vec<Check>> {
        self.bar.pass()?;
        fence(&mut lock(&self.tables))?;
        Ok(Vec::new())
    }
}

fn contains(span: &checkpoint::Span, partition: &TopicPartition, offset: i64) -> bool {
    span.partition == *partition && (span.start..span.end).contains(&offset)
}

/// What is wrong with the chain of digests from this epoch on.
fn broken_link(tables: &Tables, first: u64) -> Option<String> {
    let mut history = match tables.links.iter().find(|link| link.record.epoch.0 + 1 == first) {
        Some(Link { record, digest, full_cut: Some(cut), .. }) => History {
            next_epoch: record.epoch.next(),
            digest: digest.clone(),
            cut: (**cut).clone(),
            cut_epoch: Some(record.epoch),
        },
        _ => {
            let decided = tables.links.iter().find_map(|link| link.record.decision.as_ref()?.adopted.first());
            History::new(decided.map_or(tables.fence.as_ref()?.fence_id.as_str(), String::as_str))
        }
    };
    for link in tables.links.iter().filter(|link| link.record.epoch.0 >= first) {
        let record = EpochRecord { counts: BTreeMap::new(), ..link.record.clone() };
        match history.link(record) {
            Ok(again) if again.digest == link.digest && again.cut_digest == link.cut_digest => {}
            Ok(_) => return Some(format!("the digest of epoch {} is not that of its history", link.record.epoch)),
            Err(error) => return Some(format!("epoch {} does not follow: {error}", link.record.epoch)),
        }
    }
    None
}
