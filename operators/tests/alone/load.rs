//! Load: sealed epochs, and what becomes of their capabilities.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use checkpoint::{
    Epoch, EpochRecord, Generation, History, Kind, Link, Micros, Nonce, Span, TopicPartition, names::Staging,
    protocol::Holder,
};
use connectors::{
    ColumnKind, Error, Fault, Process, TableName, TargetColumn, Took, Warehouse,
    faults::{Faulty, Script},
    memory::{MemoryLog, MemoryObjects, MemoryWarehouse},
    retry::Policy,
};
use operators::{
    ending::{Ending, Reason},
    events::Event,
    schema::Target,
    sink::{
        load::{LoadOptions, load},
        look::{Intervals, LOOK},
        seal::SealedEpoch,
    },
};

use crate::harness::{Alone, Input, Output};

struct Loading {
    alone: Alone,
    sealed: Input<Vec<SealedEpoch>>,
    loaded: Output<Vec<u64>>,
    warehouse: MemoryWarehouse,
    script: Script,
    history: History,
    events: Arc<Mutex<Vec<Event>>>,
    ending: Reason,
}

fn table() -> TableName {
    TableName { schema: "s".into(), table: "t".into() }
}

fn note(bytes: u32) -> TargetColumn {
    let (name, kind) = ("note".into(), ColumnKind::Varchar(bytes));
    TargetColumn { name, kind, not_null: false, has_default: false, is_identity: false }
}

/// Few pauses, and short ones.
const RETRY: Policy = Policy {
    first: Duration::from_millis(1),
    longest: Duration::from_millis(1),
    within: Duration::from_secs(60),
    attempts: 5,
};

impl Loading {
    /// A warehouse that is at epoch 0 of a topic with one partition. Epochs without rows wait for a minute.
    fn new() -> Loading {
        Loading::with(Duration::from_secs(60))
    }

    /// The same; they wait for so long.
    fn with(idle_interval: Duration) -> Loading {
        let (log, objects) = (MemoryLog::default(), MemoryObjects::default());
        log.create("t", 1);
        let mut warehouse = MemoryWarehouse::new([(table(), vec![note(40)])].into(), objects.clone());
        warehouse.init("fence").unwrap();
        let (process, nonce) = (Process { host: "h".into(), id: 1, started_at: Micros(0) }, Nonce::new([1; 16]));
        warehouse.record(&process, &nonce).unwrap();
        assert_eq!(warehouse.take(Generation(0), &mut |_| {}).unwrap(), Took::Yes);
        let holder = Holder { generation: Generation(1), nonce };
        let staging = Staging {
            job: "j".into(),
            fence_id: "fence".into(),
            generation: holder.generation,
            nonce: holder.nonce.clone(),
        };
        let ending = Reason::default();
        let target = Target { stream: Some(0), table: table(), columns: vec![note(40)].into(), ..Target::default() };
        let options = LoadOptions {
            keep: None,
            holder,
            staging: Arc::new(staging),
            targets: [Arc::new(target)].into(),
            idle_interval,
            log: Arc::new(log),
            retry: RETRY,
            ending: ending.clone(),
            look: Intervals { every: Duration::ZERO, ..LOOK },
        };
        let script = Script::default();
        let port: Box<dyn Warehouse> = Box::new(Faulty::new(warehouse.clone(), script.clone()));
        let events = Arc::<Mutex<Vec<Event>>>::default();
        let said = events.clone();
        let (alone, (sealed, loaded)) = Alone::build(|scope| {
            let (sealed, epochs) = Input::new(scope);
            let watch = Arc::new(move |event| said.lock().unwrap().push(event));
            (sealed, Output::of(load(scope, epochs, Some(port), Arc::new(objects), options, watch)))
        });
        Loading { alone, sealed, loaded, warehouse, script, history: History::new("fence"), events, ending }
    }

    fn give(&mut self, epoch: u64) {
        let partition = TopicPartition::new("t", 0);
        let topic_id = connectors::Log::topic_id(&self.log(), "t").unwrap().unwrap();
        let (start, end) = (epoch as i64, epoch as i64 + 1);
        let span = Span { partition, topic_id, start, end, leader_epoch: None, last: None };
        let record = EpochRecord {
            epoch: Epoch(epoch),
            kind: Kind::Data,
            closed_at: Micros(epoch as i64),
            watermark: None,
            plan: "plan".into(),
            spans: vec![span],
            decision: None,
            counts: Default::default(),
        };
        let link: Link = self.history.link(record).unwrap();
        self.sealed.give(epoch, vec![SealedEpoch { link, files: Vec::new(), reasons: Default::default() }]);
    }

    /// One of the same kind has topics of the same ids.
    fn log(&self) -> MemoryLog {
        let log = MemoryLog::default();
        log.create("t", 1);
        log
    }

    /// What was said to be tried again, and not to have recovered.
    fn retrying(&self) -> Vec<String> {
        let mut retrying = BTreeSet::new();
        for event in self.events.lock().unwrap().iter() {
            match event {
                Event::Retrying { doing, .. } => drop(retrying.insert(doing.clone())),
                Event::Recovered { doing, .. } => drop(retrying.remove(doing)),
                _ => {}
            }
        }
        retrying.into_iter().collect()
    }

    /// The reason for which the process ends, as it must.
    fn ends(&mut self) -> String {
        self.alone.ends()
    }

    fn in_the_warehouse(&self) -> Vec<u64> {
        self.warehouse.records().iter().map(|record| record.epoch.0).collect()
    }
}

/// Nothing says "this is the last one" but the end of the input: what waits is loaded, whatever came in the same step.
#[test]
fn the_end_of_the_input_loads_what_waits() {
    for steps in [0, 1, 32] {
        for epochs in 0..4 {
            let mut loading = Loading::new();
            for epoch in 0..epochs {
                loading.give(epoch);
                (0..steps).for_each(|_| loading.alone.step());
            }
            loading.sealed.close();
            let loaded = loading.loaded.of_same();
            loading.alone.until(|| loaded.frontier().is_none());
            let expected: Vec<u64> = (0..epochs).collect();
            assert_eq!(loading.loaded.take_each(), expected.iter().map(|e| (*e, *e)).collect::<Vec<_>>());
            assert_eq!(loading.in_the_warehouse(), expected);
        }
    }
}

#[test]
fn an_epoch_is_held_until_the_warehouse_has_it() {
    let mut loading = Loading::new();
    loading.warehouse.bar(Some(Fault::Outage));
    loading.give(0);
    loading.sealed.close();
    loading.alone.settle();
    assert_eq!((loading.loaded.frontier(), loading.loaded.take_each()), (Some(0), vec![]));
    loading.warehouse.bar(None);
    let loaded = loading.loaded.of_same();
    loading.alone.until(|| loaded.frontier().is_none());
    assert_eq!(loading.in_the_warehouse(), [0]);
}

/// An error of one load, so often, and whether the epoch is loaded after all. The end of the process is its reason.
#[test]
fn a_load_is_tried_again_while_that_is_of_use() {
    let error = |fault| move || Error::new(fault, "COPY").because("XX000: so it is");
    for (fault, times, is_loaded) in [
        (Fault::Outage, 3, true),
        (Fault::Strange, 3, true),
        (Fault::Refused, 1, false),
        (Fault::Missing, 1, false),
        (Fault::Denied, 1, false),
        (Fault::Outage, RETRY.attempts as usize, false),
        // One epoch alone is as few as there are.
        (Fault::TooLong, 1, false),
    ] {
        let mut loading = Loading::new();
        loading.script.fail("load", 0..times, error(fault));
        loading.give(0);
        loading.sealed.close();
        let (loaded, script) = (loading.loaded.of_same(), loading.script.clone());
        if is_loaded {
            loading.alone.until(|| loaded.frontier().is_none());
            assert_eq!(loading.in_the_warehouse(), [0], "{fault:?}");
            assert_eq!(script.calls("load"), times + 1, "{fault:?}");
            assert_eq!(loading.retrying(), [""; 0], "{fault:?}");
        } else {
            assert_eq!(loading.ends(), "cannot load epoch 0", "{fault:?}");
            assert_eq!(script.calls("load"), times, "{fault:?}");
        }
    }
}

/// Its transaction is rolled back at COMMIT, and so on: not for ever.
#[test]
fn a_load_whose_commit_is_rolled_back_each_time_ends_the_process() {
    let mut loading = Loading::new();
    // The answer is lost, and after the barrier it turns out that nothing happened.
    loading.script.fail("load", 0..1000, || Error::new(Fault::Outage, "COMMIT").unknown());
    loading.give(0);
    loading.sealed.close();
    assert_eq!(loading.ends(), "cannot load epoch 0");
    assert_eq!(loading.script.calls("load"), RETRY.attempts as usize);
    assert_eq!(loading.in_the_warehouse(), [0u64; 0]);
}

/// The answer to COMMIT is lost and it had happened; asking fails as well for a while. It is never loaded twice.
#[test]
fn a_lost_answer_is_asked_for_until_it_is_known() {
    let mut loading = Loading::new();
    loading.script.lose("load", 0..1, || Error::new(Fault::Outage, "COMMIT").unknown());
    loading.script.fail("resolve", 0..2, || Error::new(Fault::Strange, "the barrier"));
    loading.give(0);
    loading.sealed.close();
    let loaded = loading.loaded.of_same();
    loading.alone.until(|| loaded.frontier().is_none());
    assert_eq!((loading.script.calls("load"), loading.script.calls("resolve")), (1, 3));
    assert_eq!(loading.in_the_warehouse(), [0]);
    assert_eq!(loading.retrying(), [""; 0]);
    // And where it stays unknown nothing more is loaded.
    let mut loading = Loading::new();
    loading.script.lose("load", 0..1, || Error::new(Fault::Outage, "COMMIT").unknown());
    loading.script.fail("resolve", 0..1000, || Error::new(Fault::Refused, "the barrier"));
    loading.give(0);
    loading.sealed.close();
    assert_eq!(loading.ends(), "cannot load epoch 0");
    assert_eq!((loading.script.calls("load"), loading.script.calls("resolve")), (1, 1));
}

/// Eight epochs at once take too long, and so do four; two pass, and then more again. And whoever watches hears that it is over.
#[test]
fn a_load_that_takes_too_long_is_tried_with_fewer_epochs() {
    let mut loading = Loading::new();
    loading.script.fail("load", 0..2, || Error::new(Fault::TooLong, "COPY"));
    (0..8).for_each(|epoch| loading.give(epoch));
    loading.sealed.close();
    let loaded = loading.loaded.of_same();
    loading.alone.until(|| loaded.frontier().is_none());
    assert_eq!(loading.in_the_warehouse(), (0..8).collect::<Vec<_>>());
    // 8, 4, then 2, 4, 2.
    assert_eq!(loading.script.calls("load"), 5);
    assert_eq!(loading.retrying(), [""; 0]);
}

#[test]
fn a_message_without_an_epoch_ends_the_process() {
    let mut loading = Loading::new();
    let record = EpochRecord {
        epoch: Epoch(0),
        kind: Kind::Data,
        closed_at: Micros(0),
        watermark: None,
        plan: "plan".into(),
        spans: Vec::new(),
        decision: None,
        counts: Default::default(),
    };
    let link = loading.history.link(record).unwrap();
    loading.sealed.give_without_time(vec![SealedEpoch { link, files: Vec::new(), reasons: Default::default() }]);
    assert!(loading.alone.dies().contains("without an epoch"));
}

/// A job that loads nothing asks nothing; one that has loaded sees that a column is longer by now, and drains.
#[test]
fn a_target_that_was_changed_drains_the_job() {
    let mut loading = Loading::with(Duration::ZERO);
    loading.warehouse.alter(&table(), Some(vec![note(80)]));
    loading.alone.settle();
    assert_eq!((loading.script.calls("tables"), loading.ending.get()), (0, None));
    loading.give(0);
    let ending = loading.ending.clone();
    loading.alone.until(|| ending.get().is_some());
    let what = "table s.t: column note is varchar(80) now, and was varchar(40)".into();
    assert_eq!(ending.get(), Some(Ending::TablesChanged { what }));
    assert_eq!(loading.in_the_warehouse(), [0], "what was read is loaded");
}

/// What says that the table was changed comes first: repeating the load would change nothing, and a start takes the table as it is.
#[test]
fn a_load_that_is_refused_because_its_target_was_changed_says_so() {
    for (columns, said) in [
        (Some(vec![note(10)]), Some("table s.t: column note is varchar(10) now, and was varchar(40)")),
        (Some(vec![]), Some("table s.t: column note is gone")),
        (Some(vec![note(40)]), None),
    ] {
        for fault in [Fault::Refused, Fault::Strange] {
            let mut loading = Loading::new();
            loading.script.fail("load", 0..100, move || Error::new(fault, "COPY"));
            loading.warehouse.alter(&table(), columns.clone());
            loading.give(0);
            loading.sealed.close();
            assert_eq!(loading.ends(), said.unwrap_or("cannot load epoch 0"), "{fault:?}");
            assert_eq!(loading.ending.get(), None);
        }
    }
}
