//! Load: sealed epochs, and what becomes of their capabilities.

use std::{sync::Arc, time::Duration};

use checkpoint::{
    Epoch, EpochRecord, Generation, History, Kind, Link, Micros, Nonce, Span, TopicPartition, names::Staging,
    protocol::Holder,
};
use connectors::{
    Fault, Process, Took, Warehouse,
    memory::{MemoryLog, MemoryObjects, MemoryWarehouse},
};
use operators::{
    outage::OUTAGE,
    sink::{
        load::{LoadOptions, load},
        seal::SealedEpoch,
    },
};

use crate::harness::{Alone, Input, Output};

struct Loading {
    alone: Alone,
    sealed: Input<Vec<SealedEpoch>>,
    loaded: Output<Vec<u64>>,
    warehouse: MemoryWarehouse,
    history: History,
}

impl Loading {
    /// A warehouse that is at epoch 0 of a topic with one partition. Epochs without rows wait for a minute.
    fn new() -> Loading {
        let (log, objects) = (MemoryLog::default(), MemoryObjects::default());
        log.create("t", 1);
        let mut warehouse = MemoryWarehouse::new([].into(), objects.clone());
        warehouse.init("fence").unwrap();
        let (process, nonce) = (Process { host: "h".into(), id: 1, started_at: Micros(0) }, Nonce::new([1; 16]));
        warehouse.record(&process, &nonce).unwrap();
        assert_eq!(warehouse.take(Generation(0)).unwrap(), Took::Yes);
        let holder = Holder { generation: Generation(1), nonce };
        let staging = Staging {
            job: "j".into(),
            fence_id: "fence".into(),
            generation: holder.generation,
            nonce: holder.nonce.clone(),
        };
        let options = LoadOptions {
            holder,
            staging: Arc::new(staging),
            targets: [].into(),
            idle_interval: Duration::from_secs(60),
            log: Arc::new(log),
            retry: OUTAGE,
        };
        let port: Box<dyn Warehouse> = Box::new(warehouse.clone());
        let (alone, (sealed, loaded)) = Alone::build(|scope| {
            let (sealed, epochs) = Input::new(scope);
            (sealed, Output::of(load(scope, epochs, Some(port), Arc::new(objects), options, Arc::new(|_| {}))))
        });
        Loading { alone, sealed, loaded, warehouse, history: History::new("fence") }
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
        self.sealed.give(epoch, vec![SealedEpoch { link, files: Vec::new() }]);
    }

    /// One of the same kind has topics of the same ids.
    fn log(&self) -> MemoryLog {
        let log = MemoryLog::default();
        log.create("t", 1);
        log
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
    loading.sealed.give_without_time(vec![SealedEpoch { link, files: Vec::new() }]);
    assert!(loading.alone.dies().contains("without an epoch"));
}
