//! Twins of the ports in memory: for tests of what stands behind a port, and as a second reading of what it promises.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use checkpoint::{
    Counts, Cut, Digest, Epoch, EpochRecord, Generation, History, Kind, LastRecord, Link, Micros, Nonce,
    TopicPartition,
    fold::{self, WholeCut},
    manifest,
    protocol::{self, Fence, Holder, ManifestRow, Outcome, Range, SourceFacts, Start, TableFacts},
};

use crate::conformance::Trouble;
use crate::{
    Adoption, CopyFrom, Error, Fault, Fold, Folded, HaltNote, Load, LoadStep, Log, Moved, Objects, OpenSession,
    Process, RawBatch, Reader, Result, StartAt, TableName, TargetColumn, Took, Warehouse,
};

/// A panic while a lock was held leaves whole entries behind, so the state stays good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The accident that happens next.
type Accident = Arc<Mutex<Option<Trouble>>>;

fn lost() -> Error {
    Error::new(Fault::Outage, "the connection is lost")
}

/// What stands in the way of everything, as long as it stands.
#[derive(Clone, Default)]
struct Bar(Arc<Mutex<Option<Fault>>>);

impl Bar {
    fn set(&self, fault: Option<Fault>) {
        *lock(&self.0) = fault;
    }

    fn pass(&self) -> Result<()> {
        match *lock(&self.0) {
            Some(fault) => Err(Error::new(fault, "barred")),
            None => Ok(()),
        }
    }
}

// ---------------------------------------------------------------------------------------------------------- Kafka

/// What stands at an offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A record that a reader sees.
    Record {
        /// Its key.
        key: Option<Vec<u8>>,
        /// Its value.
        value: Option<Vec<u8>>,
        /// Its timestamp in milliseconds since 1970.
        timestamp_ms: i64,
    },
    /// A control record, or one of an aborted transaction: nobody sees it.
    Unseen,
    /// A batch of one record that cannot be read.
    Damaged,
    /// A record of an aborted transaction that a reader's position passes only with what comes after it.
    Aborted,
    /// The value of a record of a transaction that is not at its end. The log ends before it.
    Open(Vec<u8>),
}

/// The last stable offset.
fn end_of(entries: &[Entry]) -> usize {
    entries.iter().position(|entry| matches!(entry, Entry::Open(_))).unwrap_or(entries.len())
}

#[derive(Default)]
struct Topic {
    id: String,
    partitions: Vec<(i64, Vec<Entry>)>,
}

type Topics = Arc<Mutex<BTreeMap<String, Topic>>>;

/// Topics in memory.
#[derive(Clone, Default)]
pub struct MemoryLog(Topics, Bar);

impl MemoryLog {
    /// Lets every question fail with this from now on, or none any more. A reader sees no outage: nothing comes.
    pub fn bar(&self, fault: Option<Fault>) {
        self.1.set(fault);
    }

    /// Makes a topic, or makes it anew.
    pub fn create(&self, topic: &str, partitions: usize) {
        let mut topics = lock(&self.0);
        let id = format!("id-{}-{}", topic, topics.values().map(|t| t.id.len()).sum::<usize>());
        topics.insert(topic.into(), Topic { id, partitions: vec![Default::default(); partitions] });
    }

    /// Appends to a partition.
    pub fn append(&self, topic: &str, partition: i32, entry: Entry) {
        if let Some((_, entries)) = lock(&self.0).get_mut(topic).and_then(|t| t.partitions.get_mut(partition as usize))
        {
            entries.push(entry);
        }
    }

    /// Ends the open transactions of a partition: they are committed.
    pub fn commit(&self, topic: &str, partition: i32) {
        let mut topics = lock(&self.0);
        let entries = topics.get_mut(topic).and_then(|t| t.partitions.get_mut(partition as usize));
        for entry in entries.into_iter().flat_map(|(_, entries)| entries) {
            if let Entry::Open(value) = entry {
                *entry = Entry::Record { key: None, value: Some(std::mem::take(value)), timestamp_ms: 0 };
            }
        }
    }

    /// How many records a reader sees among these offsets, tombstones included.
    pub fn seen(&self, partition: &TopicPartition, start: i64, end: i64) -> usize {
        let topics = lock(&self.0);
        let entries = topics.get(&*partition.topic).and_then(|t| t.partitions.get(partition.partition as usize));
        let entries = entries.map_or(&[][..], |(_, entries)| &entries[start as usize..end as usize]);
        entries.iter().filter(|e| matches!(e, Entry::Record { .. })).count()
    }

    /// Appends a record without a key.
    pub fn send(&self, topic: &str, partition: i32, value: &str) {
        let value = Some(value.as_bytes().to_vec());
        self.append(topic, partition, Entry::Record { key: None, value, timestamp_ms: 0 });
    }
}

impl Log for MemoryLog {
    fn partitions(&self, topic: &str) -> Result<Option<BTreeMap<i32, SourceFacts>>> {
        self.1.pass()?;
        Ok(lock(&self.0).get(topic).map(|topic| {
            let facts = |(low, entries): &(i64, Vec<Entry>)| SourceFacts {
                topic_id: topic.id.clone(),
                low: *low,
                high: end_of(entries) as i64,
                last: None,
            };
            topic.partitions.iter().enumerate().map(|(p, partition)| (p as i32, facts(partition))).collect()
        }))
    }

    fn topic_id(&self, topic: &str) -> Result<Option<String>> {
        self.1.pass()?;
        Ok(lock(&self.0).get(topic).map(|topic| topic.id.clone()))
    }

    fn starts(&self, topic: &str, at: StartAt) -> Result<BTreeMap<i32, Start>> {
        let facts =
            self.partitions(topic)?.ok_or_else(|| Error::new(Fault::Missing, format!("there is no topic {topic}")))?;
        let topics = lock(&self.0);
        let first_at = |partition: i32, ms: i64| {
            let (_, entries) = &topics.get(topic)?.partitions[partition as usize];
            entries.iter().position(|e| matches!(e, Entry::Record { timestamp_ms, .. } if *timestamp_ms >= ms))
        };
        let start = |(partition, facts): (i32, SourceFacts)| {
            let offset = match at {
                StartAt::Earliest => facts.low,
                StartAt::Latest => facts.high,
                StartAt::Time(ms) => first_at(partition, ms).map_or(facts.high, |o| o as i64),
            };
            (partition, Start { topic_id: facts.topic_id, offset })
        };
        Ok(facts.into_iter().map(start).collect())
    }

    fn records_at(&self, at: &[(TopicPartition, i64)]) -> Result<Vec<Option<LastRecord>>> {
        self.1.pass()?;
        let topics = lock(&self.0);
        let record = |(partition, offset): &(TopicPartition, i64)| {
            let (low, entries) = find(&topics, partition)?;
            Ok(match entries.get(*offset as usize).filter(|_| low <= offset) {
                Some(Entry::Record { key, value, timestamp_ms }) => Some(LastRecord {
                    offset: *offset,
                    timestamp_ms: *timestamp_ms,
                    fingerprint: manifest::fingerprint(key.as_deref(), value.as_deref()),
                }),
                _ => None,
            })
        };
        at.iter().map(record).collect()
    }

    fn is_read_up(&self, at: &[(TopicPartition, i64, i64)]) -> Result<Vec<bool>> {
        self.1.pass()?;
        let topics = lock(&self.0);
        let is_read_up = |(partition, from, until): &(TopicPartition, i64, i64)| {
            let (_, entries) = find(&topics, partition)?;
            let mut left = entries.iter().take(*until as usize).skip(*from as usize);
            Ok(!left.any(|entry| matches!(entry, Entry::Record { .. })))
        };
        at.iter().map(is_read_up).collect()
    }

    fn next_readable(&self, partition: &TopicPartition, from: i64) -> Result<i64> {
        self.1.pass()?;
        let topics = lock(&self.0);
        let (_, entries) = find(&topics, partition)?;
        let end = end_of(entries);
        let mut left = entries[..end].iter().enumerate().skip(from as usize);
        Ok(left.find(|(_, entry)| matches!(entry, Entry::Record { .. })).map_or(end, |(at, _)| at) as i64)
    }

    fn read(&self, from: &[(TopicPartition, i64)]) -> Result<Box<dyn Reader>> {
        Ok(Box::new(MemoryReader { topics: self.0.clone(), bar: self.1.clone(), at: from.to_vec(), next: 0 }))
    }
}

/// The first offset of a partition, and what stands in it.
fn find<'t>(topics: &'t BTreeMap<String, Topic>, partition: &TopicPartition) -> Result<&'t (i64, Vec<Entry>)> {
    let topic = topics.get(&*partition.topic);
    let found = topic.and_then(|topic| topic.partitions.get(partition.partition as usize));
    found.ok_or_else(|| Error::new(Fault::Missing, format!("there is no {partition}")))
}

struct MemoryReader {
    topics: Topics,
    bar: Bar,
    at: Vec<(TopicPartition, i64)>,
    next: usize,
}

impl Reader for MemoryReader {
    fn next(&mut self, wait: Duration) -> Result<Option<RawBatch>> {
        match self.bar.pass() {
            Err(error) if error.fault == Fault::Outage => {
                std::thread::sleep(wait);
                return Ok(None);
            }
            other => other?,
        }
        for _ in 0..self.at.len() {
            let place = self.next;
            self.next = (self.next + 1) % self.at.len();
            let (partition, offset) = &mut self.at[place];
            let topics = lock(&self.topics);
            let (low, entries) = find(&topics, partition)?;
            let entries = &entries[..end_of(entries)];
            if !(*low..=entries.len() as i64).contains(offset) {
                return Err(Error::new(Fault::Refused, format!("{partition} has no offset {offset}")));
            }
            let mut batch = RawBatch::default();
            let mut last_row = None;
            // Few at a time, so that a reader behind this meets more than one batch.
            let seen = entries.iter().enumerate().skip(*offset as usize).filter(|(_, e)| **e != Entry::Aborted);
            for (at, entry) in seen.take(100) {
                if *entry == Entry::Damaged {
                    if batch.moved.is_empty() {
                        let fault = Fault::Damaged { place, offset: at as i64 };
                        return Err(Error::new(fault, "its checksum is wrong"));
                    }
                    break;
                }
                if let Entry::Record { key, value, timestamp_ms } = entry {
                    last_row = Some(batch.len());
                    batch.partitions.push(place as i32);
                    batch.offsets.push(at as i64);
                    batch.timestamps_ms.push(*timestamp_ms);
                    batch.keys.push(key.as_deref())?;
                    batch.values.push(value.as_deref())?;
                }
                *offset = at as i64 + 1;
                batch.moved =
                    vec![Moved { partition: place as i32, position: *offset, leader_epoch: Some(0), last_row }];
            }
            if !batch.moved.is_empty() {
                return Ok(Some(batch));
            }
        }
        std::thread::sleep(wait.min(Duration::from_millis(5)));
        Ok(None)
    }
}

// ------------------------------------------------------------------------------------------------------------- S3

/// Objects in memory.
#[derive(Clone, Default)]
pub struct MemoryObjects(Arc<Mutex<BTreeMap<String, Bytes>>>, Accident, Bar);

const BUCKET: &str = "s3://memory/";

impl MemoryObjects {
    /// All keys, in order.
    pub fn keys(&self) -> Vec<String> {
        lock(&self.0).keys().cloned().collect()
    }

    /// Lets everything fail with this from now on, or nothing any more.
    pub fn bar(&self, fault: Option<Fault>) {
        self.2.set(fault);
    }

    /// Lets this happen to the next object that is written.
    pub fn cause(&self, trouble: Trouble) {
        *lock(&self.1) = Some(trouble);
    }
}

impl Objects for MemoryObjects {
    fn put(&self, key: &str, body: Bytes) -> Result<()> {
        self.2.pass()?;
        let trouble = lock(&self.1).take();
        if trouble == Some(Trouble::Before) {
            return Err(lost());
        }
        let mut objects = lock(&self.0);
        if trouble.is_some() {
            objects.insert(key.into(), body);
            return Err(lost().unknown());
        }
        match objects.get(key) {
            Some(found) if found.len() != body.len() => Err(Error::bug(format!(
                "{} exists with {} bytes instead of {}",
                self.url(key),
                found.len(),
                body.len()
            ))),
            Some(_) => Ok(()),
            None => {
                objects.insert(key.into(), body);
                Ok(())
            }
        }
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.2.pass()?;
        Ok(lock(&self.0).get(key).cloned())
    }

    fn delete(&self, keys: &[&str]) -> Result<()> {
        self.2.pass()?;
        let mut objects = lock(&self.0);
        keys.iter().for_each(|key| drop(objects.remove(*key)));
        Ok(())
    }

    fn list(&self, folder: &str, each: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
        self.2.pass()?;
        let below = format!("{folder}/");
        self.keys().iter().filter(|key| key.starts_with(&below)).try_for_each(|key| each(key))
    }

    fn children(&self, folder: &str) -> Result<Vec<String>> {
        self.2.pass()?;
        let below = format!("{folder}/");
        let child = |key: &str| {
            let rest = key.strip_prefix(&below)?;
            Some(rest.split_inclusive('/').next()?.to_string())
        };
        let names: BTreeSet<String> = self.keys().iter().filter_map(|key| child(key)).collect();
        Ok(names.into_iter().collect())
    }

    fn url(&self, key: &str) -> String {
        format!("{BUCKET}{key}")
    }
}

// ------------------------------------------------------------------------------------------------------- Redshift

#[derive(Default)]
struct Tables {
    fence: Option<Fence>,
    links: Vec<Link>,
    copies: Vec<(String, u64)>,
    plans: BTreeMap<String, String>,
    sessions: Vec<OpenSession>,
    halts: Vec<HaltNote>,
}

/// Control tables in memory. Clones are sessions of one database.
#[derive(Clone)]
pub struct MemoryWarehouse {
    tables: Arc<Mutex<Tables>>,
    targets: Arc<BTreeMap<TableName, Vec<TargetColumn>>>,
    objects: MemoryObjects,
    accident: Accident,
    bar: Bar,
    /// Who we are; a clone is a session of its own that nobody has recorded.
    identity: Option<(Process, Nonce)>,
}

/// The namespace of every database in memory.
const NAMESPACE: &str = "memory";

impl MemoryWarehouse {
    /// An empty database with these target tables, which loads from these objects.
    pub fn new(targets: BTreeMap<TableName, Vec<TargetColumn>>, objects: MemoryObjects) -> MemoryWarehouse {
        let (tables, accident, bar) = (Arc::default(), Arc::default(), Bar::default());
        MemoryWarehouse { tables, targets: Arc::new(targets), objects, accident, bar, identity: None }
    }

    /// Lets everything fail with this from now on, or nothing any more.
    pub fn bar(&self, fault: Option<Fault>) {
        self.bar.set(fault);
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

fn facts(tables: &Tables) -> Result<TableFacts> {
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

fn fence(tables: &mut Tables) -> Result<&mut Fence> {
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

    fn columns(&mut self, table: &TableName) -> Result<Option<Vec<TargetColumn>>> {
        self.bar.pass()?;
        Ok(self.targets.get(table).cloned())
    }

    fn rehearse(&mut self, tables: &[TableName], copy: &CopyFrom) -> Result<()> {
        self.bar.pass()?;
        if let Some(table) = tables.iter().find(|table| !self.targets.contains_key(table)) {
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
        let now = fence(&mut tables)?.clone();
        let (holder, range) = (&load.holder, &load.range);
        if (now.generation, &now.nonce, now.next_epoch) != (holder.generation, &holder.nonce, range.first) {
            let loaded = digest_of(&tables, range.last);
            return Ok(protocol::after_refusal(holder, range, &now, loaded.as_ref()));
        }
        progress(LoadStep::Fenced);
        for copy in &load.copies {
            self.check_files(&copy.manifest_url)?;
        }
        progress(LoadStep::Copied);
        tables.copies.extend(load.copies.iter().map(|c| (c.target.clone(), c.counts.loaded)));
        tables.links.extend(load.links.iter().cloned());
        let Some(last) = load.links.last() else { return Err(Error::bug("a load of no epoch")) };
        let full = load.links.iter().rev().find(|link| link.full_cut.is_some());
        let mut moved = Fence {
            next_epoch: range.last.next(),
            digest: range.digest.clone(),
            cut_digest: last.cut_digest.clone(),
            cut_epoch: full.map(|link| link.record.epoch).or(now.cut_epoch),
            ..now
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
        lock(&self.tables).plans.insert(hash.into(), text.into());
        Ok(())
    }

    fn note_halt(&mut self, note: &HaltNote) -> Result<()> {
        self.bar.pass()?;
        lock(&self.tables).halts.push(note.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ColumnKind, conformance};

    impl conformance::Producer for MemoryLog {
        fn send(&mut self, topic: &str, partition: i32, key: Option<&str>, value: Option<&str>) {
            let bytes = |text: Option<&str>| text.map(|t| t.as_bytes().to_vec());
            self.append(topic, partition, Entry::Record { key: bytes(key), value: bytes(value), timestamp_ms: 1_000 });
        }

        fn transaction(&mut self, topic: &str, partition: i32, values: &[&str], commit: bool) {
            for value in values {
                match commit {
                    true => conformance::Producer::send(self, topic, partition, None, Some(value)),
                    false => self.append(topic, partition, Entry::Unseen),
                }
            }
            self.append(topic, partition, Entry::Unseen);
        }

        fn overtaken(&mut self, topic: &str, partition: i32, aborted: &[&str], open: &str) {
            aborted.iter().for_each(|_| self.append(topic, partition, Entry::Aborted));
            self.append(topic, partition, Entry::Open(open.into()));
            self.append(topic, partition, Entry::Unseen);
        }

        fn commit(&mut self, topic: &str, partition: i32) {
            MemoryLog::commit(self, topic, partition);
            self.append(topic, partition, Entry::Unseen);
        }
    }

    #[test]
    fn the_log_keeps_its_promises() {
        let mut log = MemoryLog::default();
        log.create("a", 2);
        log.create("b", 1);
        conformance::log(&log.clone(), &mut log, "a", "b");
        log.create("c", 1);
        conformance::unseen(&log.clone(), &mut log, "c");
        for fault in [Fault::Denied, Fault::Outage] {
            let bar = &mut |bar: bool| log.bar(bar.then_some(fault));
            conformance::barred_log(&log, &mut log.clone(), "a", fault, bar);
        }
    }

    #[test]
    fn the_objects_keep_their_promises() {
        conformance::objects(&MemoryObjects::default());
        let objects = MemoryObjects::default();
        conformance::troubled_objects(&objects.clone(), &mut |trouble| objects.cause(trouble));
        for fault in [Fault::Outage, Fault::Denied, Fault::Missing] {
            objects.bar(Some(fault));
            conformance::barred_objects(&objects, fault);
        }
    }

    #[test]
    fn the_warehouse_keeps_its_promises() {
        let table = TableName { schema: "public".into(), table: "target".into() };
        let columns =
            vec![TargetColumn { name: "a".into(), kind: ColumnKind::BigInt, not_null: true, has_default: false }];
        let new = || MemoryWarehouse::new([(table.clone(), columns.clone())].into(), MemoryObjects::default());
        let warehouse = new();
        conformance::warehouse(&mut warehouse.clone(), &mut warehouse.clone(), &table);
        let warehouse = new();
        conformance::troubled_warehouse(&mut warehouse.clone(), &mut |trouble| warehouse.cause(trouble));
        let warehouse = new();
        conformance::refused_warehouse(&mut warehouse.clone(), &table, "s3://memory/not/there.manifest");
        for fault in [Fault::Outage, Fault::Denied, Fault::Missing] {
            warehouse.bar(Some(fault));
            conformance::barred_warehouse(&mut warehouse.clone(), &table, fault);
        }
    }
}
