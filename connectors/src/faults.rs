//! A port whose calls fail by a script: "the second and the third load answer so". For tests of whoever stands after a port.
//!
//! It wraps any port, twin or real. A call fails instead of being made, or after it was made, as one whose answer is lost.

use std::{
    collections::BTreeMap,
    ops::Range as Numbers,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use checkpoint::{
    Epoch, Generation, LastRecord, Micros, Nonce, TopicPartition,
    protocol::{Holder, Outcome, Range, SourceFacts, Start, TableFacts},
};

use crate::{
    CopyFrom, Error, Fold, Folded, HaltNote, Load, LoadStep, Log, Objects, OpenSession, Process, Read, ReadFrom,
    Reader, Result, StartAt, Table, TableName, Took, Warehouse,
};

/// The error of a call.
type Answer = Arc<dyn Fn() -> Error + Send + Sync>;

/// Which calls fail, and how. Clones are the same script, so a test can go on writing it.
#[derive(Clone, Default)]
pub struct Script(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    lines: Vec<Line>,
    made: BTreeMap<&'static str, usize>,
}

struct Line {
    call: &'static str,
    numbers: Numbers<usize>,
    is_made: bool,
    answer: Answer,
}

impl Script {
    /// These calls of a kind, counted from 0 and from the first one ever, are not made and answer so. The kind is the name of the
    /// port's function.
    pub fn fail(
        &self,
        call: &'static str,
        numbers: Numbers<usize>,
        answer: impl Fn() -> Error + Send + Sync + 'static,
    ) {
        self.lines().lines.push(Line { call, numbers, is_made: false, answer: Arc::new(answer) });
    }

    /// These calls are made, and answer so whatever came of them.
    pub fn lose(
        &self,
        call: &'static str,
        numbers: Numbers<usize>,
        answer: impl Fn() -> Error + Send + Sync + 'static,
    ) {
        self.lines().lines.push(Line { call, numbers, is_made: true, answer: Arc::new(answer) });
    }

    /// How often a call was asked for.
    pub fn calls(&self, call: &str) -> usize {
        self.lines().made.get(call).copied().unwrap_or_default()
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a call, or does as the script says.
    fn act<T>(&self, call: &'static str, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let line = {
            let mut lines = self.lines();
            let made = lines.made.entry(call).or_default();
            let number = *made;
            *made += 1;
            let line = lines.lines.iter().find(|line| line.call == call && line.numbers.contains(&number));
            line.map(|line| (line.is_made, line.answer.clone()))
        };
        match line {
            None => act(),
            Some((is_made, answer)) => {
                if is_made {
                    drop(act());
                }
                Err(answer())
            }
        }
    }
}

/// A port, and the script of its calls.
pub struct Faulty<P> {
    port: P,
    script: Script,
}

impl<P> Faulty<P> {
    /// `port`, but for what `script` says.
    pub fn new(port: P, script: Script) -> Faulty<P> {
        Faulty { port, script }
    }
}

impl<P: Log> Log for Faulty<P> {
    fn partitions(&self, topic: &str) -> Result<Option<BTreeMap<i32, SourceFacts>>> {
        self.script.act("partitions", || self.port.partitions(topic))
    }

    fn topic_id(&self, topic: &str) -> Result<Option<String>> {
        self.script.act("topic_id", || self.port.topic_id(topic))
    }

    fn starts(&self, topic: &str, at: StartAt) -> Result<BTreeMap<i32, Start>> {
        self.script.act("starts", || self.port.starts(topic, at))
    }

    fn records_at(&self, at: &[(TopicPartition, i64)]) -> Result<Vec<Option<LastRecord>>> {
        self.script.act("records_at", || self.port.records_at(at))
    }

    fn is_read_up(&self, at: &[(TopicPartition, i64, i64)]) -> Result<Vec<bool>> {
        self.script.act("is_read_up", || self.port.is_read_up(at))
    }

    fn next_readable(&self, partition: &TopicPartition, from: i64) -> Result<i64> {
        self.script.act("next_readable", || self.port.next_readable(partition, from))
    }

    fn first_timestamps(&self, at: &[(TopicPartition, i64)]) -> Result<Vec<Option<i64>>> {
        self.script.act("first_timestamps", || self.port.first_timestamps(at))
    }

    fn read(&self, from: &[ReadFrom]) -> Result<Box<dyn Reader>> {
        let reader = self.script.act("read", || self.port.read(from))?;
        Ok(Box::new(Faulty::new(reader, self.script.clone())))
    }
}

impl Reader for Faulty<Box<dyn Reader>> {
    fn next(&mut self, wait: Duration) -> Result<Option<Read>> {
        self.script.act("next", || self.port.next(wait))
    }

    fn allow(&mut self, place: usize, until: Option<i64>) -> Result<()> {
        self.port.allow(place, until)
    }
}

impl<P: Objects> Objects for Faulty<P> {
    fn put(&self, key: &str, body: Bytes) -> Result<()> {
        self.script.act("put", || self.port.put(key, body))
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.script.act("get", || self.port.get(key))
    }

    fn delete(&self, keys: &[&str]) -> Result<()> {
        self.script.act("delete", || self.port.delete(keys))
    }

    fn list(&self, folder: &str, each: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
        self.script.act("list", || self.port.list(folder, each))
    }

    fn children(&self, folder: &str) -> Result<Vec<String>> {
        self.script.act("children", || self.port.children(folder))
    }

    fn url(&self, key: &str) -> String {
        self.port.url(key)
    }
}

impl<P: Warehouse> Warehouse for Faulty<P> {
    fn init(&mut self, fence_id: &str) -> Result<Vec<String>> {
        self.script.act("init", || self.port.init(fence_id))
    }

    fn read(&mut self) -> Result<TableFacts> {
        self.script.act("read", || self.port.read())
    }

    fn adopted(&mut self) -> Result<Vec<String>> {
        self.script.act("adopted", || self.port.adopted())
    }

    fn record(&mut self, process: &Process, nonce: &Nonce) -> Result<()> {
        self.script.act("record", || self.port.record(process, nonce))
    }

    fn take(&mut self, from: Generation, progress: &mut dyn FnMut(LoadStep)) -> Result<Took> {
        self.script.act("take", || self.port.take(from, progress))
    }

    fn hold(&mut self, holder: &Holder) -> Result<()> {
        self.script.act("hold", || self.port.hold(holder))
    }

    fn sessions(&mut self) -> Result<Option<Vec<OpenSession>>> {
        self.script.act("sessions", || self.port.sessions())
    }

    fn end(&mut self, sessions: &[OpenSession]) -> Result<()> {
        self.script.act("end", || self.port.end(sessions))
    }

    fn tables(&mut self, names: &[TableName]) -> Result<BTreeMap<TableName, Table>> {
        self.script.act("tables", || self.port.tables(names))
    }

    fn rehearse(&mut self, tables: &[TableName], copy: &CopyFrom) -> Result<()> {
        self.script.act("rehearse", || self.port.rehearse(tables, copy))
    }

    fn load(&mut self, load: &Load, progress: &mut dyn FnMut(LoadStep)) -> Result<Outcome> {
        self.script.act("load", || self.port.load(load, progress))
    }

    fn resolve(&mut self, holder: &Holder, range: &Range) -> Result<Outcome> {
        self.script.act("resolve", || self.port.resolve(holder, range))
    }

    fn fold(&mut self, fold: &Fold) -> Result<Option<Folded>> {
        self.script.act("fold", || self.port.fold(fold))
    }

    fn forget_sessions(&mut self, before: Micros) -> Result<u64> {
        self.script.act("forget_sessions", || self.port.forget_sessions(before))
    }

    fn keep_plan(&mut self, hash: &str, text: &str) -> Result<()> {
        self.script.act("keep_plan", || self.port.keep_plan(hash, text))
    }

    fn loaded_plan(&mut self) -> Result<Option<(Epoch, String)>> {
        self.script.act("loaded_plan", || self.port.loaded_plan())
    }

    fn plan_text(&mut self, hash: &str) -> Result<Option<String>> {
        self.script.act("plan_text", || self.port.plan_text(hash))
    }

    fn note_halt(&mut self, note: &HaltNote) -> Result<()> {
        self.script.act("note_halt", || self.port.note_halt(note))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fault, memory::MemoryObjects};

    #[test]
    fn the_calls_of_the_script_fail_and_no_others() {
        let (objects, script) = (MemoryObjects::default(), Script::default());
        let port = Faulty::new(objects.clone(), script.clone());
        script.fail("put", 1..2, || Error::new(Fault::Outage, "not made"));
        script.lose("put", 2..3, || Error::new(Fault::Outage, "lost").unknown());
        let put = |key: &str| port.put(key, Bytes::new()).map_err(|e| e.what);
        assert_eq!(put("0"), Ok(()));
        assert_eq!(put("1"), Err("not made".into()));
        assert_eq!(put("2"), Err("lost".into()));
        assert_eq!(put("3"), Ok(()));
        assert_eq!(objects.keys(), ["0", "2", "3"]);
        assert_eq!((script.calls("put"), script.calls("get")), (4, 0));
        port.get("1").unwrap();
        script.fail("get", 0..2, || Error::new(Fault::Denied, "by and by"));
        assert!(port.get("1").is_err(), "the second one ever");
        assert!(port.get("1").is_ok());
    }
}
