//! Control tables in memory, with what a load would put into targets.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Instant,
};

use checkpoint::{
    Counts, Cut, Digest, Epoch, EpochRecord, Generation, History, Kind, Link, Micros, Nonce,
    fold::{self, WholeCut},
    protocol::{self, Fence, Holder, ManifestRow, Outcome, Range, TableFacts},
};

use super::{
    objects::{BUCKET, MemoryObjects},
    trouble::{Accident, Bar, lock, lost},
};
use crate::{
    Adoption, CopyFrom, Error, Fault, Fold, Folded, HaltNote, Load, LoadStep, Objects, OpenSession, Process, Result,
    Table, TableKind, TableName, TargetColumn, Took, Warehouse,
    conformance::{SetAside, Trouble},
};

#[derive(Default)]
pub(super) struct Tables {
    pub(super) fence: Option<Fence>,
    pub(super) links: Vec<Link>,
    pub(super) copies: Vec<(String, u64)>,
    /// When each epoch was loaded, and by whom.
    pub(super) loaded_at: BTreeMap<Epoch, Instant>,
    pub(super) generations: BTreeMap<Epoch, Generation>,
    /// Dead letters that a test has set aside.
    pub(super) letters: Vec<SetAside>,
    /// The newest epoch up to which everything was found good.
    pub(super) verified: Option<Epoch>,
    plans: BTreeMap<String, String>,
    sessions: Vec<OpenSession>,
    pub(super) halts: Vec<HaltNote>,
}

/// Control tables in memory. Clones are sessions of one database.
#[derive(Clone)]
pub struct MemoryWarehouse {
    pub(super) tables: Arc<Mutex<Tables>>,
    pub(super) targets: Arc<Mutex<BTreeMap<TableName, Vec<TargetColumn>>>>,
    objects: MemoryObjects,
    accident: Accident,
    pub(super) bar: Bar,
    /// The name of the dead letters in the counts.
    pub(super) letters: Option<String>,
    /// Who we are; a clone is a session of its own that nobody has recorded.
    identity: Option<(Process, Nonce)>,
}

/// The namespace of every database in memory.
const NAMESPACE: &str = "memory";

impl MemoryWarehouse {
    /// An empty database with these target tables, which loads from these objects.
    pub fn new(targets: BTreeMap<TableName, Vec<TargetColumn>>, objects: MemoryObjects) -> MemoryWarehouse {
        let (tables, accident, bar) = (Arc::default(), Arc::default(), Bar::default());
        let letters = targets.keys().find(|table| table.table.ends_with("_dead_letters")).map(TableName::to_string);
        MemoryWarehouse {
            tables,
            targets: Arc::new(Mutex::new(targets)),
            objects,
            accident,
            bar,
            letters,
            identity: None,
        }
    }

    /// Lets everything fail with this from now on, or nothing any more.
    pub fn bar(&self, fault: Option<Fault>) {
        self.bar.set(fault);
    }

    /// Gives a table other columns; none takes it away.
    pub fn alter(&self, table: &TableName, columns: Option<Vec<TargetColumn>>) {
        match columns {
            Some(columns) => lock(&self.targets).insert(table.clone(), columns),
            None => lock(&self.targets).remove(table),
        };
    }

    /// Lets this happen to the next load.
    pub fn cause(&self, trouble: Trouble) {
        *lock(&self.accident) = Some(trouble);
    }

    /// The manifest: every loaded epoch.
    pub fn records(&self) -> Vec<EpochRecord> {
        lock(&self.tables).links.iter().map(|link| link.record.clone()).collect()
    }

    /// Where all epochs end.
    pub fn cut(&self) -> Result<Cut> {
        Ok(history(&lock(&self.tables))?.cut)
    }

    /// The halts that were left.
    pub fn halts(&self) -> Vec<HaltNote> {
        lock(&self.tables).halts.clone()
    }

    /// Every COPY that was committed: target and rows.
    pub fn copies(&self) -> Vec<(String, u64)> {
        lock(&self.tables).copies.clone()
    }

    /// Whether a COPY manifest lists only objects that are there, with their exact lengths.
    fn check_files(&self, url: &str) -> Result<()> {
        let bad = |what: String| Error::new(Fault::Refused, what);
        let get = |url: &str| match url.strip_prefix(BUCKET) {
            Some(key) => self.objects.get(key)?.ok_or_else(|| bad(format!("there is no {url}"))),
            None => Err(bad(format!("{url} is in another bucket"))),
        };
        let manifest: serde_json::Value = serde_json::from_slice(&get(url)?).map_err(|e| bad(format!("{url}: {e}")))?;
        for entry in manifest["entries"].as_array().into_iter().flatten() {
            let file = entry["url"].as_str().unwrap_or_default();
            let length = get(file)?.len() as u64;
            if entry["mandatory"] != true || entry["meta"]["content_length"].as_u64() != Some(length) {
                return Err(bad(format!("{entry} for a file of {length} bytes")));
            }
        }
        Ok(())
    }
}

fn digest_of(tables: &Tables, epoch: Epoch) -> Option<Digest> {
    tables.links.iter().find(|link| link.record.epoch == epoch).map(|link| link.digest.clone())
}

pub(super) fn facts(tables: &Tables) -> Result<TableFacts> {
    let fence = tables.fence.clone().ok_or_else(|| Error::new(Fault::Missing, "there are no control tables"))?;
    let from = fence.cut_epoch.unwrap_or(Epoch(0));
    let recent = || tables.links.iter().filter(|link| link.record.epoch >= from);
    let row = |link: &Link| ManifestRow {
        record: EpochRecord { spans: Vec::new(), counts: BTreeMap::new(), ..link.record.clone() },
        digest: link.digest.clone(),
        cut_digest: link.cut_digest.clone(),
    };
    let cut = tables.links.iter().find(|link| link.record.epoch == from).and_then(|link| link.full_cut.as_ref());
    let newer = recent().filter(|link| link.record.epoch > from);
    let spans = newer.flat_map(|link| link.record.spans.iter().map(|span| (link.record.epoch, span.clone())));
    Ok(TableFacts {
        namespace: NAMESPACE.into(),
        manifest: recent().map(row).collect(),
        cut: cut.iter().flat_map(|cut| cut.iter()).map(|(p, position)| (p.clone(), position.clone())).collect(),
        spans: spans.collect(),
        fence,
    })
}

fn history(tables: &Tables) -> Result<History> {
    protocol::admit(&facts(tables)?).map_err(|halt| Error::new(Fault::Corrupt, halt.to_string()).because(halt))
}

pub(super) fn fence(tables: &mut Tables) -> Result<&mut Fence> {
    tables.fence.as_mut().ok_or_else(|| Error::new(Fault::Missing, "there are no control tables"))
}

impl Warehouse for MemoryWarehouse {
    fn init(&mut self, fence_id: &str) -> Result<Vec<String>> {
        self.bar.pass()?;
        let mut tables = lock(&self.tables);
        if tables.fence.is_some() {
            return Ok(Vec::new());
        }
        tables.fence = Some(Fence {
            fence_id: fence_id.into(),
            namespace: NAMESPACE.into(),
            generation: Generation(0),
            nonce: Nonce::new([0; 16]),
            next_epoch: Epoch(0),
            digest: Digest::first(fence_id),
            cut_digest: Cut::default().digest(),
            cut_epoch: None,
        });
        Ok(vec!["fence".into()])
    }

    fn read(&mut self) -> Result<TableFacts> {
        self.bar.pass()?;
        facts(&lock(&self.tables))
    }

    fn adopted(&mut self) -> Result<Vec<String>> {
        self.bar.pass()?;
        let tables = lock(&self.tables);
        let decisions = tables.links.iter().filter_map(|link| link.record.decision.as_ref());
        Ok(decisions.flat_map(|decision| decision.adopted.clone()).collect())
    }

    fn record(&mut self, process: &Process, nonce: &Nonce) -> Result<()> {
        self.bar.pass()?;
        let mut tables = lock(&self.tables);
        fence(&mut tables)?;
        self.identity = Some((process.clone(), nonce.clone()));
        let pid = tables.sessions.len() as i64 + 1;
        tables.sessions.push(OpenSession {
            generation: None,
            nonce: nonce.as_str().into(),
            process: process.clone(),
            pid,
            session_start: pid.to_string(),
        });
        Ok(())
    }

    fn take(&mut self, from: Generation, _: &mut dyn FnMut(LoadStep)) -> Result<Took> {
        self.bar.pass()?;
        let Some((_, nonce)) = &self.identity else { return Err(Error::bug("a fence taken by nobody")) };
        let mut tables = lock(&self.tables);
        let fence = fence(&mut tables)?;
        if fence.generation != from {
            return Ok(Took::No);
        }
        (fence.generation, fence.nonce) = (from.next(), nonce.clone());
        Ok(Took::Yes)
    }

    fn hold(&mut self, holder: &Holder) -> Result<()> {
        self.bar.pass()?;
        let mut tables = lock(&self.tables);
        for session in tables.sessions.iter_mut().filter(|session| session.nonce == holder.nonce.as_str()) {
            session.generation = Some(holder.generation);
        }
        Ok(())
    }

    fn sessions(&mut self) -> Result<Option<Vec<OpenSession>>> {
        self.bar.pass()?;
        let ours = self.identity.as_ref().map(|(_, nonce)| nonce.as_str());
        let tables = lock(&self.tables);
        Ok(Some(tables.sessions.iter().filter(|session| Some(session.nonce.as_str()) != ours).cloned().collect()))
    }

    fn end(&mut self, sessions: &[OpenSession]) -> Result<()> {
        self.bar.pass()?;
        lock(&self.tables).sessions.retain(|session| !sessions.iter().any(|ended| ended.pid == session.pid));
        Ok(())
    }

    fn tables(&mut self, names: &[TableName]) -> Result<BTreeMap<TableName, Table>> {
        self.bar.pass()?;
        let targets = lock(&self.targets);
        let found = names.iter().filter_map(|name| Some((name.clone(), targets.get(name)?.clone())));
        Ok(found.map(|(name, columns)| (name, Table { kind: TableKind::Table, columns })).collect())
    }

    fn rehearse(&mut self, tables: &[TableName], copy: &CopyFrom) -> Result<()> {
        self.bar.pass()?;
        let targets = lock(&self.targets);
        if let Some(table) = tables.iter().find(|table| !targets.contains_key(table)) {
            return Err(Error::new(Fault::Denied, format!("our user may not insert into {table}")));
        }
        self.check_files(&copy.manifest_url)
    }

    fn load(&mut self, load: &Load, progress: &mut dyn FnMut(LoadStep)) -> Result<Outcome> {
        self.bar.pass()?;
        let trouble = lock(&self.accident).take();
        match trouble {
            Some(Trouble::Before | Trouble::Silence) => return Err(lost()),
            Some(Trouble::AtTheEnd) => return Err(lost().unknown()),
            Some(Trouble::AnswerLost) | None => {}
        }
        let mut tables = lock(&self.tables);
        let standing = fence(&mut tables)?.clone();
        let (holder, range) = (&load.holder, &load.range);
        if (standing.generation, &standing.nonce, standing.next_epoch)
            != (holder.generation, &holder.nonce, range.first)
        {
            let loaded = digest_of(&tables, range.last);
            return Ok(protocol::after_refusal(holder, range, &standing, loaded.as_ref()));
        }
        progress(LoadStep::Fenced);
        for copy in &load.copies {
            self.check_files(&copy.manifest_url)?;
        }
        progress(LoadStep::Copied);
        tables.copies.extend(load.copies.iter().map(|c| (c.target.clone(), c.counts.loaded)));
        tables.links.extend(load.links.iter().cloned());
        for epoch in load.links.iter().map(|link| link.record.epoch) {
            tables.loaded_at.insert(epoch, Instant::now());
            tables.generations.insert(epoch, holder.generation);
        }
        let Some(last) = load.links.last() else { return Err(Error::bug("a load of no epoch")) };
        let full = load.links.iter().rev().find(|link| link.full_cut.is_some());
        let mut moved = Fence {
            next_epoch: range.last.next(),
            digest: range.digest.clone(),
            cut_digest: last.cut_digest.clone(),
            cut_epoch: full.map(|link| link.record.epoch).or(standing.cut_epoch),
            ..standing
        };
        if let Some(Adoption { fence_id, namespace }) = &load.adopt {
            (moved.fence_id, moved.namespace) = (fence_id.clone(), namespace.clone());
        }
        *fence(&mut tables)? = moved;
        progress(LoadStep::Written);
        if trouble.is_some() {
            return Err(lost().unknown());
        }
        progress(LoadStep::Committed);
        Ok(Outcome::Committed)
    }

    fn resolve(&mut self, holder: &Holder, range: &Range) -> Result<Outcome> {
        self.bar.pass()?;
        let mut tables = lock(&self.tables);
        let now = fence(&mut tables)?.clone();
        let loaded = digest_of(&tables, range.last);
        let rows = u64::from(now.generation == holder.generation);
        Ok(protocol::after_barrier(holder, range, rows, &now, loaded.as_ref()))
    }

    fn fold(&mut self, fold: &Fold) -> Result<Option<Folded>> {
        self.bar.pass()?;
        let mut tables = lock(&self.tables);
        let Some(newest) = fence(&mut tables)?.cut_epoch else { return Ok(None) };
        let base = tables.links.iter().rfind(|link| link.record.kind == Kind::Base);
        let Some(oldest) = base.or(tables.links.first()).map(|link| link.record.epoch) else { return Ok(None) };
        let in_slice = |link: &&Link| link.record.epoch > oldest && link.record.epoch.0 <= oldest.0 + fold.epochs;
        let whole = tables.links.iter().filter(in_slice).filter(|link| link.full_cut.is_some());
        let cut = |link: &Link| WholeCut {
            epoch: link.record.epoch,
            kind: link.record.kind,
            closed_at: link.record.closed_at,
        };
        let cuts: Vec<WholeCut> = whole.map(cut).collect();
        let Some(base) = fold::base(&cuts, fold.before, newest) else { return Ok(None) };
        let mut sums: BTreeMap<String, Counts> = BTreeMap::new();
        for link in tables.links.iter_mut().filter(|link| link.record.epoch <= base) {
            let counts = std::mem::take(&mut link.record.counts);
            counts.into_iter().for_each(|(target, counts)| sums.entry(target).or_default().add(&counts));
        }
        tables.links.retain(|link| link.record.epoch >= base || link.record.kind.is_decision());
        for link in tables.links.iter_mut().filter(|link| link.record.epoch == base) {
            (link.record.kind, link.record.counts) = (Kind::Base, std::mem::take(&mut sums));
            link.record.spans.clear();
        }
        Ok(Some(Folded { base, epochs: base.0 - oldest.0 }))
    }

    fn forget_sessions(&mut self, _: Micros) -> Result<u64> {
        self.bar.pass()?;
        Ok(0) // all are open
    }

    fn keep_plan(&mut self, hash: &str, text: &str) -> Result<()> {
        self.bar.pass()?;
        lock(&self.tables).plans.entry(hash.into()).or_insert_with(|| text.into());
        Ok(())
    }

    fn loaded_plan(&mut self) -> Result<Option<(Epoch, String)>> {
        self.bar.pass()?;
        let tables = lock(&self.tables);
        let newest = tables.links.iter().rev().map(|link| &link.record).find(|record| !record.plan.is_empty());
        Ok(newest.map(|record| (record.epoch, record.plan.clone())))
    }

    fn plan_text(&mut self, hash: &str) -> Result<Option<String>> {
        self.bar.pass()?;
        Ok(lock(&self.tables).plans.get(hash).cloned())
    }

    fn note_halt(&mut self, note: &HaltNote) -> Result<()> {
        self.bar.pass()?;
        lock(&self.tables).halts.push(note.clone());
        Ok(())
    }
}
