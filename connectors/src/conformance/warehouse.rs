//! What a warehouse promises.

use std::time::{Duration, Instant};

use checkpoint::{
    Counts, Cut, Decision, Digest, Epoch, EpochRecord, Fate, Generation, History, Kind, LastRecord, Micros, Nonce,
    Position, Span, TopicPartition,
    protocol::{self, Holder, Outcome, Range, Snapshot, Start, Taken},
};

use super::trouble::{Trouble, did_not};
use crate::{
    Adoption, CopyFrom, Fault, Fold, Folded, HaltNote, Happened, Inspect, Load, Process, TableName, Took, Warehouse,
    inspect::{Scope, Which},
};

/// A warehouse that can do nothing, for this reason, also not for whoever looks at it.
pub fn barred_warehouse(warehouse: &mut dyn Warehouse, inspect: &mut dyn Inspect, table: &TableName, fault: Fault) {
    let holder = Holder { generation: Generation(1), nonce: Nonce::new([1; 16]) };
    let mut history = History::new("fence");
    history.cut = Cut::new([(TopicPartition::new("t", 0), position(5))]);
    let next = load(&holder, &mut history, 5, 7);
    did_not(&warehouse.init("fence").unwrap_err(), fault);
    did_not(&warehouse.read().unwrap_err(), fault);
    did_not(&warehouse.adopted().unwrap_err(), fault);
    did_not(&warehouse.record(&process(), &holder.nonce).unwrap_err(), fault);
    did_not(&warehouse.sessions().unwrap_err(), fault);
    did_not(&warehouse.keep_plan("hash", "text").unwrap_err(), fault);
    did_not(&warehouse.columns(table).unwrap_err(), fault);
    did_not(&warehouse.load(&next, &mut |_| {}).unwrap_err(), fault);
    did_not(&warehouse.resolve(&holder, &next.range).unwrap_err(), fault);
    did_not(&inspect.log_in().unwrap_err(), fault);
    did_not(&inspect.slices().unwrap_err(), fault);
    did_not(&inspect.missing_rights(std::slice::from_ref(table), true).unwrap_err(), fault);
    did_not(&inspect.other_jobs().unwrap_err(), fault);
    did_not(&inspect.standing().unwrap_err(), fault);
    did_not(&inspect.live(0).unwrap_err(), fault);
    did_not(&inspect.epochs(1).unwrap_err(), fault);
    did_not(&inspect.dead_letters(&Which::default()).unwrap_err(), fault);
    did_not(&inspect.verify(&[], Scope::All).unwrap_err(), fault);
    did_not(&inspect.verify_sql(&[]).unwrap_err(), fault);
}

/// A warehouse without control tables, with a table, and the address of a COPY manifest that is not there: a load that is
/// refused did not happen, and nothing stands in the way of the next one.
pub fn refused_warehouse(warehouse: &mut dyn Warehouse, table: &TableName, manifest_url: &str) {
    warehouse.init("fence").unwrap();
    let mut start = acquire(warehouse, 1);
    let good = load(&start.holder, &mut start.history, 5, 7);
    let copy = CopyFrom {
        table: table.clone(),
        target: "target".into(),
        columns: vec!["id".into()],
        manifest_url: manifest_url.into(),
        counts: Counts { records_read: 2, loaded: 2, ..Counts::default() },
    };
    did_not(&warehouse.rehearse(std::slice::from_ref(table), &copy).unwrap_err(), Fault::Refused);
    let bad = Load { copies: vec![copy], ..good.clone() };
    for _ in 0..2 {
        did_not(&warehouse.load(&bad, &mut |_| {}).unwrap_err(), Fault::Refused);
        assert_eq!(warehouse.resolve(&start.holder, &bad.range).unwrap(), Outcome::NotCommitted);
    }
    assert_eq!(warehouse.load(&good, &mut |_| {}).unwrap(), Outcome::Committed);
}

/// A warehouse without control tables, on whose way accidents happen, once each time `cause` is called: it says whether a load
/// happened, did not, or cannot be known; what cannot be known is found out; and the same load again makes it happen once.
pub fn troubled_warehouse(warehouse: &mut dyn Warehouse, cause: &mut dyn FnMut(Trouble)) {
    warehouse.init("fence").unwrap();
    let mut start = acquire(warehouse, 1);
    let mut at = 5;
    for trouble in [Trouble::Before, Trouble::AtTheEnd, Trouble::AnswerLost, Trouble::Silence] {
        let next = load(&start.holder, &mut start.history, at, at + 2);
        cause(trouble);
        let error = warehouse.load(&next, &mut |_| {}).unwrap_err();
        let began = matches!(trouble, Trouble::AtTheEnd | Trouble::AnswerLost);
        let happened = if began { Happened::Unknown } else { Happened::No };
        assert_eq!((error.fault, error.happened), (Fault::Outage, happened), "{trouble:?}: {error:?}");
        let is_in = trouble == Trouble::AnswerLost;
        let outcome = if is_in { Outcome::Committed } else { Outcome::NotCommitted };
        assert_eq!(warehouse.resolve(&start.holder, &next.range).unwrap(), outcome, "{trouble:?}");
        assert_eq!(warehouse.load(&next, &mut |_| {}).unwrap(), Outcome::Committed, "{trouble:?}");
        at += 2;
        assert_eq!(end(warehouse), at, "{trouble:?}");
    }
}

/// A start that has the fence.
pub(super) struct Started {
    pub(super) holder: Holder,
    pub(super) history: History,
    announced: bool,
}

pub(super) fn process() -> Process {
    Process { host: "here".into(), id: 7, started_at: Micros(1_795_517_694_000_000) }
}

pub(super) fn acquire(warehouse: &mut dyn Warehouse, nonce: u8) -> Started {
    let nonce = Nonce::new([nonce; 16]);
    warehouse.record(&process(), &nonce).unwrap();
    let from = warehouse.read().unwrap().fence.generation;
    assert_eq!(warehouse.take(from, &mut |_| {}).unwrap(), Took::Yes);
    let facts = warehouse.read().unwrap();
    let Taken::Ours(holder) = protocol::after_taking(from, &nonce, &facts.fence).unwrap() else { panic!("{facts:?}") };
    assert_eq!(protocol::check_snapshot(&holder, &facts.fence), Ok(Snapshot::Valid));
    warehouse.hold(&holder).unwrap();
    let mut history = protocol::admit(&facts).unwrap();
    let start = Start { topic_id: "id".into(), offset: 5 };
    let starts = [(TopicPartition::new("t", 0), start)].into();
    let new = protocol::announcement(&history, &starts, &["target".into()], Micros(1), "plan");
    let announced = new.is_some();
    if let Some(record) = new {
        let load = load_of(&holder, &mut history, record);
        assert_eq!(warehouse.load(&load, &mut |_| {}).unwrap(), Outcome::Committed);
    }
    Started { holder, history, announced }
}

fn load_of(holder: &Holder, history: &mut History, record: EpochRecord) -> Load {
    let link = history.link(record).unwrap();
    let epoch = link.record.epoch;
    let range = Range { first: epoch, last: epoch, digest: link.digest.clone() };
    Load { holder: holder.clone(), range, links: vec![link], copies: Vec::new(), adopt: None }
}

/// A history as the tables know it: of the newest record's timestamp nobody needs to know.
fn known(history: &History) -> (Epoch, &Digest, Digest, Option<Epoch>) {
    (history.next_epoch, &history.digest, history.cut.digest(), history.cut_epoch)
}

fn position(end: i64) -> Position {
    Position { topic_id: "id".into(), end, leader_epoch: None, last: None }
}

/// The next epoch, without rows, which moves partition 0 of topic t.
pub(super) fn load(holder: &Holder, history: &mut History, start: i64, end: i64) -> Load {
    let record = EpochRecord {
        epoch: history.next_epoch,
        kind: Kind::Data,
        closed_at: Micros(1_795_517_694_000_001),
        watermark: None,
        plan: "plan".into(),
        spans: vec![Span {
            partition: TopicPartition::new("t", 0),
            topic_id: "id".into(),
            start,
            end,
            leader_epoch: Some(1),
            last: Some(LastRecord { offset: end - 1, timestamp_ms: 3, fingerprint: r"it's \ f".into() }),
        }],
        decision: None,
        counts: [("target".to_string(), skipped(2))].into(),
    };
    load_of(holder, history, record)
}

fn skipped(records: u64) -> Counts {
    let mut counts = Counts { records_read: records, ..Counts::default() };
    counts.set(Fate::Skipped, records);
    counts
}

/// Where partition 0 of topic t stands.
fn end(warehouse: &mut dyn Warehouse) -> i64 {
    let history = protocol::admit(&warehouse.read().unwrap()).unwrap();
    history.cut.get(&TopicPartition::new("t", 0)).unwrap().end
}

/// Two sessions of one database without control tables, which has the table `target`.
pub fn warehouse(one: &mut dyn Warehouse, two: &mut dyn Warehouse, target: &TableName) {
    assert_eq!(one.read().unwrap_err().fault, Fault::Missing);
    assert!(!one.init("fence-1").unwrap().is_empty());
    assert!(two.init("fence-2").unwrap().is_empty(), "what is there is left alone");
    assert!(one.columns(target).unwrap().is_some());
    assert_eq!(one.columns(&TableName { schema: "no".into(), table: "table".into() }).unwrap(), None);
    let new = one.read().unwrap();
    assert_eq!((new.fence.fence_id.as_str(), new.fence.generation.0, new.fence.cut_epoch), ("fence-1", 0, None));
    assert_eq!(protocol::admit(&new), Ok(History::new("fence-1")));

    // The first start announces the topic.
    let mut first = acquire(one, 1);
    assert_eq!((first.holder.generation.0, first.history.next_epoch, first.announced), (1, Epoch(1), true));
    // A second one sees its session, and that it has taken the fence.
    let seen = two.sessions().unwrap().expect("sessions are shown");
    let seen: Vec<_> = seen.iter().filter(|session| session.nonce == first.holder.nonce.as_str()).collect();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!((&seen[0].process, seen[0].generation), (&process(), Some(first.holder.generation)));
    assert!(
        one.sessions().unwrap().expect("sessions are shown").iter().all(|s| s.nonce != first.holder.nonce.as_str())
    );
    // What is known of another generation takes nothing.
    two.record(&process(), &Nonce::new([8; 16])).unwrap();
    for from in [0, 2] {
        assert_eq!(two.take(Generation(from), &mut |_| {}).unwrap(), Took::No);
    }
    assert_eq!(two.read().unwrap().fence.nonce, first.holder.nonce);

    let mut steps = Vec::new();
    let before = first.history.clone();
    let one_load = load(&first.holder, &mut first.history, 5, 7);
    assert_eq!(one.load(&one_load, &mut |step| steps.push(step)).unwrap(), Outcome::Committed);
    assert_eq!(steps.len(), 4);
    let history = protocol::admit(&two.read().unwrap()).unwrap();
    assert_eq!(known(&history), known(&first.history), "what is read is what was written");
    let position = history.cut.get(&TopicPartition::new("t", 0)).unwrap();
    assert_eq!((position.end, position.leader_epoch, position.topic_id.as_str()), (7, Some(1), "id"));
    let last = position.last.as_ref().unwrap();
    assert_eq!((last.offset, last.fingerprint.as_str()), (6, r"it's \ f"));

    // The same again is recognised, and changes nothing.
    assert_eq!(one.load(&one_load, &mut |_| {}).unwrap(), Outcome::Committed);
    assert_eq!(one.resolve(&first.holder, &one_load.range).unwrap(), Outcome::Committed);
    let after = first.history.clone();
    let next = load(&first.holder, &mut after.clone(), 7, 9);
    assert_eq!(one.resolve(&first.holder, &next.range).unwrap(), Outcome::NotCommitted);
    // An epoch of the same number with another history, and an epoch too far, are contradictions.
    let other = load(&first.holder, &mut before.clone(), 5, 8);
    assert!(matches!(one.load(&other, &mut |_| {}).unwrap(), Outcome::Halt(_)));
    let too_far = load(&first.holder, &mut History { next_epoch: Epoch(3), ..after.clone() }, 7, 9);
    assert!(matches!(one.load(&too_far, &mut |_| {}).unwrap(), Outcome::Halt(_)));

    // A second start shuts the first one out.
    let mut second = acquire(two, 2);
    assert_eq!((second.holder.generation.0, second.history.next_epoch, second.announced), (2, Epoch(2), false));
    assert_eq!(known(&second.history), known(&after));
    assert_eq!(one.load(&next, &mut |_| {}).unwrap(), Outcome::Fenced { by: second.holder.generation });
    assert_eq!(one.resolve(&first.holder, &next.range).unwrap(), Outcome::Fenced { by: second.holder.generation });
    let next = load(&second.holder, &mut second.history, 7, 9);
    assert_eq!(two.load(&next, &mut |_| {}).unwrap(), Outcome::Committed);
    assert_eq!(end(one), 9);

    // Whoever has it may say that the tables belong to another database from here on.
    let decision =
        Decision { by: "a@b".into(), why: "it's a copy".into(), adopted: vec!["fence-1".into(), "x".into()] };
    let record = EpochRecord {
        kind: Kind::Adopt,
        spans: Vec::new(),
        decision: Some(decision),
        counts: Default::default(),
        ..load(&second.holder, &mut second.history.clone(), 9, 10).links.remove(0).record
    };
    let namespace = two.read().unwrap().namespace;
    let adopt = Some(Adoption { fence_id: "fence-3".into(), namespace });
    let load = Load { adopt, ..load_of(&second.holder, &mut second.history, record) };
    assert_eq!(two.load(&load, &mut |_| {}).unwrap(), Outcome::Committed);
    let facts = one.read().unwrap();
    assert_eq!(facts.fence.fence_id, "fence-3");
    assert_eq!(known(&protocol::admit(&facts).unwrap()), known(&second.history));
    assert_eq!(one.adopted().unwrap(), ["fence-1", "x"]);

    // A session that is ended is not shown any more.
    let old = two.sessions().unwrap().expect("sessions are shown");
    let old: Vec<_> = old.into_iter().filter(|session| session.nonce == first.holder.nonce.as_str()).collect();
    two.end(&old).unwrap();
    let since = Instant::now();
    while two.sessions().unwrap().expect("sessions are shown").iter().any(|s| s.nonce == first.holder.nonce.as_str()) {
        assert!(since.elapsed() < Duration::from_secs(10), "it is still there");
        std::thread::sleep(Duration::from_millis(10));
    }

    let plan = "it's \\ ü".repeat(20_000);
    assert_eq!(two.plan_text("hash").unwrap(), None);
    two.keep_plan("hash", &plan).unwrap();
    two.keep_plan("hash", "once is enough").unwrap();
    assert_eq!(two.plan_text("hash").unwrap(), Some(plan));
    let (newest, plan) = two.loaded_plan().unwrap().expect("a plan");
    assert!(plan == "plan" && newest < two.read().unwrap().fence.next_epoch, "{newest}: {plan}");
    let note = HaltNote {
        generation: second.holder.generation,
        process: process(),
        code: "TG-3102".into(),
        reason: "it's gone".into(),
        since: Micros(1_795_517_694_000_000),
    };
    two.note_halt(&note).unwrap();
    folding(two, &second.holder, &mut second.history);
}

/// Old epochs become one row, up to a whole cut; what a start reads is what it was, and decisions are remembered.
fn folding(warehouse: &mut dyn Warehouse, holder: &Holder, history: &mut History) {
    let decided = history.next_epoch.0 - 1;
    for _ in 0..2 {
        let at = history.cut.get(&TopicPartition::new("t", 0)).unwrap().end;
        let loads: Vec<Load> = (at..at + 110).map(|at| load(holder, history, at, at + 1)).collect();
        let (first, last) = (loads[0].range.clone(), loads[109].range.clone());
        let range = Range { first: first.first, ..last };
        let links = loads.into_iter().flat_map(|load| load.links).collect();
        let many = Load { holder: holder.clone(), range, links, copies: Vec::new(), adopt: None };
        assert_eq!(warehouse.load(&many, &mut |_| {}).unwrap(), Outcome::Committed);
    }
    let (closed, adopted) = (Micros(1_795_517_694_000_001), warehouse.adopted().unwrap());
    let mut fold = |before: i64| warehouse.fold(&Fold { before: Micros(before), epochs: 200 }).unwrap();
    assert_eq!(fold(closed.0), None, "they were closed at that moment, and not before it");
    // Every hundred epochs after the decision.
    let (one, two) = (Epoch(decided + 100), Epoch(decided + 200));
    assert_eq!(fold(closed.0 + 1), Some(Folded { base: one, epochs: one.0 }));
    assert_eq!(fold(closed.0 + 1), Some(Folded { base: two, epochs: 100 }));
    assert_eq!(fold(closed.0 + 1), None, "what comes after the newest whole cut stays");
    assert_eq!(known(&protocol::admit(&warehouse.read().unwrap()).unwrap()), known(history));
    assert_eq!(warehouse.adopted().unwrap(), adopted);
    let at = history.cut.get(&TopicPartition::new("t", 0)).unwrap().end;
    let next = load(holder, history, at, at + 2);
    assert_eq!(warehouse.load(&next, &mut |_| {}).unwrap(), Outcome::Committed);
    warehouse.forget_sessions(Micros(0)).unwrap();
}
